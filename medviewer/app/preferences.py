"""What the reader prefers: one table of choices, each kept in the settings and used at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from medviewer.app.state import State
from medviewer.app.viewing import change_view
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


def prefer(app: Application, choice: tuple[str, str | bool]) -> None:
    """Use a preference from now on, and remember it.

    Raises:
        UsageError: there is no such preference, or it cannot be that.
    """
    name, value = choice
    if value not in CHOICES.get(name, ()) or type(value) is not type(CHOICES[name][0]):
        raise UsageError(f"There is no preference {name!r} that can be {value!r}.")
    _use(name)(app, value)
    app.remember(**{name: value})


def reset(app: Application, _argument: object) -> None:
    """Prefer nothing of one's own."""
    for name, values in CHOICES.items():
        prefer(app, (name, values[0]))


def preferred(app: Application, name: str) -> str | bool:
    """What is preferred now."""
    state: State = app.state
    if name == "smooth":
        return state.view.smooth
    found: str | bool = getattr(app.settings if name == "run_when_opened" else state, name)
    return found


def _use(name: str) -> Callable[[Application, Any], None]:
    if name == "smooth":
        return lambda app, value: change_view(app, smooth=value)
    if name == "run_when_opened":
        return lambda _app, _value: None  # asked when something is opened
    return lambda app, value: app.session.update(**{name: value})
