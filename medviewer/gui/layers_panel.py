"""What lies over the image and how it is drawn; and what else of the patient could be laid over it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from medviewer.app.layering import Offer, offers
from medviewer.app.on_screen import layers_of
from medviewer.app.state import Key
from medviewer.gui.cards import Card, ScrollColumn, button, clear, dress, section
from medviewer.gui.document_words import words_of_file
from medviewer.gui.icons import icon
from medviewer.gui.layer_card import LayerCard
from medviewer.gui.tab_panel import TabPanel
from medviewer.gui.text import ElidedLabel, PlainLabel, dicom_date, for_button, set_tooltip, tr, visible


class LayersPanel(TabPanel):
    """A card for each layer, then what can be laid over the image and what cannot, with the reason."""

    requested = Signal(str, object)

    def __init__(self, shortcuts: Mapping[str, str] | None = None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._shortcuts = shortcuts if shortcuts is not None else {}
        self._cards: dict[Key, LayerCard] = {}
        self._listed: object = None
        self._asked: object = None
        self._offers: tuple[Offer, ...] = ()
        self._drawn: object = None
        self.toggle = button("", "eye")
        self.toggle.clicked.connect(lambda: self.requested.emit("layer.toggle", None))
        self._waiting = PlainLabel("", "secondary", wrap=True)
        self._waiting.setContentsMargins(12, 12, 12, 0)
        self._scroll = ScrollColumn()
        self._own = QVBoxLayout()
        self._own.setSpacing(8)
        self._others = QVBoxLayout()
        self._others.setSpacing(8)
        self._scroll.column.addWidget(self.toggle)
        self._scroll.column.addLayout(self._own)
        self._scroll.column.addLayout(self._others)
        dress(self, "panel")
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(0)
        whole.addWidget(self._waiting)
        whole.addWidget(self._scroll)

    def _draw(self) -> None:
        state = self._state
        key = self._shortcuts.get("layer.toggle", "")
        words = tr("Hide layers") if state.layers_shown else tr("Show layers")
        self.toggle.setText(for_button(f"{words} ({key})" if key else words))
        self._scroll.setAccessibleName(tr("Layers"))
        self.toggle.setIcon(icon("eye" if state.layers_shown else "eye-off"))
        self.toggle.setVisible(bool(layers_of(state)))
        self._waiting.setText(tr("Layers lie over images, not over the 3D view: close it to change them."))
        self._waiting.setVisible(state.scene is not None)
        self._scroll.setEnabled(state.scene is None)
        self._draw_layers()
        self._draw_offers()

    def _draw_layers(self) -> None:
        """Cards stay while their layer does: a slider must not go while it is dragged."""
        state = self._state
        wanted = {layer.source: layer for layer in layers_of(state) if layer.source in state.layer_sources}
        sources = (tuple(state.layer_sources[key] for key in wanted), state.language, state.identity_hidden)
        if sources != self._listed:
            self._listed = sources
            clear(self._own)
            self._cards = {}
            for key in wanted:
                card = self._cards[key] = LayerCard(key, state.layer_sources[key], partial(words_of_file, state))
                card.requested.connect(self.requested)
                self._own.addWidget(card)
        for key, layer in wanted.items():
            self._cards[key].show_layer(layer)

    def _draw_offers(self) -> None:
        """Rows stay while nothing of them changes: scrolling must not take the keyboard from a button."""
        state = self._state
        now = state.selection
        asked = (now.image if now is not None else None, state.collection.patients, state.structure_files)
        if asked != self._asked:
            self._asked, self._offers = asked, offers(state)
        shown = {layer.source for layer in layers_of(state)}
        drawn = (
            now is None,
            [(one.key, one.why_not) for one in self._offers],
            shown,
            state.language,
            state.identity_hidden,
        )
        if drawn == self._drawn:
            return
        self._drawn = drawn
        clear(self._others)
        left = [offer for offer in self._offers if offer.key not in shown]
        possible = [offer for offer in left if not offer.why_not]
        if now is None or not self._offers:
            self._say_nothing(is_open=now is not None)
            return
        if possible:
            self._others.addWidget(section(tr("Can be laid over this image")))
            for offer in possible:
                self._others.addWidget(self._row(offer))
        refused = [offer for offer in left if offer.why_not]
        if refused:
            self._others.addWidget(section(tr("Cannot be laid over this image")))
        for why_not in dict.fromkeys(offer.why_not for offer in refused):
            card = Card()
            for offer in refused:
                if offer.why_not == why_not:
                    card.add(ElidedLabel(self._title(offer), "strong"))
            card.add(PlainLabel(tr(why_not), "secondary", wrap=True))
            self._others.addWidget(card)

    def _say_nothing(self, *, is_open: bool) -> None:
        words = tr("Nothing can be laid over this image") if is_open else tr("No image on screen")
        self._others.addWidget(PlainLabel(words, "strong", wrap=True))
        told = tr(
            "PET, RTDOSE, parametric maps, segmentations and structures of this patient are listed here. "
            "They are laid over images of their own frame of reference only."
        )
        self._others.addWidget(PlainLabel(told, "secondary", wrap=True))

    def _title(self, offer: Offer) -> str:
        return "  ".join(part for part in (visible(offer.modality), words_of_file(self._state, offer.title)) if part)

    def _row(self, offer: Offer) -> QWidget:
        row = QWidget()
        row.setProperty("kind", "clear")
        line = QHBoxLayout(row)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(8)
        words = QVBoxLayout()
        words.setSpacing(0)
        words.addWidget(ElidedLabel(self._title(offer), "strong"))
        facts = " · ".join(part for part in (_kind_word(offer), dicom_date(offer.date)) if part)
        words.addWidget(ElidedLabel(facts, "secondary"))
        line.addLayout(words, 1)
        lay = button(tr("Lay over"), "layers-2")
        set_tooltip(lay, tr("Lay {title} over the image").format(title=self._title(offer)))
        lay.clicked.connect(lambda: self.requested.emit("layer.lay", offer.key))
        line.addWidget(lay)
        return row


def _kind_word(offer: Offer) -> str:
    return {"values": tr("values in colour"), "segments": tr("segments"), "structures": tr("outlines")}[offer.kind]
