"""A model's card for people: whose it is, what it is for, how well it does, and what nobody knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from PySide6.QtWidgets import QWidget

from medviewer.gui.cards import Card as CardBox
from medviewer.gui.cards import Disclosure, FactRow, SignalRow, section
from medviewer.gui.text import PlainLabel, tr, tr_pick, visible
from medviewer.inference.card import Card, Text
from medviewer.inference.catalogue import Entry
from medviewer.inference.installing import Origin

_NAME_PX = 120


def model_card(entry: Entry, origin: Origin, *, is_own: bool) -> CardBox:
    """All that a reader should know of a model before using it."""
    box = CardBox(signal="caution" if entry.problem else "")
    card = entry.card
    if card is None:
        box.add(PlainLabel(visible(entry.id), "title", wrap=True))
        box.add(SignalRow("caution", tr(entry.problem), word=tr("This model cannot be used")))
        return box
    box.add(PlainLabel(visible(_say(card.title)), "title", wrap=True))
    box.add(_signature(entry))
    box.add(*_facts(card, origin, is_own=is_own))
    for title, text in (
        (tr("It is for"), card.intended_use),
        (tr("It is not for"), card.not_for),
        (tr("Validated on"), card.population.site),
    ):
        box.add(section(title), PlainLabel(visible(_say(text)), wrap=True))
    box.add(*_reservations(card))
    box.add(_details(card))
    return box


def state_words(entry: Entry) -> str:
    """The state of a model in a word: verified by whom, unverified, or of no use."""
    if entry.problem:
        return tr("cannot be used")
    return tr("verified: {who}").format(who=visible(entry.signer.name)) if entry.signer.name else tr("unverified")


def _signature(entry: Entry) -> QWidget:
    signer = entry.signer
    if signer.name:
        words = tr("Signed by {who}, whose key you trust.").format(who=visible(signer.name))
        return SignalRow("good", words, word=tr("Verified"))
    if signer.key:
        words = tr("Signed by a key that you have not said you trust: {key}").format(key=_grouped(signer.key))
        return SignalRow("caution", words, word=tr("Unverified"))
    words = tr("The files match the model's card, but no publisher that you trust has signed it.")
    return SignalRow("caution", words, word=tr("Unverified"))


def _facts(card: Card, origin: Origin, *, is_own: bool) -> Iterator[QWidget]:
    spec = card.inputs[0]
    kinds = " · ".join(", ".join(codes) for codes in (spec.modality, spec.body_part, spec.view) if codes)
    yield FactRow(tr("Version"), f"{card.id} {card.version}", name_px=_NAME_PX)
    if origin.installed:
        words = tr("installed {date} from {source}").format(date=origin.installed[:10], source=visible(origin.source))
    else:
        words = tr("put there by hand") if is_own else tr("came with MedViewer")
    yield FactRow(tr("Where from"), words, name_px=_NAME_PX)
    if kinds:
        yield FactRow(tr("Images"), kinds, name_px=_NAME_PX)
    labels = ", ".join(visible(_say(card.title_of(target))) for target in card.targets)
    yield FactRow(tr("Findings"), labels, name_px=_NAME_PX)
    yield FactRow(tr("Licence"), visible(str(card.licences.get("weights", ""))), name_px=_NAME_PX)


def _reservations(card: Card) -> Iterator[QWidget]:
    if card.calibration is not None and card.calibration.method == "none":
        yield SignalRow("caution", tr("Its numbers are not calibrated: they are no probabilities."))
    if not card.evidence:
        yield SignalRow("caution", tr("Nobody has measured how often it is right."))
    explain: Any = card.document.get("explain") or {}
    reason = explain.get("without_gradients")
    if reason:
        words = tr("No heat maps that need gradients.") + " " + visible(tr_pick(reason))
        yield SignalRow("info", words)


def _details(card: Card) -> Disclosure:
    details = Disclosure(tr("Details"))
    column = details.content
    column.addWidget(FactRow(tr("Model file"), _grouped(card.sha256), name_px=_NAME_PX))
    methods = ", ".join(card.explain.methods) if card.explain else "occlusion"
    column.addWidget(FactRow(tr("Heat maps"), methods, name_px=_NAME_PX))
    for evidence in card.evidence:
        metrics = ", ".join(f"{name} {metric['value']:.3f}" for name, metric in evidence["metrics"].items())
        data = evidence["data"] if isinstance(evidence["data"], str) else tr_pick(evidence["data"])
        column.addWidget(FactRow(f"n = {evidence['n']}", f"{visible(data)}: {metrics}", name_px=_NAME_PX))
    return details


def _say(text: Text) -> str:
    return tr_pick({"en": text.en, "zh": text.zh or text.en})


def _grouped(digest: str) -> str:
    return " ".join(digest[i : i + 4] for i in range(0, 32, 4)) + " …"
