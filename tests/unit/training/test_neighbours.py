"""The training cases that a model carries: as they are stored, and how often it errs among which."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medviewer.inference.card import CardFile
from medviewer.inference.loading import read_arrays
from medviewer.inference.neighbours import ARRAYS, Memory
from medviewer.training.export import file_entry
from medviewer.training.neighbours import FILE, N_NEIGHBOURS, remember, write_neighbours

N, F = 300, 12


def two_clouds(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Cases of two kinds that lie apart in each of twelve features."""
    chance = np.random.default_rng(seed)
    truth = chance.random(N) < 0.5
    return chance.normal(size=(N, F)) + 6 * truth[:, None], truth


def test_what_is_stored_finds_the_same_neighbours_as_the_features_themselves() -> None:
    features, truth = two_clouds()
    memory = remember(features, truth[:, None])
    scaled = (features - features.mean(0)) / features.std(0)
    for i in range(20):
        nearest = set(np.argsort(((scaled - scaled[i]) ** 2).sum(1), kind="stable")[:N_NEIGHBOURS].tolist())
        found = set(memory.nearest(features[i : i + 1], N_NEIGHBOURS)[0].tolist())
        assert len(nearest & found) >= N_NEIGHBOURS - 1  # half precision may exchange the last two


def test_errors_are_counted_where_they_were_made_and_the_file_is_read_back(tmp_path: Path) -> None:
    features, truth = two_clouds()
    memory = remember(features, truth[:, None])
    held_out, held_truth = two_clouds(1)
    # Between the clouds the neighbours are mixed: there the made-up model errs, and nowhere else.
    between = np.full((5, F), 3.0) + np.random.default_rng(2).normal(size=(5, F))
    cases = np.concatenate([held_out, between])
    wrong = np.concatenate([np.zeros(N, bool), np.ones(5, bool)])
    section = write_neighbours(tmp_path, memory, cases, {"it": wrong})
    counted = memory.positives(cases, N_NEIGHBOURS)[:, 0]
    for row in section["seen"]["it"]:
        inside = (counted >= row["least"]) & (counted <= row["most"])
        assert (row["n"], row["n_wrong"]) == (inside.sum(), (inside & wrong).sum())
    assert sum(row["n"] for row in section["seen"]["it"]) == N + 5
    assert (counted[:N] == np.where(held_truth, N_NEIGHBOURS, 0)).mean() > 0.95
    entry = file_entry("neighbours", tmp_path / FILE)
    own = CardFile(**{name: entry[name] for name in ("role", "path", "sha256", "size")})
    arrays = read_arrays(tmp_path, own)
    again = Memory(*(arrays[name] for name in ARRAYS))
    assert np.array_equal(again.nearest(cases, N_NEIGHBOURS), memory.nearest(cases, N_NEIGHBOURS))


def test_the_file_holds_nothing_but_numbers_and_labels(tmp_path: Path) -> None:
    features, truth = two_clouds()
    write_neighbours(tmp_path, remember(features, truth[:, None]), features[:3], {"it": np.zeros(3, bool)})
    with np.load(tmp_path / FILE, allow_pickle=False) as arrays:
        assert set(arrays) == set(ARRAYS)
        assert arrays["points"].dtype == np.float16
        assert arrays["points"].shape == (N, F)
