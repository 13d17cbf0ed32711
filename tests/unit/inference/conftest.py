from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.inference.texture import N_TEXTURE
from tests import fakes


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """A whole, valid model folder of this test alone."""
    return fakes.make_model(tmp_path / "models" / "fake")


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A real engine with good models and bad ones; its worker is shared by the tests."""
    folder = tmp_path_factory.mktemp("models")
    fakes.make_model(folder / "fake")
    fakes.make_model(folder / "three", id="three", labels=("pneumonia", "effusion", "mass"))
    for name, warn, abstain in (("odd", 1e-6, 1e9), ("odder", 1e-7, 1e-6)):
        ood = {"file": "ood.npz", "method": "mahalanobis", "warn_above": warn, "abstain_above": abstain}
        fakes.make_model(folder / name, id=name, ood=ood)
    ood = {"file": "ood.npz", "method": "mahalanobis", "warn_above": 1e8, "abstain_above": 1e9}
    for name, warn, abstain in (("rest", 1e-6, 1e9), ("restless", 1e-7, 1e-6)):
        limits = ood | {"residual": {"output": "features", "warn_above": warn, "abstain_above": abstain}}
        fakes.make_model(folder / name, id=name, ood=limits, statistics=fakes.residual_arrays())
    for name, arrays in (
        ("no-rest", {}),
        ("rest-misfit", fakes.residual_arrays(7)),
        ("rest-nan", fakes.residual_arrays() | {"residual_mean": np.full(fakes.FILTERS, np.nan, np.float32)}),
        ("rest-flat", fakes.residual_arrays() | {"residual_scale": np.zeros(fakes.FILTERS, np.float32)}),
    ):
        fakes.make_model(folder / name, id=name, ood=limits, statistics=arrays)
    grain = ood | {"texture": {"warn_above": 1e-6, "abstain_above": 1e9}}
    coarse = ood | {"texture": {"warn_above": 1e-7, "abstain_above": 1e-6}}
    for name, limits, arrays in (
        ("grain", grain, fakes.texture_arrays()),
        ("grainier", coarse, fakes.texture_arrays()),
        ("no-grain", grain, {}),
        ("grain-misfit", grain, fakes.texture_arrays(7)),
        ("grain-nan", grain, fakes.texture_arrays() | {"texture_means": np.full((1, N_TEXTURE), np.nan, np.float32)}),
    ):
        fakes.make_model(folder / name, id=name, ood=limits, statistics=arrays)
    not_numbers = fakes.model_graph(head=np.array([[np.nan, 0, 0, 0]], np.float32))
    fakes.make_model(folder / "nan", id="nan", graph=not_numbers, reference=False)
    fakes.make_model(folder / "other", id="other", graph=fakes.model_graph(head=fakes.HEAD[1:2]))
    fakes.make_model(folder / "misfit", id="misfit", features_known=7)
    with Engine(Catalogue([folder]), providers=("cpu",), threads=2) as running:
        yield running
