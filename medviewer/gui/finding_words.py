"""What a finding is called on screen, in the language in use."""

from __future__ import annotations

from medviewer.app.state import State
from medviewer.gui.text import tr_pick, visible


def finding_title(state: State, label: str) -> str:
    """The title that the chosen model's card gives a label; the label itself where the card is not there any more."""
    return visible(tr_pick(state.finding_titles.get((state.model_id, label), label)))
