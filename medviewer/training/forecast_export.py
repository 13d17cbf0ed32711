"""A forecaster as one ONNX graph, in the units of the card, held against what was learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from medviewer.domain.errors import ModelError
from medviewer.domain.frozen import dataclass
from medviewer.training.forecast_data import COLUMNS, TARGETS, WINDOW_H
from medviewer.training.forecast_learning import Forecaster, scale_of
from medviewer.training.stay_export import BATCHES, exported, feed, synthetic_stays

TOLERANCE = 1e-3  # of the units of the card
OUTPUT = "quantiles"


@dataclass(frozen=True, slots=True)
class Offered:
    """A variable that is forecast: its name, and at which hours ahead."""

    name: str
    hours: tuple[int, ...]


class ServedForecast(nn.Module):
    """The mean of the nets, its band moved, in units, within what is plausible; only what is offered.

    Args:
        forecaster: what was learned.
        document: the card's series, for means, deviations and ranges.
        offered: in the order of the card's outcomes.
    """

    def __init__(self, forecaster: Forecaster, document: Mapping[str, Any], offered: Sequence[Offered]) -> None:
        super().__init__()
        self.nets = nn.ModuleList(forecaster.nets)
        mean, std = scale_of(document)
        ranges = np.array([document["variables"][column]["range"] for column in COLUMNS])
        moved = np.stack([-forecaster.moved[..., 0], np.zeros(forecaster.moved.shape[:2]), forecaster.moved[..., 1]], 2)
        chosen = [(TARGETS.index(one.name), hour - 1) for one in offered for hour in one.hours]
        variable, ahead = (torch.tensor(column) for column in zip(*chosen, strict=True))
        self.variable, self.ahead = nn.Buffer(variable), nn.Buffer(ahead)
        own = variable.numpy()
        self.moved = nn.Buffer(_floats(moved[own, ahead.numpy()]))
        self.mean, self.std = nn.Buffer(_floats(mean[own, None])), nn.Buffer(_floats(std[own, None]))
        self.low, self.high = nn.Buffer(_floats(ranges[own, :1])), nn.Buffer(_floats(ranges[own, 1:]))

    def forward(self, joined: Tensor, fields: Tensor, known: Tensor) -> Tensor:
        """Return ``(N, hours of all variables, 3)``: low, middle, high."""
        fields = torch.cat([fields, known], 1)
        said = torch.stack([net(joined, fields) for net in self.nets]).mean(0)[:, self.variable, self.ahead]
        value = (said + self.moved) * self.std + self.mean
        value = torch.minimum(torch.maximum(value, self.low), self.high)
        middle = value[..., 1:2]  # an end that was moved inwards stays on its own side
        return torch.cat([torch.minimum(value[..., :1], middle), middle, torch.maximum(value[..., 2:], middle)], 2)


def write_forecast(served: ServedForecast, path: Path) -> float:
    """Write ``model.onnx``: ``joined``, ``fields``, ``known`` in, ``quantiles`` out.

    Returns:
        The largest difference from what was learned, over batches of 1, 3 and 8 made-up moments; the graph was
        exported with 2.

    Raises:
        ModelError: it is above :data:`TOLERANCE`.
    """
    onnx.save(exported(served, synthetic_stays(2, WINDOW_H), [OUTPUT]), path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    return check_forecast(served, path)


def check_forecast(served: ServedForecast, path: Path) -> float:
    """Return the largest difference between a file and what was learned; see :func:`write_forecast`."""
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    largest = 0.0
    for n in BATCHES:
        given = feed(synthetic_stays(n, WINDOW_H))
        (found,) = session.run([OUTPUT], given)
        expected = _said(served, given)
        difference = float(np.abs(found - expected).max()) if found.shape == expected.shape else np.inf
        if not difference <= TOLERANCE:
            raise ModelError(f"The exported {path.name} differs from what was learned by {difference:.1e}.")
        largest = max(largest, difference)
    return largest


def write_reference(served: ServedForecast, path: Path) -> None:
    """Write made-up moments with the answers that were learned."""
    given = feed(synthetic_stays(4, WINDOW_H))
    named = {f"input.{name}": array for name, array in given.items()}
    np.savez_compressed(path, **named, **{f"output.{OUTPUT}": _said(served, given)})  # type: ignore[arg-type]


def _floats(array: npt.NDArray[np.float64]) -> Tensor:
    return torch.tensor(array, dtype=torch.float32)


def _said(served: ServedForecast, given: Mapping[str, npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    with torch.inference_mode():
        found: npt.NDArray[np.float32] = served(*(torch.from_numpy(array) for array in given.values())).numpy()
    return found
