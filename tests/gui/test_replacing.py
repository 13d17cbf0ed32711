"""What a yes to a new model does to the one in use: the way back is the one that there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from medviewer.gui.replacing import replacing_words
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.installing import Candidate, ModelStore
from medviewer.inference.signing import Signer
from tests import fakes


@pytest.mark.parametrize(
    ("place", "says"),
    [("home/models", "is kept and comes back with “Version before”"), ("bundled", "comes back with “Remove”")],
)
def test_the_way_back_is_said_as_it_is(tmp_path: Path, place: str, says: str) -> None:
    fakes.make_model(tmp_path / place / fakes.MODEL_ID)
    (old,) = Catalogue([tmp_path / place]).entries
    (new,) = Catalogue([fakes.make_model(tmp_path / "new" / "m", version="2.0.0").parent]).entries
    assert new.card is not None
    candidate = Candidate(new.folder, new.card, Signer(), old)
    words = replacing_words(ModelStore(tmp_path / "home", tmp_path / "bundled"), candidate, "Chest")
    assert words.startswith("Chest 2.0.0 takes the place of 1.2.3, which ")
    assert says in words
