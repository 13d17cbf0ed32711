"""Grasping the line of another plane: along its way it is moved, at its handles the planes are turned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QLineF, QPointF

from medviewer.app.linking import shown_grid
from medviewer.app.oblique import PlaneMoved
from medviewer.app.state import State
from medviewer.domain.frozen import dataclass
from medviewer.gui.placing import Placement
from medviewer.gui.reference_lines import Line, handles
from medviewer.imaging.planes import to_patient

_REACH_PX = 6.0
_HANDLE_REACH_PX = 8.0

Wish = tuple[str, Any]


@dataclass(slots=True)
class PlaneDrag:
    """One drag of a line: each step gives the command for what came since the last one."""

    pane: int
    middle: QPointF | None  # about which the planes are turned; None: the line is moved
    last: QPointF

    def moved(self, state: State, placed: Placement, at: QPointF) -> Wish | None:
        """The command for the mouse being at ``at``; counter-clockwise on the screen is positive."""
        before, self.last = self.last, at
        if self.middle is not None:
            degrees = QLineF(self.middle, before).angleTo(QLineF(self.middle, at))
            degrees -= 360.0 if degrees > 180.0 else 0.0
            return ("layout.turn", degrees) if degrees else None
        grid = shown_grid(state)
        if grid is None:
            return None
        x, y, z = (float(value) for value in to_patient(grid, *placed.image_point(at)))
        return "layout.move_plane", PlaneMoved(self.pane, (x, y, z))


def grasp(placed: Placement, lines: Sequence[Line], at: QPointF) -> PlaneDrag | None:
    """What a press begins: a turn at a handle, a move on the rest of a line, nothing elsewhere."""
    for line, middle, places in handles(placed, lines):
        if line.pane is not None and any(_distance(place, at) <= _HANDLE_REACH_PX for place in places):
            return PlaneDrag(line.pane, middle, at)
    for line in lines:
        if line.pane is None:
            continue
        start, end = (placed.transform.map(QPointF(*point)) for point in (line.start, line.end))
        if _distance_to_line(start, end, at) <= _REACH_PX:
            return PlaneDrag(line.pane, None, at)
    return None


def _distance(a: QPointF, b: QPointF) -> float:
    return math.hypot(a.x() - b.x(), a.y() - b.y())


def _distance_to_line(start: QPointF, end: QPointF, at: QPointF) -> float:
    way, away = end - start, at - start
    length = QPointF.dotProduct(way, way)
    share = min(max(QPointF.dotProduct(away, way) / length, 0.0), 1.0) if length else 0.0
    return _distance(start + way * share, at)
