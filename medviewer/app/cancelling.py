"""Cancel: it ends the one job that the reader sees, or the one that is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medviewer.app.conditions import shown_job
from medviewer.app.opening import cut_short
from medviewer.app.whole_stacks import forget_waiting

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application


def cancel(app: Application, slot: str | None) -> None:
    """Stop a job; without a name that whose words stand in the status bar.

    The image on screen is still read, or it would never come.
    """
    seen = shown_job(app.state)
    name = slot or (seen.name if seen is not None else "")
    if name in app.saves.running:
        app.saves.cancel(name)
        return
    app.wishes.run = None
    is_opening = name == "open" and name in app.jobs.running
    app.jobs.stop(name)
    if "open" not in app.jobs.running:
        forget_waiting(app)
    if is_opening:
        cut_short(app, is_said=True)
