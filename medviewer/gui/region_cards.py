"""What a segmentation model outlined, in the findings panel: each label with its colour and size; how it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from PySide6.QtCore import QRectF, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPixmap
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from medviewer.app.state import Overlay
from medviewer.domain.answer import Answer, Region
from medviewer.explain.methods import OWN_EXPLANATION
from medviewer.gui import theme
from medviewer.gui.cards import Card, SignalRow, line, section
from medviewer.gui.explain_controls import ValueSlider
from medviewer.gui.region_words import area_words, basis_words, notice, output_words, ragged_words, share_words
from medviewer.gui.show_hide import ShowHideButton, ShowHideWords
from medviewer.gui.text import PlainLabel, Role, set_tooltip, tr, tr_pick, visible

_SWATCH_PX = 14
_NAME_PX = 84

Titles = Mapping[str, Mapping[str, str]]


def regions_card(answer: Answer, titles: Titles, model_title: str) -> Card:
    """Every label of the model, also those of which it found nothing.

    Args:
        answer: with regions.
        titles: of the labels by language, as the model's card has them now.
        model_title: what the model is called.
    """
    card = Card()
    card.add(PlainLabel(model_title, "title", wrap=True))
    card.add(SignalRow("caution", "", word=notice()))
    for region in answer.regions:
        card.add(line(), _region_rows(region, tr_pick(titles.get(region.label, region.title)), card))
    return card


def _region_rows(region: Region, title: str, card: Card) -> QWidget:
    whole = QWidget()
    whole.setProperty("kind", "clear")
    column = QVBoxLayout(whole)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(2)
    head = QHBoxLayout()
    head.setSpacing(8)
    swatch = PlainLabel()
    swatch.setPixmap(_swatch(region, card.devicePixelRatioF()))
    swatch.setFixedWidth(_SWATCH_PX)
    head.addWidget(swatch, 0, Qt.AlignmentFlag.AlignVCenter)
    head.addWidget(PlainLabel(visible(title), "strong", wrap=True), 1)
    column.addLayout(head)
    role: Role = "title" if region.pixels else "secondary"
    column.addWidget(PlainLabel(area_words(region), role, wrap=True))
    share = share_words(region) if region.pixels else ""
    said = [basis_words(region), share, output_words(region), ragged_words(region), region.measured]
    for words in said:
        if words:
            column.addWidget(PlainLabel(visible(words), "small", wrap=True))
    return whole


def _swatch(region: Region, ratio: float) -> QPixmap:
    """The colour of an outline; a bare rim where there is none."""
    made = QPixmap(round(_SWATCH_PX * ratio), round(_SWATCH_PX * ratio))
    made.setDevicePixelRatio(ratio)
    made.fill(QColor(*region.color) if region.pixels else Qt.GlobalColor.transparent)
    painter = QPainter(made)
    painter.setPen(theme.color(theme.tokens().edge))
    painter.drawRect(QRectF(0.5, 0.5, _SWATCH_PX - 1, _SWATCH_PX - 1))
    painter.end()
    return made


class RegionControls(Card):
    """How outlines are drawn: shown or not, and how strongly filled."""

    requested = Signal(str, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._is_showing = False
        self.toggle = ShowHideButton()
        self.toggle.clicked.connect(lambda: self.requested.emit("explain.toggle", None))
        self.opacity = ValueSlider(self._asking("explain.opacity"))
        self._title = section("")
        self._name = PlainLabel("", "secondary", wrap=True)
        self._name.setFixedWidth(_NAME_PX)
        self._own = PlainLabel("", "small", wrap=True)
        head = QHBoxLayout()
        head.addWidget(self._title, 1)
        head.addWidget(self.toggle)
        self.column.addLayout(head)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(self._name)
        row.addWidget(self.opacity, 1)
        self.column.addLayout(row)
        self.add(self._own)
        self.translate()

    def translate(self, toggle_key: str = "") -> None:
        """Say everything in the language in use."""
        self._title.setText(tr("Outlines on the image"))
        self._name.setText(tr("Opacity"))
        self._own.setText(tr(OWN_EXPLANATION))
        words = ShowHideWords(
            hide=tr("Hide outlines"),
            hide_by_key=tr("Hide outlines ({key})"),
            show=tr("Show outlines"),
            show_by_key=tr("Show outlines ({key})"),
            tip=tr("Show or hide the outlines"),
        )
        self.toggle.say(words, toggle_key)
        set_tooltip(self.opacity.slider, tr("How strongly the outlines are filled"))

    def show_overlay(self, overlay: Overlay) -> None:
        """Set the controls as the state says, without asking for anything."""
        self._is_showing = True
        try:
            self.opacity.show_value(overlay.opacity)
            self.toggle.show_visible(is_visible=overlay.visible)
        finally:
            self._is_showing = False

    def _asking(self, command_id: str) -> Callable[[float], None]:
        def changed(value: float) -> None:
            if not self._is_showing:
                self.requested.emit(command_id, value)

        return changed
