"""What every kind of input offers, and the words in which they speak to the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from medviewer.domain.anchor import Anchor
from medviewer.domain.answer import GuardLevel
from medviewer.domain.case import Case
from medviewer.domain.frozen import dataclass
from medviewer.inference.card import InputSpec, Text

Arrays = dict[str, npt.NDArray[Any]]
NOTHING = Text("")


@dataclass(frozen=True, slots=True)
class Doubt:
    """Something found in the data: ``code`` names its sentence in the guards' table, ``facts`` fill it in.

    ``name`` is the field or variable that it is about; part of the guard's code.
    """

    code: str
    level: GuardLevel
    name: str = ""
    facts: Mapping[str, Text | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Used:
    """A recorded value that goes into the answer."""

    name: str
    title: Text
    value: str
    time: datetime | None
    note: Text = NOTHING


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a case does not have what an input needs: ``fields`` by name, and a doubt for each."""

    fields: tuple[str, ...]
    doubts: tuple[Doubt, ...] = ()
    used: tuple[Used, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """What the network is given of one input, without the batch, by names of the graph's inputs.

    ``place`` is what anchors need to lie on the raw data: of an image the ``(3, 3)`` map of the
    network's (row, column) to the image's; None where they lie on it as they are.
    """

    tensors: Arrays
    place: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """A part of the data that can be taken away: what it is, and which elements of each array it fills.

    ``mask`` has an array of bool for each tensor of the input, of that tensor's shape.
    """

    anchor: Anchor
    mask: Mapping[str, npt.NDArray[np.bool_]]


class Adapter(Protocol):
    """How one kind of data reaches a network. ``encode`` is the very function that training calls."""

    def problems(self, spec: InputSpec) -> Iterator[str]:
        """What a schema cannot see in the card's input: clauses for "the card contradicts itself: ..."."""

    def pull(self, case: Case, spec: InputSpec) -> Any | Missing:
        """Of a case, what this input is made of; or what is missing, by name. Never a guess."""

    def examine(self, raw: Any, spec: InputSpec) -> tuple[Sequence[Doubt], Sequence[Used]]:
        """What there is to doubt in it, and which recorded values it holds."""

    def encode(self, raw: Any, spec: InputSpec) -> Encoded:
        """The arrays of the card's ``tensors``."""

    def groups(self, raw: Any, spec: InputSpec) -> Sequence[Group]:
        """The parts of which an explanation speaks."""

    def baseline(self, raw: Any, spec: InputSpec) -> Arrays:
        """What the arrays are where there is nothing: what "taken away" puts in a group's place."""
