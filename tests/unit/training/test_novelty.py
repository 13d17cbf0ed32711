"""Out-of-distribution distance, with scikit-learn as the oracle of the covariance."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from medviewer.domain.errors import TrainingError
from medviewer.training.novelty import (
    fit_novelty,
    fit_residual,
    fit_texture,
    load_statistics,
    save_statistics,
    shrunk_covariance,
)


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


def test_the_residual_is_what_the_known_directions_leave(features):
    residual = fit_residual(features, n_directions=5)
    scaled = StandardScaler().fit_transform(features)
    peer = PCA(5).fit(scaled)
    expected = np.linalg.norm(scaled - peer.inverse_transform(peer.transform(scaled)), axis=1)
    np.testing.assert_allclose(residual.distance(features), expected, rtol=0.02)  # half precision


def test_the_middle_of_everything_is_near_inside_and_far_outside():
    """Films vary in one feature and never have another; noise has the mean of the first and some of the second."""
    chance = np.random.default_rng(1)
    films = np.stack([chance.normal(0, 1, 500), chance.normal(0, 0.05, 500)], axis=1)
    noise = np.array([[0.0, 1.0]])
    inside = fit_novelty(films, np.zeros(500, dtype=np.int64), n_directions=1)
    assert inside.distance(noise)[0] < np.median(inside.distance(films))
    outside = fit_residual(films, n_directions=1)
    assert outside.distance(noise)[0] > 3 * outside.distance(films).max()


def test_a_feature_that_no_film_has_counts_but_not_infinitely(features):
    features[:, 3] = 0
    residual = fit_residual(features, n_directions=8)
    assert (residual.scale > 0).all()
    features[:, 3] = 1
    assert np.isfinite(residual.distance(features)).all()
    assert residual.distance(features).min() > 10


def test_the_texture_is_a_mahalanobis_distance_in_which_every_number_counts_alike(features):
    """As scikit-learn has it of standardised numbers; one that is given in other units changes nothing."""
    scaled = StandardScaler().fit_transform(features)
    expected = np.sqrt(LedoitWolf(assume_centered=True).fit(scaled).mahalanobis(scaled))
    np.testing.assert_allclose(fit_texture(features).distance(features), expected, rtol=1e-4)
    other = features * np.linspace(1, 50, features.shape[1])
    np.testing.assert_allclose(fit_texture(other).distance(other), expected, rtol=1e-3)


@pytest.mark.parametrize("noise", [0.0, 1e-7])
def test_images_that_all_look_the_same_are_refused_and_divide_nothing(noise):
    same = 3 + np.random.default_rng(0).normal(0, 1, 40) + noise * np.random.default_rng(1).normal(0, 1, (30, 40))
    for fit in (fit_residual, fit_texture, lambda features: fit_novelty(features, np.zeros(30, dtype=np.int64))):
        for features in (same, 0 * same):
            with pytest.raises(TrainingError, match="all look the same to the network"):
                fit(features)


def test_images_of_two_kinds_alone_leave_no_direction_without_a_length():
    features = np.repeat(np.random.default_rng(0).normal(0, 1, (2, 40)), 15, axis=0)
    novelty = fit_novelty(features, np.zeros(30, dtype=np.int64))
    assert np.isfinite(novelty.whitening).all()
    np.testing.assert_allclose(novelty.distance(features), 1)


def test_what_is_saved_is_what_the_card_describes(features, tmp_path):
    novelty = fit_novelty(features, np.zeros(len(features), dtype=np.int64), n_directions=8)
    residual = fit_residual(features, n_directions=8)
    texture = fit_texture(features)
    save_statistics(tmp_path / "ood.npz", novelty, residual, texture)
    with np.load(tmp_path / "ood.npz", allow_pickle=False) as stored:
        arrays = dict(stored)
    assert arrays["means"].dtype == arrays["whitening"].dtype == np.float32
    again, rest, look = load_statistics(arrays)
    np.testing.assert_allclose(again.distance(features), novelty.distance(features), rtol=1e-4)
    assert rest is not None
    # Limits are measured with these very numbers, so nothing may be rounded on the way.
    np.testing.assert_array_equal(rest.distance(features), residual.distance(features))
    assert look is not None
    assert look.means.dtype == look.whitening.dtype == np.float32
    np.testing.assert_array_equal(look.distance(features), texture.distance(features))


def test_a_file_from_before_the_residual_and_the_texture_is_read(features):
    old, rest, look = load_statistics({"means": features[:1], "whitening": np.eye(40)})
    assert rest is None
    assert look is None
    assert old.distance(features[:1]) == [0]
