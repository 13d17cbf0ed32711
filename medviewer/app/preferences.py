"""What the reader prefers: one table of choices, each kept in the settings and used at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import isfinite
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from medviewer.app.presets import CT_PRESETS, Presets, with_preset
from medviewer.app.state import State
from medviewer.domain.errors import UsageError

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

THEMES = ("dark", "light", "high-contrast")
DENSITIES = ("comfortable", "compact")
LANGUAGES = ("en", "zh")

CHOICES: Mapping[str, tuple[str | bool, ...]] = MappingProxyType(
    {
        "language": LANGUAGES,
        "theme": THEMES,
        "density": DENSITIES,
        "up_brightens": (True, False),
        "smooth": (True, False),
        "run_when_opened": (False, True),
        "read_first": (False, True),
    }
)
"""What each preference may be, the default first."""


def prefer(app: Application, choice: tuple[str, Any]) -> None:
    """Use a preference from now on, and remember it; ``ct_preset`` is (digit, width, level).

    Raises:
        UsageError: there is no such preference, or it cannot be that.
    """
    name, value = choice
    if name == "ct_preset":
        _change_preset(app, *value)
        return
    if value not in CHOICES.get(name, ()) or type(value) is not type(CHOICES[name][0]):
        raise UsageError(f"There is no preference {name!r} that can be {value!r}.")
    _use(name)(app, value)
    app.remember(**{name: value})


def _change_preset(app: Application, number: int, width: float, level: float) -> None:
    """Have another width and level (Hounsfield units) of a CT window."""
    if number not in CT_PRESETS or not (isfinite(width) and isfinite(level)):
        raise UsageError(f"There is no window preset {number}: presets are 1 to 9.")
    _use_presets(app, with_preset(app.state.ct_presets, number, width, level))


def _use_presets(app: Application, presets: Presets) -> None:
    app.session.update(ct_presets=presets)
    app.remember(ct_presets=presets)


def reset(app: Application, _argument: object) -> None:
    """Prefer nothing of one's own."""
    for name, values in CHOICES.items():
        prefer(app, (name, values[0]))
    _use_presets(app, CT_PRESETS)


def preferred(app: Application, name: str) -> Any:
    """What is preferred now."""
    state: State = app.state
    if name == "smooth":
        return state.view.smooth
    return getattr(app.settings if name == "run_when_opened" else state, name)


def _use_smooth(app: Application, smooth: bool) -> None:
    views = app.wishes.views
    views.update({key: replace(view, smooth=smooth) for key, view in views.items()})
    app.session.prefer_smooth(smooth)


def _use(name: str) -> Callable[[Application, Any], None]:
    if name == "smooth":
        return _use_smooth
    if name == "run_when_opened":
        return lambda _app, _value: None  # asked when something is opened
    return lambda app, value: app.session.update(**{name: value})
