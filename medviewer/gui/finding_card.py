"""What a model said, as a card: the finding, how sure, how far it can be believed; or why there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from medviewer.domain.answer import Answer, Finding, GuardResult, Provenance, probability_words
from medviewer.gui import theme
from medviewer.gui.buttons import WrappingButton
from medviewer.gui.cards import Card, Disclosure, FactRow, SignalRow, line, section
from medviewer.gui.icons import IconLabel
from medviewer.gui.probability_bar import ProbabilityBar
from medviewer.gui.text import ElidedLabel, PlainLabel, set_tooltip, tr

_CONFIRMABLE = frozenset({"secondary_capture", "burnt_in_annotation", "age.contradiction"})
Confirm = Callable[[str], None]


def finding_card(finding: Finding, answer: Answer, title: str, model_title: str) -> Card:
    """One finding: its name, the model's, its probability, what the threshold means."""
    card = Card()
    head = QHBoxLayout()
    head.setSpacing(8)
    names = QVBoxLayout()
    names.setSpacing(0)
    names.addWidget(PlainLabel(title, "title", wrap=True))
    names.addWidget(PlainLabel(model_title, "small", wrap=True))
    head.addLayout(names, 1)
    head.addWidget(_flag(finding), 0, Qt.AlignmentFlag.AlignTop)
    card.column.addLayout(head)
    value = QHBoxLayout()
    value.setSpacing(8)
    value.addWidget(PlainLabel(probability_words(finding.probability, finding.threshold), "value"))
    value.addWidget(PlainLabel(number_kind(answer), "secondary"), 1, Qt.AlignmentFlag.AlignVCenter)
    card.column.addLayout(value)
    card.add(ProbabilityBar(finding))
    card.add(*_stability(finding, answer))
    if finding.meaning:
        card.add(section(tr("What the threshold means")), PlainLabel(finding.meaning, wrap=True))
    return card


def has_reservation(answer: Answer) -> bool:
    """Whether a check doubts that the model fits this patient, or nothing was checked at all."""
    return not answer.guards or any(guard.level == "warn" for guard in answer.guards)


def fit_card(answer: Answer, confirm: Confirm, validated_on: str) -> Card:
    """How far the answer can be believed for this patient: what was checked, where the model was validated."""
    card = Card()
    card.add(section(tr("Does the model fit this patient?")), *_checks(answer, confirm))
    if validated_on:
        card.add(line(), *_where(validated_on, is_open=not has_reservation(answer)))
    return card


def _where(validated_on: str, *, is_open: bool) -> Iterator[QWidget]:
    """Where the model was validated; above the number, where doubts stand, its first words until it is unfolded."""
    whole = Disclosure(tr("Validated on"), is_open=is_open)
    whole.content.addWidget(PlainLabel(validated_on, wrap=True))
    first_words = ElidedLabel(validated_on, "secondary")
    first_words.setVisible(not is_open)
    whole.toggled.connect(lambda unfolded: first_words.setVisible(not unfolded))
    yield whole
    yield first_words


def origin_card(answer: Answer) -> Card:
    """Which model made the answer, and where and when it ran."""
    card = Card()
    card.add(section(tr("Made by")), *_origin(answer))
    return card


def abstained_card(answer: Answer, confirm: Confirm) -> Card:
    """An abstention: what was missing and what would help."""
    card = Card(signal="caution")
    card.add(SignalRow("caution", "", word=tr("The model gave no answer")))
    card.add(PlainLabel(answer.model_title, "small", wrap=True))
    stopped = [g for g in answer.guards if g.level == "abstain"]
    card.add(section(tr("What stopped it")))
    for guard in stopped:
        card.add(SignalRow("alarm", guard.text))
    card.add(section(tr("What would help")))
    for words in dict.fromkeys(what_would_help(g.code) for g in stopped):
        card.add(PlainLabel("•  " + words, wrap=True))
    others = [g for g in answer.guards if g.level != "abstain"]
    if others:
        card.add(line(), section(tr("Also checked")))
        can_be_settled = all(is_confirmable(g.code) for g in stopped)
        card.add(*_checks(answer, confirm if can_be_settled else None))
    return card


