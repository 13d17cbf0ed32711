"""A named quantity of a card: which codes it goes by, in which unit, how much of it is plausible.

Shared by tables (one value of each) and series (many).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from medviewer.domain.case import Observation
from medviewer.domain.frozen import dataclass
from medviewer.inference.card import InputSpec, Text
from medviewer.inference.inputs.adapter import Doubt
from medviewer.inference.units import convert


@dataclass(frozen=True, slots=True, eq=False)
class Quantity:
    """One field of a table, one variable of a series.

    Attributes:
        codes: LOINC codes, or ``scheme:value``, in order of preference.
        unit: UCUM; the value is converted to it where that is safe. Empty: taken as it is.
        plausible: (lowest, highest), in ``unit``.
        mean: of the training data, as ``std``.
        constant: the one value that it had in all of the training data.
        is_unseen: it had no value in the training data.
        source: where it comes from: "observation", "age_years" or "sex".
        categories: a word, in small letters, to its number.
    """

    name: str
    title: Text
    codes: tuple[str, ...]
    unit: str
    plausible: tuple[float, float] | None
    mean: float
    std: float
    is_required: bool
    constant: float | None
    is_unseen: bool
    source: str
    categories: Mapping[str, float]
    default: float | None
    baseline: float

    @property
    def is_standing(self) -> bool:
        """Whether a record of it holds until another one: the card says what is true where nothing is recorded.

        A default of something measured would be a guess; cards have it of what was decided for the patient, such as
        the SpO2 scale of NEWS2: "scale 2 only where the record says so". Who recorded such a decision does not do so
        again with each set of vital signs, on this admission or on the next.
        """
        return self.default is not None


@lru_cache(maxsize=64)
def quantities(spec: InputSpec) -> tuple[Quantity, ...]:
    """The fields or variables of an input, in the order of its columns."""
    is_table = spec.kind == "table"
    return tuple(_read(one, is_table=is_table) for one in spec.document["fields" if is_table else "variables"])


def _read(d: Mapping[str, Any], *, is_table: bool) -> Quantity:
    low_high = d.get("range")
    mean = float(d.get("mean", 0.0))
    return Quantity(
        name=d["name"],
        title=Text.read(d.get("title", d["name"])),
        codes=tuple(_bare(code) for code in d.get("codes", ())),
        unit=d.get("unit", ""),
        plausible=(float(low_high[0]), float(low_high[1])) if low_high else None,
        mean=mean,
        std=float(d.get("std", 1.0)),
        is_required=bool(d.get("required", is_table)),
        constant=float(d["constant"]) if "constant" in d else None,
        is_unseen=bool(d.get("unseen", False)),
        source=d.get("from", "observation"),
        categories={word.casefold(): float(number) for word, number in d.get("categories", {}).items()},
        default=float(d["default"]) if "default" in d else None,
        baseline=float(d.get("baseline", mean)),
    )


def problems_of(spec: InputSpec) -> Iterator[str]:
    """What is wrong with the quantities of a card's input."""
    names = [one.name for one in quantities(spec)]
    steps = {step["op"] for step in spec.preprocessing}
    if len(set(names)) != len(names):
        yield f"two columns of {spec.name} have the same name"
    for given, one in zip(
        spec.document["fields" if spec.kind == "table" else "variables"], quantities(spec), strict=True
    ):
        if one.source == "observation" and not one.codes:
            yield f"{one.name} has no code by which it could be found"
        if one.plausible is not None and one.plausible[0] > one.plausible[1]:
            yield f"the range of {one.name} is empty"
        if "z_score" in steps and not {"mean", "std"} <= given.keys():
            yield f"{one.name} is to be a z-score and has no mean and standard deviation"
        if one.source == "sex" and not one.categories:
            yield f"{one.name} has no numbers for the sexes"


def is_of(code: str, quantity: Quantity) -> int | None:
    """How far back in the order of preference a recorded code stands; None if it is not one of the quantity's."""
    bare = _bare(code)
    return quantity.codes.index(bare) if bare in quantity.codes else None


def in_unit(observation: Observation, quantity: Quantity) -> float | Doubt:
    """The value in the quantity's unit, or why it is refused."""
    value = convert(observation.value, observation.unit, quantity.unit) if quantity.unit else observation.value
    if value is not None:
        return value
    facts: dict[str, Text | str] = {"name": quantity.title, "found": observation.unit or "—", "expected": quantity.unit}
    return Doubt("unit", "abstain", quantity.name, facts)


def unfamiliar(value: float, quantity: Quantity) -> Doubt | None:
    """Refuse a column that never varied in training: nobody knows what the model makes of another value."""
    if quantity.is_unseen:
        return Doubt("constant", "abstain", quantity.name, {"name": quantity.title, "found": plain(value)})
    if quantity.constant is not None and value != quantity.constant:
        return Doubt("constant", "abstain", quantity.name, {"name": quantity.title, "found": plain(value)})
    return None


def implausible(value: float, quantity: Quantity) -> bool:
    """Whether a value, in the quantity's unit, is outside of what its card calls plausible."""
    bounds = quantity.plausible
    return bounds is not None and not bounds[0] <= value <= bounds[1]


def plain(value: float) -> str:
    """A number as people write it, no digit invented."""
    return f"{value:.12g}"


def _bare(code: str) -> str:
    """A LOINC code without its scheme, so that both ways of writing it are one; other schemes stay."""
    return code.removeprefix("LOINC:").removeprefix("http://loinc.org|")
