"""Puts what was measured of a model's explanations on its card; the networks stay as they are."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medviewer.domain.errors import CardError
from medviewer.inference.card import read_card
from medviewer.inference.card_json import CARD_NAME
from medviewer.inference.signing import replace_card
from medviewer.training.card_page import MADE, readme
from medviewer.whole_file import write_whole

README_NAME = "README.md"


def write_sanity(model: Path, sanity: Mapping[str, Any]) -> tuple[str, bool]:
    """Write ``explain.sanity`` on a model's card, raise its version, and bring its page up to date.

    A signature was of the old card: it is removed with the change (:func:`replace_card`).

    Args:
        model: the model folder.
        sanity: of :func:`medviewer.training.assess.assess`.

    Returns:
        The new version, and whether a signature was removed.

    Raises:
        CardError: the card has become that of another network since, or would not be valid; nothing is changed.
        StorageError: the folder cannot be written; nothing is changed.
    """
    card = read_card(model)
    if card.sha256 != sanity["network_sha256"]:
        raise CardError(f"The network of {card.id} was replaced while it was assessed; assess it again.")
    version = next_version(card.version)
    explain = {**card.document.get("explain", {}), "sanity": dict(sanity)}
    document = {**card.document, "version": version, "explain": explain}
    content = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    with tempfile.TemporaryDirectory(prefix="medviewer-card-") as folder:
        trial = Path(folder) / model.name
        trial.mkdir()
        (trial / CARD_NAME).write_text(content, encoding="utf-8")
        read_card(trial)
    was_signed = replace_card(model, content.encode())
    page = model / README_NAME
    if page.is_file() and MADE in page.read_text(encoding="utf-8", errors="replace"):
        write_whole(page, readme(document).encode())
    return version, was_signed


def next_version(version: str) -> str:
    """The version with its last number raised; what follows the numbers is left out.

    >>> next_version("1.0.9"), next_version("2.1.0-beta")
    ('1.0.10', '2.1.1')
    """
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if found is None:
        raise CardError(f"The version “{version}” on the card is no version; it should read like 1.0.0.")
    return f"{found[1]}.{found[2]}.{int(found[3]) + 1}"