def speaks_chinese(answer: Answer) -> bool:
    """Whether the sentences that came with the answer are Chinese: they stay in the language of the question."""
    said = (answer.model_title, answer.validated_on, *(g.text for g in answer.guards))
    return any("\u4e00" <= c <= "\u9fff" for text in (*said, *(f.meaning for f in answer.findings)) for c in text)


def is_confirmable(code: str) -> bool:
    """Whether a guard doubts something that the reader may know and confirm once."""
    return code.endswith(".unknown") or code in _CONFIRMABLE


def what_would_help(code: str) -> str:
    """What a reader can do about a guard that stopped the model, by its code or the first part of that."""
    original = tr("Choose the original greyscale image, not a colour copy or a screenshot.")
    words = {
        "no_image": tr("Open an image first."),
        "modality": tr("Choose an image of the kind that the model was made for, or another model."),
        "body_part": tr("Choose an image of the body part that the model was made for, or another model."),
        "view": tr("Choose an image in the view that the model was made for, for example a frontal one."),
        "color": original,
        "spacing": tr("Choose an image whose pixels are as large as the model needs them."),
        "photometric_interpretation": original,
        "sop_class": original,
        "image.uid.duplicate": tr("Two files claim to be this image: keep only one of the two files."),
        "image": tr("Ask for the file to be sent again: it must be whole."),
        "range": original,
        "flat": tr("Choose an image that shows something: this one is empty, or its own window hides what it holds."),
        "uneven_volume": tr("Choose a series that has all of its slices, at even distances and not tilted."),
        "oblique_volume": tr("Choose a series that lies along the axes of the body."),
        "slice_spacing": tr("Choose a series with slices as the model needs them."),
        "slice_count": tr("Choose a series with slices as the model needs them."),
        "age": tr("Choose a model that was validated for patients of this age."),
        "out_of_distribution": tr(
            "The image is unlike those that the model learned from. Check that it is whole, upright and original."
        ),
    }
    known = words.get(code) or words.get(code.split(".", maxsplit=1)[0])
    return known or tr("Choose another image or another model.")


def confirm_words(code: str) -> str:
    """The words of the button that confirms what the file leaves open."""
    words = {
        "view": tr("Confirm: this is the view the model needs"),
        "body_part": tr("Confirm: this is the body part the model needs"),
        "modality": tr("Confirm: this is the kind of image the model needs"),
        "age": tr("Confirm: the patient's age fits the model"),
        "sex": tr("Confirm: the patient's sex fits the model"),
        "spacing": tr("Confirm: the pixels are as large as the model needs them"),
        "secondary_capture": tr("Confirm: it shows the whole, unmarked image"),
        "burnt_in_annotation": tr("Confirm: the text hides nothing of importance"),
    }
    return words.get(code.split(".", maxsplit=1)[0], tr("Confirm: this image fits the model"))


def _checks(answer: Answer, confirm: Confirm | None) -> Iterator[QWidget]:
    """The reservations one by one, each with its confirmation if it has one; what passed, folded.

    Without ``confirm`` nothing is offered: the reader's word would not bring an answer.
    """
    warnings = [g for g in answer.guards if g.level == "warn"]
    for guard in warnings:
        yield SignalRow("caution", guard.text)
        if confirm is not None and is_confirmable(guard.code):
            chosen = WrappingButton(confirm_words(guard.code), "check")
            set_tooltip(chosen, tr("Your word is kept beside the result, and the model runs again."))
            chosen.clicked.connect(lambda _checked=False, code=guard.code: confirm(code))
            yield chosen
    passed = [g for g in answer.guards if g.level == "ok"]
    if passed:
        yield _passed(passed)
    if not answer.guards:
        yield SignalRow("caution", tr("Nothing was checked before this answer."))


