"""What of a result is saved, where, and whether with identity; and afterwards what lies there, to be opened."""

from __future__ import annotations

import re
from pathlib import Path

from PySide6.QtCore import QSize, Qt, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QDialog,
    QFileDialog,
    QHBoxLayout,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

from medviewer.app.result import Output
from medviewer.app.saving import Saved, SaveWish
from medviewer.domain.answer import Answer
from medviewer.gui.cards import ScrollColumn, SignalRow, button, section
from medviewer.gui.dialogs import Dialog, add_close, size_on_screen
from medviewer.gui.text import ElidedLabel, PlainLabel, for_button, set_tooltip, tr, visible

_SIZE = QSize(560, 800)
_EDGE_PX = 20
_INDENT_PX = 26  # below the words of a check box
_USUALLY_OFF: frozenset[Output] = frozenset(("segments",))


class SaveDialog(Dialog):
    """Choices above, the folder below; nothing can be saved before there is one."""

    def __init__(
        self, answer: Answer, parent: QWidget | None = None, *, has_map: bool = True, identity_hidden: bool = False
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("Save results"))
        self.resize(size_on_screen(_SIZE, self.screen().availableSize()))
        self._folder: Path | None = None
        self._is_hidden = identity_hidden
        self._impossible = _impossible(answer, has_map=has_map)
        self.always = QCheckBox(for_button(tr("Result and pictures (JSON, PNG)")))
        self.always.setChecked(True)
        self.always.clicked.connect(lambda: self.always.setChecked(True))  # it is no choice, but must be read well
        self.pdf = QCheckBox(for_button(tr("Page for people (PDF)")))
        self.pdf.setChecked(True)
        self._objects = _objects(has_regions=bool(answer.regions))
        self.boxes: dict[Output, QCheckBox] = {name: QCheckBox(for_button(words)) for name, words, _ in self._objects}
        self.with_identity = QRadioButton(for_button(tr("With name, number and birth date")))
        self.without = QRadioButton(for_button(tr("Without identity")))
        self.choose = button(tr("Choose folder…"), "folder-open")
        self.folder = ElidedLabel(tr("No folder chosen yet"), "secondary")
        self.save = button(tr("Save"), "save", kind="primary")
        self.save.setEnabled(False)
        self._lay_out()
        (self.without if identity_hidden else self.with_identity).setChecked(True)
        self.with_identity.setEnabled(not identity_hidden)
        for name, box in self.boxes.items():
            box.setChecked(name not in self._impossible and name not in _USUALLY_OFF)
        self._kept: dict[Output, bool] = {}  # what was ticked before it could not be saved
        self.with_identity.toggled.connect(lambda _is_on: self._enable())
        self.choose.clicked.connect(self._choose)
        self.save.clicked.connect(self.accept)
        self._enable()
        self.choose.setFocus()  # not what scrolls: its rim would draw the eye at once

    @property
    def wish(self) -> SaveWish | None:
        """What was chosen; None while there is no folder."""
        if self._folder is None:
            return None
        chosen = frozenset(name for name, box in self.boxes.items() if box.isEnabled() and box.isChecked())
        return SaveWish(self._folder, chosen, self.pdf.isChecked(), self.with_identity.isChecked())

    def use_folder(self, folder: Path) -> None:
        """Save there."""
        self._folder = folder
        # Folders are often named after the patient.
        self.folder.setText(tr("A folder is chosen") if self._is_hidden else visible(str(folder)))
        self.save.setEnabled(True)
        self.give_enter(self.save)

    def _lay_out(self) -> None:
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 16, 0, 16)
        whole.setSpacing(12)
        head = PlainLabel(tr("Save results"), "hero")
        head.setContentsMargins(20, 0, 20, 0)
        whole.addWidget(head)
        scroll = ScrollColumn(margin=_EDGE_PX)
        scroll.setAccessibleName(tr("Save results"))
        scroll.column.setSpacing(6)
        scroll.column.addWidget(section(tr("What")))
        for box, words in ((self.always, tr("Always: what other programs read")), (self.pdf, tr("To read and print"))):
            _add_choice(scroll.column, box, words)
        for name, _, words in self._objects:
            _add_choice(scroll.column, self.boxes[name], self._impossible.get(name, words))
        scroll.column.addWidget(section(tr("Patient")))
        group = QButtonGroup(self)
        for one in (self.with_identity, self.without):
            group.addButton(one)
            scroll.column.addWidget(one)
        words = tr("DICOM objects belong to the patient's study and always say whose they are.")
        scroll.column.addWidget(PlainLabel(words, "small", wrap=True))
        if self._is_hidden:
            scroll.column.addWidget(PlainLabel(tr("Identity is hidden in the window."), "secondary", wrap=True))
        burnt = tr("Words that the machine has written into the pixels stay in the picture: look at it first.")
        scroll.column.addWidget(PlainLabel(burnt, "small", wrap=True))
        whole.addWidget(scroll, 1)
        whole.addLayout(self._foot())

    def _foot(self) -> QVBoxLayout:
        foot = QVBoxLayout()
        foot.setContentsMargins(20, 0, 20, 0)
        foot.setSpacing(10)
        where = QHBoxLayout()
        where.setSpacing(10)
        where.addWidget(self.choose)
        where.addWidget(self.folder, 1)
        foot.addLayout(where)
        row = QHBoxLayout()
        row.addStretch(1)
        cancel = button(tr("Cancel"))
        cancel.clicked.connect(self.reject)
        row.addWidget(cancel)
        row.addWidget(self.save)
        foot.addLayout(row)
        return foot

    def _enable(self) -> None:
        """What is not saved is not ticked; it is again, as it was, when it can be."""
        for name, box in self.boxes.items():
            can_be, could_be = self.with_identity.isChecked() and name not in self._impossible, box.isEnabledTo(self)
            if could_be and not can_be:
                self._kept[name] = box.isChecked()
                box.setChecked(False)
            elif can_be and not could_be:
                box.setChecked(self._kept.get(name, False))
            box.setEnabled(can_be)

    def _choose(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, tr("Save results in"), str(self._folder or Path.home()))
        if chosen:
            self.use_folder(Path(chosen))


