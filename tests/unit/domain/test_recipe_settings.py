"""Settings as text: read as what they replace, and refused in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from medviewer.domain.errors import UsageError
from medviewer.domain.recipe_settings import PathSetting, kind_of, read_settings, read_value

DEFAULTS: dict[str, Any] = {"batch": 32, "rate": 0.01, "mixed": True, "sizes": (160, 224), "word": "a"}
PATHS = {
    "weights": PathSetting("file", {}),
    "beside": PathSetting("folder", {}),
    "curves": PathSetting("folder", {}, is_read=False),
    "refresh": PathSetting("folder", {}),
}


def test_each_value_is_read_as_the_kind_that_it_replaces(tmp_path: Path) -> None:
    (tmp_path / "w").touch()
    given = {"batch": "8", "rate": "1", "mixed": "False", "sizes": "(96,)", "word": "b"}
    paths = {"weights": str(tmp_path / "w"), "beside": str(tmp_path), "curves": str(tmp_path / "new")}
    values, places = read_settings(DEFAULTS, given | paths, PATHS)
    assert values == {"batch": 8, "rate": 1.0, "mixed": False, "sizes": (96,), "word": "b"}
    assert isinstance(values["rate"], float)
    assert places == {name: Path(text) for name, text in paths.items()}


@pytest.mark.parametrize("value", DEFAULTS.values(), ids=DEFAULTS)
def test_a_default_survives_its_text(value: Any) -> None:
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    assert read_value(text, kind_of(value)) == value


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("rates", "1", "There is no setting 'rates'; there are: batch, rate, mixed, sizes, word, weights, beside, curves, "),
        ("batch", "8.5", "The setting batch cannot be '8.5'; an example is 32."),
        ("mixed", "1", "The setting mixed cannot be '1'; an example is True."),
        ("sizes", "()", "The setting sizes cannot be '()'; an example is (160, 224)."),
        ("weights", "PLACE", "The setting weights names PLACE, where there is no file; give one that is there."),
        ("beside", "PLACE/w", "The setting beside names PLACE/w, where there is no folder; give one that is there."),
        ("curves", " ", "The setting curves names no folder; give its path, or leave the setting out."),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, text: str, sentence: str) -> None:
    (tmp_path / "w").touch()
    with pytest.raises(UsageError) as refused:
        read_settings(DEFAULTS, {name: text.replace("PLACE", str(tmp_path))}, PATHS)
    assert str(refused.value).replace(str(tmp_path), "PLACE").startswith(sentence)


def test_refresh_takes_no_other_setting_beside_it(tmp_path: Path) -> None:
    read_settings(DEFAULTS, {"refresh": str(tmp_path)}, PATHS)
    with pytest.raises(UsageError, match="takes no other setting beside it"):
        read_settings(DEFAULTS, {"refresh": str(tmp_path), "batch": "8"}, PATHS)
