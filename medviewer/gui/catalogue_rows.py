"""What the panels list: the models of the catalogue and the ways to ask them where they looked."""

from __future__ import annotations

from medviewer.app.application import Application
from medviewer.app.model_choice import refusal
from medviewer.app.record_models import is_for_screen
from medviewer.app.state import Selection
from medviewer.explain.methods import METHODS
from medviewer.gui.findings_panel import MethodRow, ModelRow
from medviewer.gui.trust_panel import Validation
from medviewer.inference.card import Card
from medviewer.inference.catalogue import Entry
from medviewer.inference.predictive import accuracy_of


def model_rows(app: Application) -> list[ModelRow]:
    """Every model of images and of stacks of slices, also those that cannot be used, with the reason.

    Models of recorded values stand beside the record.
    """
    entries = app.engine.catalogue.entries
    return [row_of(entry) for entry in entries if entry.card is None or is_for_screen(entry.card)]


def row_of(entry: Entry) -> ModelRow:
    """What is shown of one model."""
    card = entry.card
    title = {"en": card.title.en, "zh": card.title.zh} if card is not None else entry.id
    known = (*_purpose(card), _finding_titles(card), _site(card))

    def refusal_of(now: Selection, language: str) -> str:
        return refusal(card, now.image, now.stack.volume_at(now.index), language) if card is not None else ""

    return ModelRow(
        entry.id, title, entry.problem, *known,
        validation=_validation(card), worth=_worth(card), refusal=refusal_of,
    )  # fmt: skip


def _purpose(card: Card | None) -> tuple[dict[str, str], dict[str, str]]:
    """What a model is for and not for, by language; empty if its card cannot be read."""
    if card is None:
        return {}, {}
    texts = (card.intended_use, card.not_for)
    use, no_use = ({"en": text.en, "zh": text.zh} for text in texts)
    return use, no_use


def _site(card: Card | None) -> dict[str, str]:
    """Where a model was validated, by language."""
    site = card.population.site if card is not None else None
    return {"en": site.en, "zh": site.zh} if site is not None else {}


def _validation(card: Card | None) -> Validation | None:
    """On whom a model was validated, and how often it was right there."""
    if card is None:
        return None
    found = {label.name: accuracy_of(card, label.name) for label in card.labels}
    accuracy = {name: one for name, one in found.items() if one is not None}
    # Of several views none is the one that the image on screen should have.
    views = card.inputs[0].view if sum(spec.kind == "image" for spec in card.inputs) == 1 else ()
    return Validation(
        card.population.age_years, card.population.sexes, views, accuracy, is_of_one_image=card.is_of_one_image
    )


def _worth(card: Card | None) -> dict[str, dict[str, str]]:
    """What was found of each explanation method over many images, by method and language."""
    verdicts = card.explain.verdicts if card is not None and card.explain is not None else {}
    return {method: {"en": text.en, "zh": text.zh} for method, text in verdicts.items()}


def _finding_titles(card: Card | None) -> dict[str, dict[str, str]]:
    labels = card.labels if card is not None else ()
    return {label.name: {"en": label.title.en, "zh": label.title.zh} for label in labels}


def method_rows(app: Application | None = None) -> list[MethodRow]:
    """Every method, in the order of the table; with an application, the models of its catalogue that each suits."""
    entries = app.engine.catalogue.entries if app is not None else ()
    cards = [entry.card for entry in entries if entry.card is not None]
    return [
        MethodRow(
            method.id,
            {"en": method.title, "zh": method.title_zh},
            frozenset(card.id for card in cards if method.suits(card)) if app is not None else None,
        )
        for method in METHODS
    ]
