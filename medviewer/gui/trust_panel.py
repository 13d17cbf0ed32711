"""How far a finding can be believed, to be read in ten seconds: four signs, this patient beside the validated, people.

Everything here is also said in sentences elsewhere in the panel; this is the picture of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QBrush, QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from medviewer.app.state import Selection
from medviewer.app.told import age_of
from medviewer.domain.answer import Answer, Finding, GuardResult, Neighbours
from medviewer.domain.frozen import dataclass
from medviewer.gui import theme
from medviewer.gui.cards import Card, Level, SignalRow, StillSlider, level_color, line, section, shape_of
from medviewer.gui.icons import IconLabel
from medviewer.gui.text import PlainLabel, age_in_words, set_tooltip, sex_word, tr, tr_pick
from medviewer.inference.predictive import (
    PEOPLE,
    Accuracy,
    Bounded,
    counts,
    negative_predictive_value,
    positive_predictive_value,
)

FIRST_PREVALENCE = 0.2
"""Where the slider stands before the reader has moved it; the words say that it is a supposition."""

_ABOUT_TRAINING = ("out_of_distribution", "ood", "learned_from")  # guards
_LEAST, _MOST = 1, 90  # of a hundred people
_MOST_DECIMALS = 5


@dataclass(frozen=True, slots=True)
class Validation:
    """On whom a model was validated and how often it was right there, as its card says."""

    ages: tuple[float, float] | None = None
    sexes: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    accuracy: Mapping[str, Accuracy] = field(default_factory=dict)  # by label
    is_of_one_image: bool = True  # else no stability is measured, and its cases are stacks, or more than an image


@dataclass(frozen=True, slots=True)
class Sign:
    """One of the four signs: what it is about, how it stands, in a word or two."""

    name: str
    level: Level
    word: str


def signs(answer: Answer, finding: Finding) -> tuple[Sign, ...]:
    """How the checks stand, gathered into four; what was not checked says so."""
    about_patient = [g for g in answer.guards if g.code.split(".")[0] in ("age", "sex")]
    about_unusual = [g for g in answer.guards if g.code.split(".")[0] in _ABOUT_TRAINING]
    others = [g for g in answer.guards if g not in about_patient and g not in about_unusual and g.code != "stability"]
    return (
        _sign(tr("Kind of image"), others, tr("as expected")),
        _sign(tr("Patient"), about_patient, tr("as validated")),
        _sign(tr("Training images"), about_unusual, tr("nothing unusual found")),
        _steadiness(finding),
    )


def _sign(name: str, guards: Sequence[GuardResult], good: str) -> Sign:
    if not guards:
        return Sign(name, "info", tr("not checked"))
    if any(guard.level == "abstain" for guard in guards):
        return Sign(name, "alarm", tr("unsuitable"))
    if any(guard.level == "warn" for guard in guards):
        return Sign(name, "caution", tr("in doubt"))
    return Sign(name, "good", good)


def _steadiness(finding: Finding) -> Sign:
    name = tr("Under small changes")
    if finding.stability is None:
        return Sign(name, "info", tr("not checked"))
    low, high = finding.stability
    crosses = low < finding.threshold <= high
    return Sign(name, "caution", tr("crosses the threshold")) if crosses else Sign(name, "good", tr("same side"))


class TrustCard(Card):
    """How far one finding can be believed, for this patient.

    Args:
        answer: what the model said.
        finding: of that answer.
        validation: what the model's card says; None if it cannot be read.
        selection: the image on screen, for the patient's age, sex and view.
        prevalence: how common the finding is supposed to be, 0 to 1.
        changed: told when the reader moves the slider.
    """

    def __init__(
        self,
        answer: Answer,
        finding: Finding,
        validation: Validation | None,
        selection: Selection | None,
        prevalence: float,
        changed: Callable[[float], None],
    ) -> None:
        super().__init__()
        self._finding = finding
        self._tell = changed
        found = signs(answer, finding)
        self._is_unlike = any(sign.level in ("caution", "alarm") for sign in found[:3])  # all but steadiness
        self._named = PlainLabel("", "strong", wrap=True)
        self._named.hide()
        self.add(section(tr("How far can it be believed?")), self._named, _sign_grid(found))
        if finding.neighbours is not None:
            self.add(line(), section(tr("Training cases most like this one")), *_neighbours(finding.neighbours))
        if validation is not None:
            rows = list(_beside_each_other(validation, selection))
            if rows:
                self.add(line(), _comparison(rows))
            accuracy = validation.accuracy.get(finding.label)
            if accuracy is not None:
                self.add(line())
                self._add_people(accuracy, prevalence, validation)
            if not validation.is_of_one_image:
                unsteady = tr(
                    "How far the answer moves under small changes is not measured for this model: that is done for "
                    "models of a single image only."
                )
                self.add(line(), PlainLabel(unsteady, "small", wrap=True))
        words = tr("No warning does not mean that the model knows patients like this one.")
        self.add(line(), PlainLabel(words, "small", wrap=True))

    def name_finding(self, title: str) -> None:
        """Say which finding it is about, where the answer has others."""
        self._named.setText(title)
        self._named.show()

    def _add_people(self, accuracy: Accuracy, prevalence: float, validation: Validation) -> None:
        self._accuracy = accuracy
        self.add(section(tr("What the flag means")))
        self._supposed = PlainLabel("", wrap=True)
        self.slider = StillSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(_LEAST, _MOST)
        self.slider.setValue(round(PEOPLE * prevalence))
        set_tooltip(self.slider, tr("How many of 100 such patients have it where you work"))
        self.flagged, self.clear = People(), People()
        self.flagged.is_this_one, self.clear.is_this_one = self._finding.flagged, not self._finding.flagged
        self._flagged_words, self._clear_words = PlainLabel("", wrap=True), PlainLabel("", wrap=True)
        self.add(self._supposed, self.slider)
        for words, people in ((self._flagged_words, self.flagged), (self._clear_words, self.clear)):
            block = QVBoxLayout()
            block.setSpacing(2)
            block.addWidget(words)
            block.addWidget(people)
            self.column.addLayout(block)
        self.add(_key(), PlainLabel(_measured(accuracy, validation), "small", wrap=True))
        if self._is_unlike:
            unlike = tr("Measured on patients or images unlike this one: here it may be otherwise.")
            self.add(SignalRow("caution", unlike))
        self.slider.valueChanged.connect(self._moved)
        self._show_people()

    def _moved(self, people: int) -> None:
        self._show_people()
        self._tell(people / PEOPLE)

    def _show_people(self) -> None:
        sick = self.slider.value()
        found = counts(self._accuracy, sick / PEOPLE)
        right = positive_predictive_value(self._accuracy, sick / PEOPLE)
        safe = negative_predictive_value(self._accuracy, sick / PEOPLE)
        self._supposed.setText(tr("Suppose that {n} of 100 such patients have it:").format(n=sick))
        self._flagged_words.setText(
            tr("Flagged {n}, of whom {sick} have it: {share}").format(
                n=found.hit + found.false_alarm, sick=found.hit, share=share_words(right)
            )
        )
        self._clear_words.setText(
            tr("Not flagged {n}, of whom {well} do not have it: {share}").format(
                n=found.missed + found.cleared, well=found.cleared, share=share_words(safe)
            )
        )
        self.flagged.show_people(found.hit, found.false_alarm, self._flagged_words.text())
        self.clear.show_people(found.missed, found.cleared, self._clear_words.text())


def _neighbours(found: Neighbours) -> Iterator[QWidget]:
    """The nearest training cases as dots, and in words; where the model's errors among such were counted."""
    dots = People()
    dots.show_people(found.positive, found.n - found.positive, found.sentence)
    yield dots
    yield PlainLabel(found.sentence, wrap=True)
    if found.on:
        yield PlainLabel(tr("Counted on: {what}").format(what=tr(found.on)), "small", wrap=True)


