"""The controls of one layer: colours, opacity and range of values, or its segments one by one."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QLocale, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QDoubleValidator, QIcon, QImage, QPainter, QPixmap, QTransform
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QToolButton, QVBoxLayout, QWidget

from medviewer.app.layering import LayerChange
from medviewer.app.state import Key, Layer
from medviewer.domain.layer import LayerSource, ScalarLayer, Segment
from medviewer.explain.overlay import COLOR_MAPS
from medviewer.gui import theme
from medviewer.gui.cards import Card, ElidedCombo, button
from medviewer.gui.explain_controls import ValueSlider, color_map_words
from medviewer.gui.icons import icon
from medviewer.gui.layer_painter import bar_image, segment_color
from medviewer.gui.layer_words import quantity_words, segment_word
from medviewer.gui.text import ElidedLabel, PlainLabel, set_tooltip, tr, visible

_NAME_PX = 84
_QUARTER = QTransform().rotate(90)
_SWATCH_PX = 12


class LayerCard(Card):
    """One layer. It asks for changes; what it shows is the state's."""

    requested = Signal(str, object)

    def __init__(self, key: Key, source: LayerSource, words: Callable[[str], str] = str) -> None:
        """``words`` leaves out of a name of the file what must not be said."""
        super().__init__()
        self._key, self._source, self._words = key, source, words
        self._layer = Layer(key)
        self._is_showing = False
        self._add_head()
        self.opacity = ValueSlider(lambda value: self._change("opacity", value, gesture="opacity"))
        self.opacity.slider.sliderReleased.connect(lambda: self.requested.emit("view.settle", None))
        set_tooltip(self.opacity.slider, tr("How strongly the layer covers the image"))
        self._add_row(tr("Opacity"), self.opacity)
        self.eyes: dict[int, QToolButton] = {}
        if isinstance(source, ScalarLayer):
            self._add_colors()
            self._add_range()
        else:
            self._add_segments(source.segments)
        for sentence in (*source.remark.splitlines(), *(caveat.text for caveat in source.caveats)):
            if sentence:
                self.add(PlainLabel(visible(tr(sentence)), "small", wrap=True))

    def show_layer(self, layer: Layer) -> None:
        """Set the controls as the state says, without asking for anything."""
        self._layer = layer
        self._is_showing = True
        try:
            self.opacity.show_value(layer.opacity)
            if isinstance(self._source, ScalarLayer):
                self.color_map.setCurrentIndex(self.color_map.findData(layer.color_map))
                for field, value in zip(self.ends, layer.range or self._source.range, strict=True):
                    if not field.hasFocus() or not field.isModified():
                        field.setText(f"{value:.6g}")
                self.automatic.setEnabled(layer.range is not None)
            for number, eye in self.eyes.items():
                is_shown = number not in layer.hidden
                eye.setChecked(is_shown)
                eye.setIcon(icon("eye" if is_shown else "eye-off"))
        finally:
            self._is_showing = False

    def _add_head(self) -> None:
        source = self._source
        what = quantity_words(source) if isinstance(source, ScalarLayer) else ""
        title = "  ".join(part for part in (visible(source.modality), what) if part)
        self.setAccessibleName(title)
        head = QHBoxLayout()
        names = QVBoxLayout()
        names.setSpacing(0)
        names.addWidget(ElidedLabel(title, "strong"))
        if source.title:
            names.addWidget(ElidedLabel(self._words(visible(source.title)), "secondary"))
        head.addLayout(names, 1)
        self.remove = _tool("x", tr("Take this layer away"))
        self.remove.clicked.connect(lambda: self.requested.emit("layer.remove", self._key))
        head.addWidget(self.remove)
        self.column.addLayout(head)

    def _add_row(self, name: str, control: QWidget) -> None:
        row = QHBoxLayout()
        row.setSpacing(8)
        label = PlainLabel(name, "secondary", wrap=True)
        label.setFixedWidth(_NAME_PX)
        row.addWidget(label)
        row.addWidget(control, 1)
        self.column.addLayout(row)

    def _add_colors(self) -> None:
        self.color_map = ElidedCombo()
        self.color_map.setIconSize(QSize(26, 12))
        for name in COLOR_MAPS:
            self.color_map.addItem(_swatch_of_map(name), color_map_words(name), name)
        self.color_map.activated.connect(lambda i: self._change("color_map", self.color_map.itemData(i)))
        set_tooltip(self.color_map, tr("The colours of the layer"))
        self._add_row(tr("Colours"), self.color_map)

    def _add_range(self) -> None:
        self.ends = (QLineEdit(), QLineEdit())
        fields = QWidget()
        fields.setProperty("kind", "clear")
        row = QHBoxLayout(fields)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        for field, words in zip(
            self.ends, (tr("Lower end of the colours"), tr("Upper end of the colours")), strict=True
        ):
            validator = QDoubleValidator(field)
            validator.setLocale(QLocale.c())  # as values are written everywhere else here
            field.setValidator(validator)
            field.setMinimumWidth(48)
            set_tooltip(field, words)
            field.editingFinished.connect(self._use_range)
            row.addWidget(field, 1)
        self.automatic = _tool("refresh-ccw", tr("The range that the layer itself gives"))
        self.automatic.clicked.connect(lambda: self._change("range", None))
        row.addWidget(self.automatic)
        self._add_row(tr("From, to"), fields)
        self.add(PlainLabel(tr("At the lower end and below nothing is drawn."), "small", wrap=True))

    def _add_segments(self, segments: tuple[Segment, ...]) -> None:
        if len(segments) > 1:
            row = QHBoxLayout()
            row.setSpacing(8)
            for words, hidden in (
                (tr("Show all"), frozenset[int]()), (tr("Hide all"), frozenset(one.number for one in segments)),
            ):  # fmt: skip
                every = button(words, kind="quiet")
                every.clicked.connect(lambda _checked=False, hidden=hidden: self._change("hidden", hidden))
                row.addWidget(every)
            row.addStretch(1)
            self.column.addLayout(row)
        column = QVBoxLayout()
        column.setSpacing(4)
        for segment in segments:
            column.addLayout(self._segment_row(segment))
        self.column.addLayout(column)

    def _segment_row(self, segment: Segment) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(8)
        swatch = PlainLabel()
        swatch.setPixmap(_swatch(segment_color(self._source, segment).name(), self.devicePixelRatioF()))
        row.addWidget(swatch)
        name = self._words(segment_word(segment)) or tr("Segment {n}").format(n=segment.number)
        row.addWidget(ElidedLabel(name), 1)
        eye = self.eyes[segment.number] = _tool("eye", tr("Show or hide {name}").format(name=name))
        eye.setCheckable(True)
        eye.clicked.connect(lambda: self._toggle(segment.number))
        row.addWidget(eye)
        return row

    def _toggle(self, number: int) -> None:
        self._change("hidden", self._layer.hidden ^ {number})

    def _use_range(self) -> None:
        if self._is_showing or not any(field.isModified() for field in self.ends):
            return
        for field in self.ends:
            field.setModified(False)
        low, high = (QLocale.c().toDouble(field.text())[0] for field in self.ends)
        self._change("range", (low, high))
        self.show_layer(self._layer)  # what was refused does not stay

    def _change(self, name: str, value: object, *, gesture: str = "") -> None:
        if not self._is_showing:
            self.requested.emit("layer.change", LayerChange(self._key, {name: value}, gesture))


def _tool(icon_name: str, words: str) -> QToolButton:
    made = QToolButton()
    made.setProperty("kind", "quiet")
    made.setIcon(icon(icon_name))
    made.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    set_tooltip(made, words)
    return made


def _swatch(color: str, ratio: float) -> QPixmap:
    """A small square of a colour, with a line around it that shows it on any ground."""
    made = QPixmap(round(_SWATCH_PX * ratio), round(_SWATCH_PX * ratio))
    made.setDevicePixelRatio(ratio)
    made.fill(color)
    painter = QPainter(made)
    painter.setPen(theme.color(theme.tokens().edge))
    painter.drawRect(QRectF(0.5, 0.5, _SWATCH_PX - 1, _SWATCH_PX - 1))
    painter.end()
    return made


def _swatch_of_map(name: str) -> QIcon:
    """A strip of a colour map, the lower end left."""
    bar: QImage = bar_image(name).transformed(_QUARTER)
    return QIcon(QPixmap.fromImage(bar.scaled(96, 24)))
