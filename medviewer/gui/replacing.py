"""What a yes to a new model does to the one that is in use, in words."""

from __future__ import annotations

from medviewer.app.model_shelf import reasons
from medviewer.gui.text import tr, visible
from medviewer.inference.installing import Candidate, ModelStore


def replacing_words(store: ModelStore, candidate: Candidate, title: str) -> str:
    """Which version takes the place of which, and how the other one comes back."""
    if candidate.replaces is None or store.is_own(candidate.replaces):
        words = tr("{title} {new} takes the place of {old}, which is kept and comes back with “Version before”.")
    else:  # it is never touched, and no version before: only hidden by the new one
        words = tr("{title} {new} takes the place of {old}, which came with MedViewer and comes back with “Remove”.")
    return words.format(title=visible(title), **reasons(candidate))
