"""DenseNet-121 is the published one: its size, the names of its weights, and where it is cut."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="needs the training extra")
import torch

from medviewer.training.networks_densenet import DenseNet121

pytestmark = pytest.mark.torch


def test_it_has_the_weights_of_torchvisions_densenet121() -> None:
    """7,978,856 is what torchvision's documentation gives; 727 the entries of its published state dictionary."""
    network = DenseNet121(n_classes=1000, n_channels=3)
    assert sum(weight.numel() for weight in network.parameters()) == 7_978_856
    names = list(network.state_dict())
    assert len(names) == 727
    assert names[0] == "features.conv0.weight"
    assert names[-2:] == ["classifier.weight", "classifier.bias"]
    for name in (
        "features.norm0.running_var",
        "features.denseblock1.denselayer1.norm1.weight",
        "features.denseblock3.denselayer24.conv2.weight",
        "features.denseblock4.denselayer16.norm2.num_batches_tracked",
        "features.transition3.conv.weight",
        "features.norm5.bias",
    ):
        assert name in names


def test_it_is_cut_after_the_last_rectification() -> None:
    torch.manual_seed(0)
    network = DenseNet121(n_classes=2).eval()
    with torch.no_grad():
        x = torch.randn(2, 1, 64, 64)
        f = network.features(x)
        assert f.shape == (2, 1024, 2, 2)
        assert f.min() == 0
        assert torch.equal(network(x), network.head(f))
        assert torch.allclose(network(x), network.linear(f.mean(dim=(2, 3))))
