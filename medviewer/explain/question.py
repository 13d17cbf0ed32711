"""What every method is given: an image as the network saw it, a finding, and a way to run the network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from medviewer.domain.errors import EngineError
from medviewer.domain.frozen import dataclass
from medviewer.domain.progress import Progress, StopToken
from medviewer.inference.card import Card, Role
from medviewer.inference.engine import Engine

FloatArray = npt.NDArray[np.float32]

_BATCH = 8
_BATCH_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Saliency:
    """A map as a method makes it.

    Attributes:
        values: ``(h, w)`` float32 over the whole of the network's input, in its own or a
            coarser grid; larger speaks more for the finding.
        error: the method's own error as a fraction; None where the method has none.
    """

    values: FloatArray
    error: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """Why does this model say that of this image?

    Attributes:
        tensor: ``(1, rows, columns)`` float32, the network's input.
        finding: which column of the logits is explained.
    """

    engine: Engine
    card: Card
    tensor: FloatArray
    finding: int
    stop: StopToken | None
    progress: Progress

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the network's input."""
        return self.tensor.shape[-2], self.tensor.shape[-1]

    def run(
        self, batch: FloatArray, role: Role, outputs: Sequence[str], *, is_near: bool = False, is_exact: bool = False
    ) -> dict[str, FloatArray]:
        """Run one of the model's graphs on ``batch`` ``(n, 1, rows, columns)``.

        ``is_near`` says that each of them is the image itself but for a small rectangle, which saves work;
        ``is_exact`` that which units are on is to be decided in double precision, which costs as much again.

        Raises:
            EngineError: an output holds a value that is not a number: no map is better
                than an invented one.
        """
        inputs = {self.card.inputs[0].name: batch}
        if role != "model":
            selector = np.zeros((len(batch), len(self.card.labels)), np.float32)
            selector[:, self.finding] = 1
            inputs["selector"] = selector
        near = {self.card.inputs[0].name: self.tensor[None]} if is_near else None
        found = self.engine.run(
            self.card.id, inputs, role=role, outputs=outputs, near=near, is_exact=is_exact, stop=self.stop
        )
        if not all(np.isfinite(array).all() for array in found.values()):
            raise EngineError("The model gave values that are not numbers; there is no explanation of this image.")
        return found

    def scores(self, batch: FloatArray, *, is_near: bool = False) -> npt.NDArray[np.float64]:
        """The logit of the finding for each image of ``batch``, ``(n,)``; ``is_near`` as for :meth:`run`.

        Logits, not probabilities: a probability of 0.999 hardly moves whatever is hidden.
        """
        return self.run(batch, "model", ["logits"], is_near=is_near)["logits"][:, self.finding].astype(np.float64)

    def batches(self, n: int) -> Iterator[slice]:
        """Cut ``n`` images into runs of bounded memory, with a look at ``stop`` before each."""
        size = max(1, min(_BATCH, _BATCH_BYTES // max(1, self.tensor.nbytes)))
        for start in range(0, n, size):
            if self.stop is not None:
                self.stop.raise_if_stopped()
            yield slice(start, min(start + size, n))


def mean_grey(tensor: FloatArray) -> FloatArray:
    """An image of the same mean with nothing in it: what "taken away" means here.

    A black image would be the usual choice, but black is not nothing on a radiograph:
    attributions are products with the distance from the baseline, so that no dark
    pixel, air in the lungs above all, could ever matter. A blurred image keeps
    what is large and soft, which a consolidation is. The mean of the image keeps its
    exposure and says nothing of its content (compare Sturmfels et al., "Visualizing
    the impact of feature attribution baselines", Distill 2020).
    """
    return np.full_like(tensor, tensor.mean(dtype=np.float64))
