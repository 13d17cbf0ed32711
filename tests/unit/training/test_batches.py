"""Batches and changes of radiographs: repeatable, balanced, and harmless where they must be."""

from __future__ import annotations

from collections import Counter
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from medviewer.training.augment import augment  # noqa: E402
from medviewer.training.batches import Part, balanced_batches  # noqa: E402
from medviewer.training.networks import N_APPEARANCE, EfficientNetLite0, Served, appearance  # noqa: E402
from medviewer.training.shifts import SHIFTS  # noqa: E402
from medviewer.training.validation import balanced_subset, refresh_statistics  # noqa: E402

pytestmark = pytest.mark.torch

STEPS = ({"op": "resize", "rows": 32, "columns": 32}, {"op": "percentile_window", "low": 1, "high": 99})


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def part(n=12, size=32, seed=0):
    chance = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    pixels = [np.uint8(chance.integers(0, 120, (size, size)) + 100 * label) for label in labels]
    return Part(pixels, labels.astype(np.int64))


def test_batches_hold_both_classes_alike_and_use_every_case():
    labels = np.array([0] * 7 + [1] * 50)
    batches = balanced_batches(labels, 8, 13, generator())
    assert [len(batch) for batch in batches] == [8] * 13
    drawn = Counter(int(i) for batch in batches for i in batch)
    assert sum(count for i, count in drawn.items() if labels[i] == 0) == 52
    assert set(drawn) == set(range(57))
    rare = [drawn[i] for i in range(7)]
    assert max(rare) - min(rare) <= 1


def test_augmentation_repeats_and_stays_in_range():
    images = torch.rand(6, 1, 40, 40, generator=generator(3))
    once, again = augment(images, 32, generator()), augment(images, 32, generator())
    assert once.shape == (6, 1, 32, 32)
    assert torch.equal(once, again)
    assert not torch.equal(once, augment(images, 32, generator(1)))
    assert once.min() >= 0
    assert once.max() <= 1


@pytest.mark.parametrize("grey", [0.0, 0.5, 1.0])
def test_augmentation_of_a_flat_image_is_finite(grey):
    for seed in range(5):
        assert torch.isfinite(augment(torch.full((4, 1, 32, 32), grey), 32, generator(seed))).all()


def test_no_strength_changes_nothing():
    images = torch.rand(3, 1, 32, 32, generator=generator(3))
    torch.testing.assert_close(augment(images, 32, generator(), strength=0.0), images)


@pytest.mark.parametrize("name", SHIFTS)
def test_shifts_are_fixed_and_leave_their_input_alone(name):
    image = np.random.default_rng(0).integers(0, 256, (120, 90)).astype(np.uint8)
    before = image.copy()
    first, second = SHIFTS[name](image), SHIFTS[name](image)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(image, before)


def test_the_cut_network_is_the_network():
    network = EfficientNetLite0().eval()
    x = torch.rand(2, 1, 64, 64, generator=generator())
    with torch.inference_mode():
        feature_map = network.features(x)
        logits, features, cam, looks = Served(network)(x)
        assert feature_map.shape == (2, 1280, 2, 2)
        torch.testing.assert_close(network.head(feature_map), network(x))
        torch.testing.assert_close(logits, network(x))
        torch.testing.assert_close(features, feature_map.mean(dim=(2, 3)))
        torch.testing.assert_close(cam.mean(dim=(2, 3)) + network.linear.bias, logits)
        assert looks.shape == (2, N_APPEARANCE)


def test_appearance_is_grey_and_grain():
    x = np.random.default_rng(0).uniform(-1, 1, (2, 1, 224, 224)).astype(np.float32)
    x[1, 0, :112] = 0.25
    cells = x.astype(np.float64).reshape(2, 28, 8, 28, 8)
    grain = cells.std(axis=(2, 4)).reshape(2, 14, 2, 14, 2).mean(axis=(2, 4))
    expected = np.concatenate(
        [cells.mean(axis=(2, 4)).reshape(2, -1), 0.5 * np.log(0.01 + grain).reshape(2, -1)], axis=1
    )
    np.testing.assert_allclose(appearance(torch.from_numpy(x)).numpy(), expected, atol=1e-5)


def test_statistics_are_measured_on_the_images_themselves():
    network = EfficientNetLite0().eval()
    weights = {name: value.clone() for name, value in network.named_parameters()}
    refresh_statistics(network, part(), STEPS, 32, n_batches=2, change=partial(augment, strength=0.0))
    assert not network.training
    assert network.stem[2].momentum == 0.01
    assert network.stem[2].running_mean.abs().max() > 0
    assert all(torch.equal(value, weights[name]) for name, value in network.named_parameters())


def test_a_subset_is_even_and_balanced():
    chosen = balanced_subset(part(40), 5)
    assert Counter(chosen.labels.tolist()) == {0: 5, 1: 5}
