"""Key images come back as they were marked, of their own frame, and every state can be seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from medviewer.records.store import RecordStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RecordStore]:
    with RecordStore(tmp_path / "records.db") as opened:
        yield opened


def test_the_newest_mark_of_each_frame_counts(store: RecordStore) -> None:
    for uid, frame, is_marked in (
        ("1.2.9", 0, True), ("1.2.9", 4, True), ("1.2.9", 4, False), ("1.2.8", 0, False), ("1.2.8", 0, True),
    ):  # fmt: skip
        store.save_key_image(uid, frame, is_marked=is_marked, author="Dr. Roe")
    assert store.key_images_among(["1.2.9", "1.2.8", "1.2"]) == {("1.2.9", 0), ("1.2.8", 0)}
    assert store.key_images_among(["1.2.8"]) == {("1.2.8", 0)}
    assert store.key_images_among([]) == frozenset()


def test_every_state_stays(store: RecordStore) -> None:
    store.save_key_image("1.2.9", 0, is_marked=True, author="Dr. Roe")
    store.save_key_image("1.2.9", 0, is_marked=False, author="Dr. Doe 医生")
    history = store.key_image_history("1.2.9", 0)
    assert [(one.is_marked, one.author) for one in history] == [(False, "Dr. Doe 医生"), (True, "Dr. Roe")]
    assert history[0].saved >= history[1].saved
    assert store.key_image_history("1.2.9", 1) == ()


def test_marks_survive_closing(tmp_path: Path) -> None:
    with RecordStore(tmp_path / "records.db") as store:
        store.save_key_image("1.2.9", 3, is_marked=True)
    with RecordStore(tmp_path / "records.db") as store:
        assert store.key_images_among(["1.2.9"]) == {("1.2.9", 3)}
