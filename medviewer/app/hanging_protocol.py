"""Hanging protocols: for which studies they are, and what each viewport shows of them. Data, checked; no state.

Texts that are compared with the files hold alternatives, with a slash between: ``CR/DX``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from medviewer.domain.errors import InputError
from medviewer.domain.frozen import dataclass
from medviewer.imaging.palettes import PALETTES

MOST_ROWS = MOST_COLUMNS = 4
MOST_PROTOCOLS, MOST_PRIORS, MOST_SERIES, MOST_PRESET = 200, 9, 99, 9
_LONGEST_NAME, _LONGEST_TEXT = 80, 200
LATERALITIES = ("", "R", "L")
PLANES = ("", "axial", "coronal", "sagittal")
SIDES = ("", "left", "right")
RADIOGRAPHS = ("CR", "DX", "RG")
"""Modalities of one kind of image, a film of which another's is a prior: digitised, read from a plate, or direct."""


@dataclass(frozen=True, slots=True)
class DisplaySet:
    """What one viewport shows (PS3.3 C.23.3 calls it so). Empty fields ask for nothing.

    Attributes:
        prior: 0 for the current study, n for its n-th prior.
        view: View Position (0018,5101): ``PA``, ``LL/RL``.
        laterality: of the image: R or L, as the file says.
        plane: in which the images lie: axial, coronal or sagittal.
        words: in the description of series or study, ``T1/T2``.
        series: n for the n-th series that fits; 0 for the one on screen, or one that no earlier viewport shows.
        cut: a plane that is cut out of the series instead of its images (MPR).
        preset: the digit of a CT preset, used where values are in Hounsfield units; 0 for the image's own window.
        inverted: black and white are swapped.
        palette: one of the standard's colour palettes, for images in grey.
        front: the side of the screen to which the front of the body (A) is flipped, where the file says where it is.
    """

    prior: int = 0
    view: str = ""
    laterality: str = ""
    plane: str = ""
    words: str = ""
    series: int = 0
    cut: str = ""
    preset: int = 0
    inverted: bool = False
    palette: str = ""
    front: str = ""


@dataclass(frozen=True, slots=True)
class HangingProtocol:
    """How studies of a kind are hung.

    Attributes:
        name: as the reader calls it.
        modality: of a series of the study: ``CR/DX``; empty for any.
        body_part: Body Part Examined or a word of the descriptions: ``CHEST/THORAX``; empty for any.
        views: views that the study must have, with commas between: ``PA, LL/RL``; empty for none.
        priors: how many priors of its kind must be open.
        layout: rows and columns.
        display_sets: one a viewport, row by row; those of the second window come after those of the first.
        second: rows and columns of a second image window, for another screen (Number of Screens, PS3.3 C.23.1); None
            where there is none.
        when_opening: used by itself for a study that is opened, if it is the first that fits.
    """

    name: str
    modality: str = ""
    body_part: str = ""
    views: str = ""
    priors: int = 0
    layout: tuple[int, int] = (1, 1)
    display_sets: tuple[DisplaySet, ...] = (DisplaySet(),)
    when_opening: bool = True
    second: tuple[int, int] | None = None


Protocols = tuple[HangingProtocol, ...]


@dataclass(frozen=True, slots=True)
class Vacancy:
    """Why a viewport shows nothing: a sentence, and what was looked for in the words of the files."""

    sentence: str
    wanted: str = ""


def alternatives(text: str) -> tuple[str, ...]:
    """The alternatives of a text, in capitals.

    >>> alternatives("cr / DX")
    ('CR', 'DX')
    """
    return tuple(part.strip().upper() for part in text.split("/") if part.strip())


def is_same_kind(modality: str, other: str) -> bool:
    """Whether images of one modality are looked at beside those of another as of one kind.

    >>> is_same_kind("DX", "CR"), is_same_kind("MG", "DX")
    (True, False)
    """
    return modality == other or {modality.upper(), other.upper()} <= set(RADIOGRAPHS)


def count_of(shape: tuple[int, int] | None) -> int:
    """How many viewports an image window of so many rows and columns has."""
    return shape[0] * shape[1] if shape is not None else 0


def as_data(protocols: Protocols) -> list[dict[str, Any]]:
    """Protocols as JSON knows them."""
    return [asdict(one) for one in protocols]


def checked(data: object) -> Protocols:
    """Protocols from a file.

    Raises:
        InputError: not protocols, or not as they may be; says which.
    """
    if not isinstance(data, list) or len(data) > MOST_PROTOCOLS:
        raise InputError(f"Hanging protocols must be a list of {MOST_PROTOCOLS} at most.")
    return tuple(_protocol(one, number) for number, one in enumerate(data, start=1))


