"""Which images become a film, which way and how fast, and whether it says who the patient is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import QLocale
from PySide6.QtGui import QDoubleValidator, QIntValidator
from PySide6.QtWidgets import QButtonGroup, QGridLayout, QLineEdit, QRadioButton, QVBoxLayout, QWidget

from medviewer.app.exporting import AVI, MP4, Kind
from medviewer.app.filming import RATES_HZ, FilmWish, Way, filmed_span, rate_of
from medviewer.app.state import Selection
from medviewer.gui.cards import section
from medviewer.gui.corner_text import axis_name, axis_words
from medviewer.gui.image_export import ExportDialog
from medviewer.gui.text import PlainLabel, for_button, tr
from medviewer.imaging.mp4_file import can_write as can_write_mp4

_FIELD_PX = 96
_DECIMALS = 2  # of a rate that is shown or typed; a frame time of 33.33 ms has more


class FilmDialog(ExportDialog):
    """The choices of a picture, and those of a film: from which image to which, and how many a second."""

    def __init__(
        self,
        now: Selection,
        parent: QWidget | None = None,
        *,
        identity_hidden: bool = False,
        last: str = "",
        way: Way = "slices",
    ) -> None:
        self._now = now  # ``last``: how the name of the last film ended
        self.first, self.last, self.rate = _number(), _number(), QLineEdit()
        self.slices, self.along = QRadioButton(), QRadioButton()
        self._own_hz, self._own_words = 0.0, ""
        slowest, fastest = RATES_HZ
        validator = QDoubleValidator(slowest, fastest, _DECIMALS, self.rate)
        validator.setLocale(QLocale.c())  # 7.5 everywhere, as corner texts and files write it
        self.rate.setValidator(validator)
        self.rate.setFixedWidth(_FIELD_PX)
        self.mp4 = QRadioButton(for_button(tr("MP4 with AV1: smaller, for browsers and today's players")))
        self.avi = QRadioButton(for_button(tr("AVI of JPEG images: for presentations and older players")))
        super().__init__(parent, identity_hidden=identity_hidden, title=tr("Export film"), save=tr("Save film…"))
        self.mp4.setEnabled(can_write_mp4())
        (self.along if way == "axis" else self.slices).setChecked(True)
        self._offer_whole()
        self.along.toggled.connect(lambda _is_chosen: self._offer_whole())
        (self.mp4 if self.mp4.isEnabled() and last != AVI.suffix else self.avi).setChecked(True)
        for field in (self.first, self.last, self.rate):
            field.textChanged.connect(lambda _text: self._judge())

    @property
    def way(self) -> Way:
        """Through the slices, or along the second axis."""
        return "axis" if self.along.isChecked() else "slices"

    @property
    def range(self) -> tuple[int, int]:
        """The first and the last image, counted from 0 the way that the film goes."""
        return int(self.first.text()) - 1, int(self.last.text()) - 1

    @property
    def rate_hz(self) -> float:
        """Images a second; the stack's own rate to its last digit, unless another was typed."""
        text = self.rate.text()
        return self._own_hz if text == self._own_words else float(text)

    @property
    def kind(self) -> Kind:
        """The kind of file."""
        return MP4 if self.mp4.isChecked() else AVI

    @property
    def wish(self) -> FilmWish:
        """What was chosen; where to is asked afterwards."""
        first, last = self.range
        wish = FilmWish(Path(), first, last, self.rate_hz, self.what, kind=self.kind, way=self.way)
        return replace(wish, with_identity=self.is_identity_wanted)

    def _add_more(self, column: QVBoxLayout) -> None:
        """The fields of a film, above the others."""
        column.addWidget(section(tr("Images")))
        ways = QButtonGroup(self)
        axis = self._now.stack.axis
        is_asked = axis is not None and axis.slices > 1
        for choice in (self.along, self.slices):
            ways.addButton(choice)
            column.addWidget(choice)
            choice.setVisible(is_asked)
        if axis is not None and is_asked:
            where = {"size": axis.size, "number": self._now.index % axis.slices + 1, "slices": axis.slices}
            along = tr("{axis}: 1 to {size}, at slice {number} of {slices}").format(axis=axis_name(axis), **where)
            through = tr("Slices: 1 to {slices}, at {volume}").format(slices=axis.slices, volume=axis_words(self._now))
            self.along.setText(for_button(along))
            self.slices.setText(for_button(through))
        grid = QGridLayout()
        grid.setHorizontalSpacing(12)
        grid.setColumnStretch(2, 1)
        titles = (tr("From image"), tr("To image"), tr("Images a second"))
        for row, (title, field) in enumerate(zip(titles, (self.first, self.last, self.rate), strict=True)):
            field.setAccessibleName(title)
            grid.addWidget(PlainLabel(title), row, 0)
            grid.addWidget(field, row, 1)
        column.addLayout(grid)
        column.addWidget(section(tr("File")))
        group = QButtonGroup(self)
        for one in (self.mp4, self.avi):
            group.addButton(one)
            column.addWidget(one)

    def _offer_whole(self) -> None:
        """All images that there are this way, at the files' own rate."""
        count = len(filmed_span(self._now, self.way))
        self._own_hz = rate_of(self._now, self.way)
        self._own_words = f"{self._own_hz:.{_DECIMALS}f}".rstrip("0").rstrip(".")
        for field, number in ((self.first, 1), (self.last, count)):
            field.setValidator(QIntValidator(1, count, field))
            field.setText(str(number))
        self.rate.setText(self._own_words)

    def _judge(self) -> None:
        """Save only what can be: Qt's validators let through what may still become right."""
        fields = (self.first, self.last, self.rate)
        is_right = all(field.hasAcceptableInput() for field in fields)
        self.save.setEnabled(is_right and self.range[0] <= self.range[1])


def _number() -> QLineEdit:
    line = QLineEdit()
    line.setFixedWidth(_FIELD_PX)
    return line
