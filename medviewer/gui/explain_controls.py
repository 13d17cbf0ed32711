"""Where the model looked: which method, how it is drawn, and whether it is worth looking at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QIcon, QImage, QPixmap
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from medviewer.app.state import Overlay
from medviewer.domain.answer import Attribution, Faithfulness
from medviewer.domain.frozen import dataclass
from medviewer.explain.comparison import agreement
from medviewer.explain.faithfulness import is_convincing
from medviewer.explain.overlay import color_table
from medviewer.gui.cards import Card, ElidedCombo, SignalRow, StillSlider, button, clear, section
from medviewer.gui.own_error import own_error_words
from medviewer.gui.show_hide import ShowHideButton, ShowHideWords
from medviewer.gui.text import PlainLabel, language, set_tooltip, tr, tr_pick, visible

_SPARSE_SHARE = 0.02  # of the map's area; below it a reader sees a speck or nothing
_OUTWEIGHED = 0.1  # of all evidence; below it nine tenths speak against the finding, and are not drawn
COLOR_MAPS = ("magma", "viridis", "inferno", "cividis")


@dataclass(frozen=True, slots=True)
class MethodRow:
    """One way to ask a model where it looked; ``models`` are those that can be asked so, None for all."""

    id: str
    title: str | Mapping[str, str]  # by language
    models: frozenset[str] | None = None

    def suits(self, model_id: str) -> bool:
        """Whether the model can be explained by it."""
        return self.models is None or model_id in self.models


class ExplainControls(Card):
    """The controls of the heat map, and the sentence on how far it can be believed."""

    requested = Signal(str, object)

    def __init__(self, methods: Sequence[MethodRow], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._is_showing = False
        self.method = ElidedCombo()
        self._methods = tuple(methods)
        self.offer("")
        self.method.activated.connect(lambda i: self.requested.emit("explain.method", self.method.itemData(i)))
        self.finding = ElidedCombo()
        self.finding.activated.connect(lambda i: self.requested.emit("explain.finding", self.finding.itemData(i)))
        self.toggle = ShowHideButton()
        self.toggle.clicked.connect(lambda: self.requested.emit("explain.toggle", None))
        self.hottest = button("", "crosshair")
        self.hottest.clicked.connect(lambda: self.requested.emit("explain.hottest", None))
        self.hottest.hide()
        self.color_map = ElidedCombo()
        self.color_map.setIconSize(QSize(26, 12))
        for name in COLOR_MAPS:
            self.color_map.addItem(_swatch(name), "", name)
        self.color_map.activated.connect(lambda i: self.requested.emit("explain.color_map", self.color_map.itemData(i)))
        self.opacity = ValueSlider(lambda value: self._changed("explain.opacity", value))
        self.threshold = ValueSlider(lambda value: self._changed("explain.threshold", value))
        self._title = section("")
        names = ("finding", "method", "opacity", "threshold", "colors")
        self._labels = {name: PlainLabel("", "secondary", wrap=True) for name in names}
        self._belief = QVBoxLayout()
        self._belief.setSpacing(8)
        self._caveat = PlainLabel("", "small", wrap=True)
        self._lay_out()
        self.translate()

    def list_methods(self, methods: Sequence[MethodRow]) -> None:
        """Know other methods, or other models that they suit; :meth:`offer` lists them."""
        self._methods = tuple(methods)

    def offer(self, model_id: str) -> None:
        """List the methods by which a model can be explained."""
        self.method.clear()
        for row in self._methods:
            if row.suits(model_id):
                self.method.addItem(tr_pick(row.title), row.id)

    def _lay_out(self) -> None:
        head = QHBoxLayout()
        head.addWidget(self._title, 1)
        head.addWidget(self.toggle)
        self.column.addLayout(head)
        rows: list[tuple[str, QWidget]] = [
            ("finding", self.finding),
            ("method", self.method),
            ("opacity", self.opacity),
            ("threshold", self.threshold),
            ("colors", self.color_map),
        ]
        for name, control in rows:
            row = QHBoxLayout()
            row.setSpacing(8)
            self._labels[name].setFixedWidth(84)
            row.addWidget(self._labels[name])
            row.addWidget(control, 1)
            self.column.addLayout(row)
        self.add(self.hottest)
        self.column.addLayout(self._belief)
        self.add(self._caveat)

    def translate(self, toggle_key: str = "", hottest_key: str = "") -> None:
        """Say everything in the language in use."""
        self._title.setText(tr("Where the model looked"))
        self._labels["finding"].setText(tr("Finding"))
        self._labels["method"].setText(tr("Method"))
        for row in self._methods:
            place = self.method.findData(row.id)
            if place >= 0:
                self.method.setItemText(place, tr_pick(row.title))
        for place, name in enumerate(COLOR_MAPS):
            self.color_map.setItemText(place, color_map_words(name))
        self._labels["opacity"].setText(tr("Opacity"))
        self._labels["threshold"].setText(tr("Hide values below"))
        self._labels["colors"].setText(tr("Colours"))
        self._caveat.setText(tr("The overlay shows where the model looked, not the outline of a lesion."))
        words = ShowHideWords(
            hide=tr("Hide map"),
            hide_by_key=tr("Hide map ({key})"),
            show=tr("Show map"),
            show_by_key=tr("Show map ({key})"),
            tip=tr("Show or hide the heat map"),
        )
        self.toggle.say(words, toggle_key)
        self.hottest.setText(tr("Go to the strongest slice"))
        set_tooltip(self.hottest, tr("Show where the heat map speaks most for the finding"), hottest_key)
        set_tooltip(self.opacity.slider, tr("How strongly the heat map covers the image"))
        set_tooltip(self.threshold.slider, tr("Values below this part of the highest value are left clear"))
        set_tooltip(self.finding, tr("Of which finding the heat map is, and how far it can be believed"))
        self.finding.setAccessibleName(tr("Finding"))
        set_tooltip(self.method, tr("How the model is asked where it looked"))
        set_tooltip(self.color_map, tr("The colours of the heat map"))

    def show_findings(self, titles: Mapping[str, str], shown: str) -> None:
        """Offer the findings of an answer, by label, and say which one is looked at; of a single one nothing."""
        self.finding.clear()
        for label, title in titles.items():
            self.finding.addItem(visible(title), label)
        self.finding.setCurrentIndex(self.finding.findData(shown))
        for widget in (self.finding, self._labels["finding"]):
            widget.setVisible(len(titles) > 1)

    def show_overlay(self, overlay: Overlay) -> None:
        """Set the controls as the state says, without asking for anything."""
        self._is_showing = True
        try:
            self.method.setCurrentIndex(self.method.findData(overlay.method))
            self.color_map.setCurrentIndex(self.color_map.findData(overlay.color_map))
            self.opacity.show_value(overlay.opacity)
            self.threshold.show_value(overlay.threshold)
            self.toggle.show_visible(is_visible=overlay.visible)
        finally:
            self._is_showing = False

    def show_attribution(
        self, attribution: Attribution | None, running: str, worth: str = "", others: Sequence[Attribution] = ()
    ) -> None:
        """Say how far the heat map on screen can be believed, or why there is none.

        ``worth`` is what was found of the method over many images, from the model's card; ``others`` are maps of the
        same answer by other methods.
        """
        clear(self._belief)
        self.hottest.setVisible(attribution is not None and attribution.volume is not None)
        if running:
            self._belief.addWidget(SignalRow("info", running, word=tr("Working out the heat map")))
        elif attribution is None:
            self._belief.addWidget(SignalRow("info", tr("There is no heat map by this method for this image yet.")))
            start = button(tr("Work it out"), "play")
            start.clicked.connect(lambda: self.requested.emit("explain.method", self.method.currentData()))
            self._belief.addWidget(start)
        else:
            for widget in _belief_rows(attribution):
                self._belief.addWidget(widget)
            for widget in self._agreements(attribution, others):
                self._belief.addWidget(widget)
            words = worth or tr("How this method does over many images was not assessed for this model.")
            self._belief.addWidget(PlainLabel(words, "small", wrap=True))

    def _agreements(self, shown: Attribution, others: Sequence[Attribution]) -> Iterator[QWidget]:
        """How far the other methods that were asked put the same places first."""
        titles = {row.id: tr_pick(row.title) for row in self._methods}
        for other in others:
            if other.method != shown.method and other.finding == shown.finding:
                words = tr("Agreement with {method}: {r} (1 is the same order of places, 0 is unrelated)")
                alike = agreement(shown.saliency, other.saliency)  # the number that the comparison tells too
                if alike is None:  # nothing in one of them speaks for the finding
                    continue
                title = titles.get(other.method, other.method_title)
                yield PlainLabel(words.format(method=title, r=f"{alike:.2f}"), "small", wrap=True)

    def _changed(self, command_id: str, value: float) -> None:
        if not self._is_showing:
            self.requested.emit(command_id, value)


def color_map_words(name: str) -> str:
    """What a reader sees of a colour map, with the name that papers give it."""
    looks = {
        "magma": tr("dark to bright ({name})"),
        "viridis": tr("violet to yellow ({name})"),
        "inferno": tr("dark to yellow ({name})"),
        "cividis": tr("blue to yellow ({name})"),
    }
    return looks[name].format(name=name)


class ValueSlider(QWidget):
    """A slider from 0 to 1 with its value in per cent beside it."""

    def __init__(self, changed: Callable[[float], None], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "clear")
        self._tell = changed
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        self.slider = StillSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, 100)
        self.slider.setPageStep(10)
        self.value = PlainLabel("0%")
        self.value.setFixedWidth(44)
        self.value.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        row.addWidget(self.slider, 1)
        row.addWidget(self.value)
        self.slider.valueChanged.connect(self._moved)

    def show_value(self, value: float) -> None:
        """Put the handle where the value is."""
        self.slider.setValue(round(value * 100))
        self.value.setText(f"{self.slider.value()}%")

    def _moved(self, percent: int) -> None:
        self.value.setText(f"{percent}%")
        self._tell(percent / 100)


def _belief_rows(attribution: Attribution) -> list[QWidget]:
    rows: list[QWidget] = []
    if is_sparse(attribution):
        words = tr("Only what speaks for the finding is coloured; the rest stays clear.")
        rows.append(SignalRow("info", words, word=tr("Little in this image speaks for the finding")))
    found = attribution.faithfulness
    if found is None:
        rows.append(SignalRow("caution", tr("Whether this map is better than a random one was not checked.")))
    else:
        if is_convincing(found):
            rows.append(SignalRow("good", reason_words(found.sentence), word=tr("Better than chance")))
        else:
            rows.append(SignalRow("caution", reason_words(found.sentence), word=tr("Not clearly better than chance")))
        rows.append(PlainLabel(against_chance(attribution, found), "small", wrap=True))
    if words := own_error_words(attribution):
        rows.append(PlainLabel(words, "small", wrap=True))
    return rows


def against_chance(attribution: Attribution, found: Faithfulness) -> str:
    """How a map does in numbers: against random maps, or against random orders of the parts of a stack."""
    words = tr("Against {n} random maps: better than {deletion}% when deleting, than {insertion}% when inserting")
    if attribution.volume is not None:
        words = tr("Against {n} random orders: better than {deletion}% when deleting, than {insertion}% when inserting")
    deletion, insertion = (f"{value:.0f}" for value in (found.deletion_percentile, found.insertion_percentile))
    return words.format(n=found.n_random, deletion=deletion, insertion=insertion)


def is_sparse(attribution: Attribution) -> bool:
    """Whether little of the image speaks for the finding, so that the map is nearly empty or misleads.

    Counted on the network's own grid: the area above a tenth of the highest value, and the part
    that evidence for the finding has in all evidence. What speaks against it (negative) is not drawn.
    """
    seen = attribution.saliency[np.isfinite(attribution.saliency)]
    if not (seen > 0).any():
        return True
    # (One large box of a stack is no speck.)
    area = float((seen > 0.1 * seen.max()).mean()) if attribution.volume is None else 1.0
    return area < _SPARSE_SHARE or float(seen[seen > 0].sum()) < _OUTWEIGHED * float(np.abs(seen).sum())


def reason_words(sentence: str) -> str:
    """What the sentence says after its verdict, which stands above it already."""
    verdict, _, rest = sentence.partition(": ")
    reason = rest if verdict.endswith("than chance") else sentence
    words = tr(reason)
    if language() != "en" and words == reason:
        return ""  # the line below says the same in numbers, in the reader's language
    return words[:1].upper() + words[1:]


def _swatch(name: str) -> QIcon:
    """A strip of the colour map, dark end left."""
    table = color_table(name, opacity=1, threshold=0)[np.linspace(0, 255, 96).round().astype(int), :3]
    rgb = np.ascontiguousarray(np.broadcast_to(table[None], (24, 96, 3)))
    image = QImage(rgb.tobytes(), 96, 24, 96 * 3, QImage.Format.Format_RGB888)
    return QIcon(QPixmap.fromImage(image.copy()))