class SavedDialog(QDialog):
    """What lies in the folder: each file with what it is, to be opened by a click; and what could not be made."""

    def __init__(self, saved: Saved, parent: QWidget | None = None, *, identity_hidden: bool = False) -> None:
        super().__init__(parent)
        self.saved = saved
        self.setWindowTitle(tr("Results were saved"))
        self.resize(size_on_screen(QSize(560, 480), self.screen().availableSize()))
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 16, 0, 16)
        whole.setSpacing(12)
        head = PlainLabel(tr("Results were saved"), "hero")
        head.setContentsMargins(20, 0, 20, 0)
        whole.addWidget(head)
        scroll = ScrollColumn(margin=_EDGE_PX)
        scroll.setAccessibleName(tr("Results were saved"))
        scroll.column.setSpacing(4)
        if not identity_hidden:
            scroll.column.addWidget(PlainLabel(visible(str(saved.folder)), "secondary", wrap=True))
        for name in saved.names:
            scroll.column.addWidget(self._link(saved.folder / name))
        for name, reason in saved.refused:
            words = tr("{file} was not made: {reason}").format(file=visible(name), reason=tr(reason))
            scroll.column.addWidget(SignalRow("caution", words))
        scroll.column.addStretch(1)
        whole.addWidget(scroll, 1)
        self.open_folder = button(tr("Open folder"), "folder-open")
        self.open_folder.clicked.connect(lambda: open_path(saved.folder))
        add_close(self, whole, self.open_folder)

    def _link(self, path: Path) -> QWidget:
        row = QWidget()
        row.setProperty("kind", "clear")
        line = QHBoxLayout(row)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(10)
        link = button(path.name, "file-text", kind="quiet")
        set_tooltip(link, tr("Open this file"))
        link.setAccessibleName(path.name)
        link.clicked.connect(lambda: open_path(path))
        line.addWidget(link, 0, Qt.AlignmentFlag.AlignLeft)
        line.addWidget(ElidedLabel(_what_it_is(path.name), "secondary"), 1)
        return row


def open_path(path: Path) -> None:
    """Have the system open a file or folder with whatever it uses for it."""
    QDesktopServices.openUrl(QUrl.fromLocalFile(str(path)))


def _objects(*, has_regions: bool) -> tuple[tuple[Output, str, str], ...]:
    """The DICOM objects of a result: its name, and what it is for."""
    capture: tuple[Output, str, str] = (
        "capture", tr("Picture for archives (DICOM secondary capture)"), tr("For systems that show nothing else")
    )  # fmt: skip
    if has_regions:
        words = tr("Outlines and report (DICOM SEG, SR)")
        return (("report", words, tr("The masks, and their areas with checks and your decision")), capture)
    return (
        ("report", tr("Structured report (DICOM SR)"), tr("Findings with their numbers, checks, your decision")),
        capture,
        ("maps", tr("Heat map (DICOM Parametric Map)"), tr("Its values, to be laid over the image again")),
        (
            "segments",
            tr("Where the model looked (DICOM Segmentation)"),
            tr("The places where the map is drawn; not the outline of a lesion"),
        ),
        ("keys", tr("Flagged image (DICOM Key Object)"), tr("Names the image that the model flagged")),
    )


def _impossible(answer: Answer, *, has_map: bool) -> dict[Output, str]:
    """Which objects there cannot be of this answer, and why."""
    reasons: dict[Output, str] = {}
    if answer.status != "answer":
        words = tr("The model gave no answer")
        return {name: words for name, _, _ in _objects(has_regions=False)}
    if not has_map:
        reasons["maps"] = reasons["segments"] = tr("There is no heat map")
    if not any(finding.flagged for finding in answer.findings):
        reasons["keys"] = tr("The model flagged nothing")
    return reasons


def _what_it_is(name: str) -> str:
    known = (
        (r"result\.json", tr("the result, for programs")),
        (r"overlay.*\.png", tr("the image with the heat map or outlines")),
        (r"outlines\.seg\.dcm", "DICOM Segmentation"),
        (r"report\.pdf", tr("the page to read and print")),
        (r"finding\.sr\.dcm", "DICOM SR"),
        (r"capture\.sc\.dcm", tr("DICOM secondary capture")),
        (r"map-.*\.pm\.dcm", "DICOM Parametric Map"),
        (r"attention-.*\.seg\.dcm", "DICOM Segmentation"),
        (r"flagged\.ko\.dcm", "DICOM Key Object"),
    )
    return next((words for pattern, words in known if re.fullmatch(pattern, name)), "")


def _add_choice(column: QVBoxLayout, box: QCheckBox, words: str) -> None:
    column.addWidget(box)
    note = PlainLabel(words, "small", wrap=True)
    note.setContentsMargins(_INDENT_PX, 0, 0, 4)
    column.addWidget(note)
