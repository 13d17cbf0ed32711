"""A finished model whose networks are kept byte for byte, while what is measured around them is made anew.

Weights are large and stay in the history of the repository for ever; a better
statistic or another figure is no reason to publish them again.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medviewer.domain.errors import InputError
from medviewer.inference.card import read_card
from medviewer.inference.loading import read_file
from medviewer.training.data import ClassFolders


def copy_networks(model: Path, folder: Path) -> dict[str, Any]:
    """Copy what was trained, and only that, into another folder.

    Args:
        model: a finished model folder.
        folder: receives the networks and the reference.

    Returns:
        The card to write, all but the files and the evidence, with the licence as
        :func:`medviewer.training.card.write_card` takes it.

    Raises:
        CardError, DigestError, UnsafeModelError: the model is not whole.
        InputError: it has no licence.
    """
    card = read_card(model)
    for file in (file for file in card.files if file.role not in ("ood", "neighbours")):
        (folder / file.path).write_bytes(read_file(model, file))
    document = copy.deepcopy(dict(card.document))
    for measured in ("files", "evidence", "subgroups"):
        document.pop(measured, None)
    try:
        document["licence_text"] = (model / "LICENSE").read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{model / 'LICENSE'} cannot be read ({error.strerror}); a model needs its licence."
        ) from error
    return document


def check_same_data(found: ClassFolders, document: Mapping[str, Any], model: Path) -> None:
    """Refuse images other than those that the model learned from.

    Statistics of other images would call the model's own training films strange, and its held-out
    patients might not be held out.

    Raises:
        InputError: the digest is not that on the card.
    """
    if found.digest != document["training"]["data_digest"]:
        raise InputError(f"{found.root} does not hold the images that {model} learned from; give it the same folder.")
