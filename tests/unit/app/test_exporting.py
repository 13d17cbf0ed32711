"""A picture leaves the program only where it may, without identity unless that is asked for, and it is kept that it did."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medviewer.app.application import NoFront
from medviewer.app.exporting import ExportWish, checked_path
from medviewer.domain.errors import InputError
from medviewer.records.audit import AuditTrail
from medviewer.records.store import RecordStore

if TYPE_CHECKING:
    from medviewer.app.application import Application

PNG = b"\x89PNG\r\n\x1a\n"


class Drawn:
    def png(self) -> bytes:
        return PNG + b"new"


class Front(NoFront):
    def __init__(self) -> None:
        self.asked: list[tuple[str, bool]] = []

    def draw_image(self, what: str, *, with_identity: bool) -> Drawn:  # type: ignore[override]
        self.asked.append((what, with_identity))
        return Drawn()

    def copy_image(self, *, with_identity: bool) -> bool:
        self.asked.append(("clipboard", with_identity))
        return True


@pytest.fixture
def front(opened: Application) -> Front:
    made = Front()
    opened.front = made
    return made


def said(app: Application) -> str:
    assert app.state.notice is not None
    return app.state.notice.text


def test_without_identity_unless_asked_for(opened: Application, front: Front, tmp_path: Path) -> None:
    opened.run_command("file.export_image", ExportWish(tmp_path / "a.png"))
    assert front.asked == [("view", False)]
    assert (tmp_path / "a.png").read_bytes() == PNG + b"new"
    assert said(opened) == "The image was saved, without identity."
    opened.run_command("file.export_image", ExportWish(tmp_path / "b", "stored", with_identity=True))
    assert front.asked[-1] == ("stored", True)
    assert (tmp_path / "b.png").is_file()
    assert said(opened) == "The image was saved."


def test_identity_that_is_hidden_does_not_leave(opened: Application, front: Front, tmp_path: Path) -> None:
    opened.run_command("view.hide_identity")
    opened.run_command("file.export_image", ExportWish(tmp_path / "a.png", with_identity=True))
    assert not front.asked
    assert not list(tmp_path.glob("a.png"))
    assert said(opened).startswith("Identity is hidden")


def test_a_file_that_is_no_picture_is_never_replaced(opened: Application, front: Front, tmp_path: Path) -> None:
    path = tmp_path / "notes.png"
    path.write_bytes(b"words")
    opened.run_command("file.export_image", ExportWish(path))
    assert path.read_bytes() == b"words"
    assert "would be lost" in said(opened)


def test_the_image_itself_is_never_replaced(opened: Application, front: Front, tmp_path: Path) -> None:
    before = (tmp_path / "a.dcm").read_bytes()
    opened.run_command("file.export_image", ExportWish(tmp_path / "a.dcm"))
    assert (tmp_path / "a.dcm").read_bytes() == before
    assert (tmp_path / "a.dcm.png").is_file()


def test_a_picture_may_be_replaced_but_not_one_that_nobody_was_asked_about(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    assert checked_path(tmp_path / "a.png") == tmp_path / "a.png"
    with pytest.raises(InputError, match=r"\.png at its end"):
        checked_path(tmp_path / "a")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError):
        checked_path(tmp_path / "folder.png")


def test_a_disk_that_refuses_is_said(opened: Application, front: Front, tmp_path: Path) -> None:
    opened.run_command("file.export_image", ExportWish(tmp_path / "gone" / "a.png"))
    assert "was not saved" in said(opened)


def test_cancelling_saves_nothing(opened: Application) -> None:
    opened.front = NoFront()
    opened.run_command("file.export_image")
    opened.run_command("file.copy_image")
    assert opened.state.notice is None or not opened.state.notice.text


def test_the_clipboard_gets_no_identity_and_it_is_said(opened: Application, front: Front) -> None:
    opened.run_command("file.copy_image")
    assert said(opened) == "The image was copied, without identity."


def test_with_identity_only_by_a_command_of_its_own_which_the_trail_holds(
    opened: Application, front: Front, medviewer_home: Path
) -> None:
    opened.run_command("file.copy_image")
    assert front.asked == [("clipboard", False)]
    opened.run_command("file.copy_identity")
    assert front.asked[1:] == [("clipboard", True)]
    assert opened.state.notice is not None
    assert opened.state.notice.level == "caution"
    assert "will know who the patient is" in said(opened)
    with RecordStore(medviewer_home / "records.sqlite") as store:
        events = [entry.event for entry in AuditTrail(store.database, medviewer_home / "audit").entries()]
    assert opened.state.selection is not None
    uid = opened.state.selection.image.sop_instance_uid
    assert [(one.what, one.subject) for one in events if "copied" in one.what] == [("image.copied-with-identity", uid)]


def test_identity_that_is_hidden_does_not_get_onto_the_clipboard(opened: Application, front: Front) -> None:
    opened.run_command("view.hide_identity")
    opened.run_command("file.copy_identity")
    assert not front.asked
    assert said(opened).startswith("Identity is hidden")
