"""What a method of explaining says of its own error, in words."""

from __future__ import annotations

import math

from medviewer.domain.answer import Attribution
from medviewer.gui.text import tr


def own_error_words(attribution: Attribution) -> str:
    """The method's own error, for people; empty where it has none of its own.

    A completeness gap is a share of how far the answer moves from the grey image to this one: where it does not
    move, the gap is a share of nothing, which is no number.
    """
    error = attribution.error
    if error is None:
        return ""
    name = tr(attribution.error_name)
    if not math.isfinite(error):
        words = tr("The method's own error: {name} is not defined here, because the network's answer does not change.")
        return words.format(name=name)
    return tr("The method's own error: {name} {error}%").format(name=name, error=f"{error * 100:.2g}")