def share_words(share: Bounded) -> str:
    """A share in per cent with its interval, neither ever rounded to certainty.

    >>> share_words(Bounded(0.996, 0.95, 1.0)), share_words(Bounded(0.9985, 0.9968, 0.9993))
    ('>99% (95–100%)', '>99% (99.7–99.9%)')
    """
    if share.value != share.value:  # nobody is flagged, or nobody is not
        return tr("not defined")
    value = 100 * share.value
    words = ">99%" if 99.5 <= value < 100 else "<1%" if 0 < value < 0.5 else f"{value:.0f}%"
    if share.low is None or share.high is None:
        return words
    return f"{words} ({_bound(100 * share.low)}–{_bound(100 * share.high)}%)"


def _bound(percent: float) -> str:
    """An end of an interval in whole per cent, with as many decimals as it takes not to read as none or as all."""
    shown = (f"{percent:.{decimals}f}" for decimals in range(_MOST_DECIMALS))
    return next((words for words in shown if float(words) not in (0, 100) or float(words) == percent), f"{percent:g}")


class People(QWidget):
    """People as dots, twenty in a row: full ones have the finding, rings do not."""

    IN_A_ROW = 20
    _PITCH = 14.0
    _BAR = 8.0  # room on the left for the sign of this patient

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.sick, self.well = 0, 0
        self.is_this_one = False  # this patient is one of these
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_people(self, sick: int, well: int, words: str) -> None:
        """Draw so many with the finding and so many without."""
        self.sick, self.well = sick, well
        self.setAccessibleName(words)
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """As many rows as are needed, one at least."""
        rows = max(1, -(-(self.sick + self.well) // self.IN_A_ROW))
        return QSize(int(self._BAR + self.IN_A_ROW * self._PITCH), int(rows * self._PITCH) + 2)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802, ARG002 - Qt's name and arguments
        """Draw them."""
        t = theme.tokens()
        painter = QPainter(self)
        try:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            if self.is_this_one:
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(theme.color(t.accent))
                painter.drawRoundedRect(QRectF(0, 1, 3, self.height() - 2), 1.5, 1.5)
            tint = theme.color(t.text if self.is_this_one else t.secondary)
            for number in range(self.sick + self.well):
                row, column = divmod(number, self.IN_A_ROW)
                at = QPointF(self._BAR + (column + 0.5) * self._PITCH, 1 + (row + 0.5) * self._PITCH)
                draw_person(painter, at, tint, is_sick=number < self.sick)
        finally:
            painter.end()


def draw_person(painter: QPainter, at: QPointF, tint: QColor, *, is_sick: bool) -> None:
    """One dot, full or a ring: the shape says it, not the colour."""
    painter.setPen(QPen(tint, 1.4))
    painter.setBrush(QBrush(tint) if is_sick else QBrush(Qt.BrushStyle.NoBrush))
    painter.drawEllipse(at, 4.2, 4.2)


class _Dot(QWidget):
    """One dot for the key."""

    def __init__(self, *, is_sick: bool) -> None:
        super().__init__()
        self._is_sick = is_sick
        self.setFixedSize(12, 12)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802, ARG002 - Qt's name and arguments
        """Draw it."""
        painter = QPainter(self)
        try:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            draw_person(painter, QPointF(6, 6), theme.color(theme.tokens().secondary), is_sick=self._is_sick)
        finally:
            painter.end()


class _Bar(QWidget):
    """The sign of this patient, for the key."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedSize(4, 12)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802, ARG002 - Qt's name and arguments
        """Draw it."""
        painter = QPainter(self)
        try:
            painter.fillRect(QRectF(0, 0, 3, 12), theme.color(theme.tokens().accent))
        finally:
            painter.end()


def _key() -> QWidget:
    """What the dots mean."""
    made = QWidget()
    made.setProperty("kind", "clear")
    row = QHBoxLayout(made)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(4)
    for mark, words in (
        (_Dot(is_sick=True), tr("has it")),
        (_Dot(is_sick=False), tr("does not")),
        (_Bar(), tr("this patient's group")),
    ):
        row.addWidget(mark)
        row.addWidget(PlainLabel(words, "small"))
        row.addSpacing(8)
    row.addStretch(1)
    return made


def _measured(accuracy: Accuracy, validation: Validation) -> str:
    """From what the figures come."""
    words = tr("From sensitivity {sensitivity} and specificity {specificity}, measured on {n} images: {on}.")
    if not validation.is_of_one_image:
        words = tr("From sensitivity {sensitivity} and specificity {specificity}, measured on {n} cases: {on}.")
    on = tr_pick({"en": accuracy.on.en, "zh": accuracy.on.zh})
    return words.format(
        sensitivity=share_words(accuracy.sensitivity),
        specificity=share_words(accuracy.specificity),
        n=accuracy.n,
        on=on.rstrip(".。"),
    )


def _sign_grid(all_signs: Sequence[Sign]) -> QWidget:
    """The signs two by two."""
    made = QWidget()
    made.setProperty("kind", "clear")
    grid = QGridLayout(made)
    grid.setContentsMargins(0, 0, 0, 0)
    grid.setHorizontalSpacing(8)
    grid.setVerticalSpacing(8)
    for number, sign in enumerate(all_signs):
        grid.addWidget(_tile(sign), number // 2, number % 2, Qt.AlignmentFlag.AlignTop)
    for column in (0, 1):
        grid.setColumnStretch(column, 1)
    return made


def _tile(sign: Sign) -> QWidget:
    made = QWidget()
    made.setProperty("kind", "clear")
    row = QHBoxLayout(made)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(8)
    row.addWidget(IconLabel(shape_of(sign.level), level_color(sign.level)), 0, Qt.AlignmentFlag.AlignTop)
    column = QVBoxLayout()
    column.setSpacing(0)
    column.addWidget(PlainLabel(sign.name, "secondary", wrap=True))
    column.addWidget(PlainLabel(sign.word, sign.level if sign.level != "info" else "strong", wrap=True))
    row.addLayout(column, 1)
    made.setAccessibleName(f"{sign.name}: {sign.word}")
    return made


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    validated: str
    patient: str
    is_inside: bool | None  # None: nobody knows


def _beside_each_other(validation: Validation, selection: Selection | None) -> Iterator[_Row]:
    """This patient beside the validated, line by line; only what the card says."""
    if selection is None:
        return
    unknown = tr("unknown")
    if validation.ages is not None:
        low, high = validation.ages
        age = age_of(selection.patient, selection.study).years
        words = age_in_words(age) if age is not None else unknown
        span = tr("{low} to {high} years").format(low=f"{low:g}", high=f"{high:g}")
        yield _Row(tr("Age"), span, words, None if age is None else low <= age < high + 1)
    if validation.sexes:
        sex = selection.patient.sex.strip().upper()
        known = ", ".join(sex_word(code) for code in validation.sexes)
        yield _Row(tr("Sex"), known, sex_word(sex) or unknown, sex in validation.sexes if sex else None)
    if validation.views:
        view = selection.image.description.view_position.strip().upper()
        yield _Row(tr("View"), ", ".join(validation.views), view or unknown, view in validation.views if view else None)


def _comparison(rows: Sequence[_Row]) -> QWidget:
    made = QWidget()
    made.setProperty("kind", "clear")
    grid = QGridLayout(made)
    grid.setContentsMargins(0, 0, 0, 0)
    grid.setHorizontalSpacing(8)
    grid.setVerticalSpacing(4)
    for column, words in ((1, tr("validated")), (2, tr("this patient"))):
        grid.addWidget(PlainLabel(words, "small", wrap=True), 0, column)
    for number, row in enumerate(rows, 1):
        level: Level = "info" if row.is_inside is None else "good" if row.is_inside else "caution"
        grid.addWidget(PlainLabel(row.name, "secondary", wrap=True), number, 0)
        grid.addWidget(PlainLabel(row.validated, wrap=True), number, 1)
        grid.addWidget(PlainLabel(row.patient, level if level != "info" else "strong", wrap=True), number, 2)
        grid.addWidget(IconLabel(shape_of(level), level_color(level)), number, 3)
    grid.setColumnStretch(1, 1)
    grid.setColumnStretch(2, 1)
    return made
