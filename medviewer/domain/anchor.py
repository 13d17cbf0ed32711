"""Where on the data an explanation points: five kinds of place, whatever the model.

Every anchor says which of the model's inputs it lies on (``input`` is the name on the card),
so that a model with several inputs has one list of them.
"""

from __future__ import annotations

from typing import TypeAlias

from medviewer.domain.frozen import dataclass


@dataclass(frozen=True, slots=True)
class PixelBox:
    """A box of an image, in its own pixels: rows and columns from the first up to, not including, the last.

    ``slices`` are those of a volume; None on a single image.
    """

    input: str
    rows: tuple[float, float]
    columns: tuple[float, float]
    slices: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class TimeCell:
    """One variable during some hours of a series, counted from where its grid begins."""

    input: str
    variable: str
    hours: tuple[float, float]


@dataclass(frozen=True, slots=True)
class CharacterSpan:
    """A word of a note: every place where it stands, as (first, after the last) character of the text."""

    input: str
    text: str
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Field:
    """A named value."""

    input: str
    field: str


@dataclass(frozen=True, slots=True)
class Atom:
    """An atom of a molecule, by its place in the SMILES, from 0; hydrogens that are not written do not count."""

    input: str
    index: int
    symbol: str


Anchor: TypeAlias = PixelBox | TimeCell | CharacterSpan | Field | Atom