def _flag(finding: Finding) -> QWidget:
    t = theme.tokens()
    badge = QWidget()
    badge.setProperty("kind", "clear")
    row = QHBoxLayout(badge)
    row.setContentsMargins(0, 2, 0, 0)
    row.setSpacing(4)
    if finding.flagged:
        row.addWidget(IconLabel("flag", t.caution))
        row.addWidget(PlainLabel(tr("flagged"), "caution"))
    else:
        row.addWidget(IconLabel("circle-minus", t.secondary))
        row.addWidget(PlainLabel(tr("not flagged"), "strong"))
    return badge


def _stability(finding: Finding, answer: Answer) -> Iterator[QWidget]:
    if finding.stability is None:
        yield PlainLabel(tr("How stable this is was not computed."), "small", wrap=True)
        return
    low, high = finding.stability
    words = tr("{low} to {high} under small changes of the image that do not change what it shows").format(
        low=probability_words(low, finding.threshold), high=probability_words(high, finding.threshold)
    )
    yield PlainLabel(words, "small", wrap=True)
    is_said = any(g.code == "stability" for g in answer.guards)
    if low < finding.threshold <= high and not is_said:
        words = tr("Small changes of the image move it across the threshold: do not rely on the flag.")
        yield SignalRow("caution", words)


def _passed(passed: list[GuardResult]) -> QWidget:
    words = tr("1 check passed") if len(passed) == 1 else tr("{n} checks passed").format(n=len(passed))
    unfolding = Disclosure(words, level="good")
    for guard in passed:
        unfolding.content.addWidget(SignalRow("good", guard.text, word=""))
    return unfolding


def _origin(answer: Answer) -> Iterator[QWidget]:
    made = answer.provenance
    yield FactRow(tr("Model"), f"{made.model_id} {made.model_version}")
    yield signature_row(made)
    yield FactRow(tr("Ran on"), ran_on(made))
    details = Disclosure(tr("Details"))
    for name, value in _details(answer):
        details.content.addWidget(FactRow(name, value, name_px=72))
    yield details


def signature_row(made: Provenance) -> SignalRow:
    """Whether a publisher that the reader trusts stands for the model."""
    if made.is_verified:
        return SignalRow("good", tr("The model's signature is known."), word=tr("Verified"))
    words = tr("The files match the model's card, but no publisher that you trust has signed it.")
    return SignalRow("caution", words, word=tr("Unverified"))


def number_kind(answer: Answer) -> str:
    """What the number of a finding may be called."""
    return tr("calibrated probability") if answer.is_calibrated else tr("output of the network, no probability")


def ran_on(made: Provenance) -> str:
    """Where and how long the model ran, with the reason for the place; that it did not, if a guard stopped it."""
    if not made.provider:
        return tr("Not run: a check stopped it first")
    took = f"{made.elapsed_s * 1000:.0f} ms" if made.elapsed_s < 1 else f"{made.elapsed_s:.1f} s"
    place = made.provider.removesuffix("ExecutionProvider")
    return f"{place}, {took}" + (f" ({tr(made.provider_reason)})" if made.provider_reason else "")


def _details(answer: Answer) -> Iterator[tuple[str, str]]:
    made = answer.provenance
    yield tr("Started"), made.started
    yield tr("Runtime"), made.runtime
    yield tr("Model file"), _grouped(made.model_sha256)
    yield tr("Input"), _grouped(made.input_sha256)
    for name, value in answer.calibration.items():
        yield name, f"{value:.3g}" if isinstance(value, float) else str(value)
    for name, version in made.versions.items():
        yield name, version


def _grouped(digest: str) -> str:
    """The start of a digest in groups that can be compared by eye."""
    return " ".join(digest[i : i + 4] for i in range(0, min(len(digest), 16), 4)) + (" …" if len(digest) > 16 else "")
