"""What the worker process holds of an open model, whatever runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy.typing as npt

from medviewer.inference.memory import Outline


class OpenModel(Protocol):
    """A model that can be run; where it runs and why there."""

    @property
    def provider(self) -> str:
        """Short name of the processor."""

    @property
    def reason(self) -> str:
        """Why this one: a clause that reads after "because"."""

    @property
    def size_bytes(self) -> int:
        """Of its file."""

    @property
    def outline(self) -> Outline | None:
        """Of its graph, to work out what a run will take; None where it cannot be told."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of its outputs, in order."""

    def run(
        self, inputs: Mapping[str, npt.NDArray[Any]], outputs: Sequence[str] | None, options: Any = None
    ) -> list[npt.NDArray[Any]]:
        """Compute some outputs (all, if None) of a batch."""

    def run_near(
        self,
        inputs: Mapping[str, npt.NDArray[Any]],
        base: Mapping[str, npt.NDArray[Any]],
        outputs: Sequence[str],
        options: Any = None,
    ) -> list[npt.NDArray[Any]]:
        """Compute some outputs of a batch whose items differ from one, ``base``, in a small part each.

        The same as :meth:`run` up to rounding, with less work where the network allows it.
        """

    def bind(
        self, inputs: Mapping[str, npt.NDArray[Any]], outputs: Mapping[str, npt.NDArray[Any]], options: Any
    ) -> Callable[[], None] | None:
        """Return what runs it, again and again, on whatever ``inputs`` holds then, and writes into ``outputs``.

        None where it could not see what ``inputs`` holds later. It raises an exception where an output is not of the
        shape of its array.
        """
