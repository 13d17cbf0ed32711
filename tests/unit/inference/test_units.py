"""Units: what one becomes of another by the standards' own numbers, and what is refused."""

from __future__ import annotations

import math

import pytest

from medviewer.inference.units import bare_unit, convert


@pytest.mark.parametrize(
    ("value", "unit", "wanted", "expected"),
    [
        (98.6, "[degF]", "Cel", 37.0),
        (310.15, "K", "Cel", 37.0),
        (37.0, "Cel", "[degF]", 98.6),
        (101.325, "kPa", "mm[Hg]", 760.0),  # the standard atmosphere, by definition of mmHg to seven digits
        (10.0, "cm[H2O]", "mm[Hg]", 7.3555924),
        (1.2, "/s", "/min", 72.0),
        (12.0, "g/dL", "g/L", 120.0),
        (90.0, "mg/dL", "g/L", 0.9),
        (76.0, "umol/L", "mmol/L", 0.076),
        (7.5, "10*3/uL", "10*9/L", 7.5),
        (250_000.0, "/uL", "10*9/L", 250.0),
        (150.0, "[lb_av]", "kg", 68.0388555),
        (70.0, "[in_i]", "cm", 177.8),
        (60.0, "mL/min", "L/h", 3.6),
        (0.5, "1", "%", 50.0),
        (84.0, "{beats}/min", "/min", 84.0),
        (5.0, "{score}", "1", 5.0),
    ],
)
def test_one_unit_becomes_another_of_its_dimension(value: float, unit: str, wanted: str, expected: float) -> None:
    found = convert(value, unit, wanted)
    assert found is not None
    assert math.isclose(found, expected, rel_tol=1e-6)


@pytest.mark.parametrize(
    ("unit", "wanted"),
    [
        ("mg/dL", "mmol/L"),  # takes a molar mass
        ("meq/L", "mmol/L"),  # takes a charge
        ("bpm", "/min"),  # no UCUM
        ("MM[HG]", "mm[Hg]"),  # capitals mean something else
        ("", "mm[Hg]"),
        ("mm[Hg]", "%"),
        ("IU/mL", "U/mL"),
        ("l/min", "mm"),
    ],
)
def test_what_needs_knowledge_of_the_substance_is_refused(unit: str, wanted: str) -> None:
    assert convert(1.0, unit, wanted) is None


def test_an_unknown_unit_is_itself() -> None:
    assert convert(3.25, "[iU]/mL", "[iU]/mL") == 3.25
    assert bare_unit("{a}") == "1"
