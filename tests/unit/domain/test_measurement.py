"""A measurement is valid or is not made."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer.domain.errors import UsageError
from medviewer.domain.measurement import KINDS, CutPlane, Measurement, MeasurementKind, new_measurement
from medviewer.domain.study import Plane

LENGTH = Measurement("2.25.1", "length", ((1.0, 2.0), (4.0, 6.0)), "1.2.3", 0, datetime(2026, 1, 2, tzinfo=UTC))


def test_every_kind_says_how_many_points_it_takes() -> None:
    assert set(KINDS) == set(get_args(MeasurementKind))
    for kind, rule in KINDS.items():
        known = 10.0 if kind == "calibration" else None
        for count in (rule.fewest, rule.most):
            made = new_measurement(kind, [(1.0, 1.0)] * count, ("1.2", 0), known_mm=known)
            assert len(made.points) == count
        for count in (rule.fewest - 1, rule.most + 1):
            with pytest.raises(UsageError, match="points"):
                new_measurement(kind, [(1.0, 1.0)] * count, ("1.2", 0), known_mm=known)


@pytest.mark.reliability
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300])
def test_a_point_that_is_nowhere_is_refused(value: float) -> None:
    for point in ((value, 1.0), (1.0, value)):
        with pytest.raises(UsageError, match="not a finite place"):
            replace(LENGTH, points=((0.0, 0.0), point))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "volume"}, "no measurement of kind"),
        ({"uid": ""}, "valid UID"),
        ({"uid": "1.02.3"}, "valid UID"),
        ({"uid": "1." + "2" * 63}, "valid UID"),
        ({"sop_instance_uid": ""}, "valid UID"),
        ({"sop_instance_uid": "../../x"}, "valid UID"),
        ({"frame": -1}, "from 0"),
        ({"created": datetime(2026, 1, 2)}, "time zone"),  # noqa: DTZ001
        ({"known_mm": 10.0}, "calibration"),
        ({"kind": "calibration"}, "calibration"),
        ({"kind": "calibration", "known_mm": 0.0}, "above 0"),
        ({"kind": "calibration", "known_mm": math.nan}, "above 0"),
        ({"kind": "calibration", "known_mm": math.inf}, "above 0"),
    ],
)
def test_nonsense_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        replace(LENGTH, **changes)


def test_each_new_measurement_has_its_own_uid_and_an_aware_time() -> None:
    made = [new_measurement("probe", [(0, 0)], ("1.2", 0)) for _ in range(50)]
    assert len({m.uid for m in made}) == 50
    assert all(m.created.utcoffset() is not None for m in made)


@given(st.floats(0, 70_000), st.floats(0, 70_000))
def test_points_have_the_precision_that_dicom_keeps(column: float, row: float) -> None:
    ((x, y),) = new_measurement("probe", [(column, row)], ("1.2", 0)).points
    assert (x, y) == tuple(np.array([column, row], "<f4").astype(float))
    assert abs(x - column) <= 0.004
    assert abs(y - row) <= 0.004


def test_label_and_author_are_one_line_each() -> None:
    made = replace(LENGTH, label="  left\n lower  lobe ", author="Dr.\tRoe")
    assert (made.label, made.author) == ("left lower lobe", "Dr. Roe")


def test_an_image_with_leading_zeros_in_its_uid_can_be_measured() -> None:
    assert replace(LENGTH, sop_instance_uid="1.2.003").sop_instance_uid == "1.2.003"


@pytest.mark.parametrize(
    ("changes", "is_same"),
    [
        ({}, True),
        ({"plane": Plane((1 + 1e-9, 2, 3 - 1e-9), (1, 0, 0), (0, 1, 0))}, True),
        ({"plane": Plane((1, 2, 3.001), (1, 0, 0), (0, 1, 0))}, False),
        ({"plane": Plane((1, 2, 3), (1, 1e-6, 0), (-1e-6, 1, 0))}, False),
        ({"shape": (4, 6)}, False),
        ({"spacing_mm": (1.0, 1.00001)}, False),
        ({"slab_mm": 2.0}, False),
        ({"slab": "max"}, False),
    ],
)
def test_planes_are_the_same_up_to_the_rounding_of_their_numbers(changes: dict[str, Any], is_same: bool) -> None:
    one = CutPlane(Plane((1, 2, 3), (1, 0, 0), (0, 1, 0)), (1.0, 1.0), (4, 5))
    assert one.is_same(replace(one, **changes)) is is_same
