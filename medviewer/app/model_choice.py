"""Which model is ready for the image on screen, while the reader has chosen none that may be asked about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from medviewer.app.record_models import is_for_screen
from medviewer.app.state import State
from medviewer.domain.study import Image, Stack
from medviewer.inference.card import Card
from medviewer.inference.inputs.volume import stack_input
from medviewer.inference.suitability import joint_unsuited_because, stack_unsuited_because
from medviewer.inference.variants import is_variant

if TYPE_CHECKING:
    from medviewer.app.application import Application


def suited_model(cards: Sequence[Card], chosen: str, image: Image, stack: Stack | None = None) -> str:
    """The chosen model, unless it would refuse the image by its header and another one would not.

    Args:
        cards: of the models that can be used, in the order in which they are listed.
        chosen: the id of the model that is chosen now; empty if there is none.
        image: on screen.
        stack: the volume that it is of, for models that look at all of it; None for the image alone.
    """
    of_images = [card for card in cards if is_for_screen(card)]
    now = next((card for card in of_images if card.id == chosen), None)
    if now is not None and (len(of_images) == 1 or not refusal(now, image, stack)):
        return chosen
    offered = [card for card in of_images if not is_variant(card.id)]
    offered.sort(key=lambda card: len(card.inputs) > 1)  # what needs nothing beside the image is ready first
    return next((card.id for card in offered if not refusal(card, image, stack)), chosen)


def refusal(card: Card, image: Image, stack: Stack | None = None, language: str = "en") -> str:
    """Why a model would give no result of what is on screen, as far as its header tells; empty if it may.

    Args:
        card: of a model of images or of stacks.
        image: on screen.
        stack: the volume that it is of; None for the image alone.
        language: of the sentence.
    """
    if stack_input(card) is not None:
        return stack_unsuited_because(stack or Stack((image,)), card, language)
    return joint_unsuited_because(image, card, language)  # the window has the patient's record beside it


class ModelChooser:
    """Watches for another series on screen. What the reader chose stays wherever it may be asked."""

    def __init__(self, app: Application) -> None:
        self._app = app

    def watch(self, old: State, new: State) -> None:
        """Choose anew where the images are others."""
        if old.selection is None or new.selection is None or old.selection.series is not new.selection.series:
            self.choose(new)

    def choose(self, state: State) -> None:
        """Have a model ready that may be asked about the image on screen, once it is known which models there are."""
        now = state.selection
        if now is None or not self._app.has_models:
            return
        cards = [entry.card for entry in self._app.engine.catalogue.entries if entry.card is not None]
        model_id = suited_model(cards, state.model_id, now.image, now.stack.volume_at(now.index))
        if model_id != state.model_id:
            self._app.session.update(model_id=model_id, provider="")
