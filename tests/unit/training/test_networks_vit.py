"""The vision transformer: tokens in their places, and attention that adds up."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="needs the training extra")
import torch

from medviewer.training.networks_vit import SmallViT

pytestmark = pytest.mark.torch


def test_the_feature_map_lies_as_the_image_does() -> None:
    """Without blocks each token is its own square: changing one square changes one place."""
    torch.manual_seed(0)
    network = SmallViT(3, size=64, patch=16, width=16, depth=0, heads=1).eval()
    x = torch.zeros(1, 1, 64, 64)
    spot = x.clone()
    spot[..., 16:32, 48:64] = 1  # row 1, column 3
    with torch.no_grad():
        moved = (network.features(spot) - network.features(x)).abs().sum(dim=(0, 1))
    assert moved.shape == (4, 4)
    assert [tuple(place) for place in moved.nonzero().tolist()] == [(1, 3)]


def test_no_two_places_look_alike() -> None:
    positions = SmallViT(size=64, patch=16, width=16, depth=0, heads=1).positions[0]
    assert len({tuple(place.tolist()) for place in positions}) == 16


def test_attention_of_each_token_sums_to_one_and_so_does_its_rollout() -> None:
    torch.manual_seed(0)
    network = SmallViT(2, size=64, width=24, depth=2, heads=3).eval()
    with torch.no_grad():
        _, attention = network.blocks[0](torch.randn(2, 16, 24))
        f, flow = network.rollout(torch.randn(2, 1, 64, 64))
    assert attention.shape == (2, 3, 16, 16)
    assert torch.allclose(attention.sum(dim=-1), torch.ones(2, 3, 16))
    assert f.shape == (2, 24, 4, 4)
    assert flow.shape == (2, 4, 4)
    assert torch.allclose(flow.sum(dim=(1, 2)), torch.ones(2))
