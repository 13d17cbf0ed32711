"""Runs a network that this machine's own training exported with ``torch.export`` (a ``.pt2`` file).

Opening such a file can run any code: torch 2.13 falls back to full unpickling inside of it. So it is
opened only if its digest is on the local trust list, which training alone writes
(:mod:`medviewer.inference.trust`), and only in the worker process.

The exported module takes the card's arrays as keyword arguments and gives a dict with the card's
outputs. Given ``selector`` besides, which says the logit of which label, it is differentiated: what
explanations ask for is then what an ONNX model's gradient graph gives.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medviewer.domain.errors import ModelError, RuntimeMissingError, UnsafeModelError
from medviewer.domain.frozen import dataclass
from medviewer.inference.loading import read_file
from medviewer.inference.memory import Outline
from medviewer.inference.runtimes.onnx import Source, largest_error, read_reference

if TYPE_CHECKING:
    from medviewer.inference.runtimes.opened import OpenModel

TITLE = "PyTorch"
REQUIRES = "pip install 'medviewer[torch]'"
SELECTOR = "selector"
EXPLAINED = ("logits", "feature_map", "d_feature_map", "d_x")


@dataclass(frozen=True, slots=True, eq=False)
class TorchModel:
    """An open module; always on the CPU."""

    module: Any
    outputs: tuple[str, ...]
    size_bytes: int
    provider: str = "cpu"
    reason: str = "PyTorch models of this machine run there"
    outline: Outline | None = None

    def run(
        self,
        inputs: Mapping[str, npt.NDArray[Any]],
        outputs: Sequence[str] | None,
        options: Any = None,  # noqa: ARG002 - a run cannot be ended from inside; the worker's process is
    ) -> list[npt.NDArray[Any]]:
        """Compute some outputs (all, if None)."""
        import torch  # noqa: PLC0415 - seconds; only the worker process pays them

        # Copies: the arrays lie in shared memory that the next request overwrites.
        given = {name: torch.from_numpy(np.array(array)) for name, array in inputs.items()}
        selector = given.pop(SELECTOR, None)
        if selector is not None:
            return self._gradients(given, selector, tuple(outputs or EXPLAINED))
        with torch.inference_mode():
            found = self.module(**given)
        return [found[name].numpy() for name in (outputs or self.outputs)]

    def run_near(
        self,
        inputs: Mapping[str, npt.NDArray[Any]],
        base: Mapping[str, npt.NDArray[Any]],  # noqa: ARG002 - an exported module is not taken apart
        outputs: Sequence[str],
        options: Any = None,
    ) -> list[npt.NDArray[Any]]:
        """Compute some outputs of a batch, whatever its items have in common."""
        return self.run(inputs, outputs, options)

    def bind(
        self, inputs: Mapping[str, npt.NDArray[Any]], outputs: Mapping[str, npt.NDArray[Any]], options: Any
    ) -> Callable[[], None]:
        """Return what runs it, again and again, on whatever ``inputs`` holds then, and writes into ``outputs``."""

        def run() -> None:
            for target, found in zip(outputs.values(), self.run(inputs, tuple(outputs), options), strict=True):
                if target.shape != found.shape:
                    raise ValueError("an output of another shape")
                np.copyto(target, found, casting="no")

        return run

    def _gradients(self, given: Mapping[str, Any], selector: Any, wanted: tuple[str, ...]) -> list[npt.NDArray[Any]]:
        """What the logit that ``selector`` ``(n, labels)`` says owes to its input and to the last feature map."""
        import torch  # noqa: PLC0415

        if len(given) != 1 or not set(wanted) <= set(EXPLAINED):
            raise ModelError("Only the gradients of a model with one image as its input can be asked for.")
        (image,) = (array.requires_grad_() for array in given.values())
        with torch.enable_grad():
            found = self.module(**given)
            logit = (found["logits"] * selector).sum()
            to = {"d_x": image, "d_feature_map": found.get("feature_map")}
            sources = {name: to[name] for name in wanted if name in to}
            if any(source is None for source in sources.values()) or (
                "feature_map" in wanted and "feature_map" not in found
            ):
                raise ModelError("The module does not give its last feature map; choose another method.")
            gradients = torch.autograd.grad(logit, list(sources.values())) if sources else ()
        known = {**found, **dict(zip(sources, gradients, strict=True))}
        return [known[name].detach().numpy() for name in wanted]


def is_available() -> bool:
    """Whether PyTorch is installed (it is not imported to find out)."""
    return importlib.util.find_spec("torch") is not None


def version() -> str:
    """The version of PyTorch."""
    import torch  # noqa: PLC0415

    return str(torch.__version__)


def run_options() -> Any:
    """What the worker sets ``terminate`` on; a run that does not end is ended with its process."""
    return SimpleNamespace(terminate=False)


def open(source: Source) -> OpenModel:  # noqa: A001 - the name that every runtime module has
    """Open an exported module whose digest this machine trusts, and compare it with its reference.

    Raises:
        UnsafeModelError: this machine did not write it.
        ModelError: the file is missing, changed, or does not give its reference answer.
        RuntimeMissingError: PyTorch is not installed.
    """
    if not source.is_trusted:
        raise UnsafeModelError(
            f"“{source.file.path}” is refused: a PyTorch file can run any code when it is opened, and this machine's "
            "own training did not write it; ask for the model as ONNX."
        )
    if not is_available():
        raise RuntimeMissingError(f"{TITLE} is not installed; install it with: {REQUIRES}.")
    import torch  # noqa: PLC0415

    data = read_file(source.folder, source.file, is_trusted=True)
    torch.set_num_threads(source.threads)
    module = torch.export.load(io.BytesIO(data)).module()
    model = TorchModel(module, source.outputs, len(data))
    if source.reference is not None:
        inputs, expected = read_reference(source.folder, source.reference, first_only=True)
        gap = largest_error(dict(zip(expected, model.run(inputs, tuple(expected)), strict=True)), expected)
        if gap > source.tolerance:
            raise ModelError(
                f"The answer to the reference input differs by {gap:.2g}, allowed is {source.tolerance:.2g}; "
                "do not use this model here."
            )
    return model
