"""The image as a picture that leaves the program: what is in it is chosen, and what it is not for stays in it."""

from __future__ import annotations

from math import ceil

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QBuffer, QIODevice, QRect, QSize, QSizeF, Qt
from PySide6.QtGui import QFontMetrics, QImage, QPainter
from PySide6.QtWidgets import QButtonGroup, QHBoxLayout, QRadioButton, QVBoxLayout, QWidget

from medviewer.app.exporting import What
from medviewer.app.on_screen import shutters_of
from medviewer.app.picture import Picture
from medviewer.app.state import State, View
from medviewer.domain.frozen import dataclass
from medviewer.gui import theme
from medviewer.gui.cards import ScrollColumn, SignalRow, button, section
from medviewer.gui.dialogs import Dialog, size_on_screen
from medviewer.gui.placing import Placement
from medviewer.gui.shutter_layer import ShutterLayer
from medviewer.gui.text import PlainLabel, dicom_date, for_button, isolated, person_name, tr
from medviewer.imaging.scale import pixel_aspect

_FOOT_PX, _AROUND_PX = 12, 6
_DIALOG_PX, _EDGE_PX = 420, 20
_WIDTH_A_PX = 90  # a picture this many times wider has larger words: it will be shrunken to be looked at
_WRAP = int(Qt.TextFlag.TextWordWrap | Qt.TextFlag.TextWrapAnywhere)


@dataclass(frozen=True, slots=True, eq=False)
class DrawnImage:
    """A picture ready to be encoded."""

    image: QImage

    def png(self) -> bytes:
        """As a PNG file, with pixels and nothing else in it."""
        buffer = QBuffer()
        buffer.open(QIODevice.OpenModeFlag.WriteOnly)
        self.image.save(buffer, "PNG")  # type: ignore[call-overload]  # a device is one of its forms
        return bytes(buffer.data().data())

    def pixels(self) -> npt.NDArray[np.uint8]:
        """As (rows, columns, 3) RGB."""
        rgb = self.image.convertToFormat(QImage.Format.Format_RGB888)
        lines = np.frombuffer(rgb.constBits(), np.uint8).reshape(rgb.height(), rgb.bytesPerLine())
        return lines[:, : rgb.width() * 3].reshape(rgb.height(), rgb.width(), 3).copy()


def stored_image(picture: Picture, state: State) -> QImage:
    """Every pixel of the image once, with the window on screen; neither turned nor flipped, without words.

    What a shutter covers on screen stays covered: a name may be burnt in there.
    """
    rows, columns = picture.frame.stored.shape[:2]
    view = state.view
    pixels = picture.draw(view.window, view.inverted, 0, (0, 0, rows, columns), view.palette).pixels
    whole = np.ascontiguousarray(pixels)
    image = QImage(whole.data, columns, rows, columns * 4, QImage.Format.Format_RGB32).copy()
    aspect = pixel_aspect(picture.frame.description)
    painter = QPainter(image)
    try:
        painter.scale(1, 1 / aspect)  # a stored pixel is square here, whatever it is in the patient
        ShutterLayer().paint(
            painter, state, Placement(QSizeF(columns, rows * aspect), 1.0, columns, rows, aspect, View())
        )
    finally:
        painter.end()
    return image