def _protocol(data: object, number: int) -> HangingProtocol:
    given = _Fields(data, HangingProtocol, number)
    layout = given.shape("layout")
    second = given.shape("second") if given.values.get("second") is not None else None
    sets = given.values.get("display_sets")
    if not isinstance(sets, list | tuple) or len(sets) != count_of(layout) + count_of(second):
        raise given.refusal("display_sets")
    name = given.text("name", _LONGEST_NAME)
    if not name.strip():
        raise given.refusal("name")
    return HangingProtocol(
        name=name,
        modality=given.text("modality"),
        body_part=given.text("body_part"),
        views=given.text("views"),
        priors=given.whole(given.values.get("priors", 0), "priors", 0, MOST_PRIORS),
        layout=layout,
        second=second,
        display_sets=tuple(_display_set(one, number) for one in sets),
        when_opening=given.yes_or_no("when_opening", default=True),
    )


def _display_set(data: object, number: int) -> DisplaySet:
    given = _Fields(data, DisplaySet, number)
    return DisplaySet(
        prior=given.whole(given.values.get("prior", 0), "prior", 0, MOST_PRIORS),
        view=given.text("view"),
        laterality=given.one_of("laterality", LATERALITIES),
        plane=given.one_of("plane", PLANES),
        words=given.text("words"),
        series=given.whole(given.values.get("series", 0), "series", 0, MOST_SERIES),
        cut=given.one_of("cut", PLANES),
        preset=given.whole(given.values.get("preset", 0), "preset", 0, MOST_PRESET),
        inverted=given.yes_or_no("inverted", default=False),
        palette=given.one_of("palette", ("", *PALETTES)),
        front=given.one_of("front", SIDES),
    )


class _Fields:
    """The fields of one object of a file, each taken only as what it must be."""

    def __init__(self, data: object, kind: type[DisplaySet] | type[HangingProtocol], number: int) -> None:
        self._number = number
        known = {one.name for one in fields(kind)}
        if not isinstance(data, Mapping) or not known.issuperset(data):
            raise InputError(f"Hanging protocol {number} holds something that is not known here.")
        self.values = data

    def refusal(self, name: str) -> InputError:
        """What is said of a field that cannot be used."""
        return InputError(f"Hanging protocol {self._number} cannot be used: its field {name} is not as it must be.")

    def shape(self, name: str) -> tuple[int, int]:
        value = self.values.get(name)
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise self.refusal(name)
        return self.whole(value[0], name, 1, MOST_ROWS), self.whole(value[1], name, 1, MOST_COLUMNS)

    def text(self, name: str, longest: int = _LONGEST_TEXT) -> str:
        value = self.values.get(name, "")
        if not isinstance(value, str) or len(value) > longest:
            raise self.refusal(name)
        return value

    def one_of(self, name: str, known: tuple[str, ...]) -> str:
        value = self.text(name)
        if value not in known:
            raise self.refusal(name)
        return value

    def whole(self, value: object, name: str, least: int, most: int) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.refusal(name)
        return value

    def yes_or_no(self, name: str, *, default: bool) -> bool:
        value = self.values.get(name, default)
        if not isinstance(value, bool):
            raise self.refusal(name)
        return value


def _mammogram(prior: int) -> tuple[DisplaySet, ...]:
    """The standard hanging: oblique views first, chest walls back to back: the right breast's front is on the left."""
    order = (("MLO", "R"), ("MLO", "L"), ("CC", "R"), ("CC", "L"))
    return tuple(DisplaySet(prior, view, side, front="left" if side == "R" else "right") for view, side in order)


_RADIOGRAPH, _CHEST = "/".join(RADIOGRAPHS), "CHEST/THORAX"
_PA, _LATERAL = "PA", "LL/RL/LAT/LATERAL"

BUILT_IN: Protocols = (
    HangingProtocol(
        "Mammography, prior on a second screen", "MG", "", "", 1, (2, 2),
        (*_mammogram(0), *_mammogram(1)), second=(2, 2),
    ),
    HangingProtocol(
        "Mammography, current above prior", "MG", "", "", 1, (2, 4),
        (*_mammogram(0), *_mammogram(1)),
    ),
    HangingProtocol("Mammography, four views", "MG", "", "", 0, (2, 2), _mammogram(0)),
    HangingProtocol(
        "Chest PA, current and prior", _RADIOGRAPH, _CHEST, _PA, 1, (1, 2),
        (DisplaySet(view=_PA), DisplaySet(prior=1, view=_PA)),
    ),
    HangingProtocol(
        "Chest PA and lateral", _RADIOGRAPH, _CHEST, f"{_PA}, {_LATERAL}", 0, (1, 2),
        (DisplaySet(view=_PA), DisplaySet(view=_LATERAL)),
    ),
    HangingProtocol("CT or MR, one viewport", "CT/MR"),
    HangingProtocol(
        "CT or MR, three planes", "CT/MR", "", "", 0, (2, 2),
        (DisplaySet(cut="axial"), DisplaySet(cut="coronal"), DisplaySet(cut="sagittal"),
         DisplaySet()),
        when_opening=False,
    ),
    HangingProtocol("As it comes"),
)  # fmt: skip
"""What the program brings along, in the order of priority. The chest pair hangs as in PS3.17 annex V.3."""
