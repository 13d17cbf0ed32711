"""How each kind of data reaches a network: one module a kind, all with the functions of :class:`Adapter`."""

from __future__ import annotations

from collections.abc import Mapping

from medviewer.inference.inputs import image, molecule, series, table, text, volume
from medviewer.inference.inputs.adapter import Adapter

INPUTS: Mapping[str, Adapter] = {
    "image": image,
    "volume": volume,
    "series": series,
    "text": text,
    "table": table,
    "molecule": molecule,
}
"""Kind of input, as a card names it, to its module."""