def with_foot(image: QImage, state: State, *, with_identity: bool) -> QImage:
    """The picture with a strip below that says what it is not for, and who it is of if that is wanted."""
    ratio = image.devicePixelRatioF()
    lines = [tr("Research use only - not for diagnosis"), *([_who(state)] if with_identity else [])]
    if not state.shutters_shown and shutters_of(state) is not None:
        lines.append(tr("Shutters are off: what they cover is shown"))
    words = "\n".join(line for line in lines if line)
    width = max(int(image.width() / ratio), 1)
    font = theme.text_font(max(_FOOT_PX, width // _WIDTH_A_PX))
    inner = max(width - 2 * _AROUND_PX, 1)
    need = QFontMetrics(font).boundingRect(QRect(0, 0, inner, 100_000), _WRAP, words)
    foot = need.height() + 2 * _AROUND_PX
    out = QImage(QSize(image.width(), image.height() + ceil(foot * ratio)), QImage.Format.Format_RGB32)
    out.setDevicePixelRatio(ratio)
    t = theme.tokens()
    out.fill(theme.color(t.viewport))
    painter = QPainter(out)
    try:
        painter.drawImage(0, 0, image)
        painter.setFont(font)
        painter.setPen(theme.color(t.overlay_text))
        top = ceil(image.height() / ratio) + _AROUND_PX
        painter.drawText(QRect(_AROUND_PX, top, inner, need.height()), _WRAP, words)
    finally:
        painter.end()
    return out


def _who(state: State) -> str:
    now = state.selection
    if now is None:
        return ""
    p = now.patient
    number = tr("ID {number}").format(number=isolated(p.patient_id)) if p.patient_id else tr("No patient ID")
    parts = (person_name(p.name) or tr("No name"), number, dicom_date(p.birth_date), dicom_date(now.study.date))
    return "  ".join(part for part in parts if part)


class ExportDialog(Dialog):
    """What goes into the picture: as on screen or plain, and whether it says who the patient is."""

    def __init__(
        self, parent: QWidget | None = None, *, identity_hidden: bool = False, title: str = "", save: str = ""
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(title or tr("Export image"))
        self.save = button(save or tr("Save as PNG…"), kind="primary")
        self.as_shown = QRadioButton(for_button(tr("As on screen, with its texts and drawings")))
        self.plain = QRadioButton(for_button(tr("The plain image at its stored size, not turned or flipped")))
        self.without = QRadioButton(for_button(tr("Without identity")))
        self.with_identity = QRadioButton(for_button(tr("With name, number and birth date")))
        self._caution = SignalRow("caution", tr("Whoever gets this picture will know who the patient is."))
        self._hidden = PlainLabel(tr("Identity is hidden in the window."), "secondary", wrap=True)
        if not identity_hidden:
            self._hidden.hide()  # it takes no room then
        self._lay_out()
        self.as_shown.setChecked(True)
        self.without.setChecked(True)
        self.with_identity.setEnabled(not identity_hidden)
        self._caution.setVisible(False)
        self.with_identity.toggled.connect(self._caution.setVisible)

    @property
    def what(self) -> What:
        """What is wanted in the picture."""
        return "stored" if self.plain.isChecked() else "view"

    @property
    def is_identity_wanted(self) -> bool:
        """Whether the picture is to say who the patient is."""
        return self.with_identity.isChecked()

    def _lay_out(self) -> None:
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 16)
        scroll = ScrollColumn(margin=_EDGE_PX)
        scroll.setAccessibleName(self.windowTitle())
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the choices are reached with Tab, and it follows them
        whole.addWidget(scroll, 1)
        column = scroll.column
        column.addWidget(PlainLabel(self.windowTitle(), "hero"))
        self._add_more(column)
        for title, choices in ((tr("Picture"), (self.as_shown, self.plain)), (tr("Patient"), self._identity_choices)):
            column.addWidget(section(title))
            group = QButtonGroup(self)
            for one in choices:
                group.addButton(one)
                column.addWidget(one)
        column.addWidget(self._hidden)
        column.addWidget(self._caution)
        burnt = tr("Words that the machine has written into the pixels stay in the picture: look at it first.")
        column.addWidget(PlainLabel(burnt, "small", wrap=True))
        said = tr("Every picture says at its foot that it is for research only.")
        column.addWidget(PlainLabel(said, "small", wrap=True))
        foot = QHBoxLayout()
        foot.setContentsMargins(_EDGE_PX, 0, _EDGE_PX, 0)
        foot.addStretch(1)
        cancel = button(tr("Cancel"))
        cancel.clicked.connect(self.reject)
        self.save.clicked.connect(self.accept)
        self.give_enter(self.save)
        foot.addWidget(cancel)
        foot.addWidget(self.save)
        whole.addLayout(foot)
        self.setMinimumWidth(_DIALOG_PX)
        inside = scroll.widget()
        content = inside.layout() if inside is not None else None
        height = content.totalHeightForWidth(_DIALOG_PX) if content is not None else 0
        wanted = QSize(_DIALOG_PX, height + foot.sizeHint().height() + 3 * _EDGE_PX // 2)
        self.resize(size_on_screen(wanted, self.screen().availableSize()))

    def _add_more(self, column: QVBoxLayout) -> None:
        """What only some exports ask, above the other choices."""

    @property
    def _identity_choices(self) -> tuple[QRadioButton, QRadioButton]:
        return self.without, self.with_identity
