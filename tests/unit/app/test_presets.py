"""The windows on the digits: what is kept of them comes back, and what cannot be used is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from medviewer.app.presets import CT_PRESETS, LEVELS, WIDTHS, as_data, from_data, with_preset
from medviewer.domain.study import Window

if TYPE_CHECKING:
    from medviewer.app.application import Application


def test_only_what_was_changed_is_kept_and_comes_back() -> None:
    changed = with_preset(CT_PRESETS, 7, 1600, -550)
    assert as_data(CT_PRESETS) == {}
    assert as_data(changed) == {"7": [1600, -550]}
    assert from_data(as_data(changed)) == changed
    assert changed[7] == Window(-550, 1600, name="Lung")


@pytest.mark.parametrize(
    "kept",
    [
        None, [], {"0": [1, 1]}, {"10": [1, 1]}, {"²": [1, 1]}, {"4": [0, 40]}, {"4": [400]}, {"4": [400, 40, 1]},
        {"4": ["400", 40]}, {"4": [True, 40]}, {"4": [float("nan"), 40]}, {"4": [1e9, 40]}, {"4": [400, -1e9]},
        {4: [300, 30]},
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_left_out(kept: Any) -> None:
    assert from_data(kept) == CT_PRESETS


def test_out_of_bounds_is_brought_to_them(application: Application) -> None:
    application.run_command("app.prefer", ("ct_preset", (1, -5.0, 1e9)))
    assert application.state.ct_presets[1] == Window(LEVELS[1], WIDTHS[0], name="Brain")
    for wrong in ((0, 1.0, 1.0), (1, float("nan"), 0.0)):
        application.run_command("app.prefer", ("ct_preset", wrong))
        assert application.state.notice is not None
        assert "presets are 1 to 9" in application.state.notice.text
