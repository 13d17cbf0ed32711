"""What is copied for a report of a problem says what the program is and does, and never whose images."""

from __future__ import annotations

import ast
import getpass
import logging
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import medviewer
from medviewer.app.application import NoFront
from medviewer.app.diagnostics import RECENT, LogLines, describe, log_lines_kept
from medviewer.domain.errors import InputError
from tests.radiographs import write_slices

if TYPE_CHECKING:
    from medviewer.app.application import Application

SOURCE = Path(medviewer.__file__).parent


def test_it_says_what_a_report_needs(application: Application, tmp_path: Path) -> None:
    application.run_command("file.open_files", write_slices(tmp_path, 3))
    text = describe(application)
    for needed in (f"version: {medviewer.__version__}", "pydicom: ", "memory: ", "decoder processes: ", "images: 3",
                   "image on screen: 64 x 64, int16, of 3", platform.system()):  # fmt: skip
        assert needed in text


def test_it_holds_no_identity_and_no_path(
    application: Application, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "Kowalska Anna"
    with log_lines_kept():
        application.run_command("file.open_files", write_slices(folder, 2, patient_id="Q7731", name="Kowalska^Anna"))
        logging.getLogger("medviewer.app").warning("cannot read %s", folder)
        logging.getLogger("pydicom").warning("bad value Kowalska")
        try:
            raise InputError(str(folder))  # noqa: TRY301 - as a job does
        except InputError:
            logging.getLogger("medviewer.app").exception("failed on %s", folder)
        text = describe(application)
    RECENT.lines.clear()
    assert "cannot read %s" in text
    assert "InputError" in text
    assert application.state.selection is not None
    uid = application.state.selection.image.sop_instance_uid
    secrets = ["Kowalska", "Anna", "Q7731", "19500101", uid, str(tmp_path), str(application.home), str(Path.home())]
    names = [name for name in (platform.node(), getpass.getuser()) if len(name) > 4]
    assert not [secret for secret in (*secrets, *names) if secret.casefold() in text.casefold()]
    assert "/" not in text.replace("(values withheld)", "").split("Last log")[0].replace(platform.release(), "")


def test_no_log_line_of_ours_has_values_in_its_words() -> None:
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_line = isinstance(node, ast.Call) and re.fullmatch(
                r"(log|_LOG|logger)\.(debug|info|warning|error|exception|critical)", ast.unparse(node.func)
            )
            if is_line:
                assert isinstance(node.args[0], ast.Constant), f"{path.name}:{node.lineno}"


def test_warnings_still_reach_the_terminal(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    logger = logging.Logger("medviewer.x")
    logger.addHandler(LogLines())
    logger.warning("told %s", "here")
    logger.info("not told")
    assert capfd.readouterr().err.strip() == "told here"


def test_only_the_last_lines_are_kept() -> None:
    kept = LogLines()
    for number in range(100):
        kept.emit(logging.LogRecord("medviewer", logging.INFO, "", 0, f"line {number}", None, None))
    assert len(kept.lines) == 40
    assert kept.lines[-1].endswith("line 99")


def test_it_goes_to_the_clipboard_and_that_is_said(application: Application) -> None:
    copied: list[str] = []

    class Front(NoFront):
        def copy_text(self, text: str) -> bool:
            copied.append(text)
            return True

    application.front = Front()
    application.run_command("help.diagnostics")
    assert copied[0].startswith("MedViewer\n")
    assert application.state.notice is not None
    assert "no identity" in application.state.notice.text
