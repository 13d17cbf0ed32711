"""Out-of-distribution distance, with scikit-learn as the oracle of the covariance."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf

from medviewer.training.novelty import Novelty, fit_novelty, shrunk_covariance


@pytest.fixture
def features():
    chance = np.random.default_rng(0)
    return chance.normal(0, 1, (300, 6)) @ chance.normal(0, 1, (6, 40)) + chance.normal(0, 0.1, (300, 40))


def test_covariance_is_ledoit_wolf(features):
    centred = features - features.mean(axis=0)
    covariance, shrinkage = shrunk_covariance(centred)
    oracle = LedoitWolf(assume_centered=True).fit(centred)
    assert shrinkage == pytest.approx(oracle.shrinkage_)
    np.testing.assert_allclose(covariance, oracle.covariance_)


def test_with_every_direction_it_is_the_mahalanobis_distance(features):
    novelty = fit_novelty(features, np.zeros(len(features), dtype=np.int64), n_directions=40)
    centred = features - features.mean(axis=0)
    inverse = np.linalg.inv(shrunk_covariance(centred)[0])
    expected = np.sqrt(np.einsum("nf,fg,ng->n", centred, inverse, centred))
    np.testing.assert_allclose(novelty.distance(features), expected)


def test_the_nearest_class_counts(features):
    labels = np.arange(len(features)) % 2
    novelty = fit_novelty(features + 100 * labels[:, None], labels, n_directions=8)
    assert np.median(novelty.distance(features)) < 4
    assert np.median(novelty.distance(features + 100)) < 4
    assert novelty.distance(features + 50).min() > 10


def test_what_is_saved_is_what_the_card_describes(features, tmp_path):
    novelty = fit_novelty(features, np.zeros(len(features), dtype=np.int64), n_directions=8)
    novelty.save(tmp_path / "ood.npz")
    with np.load(tmp_path / "ood.npz", allow_pickle=False) as stored:
        assert stored["means"].dtype == stored["whitening"].dtype == np.float32
        again = Novelty(stored["means"], stored["whitening"])
    np.testing.assert_allclose(again.distance(features), novelty.distance(features), rtol=1e-4)
