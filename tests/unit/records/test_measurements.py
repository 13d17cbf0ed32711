"""Measurements come back as they were drawn, to their own image and frame, and deletions can be seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medviewer.domain.errors import RecordError
from medviewer.domain.measurement import KINDS, Measurement, MeasurementKind, new_measurement
from medviewer.records.store import RecordStore

LENGTH = new_measurement("length", [(1.5, 2.25), (3.1, 4.9)], ("1.2.9", 0), label="Knoten 肿块", author="Dr. Roe")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RecordStore]:
    with RecordStore(tmp_path / "records.db") as opened:
        yield opened


@pytest.fixture(scope="module")
def shared_store(quick_folder: Path) -> Iterator[RecordStore]:
    """One store for all examples of a property: each measures an image of its own."""
    with RecordStore(quick_folder / "measured.db") as opened:
        yield opened


_KINDS = list(KINDS)


@settings(max_examples=40)
@given(st.data(), st.sampled_from(_KINDS), st.text(max_size=20), st.integers(-14 * 60, 14 * 60))
def test_a_measurement_comes_back_equal(
    shared_store: RecordStore, data: st.DataObject, kind: MeasurementKind, label: str, minutes: int
) -> None:
    count = data.draw(st.integers(KINDS[kind].fewest, min(KINDS[kind].most, 30)))
    place = st.tuples(st.floats(0, 5000), st.floats(0, 5000))
    points = data.draw(st.lists(place, min_size=count, max_size=count))
    label = label.encode("utf-8", "replace").decode()
    known = 12.3 if kind == "calibration" else None
    made = new_measurement(kind, points, ("1.2.9", 0), label=label, author=label, known_mm=known)
    own_image = {"sop_instance_uid": made.uid, "frame": 3}
    made = replace(made, **own_image, created=made.created.astimezone(timezone(timedelta(minutes=minutes))))
    shared_store.save_measurement(made)
    (found,) = shared_store.measurements_for(("/anywhere.dcm", made.uid, 3))
    assert found == made
    assert found.created.isoformat() == made.created.isoformat()


@pytest.mark.reliability
def test_only_the_own_image_and_frame_have_it(store: RecordStore) -> None:
    store.save_measurement(LENGTH)
    for image in (("/a.dcm", "1.2.9", 0), ("/moved/b.dcm", "1.2.9", 0), "1.2.9"):
        assert store.measurements_for(image) == (LENGTH,)
    for image in (("/a.dcm", "1.2.9", 1), ("/a.dcm", "1.2.8", 0), ("/a.dcm", "", 0), "", "1.2"):
        assert store.measurements_for(image) == ()


def test_a_whole_study_is_asked_for_at_once(store: RecordStore) -> None:
    second = new_measurement("probe", [(1, 1)], ("1.2.10", 4))
    elsewhere = new_measurement("probe", [(1, 1)], ("1.2.11", 0))
    for saved in (LENGTH, second, elsewhere):
        store.save_measurement(saved)
    assert set(store.measurements_among(["1.2.9", "1.2.10", "1.2"])) == {LENGTH, second}
    store.delete_measurement(second.uid)
    assert store.measurements_among(["1.2.9", "1.2.10"]) == (LENGTH,)
    assert store.measurements_among([]) == ()


def test_a_changed_measurement_takes_the_place_of_the_one_before(store: RecordStore) -> None:
    other = new_measurement("probe", [(1, 1)], ("1.2.9", 0))
    moved = replace(LENGTH, points=((9.0, 9.0), (8.0, 8.0)), label="")
    for saved in (LENGTH, other, moved):
        store.save_measurement(saved)
    assert store.measurements_for("1.2.9") == (moved, other), "and keeps its place in the order"
    assert [state.measurement for state in store.measurement_history(LENGTH.uid)] == [moved, LENGTH]


@pytest.mark.reliability
def test_a_deleted_measurement_is_gone_from_the_image_and_stays_in_its_history(store: RecordStore) -> None:
    store.save_measurement(LENGTH)
    store.delete_measurement(LENGTH.uid)
    assert store.measurements_for("1.2.9") == ()
    store.delete_measurement(LENGTH.uid)
    assert [state.is_deleted for state in store.measurement_history(LENGTH.uid)] == [True, False]
    assert {state.measurement for state in store.measurement_history(LENGTH.uid)} == {LENGTH}
    assert datetime.fromisoformat(store.measurement_history(LENGTH.uid)[0].saved).utcoffset() == timedelta(0)
    store.save_measurement(LENGTH)
    assert store.measurements_for("1.2.9") == (LENGTH,), "undo brings it back"


def test_what_is_not_there_cannot_be_deleted(store: RecordStore) -> None:
    with pytest.raises(RecordError, match="not in the store"):
        store.delete_measurement("1.2.3")
    assert store.measurement_history("1.2.3") == ()


@pytest.mark.reliability
@pytest.mark.parametrize("changes", [{"sop_instance_uid": "1.2.8"}, {"frame": 1}, {"kind": "ellipse"}])
def test_one_uid_never_moves_to_another_image_or_kind(store: RecordStore, changes: dict[str, Any]) -> None:
    store.save_measurement(LENGTH)
    with pytest.raises(RecordError, match="same UID"):
        store.save_measurement(replace(LENGTH, **changes))
    assert store.measurements_for("1.2.9") == (LENGTH,)
    assert store.measurements_for("1.2.8") == ()


def test_they_are_there_when_the_store_is_opened_again(tmp_path: Path) -> None:
    with RecordStore(tmp_path / "r.db") as store:
        store.save_measurement(LENGTH)
    with RecordStore(tmp_path / "r.db") as again:
        (found,) = again.measurements_for("1.2.9")
    assert isinstance(found, Measurement)
    assert found == LENGTH
    assert found.created.astimezone(UTC) == LENGTH.created
