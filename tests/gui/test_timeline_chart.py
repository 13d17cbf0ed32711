from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel

from medviewer.domain.case import Observation
from medviewer.gui import theme
from medviewer.gui.cards import ScrollColumn
from medviewer.gui.quantity import quantities, short_number
from medviewer.gui.time_axis import span_words, time_ticks
from medviewer.gui.timeline_chart import TimelineChart
from medviewer.records.record import with_zone
from tests.gui import panel_states as made
from tests.time_zones import in_zone

STUDY = datetime(2004, 3, 2, 10, 15, tzinfo=UTC)
FEW = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
Make = Callable[..., TimelineChart]


def observation(value: float, hours: float, unit: str = "mg/L", code: str = "1988-5") -> Observation:
    return Observation(code, "CRP", value, unit, STUDY + timedelta(hours=hours))


TWO_ROWS = (observation(5, -48), observation(9, -20), observation(7, 0), observation(80, -40, "/min", "8867-4"))


@pytest.fixture
def make(qtbot) -> Make:
    def chart_of(*observations: Observation, mark: datetime | None = STUDY, width: int = 336) -> TimelineChart:
        chart = TimelineChart(quantities(observations), mark, "study")
        qtbot.addWidget(chart)
        chart.resize(width, chart.sizeHint().height())
        chart.grab()
        return chart

    return chart_of


@pytest.mark.parametrize(
    ("hours", "computer", "said"),
    [(8, "UTC", "2004-03-01 22:15"), (None, "Asia/Shanghai", "2004-03-01 22:15"), (None, "UTC", "2004-03-01 14:15")],
)
def test_axis_and_words_are_told_by_one_clock(make: Make, hours: int | None, computer: str, said: str) -> None:
    """The study's, where its file names its zone, else this computer's; whatever the values came with."""
    mark = STUDY.astimezone(timezone(timedelta(hours=hours))) if hours else STUDY.replace(tzinfo=None)
    with in_zone(computer):
        chart = make(*TWO_ROWS, mark=mark)
        QTest.keyClick(chart, Qt.Key.Key_Left)
        assert chart.readout() == f"9 mg/L\n{said}"
        shown = chart._axis.moment(chart._seconds(TWO_ROWS[1].time))
        assert f"{shown:%Y-%m-%d %H:%M}" == said


@pytest.mark.parametrize("computer", ["Asia/Shanghai", "UTC", "America/Los_Angeles"])
def test_whole_days_begin_at_midnight_of_the_studys_clock(qtbot, computer: str) -> None:
    """A value of the day after the film is drawn behind it, on its own day, wherever the computer stands."""
    film = datetime(2024, 5, 1, 18, tzinfo=timezone(timedelta(hours=-5)))
    day_before, day_after = datetime(2024, 5, 1), datetime(2024, 5, 2)  # noqa: DTZ001 - a day has no clock
    values = [
        Observation("1988-5", "CRP", number, "mg/L", time)
        for number, time in enumerate((day_after, film - timedelta(hours=1), day_before))
    ]
    with in_zone(computer):
        (row,) = quantities(values, film.tzinfo)
        chart = TimelineChart((row,), film, "study")
        qtbot.addWidget(chart)
        (curve,) = chart._curves
        assert [o.value for o in row.values] == [2, 1, 0]
        assert list(curve.seconds) == sorted(curve.seconds)
        assert curve.seconds[1] < chart._seconds(film) < curve.seconds[2]
        shown = [f"{chart._axis.moment(at):%Y-%m-%d %H:%M}" for at in curve.seconds]
        assert shown == ["2024-05-01 00:00", "2024-05-01 17:00", "2024-05-02 00:00"]
        assert chart.span()[0] < film < chart.span()[1]


def views(chart: TimelineChart) -> list[list[float]]:
    return [curve.view.viewRange()[0] for curve in chart._curves]


def turn_wheel(chart: TimelineChart, place: QPoint, modifiers=Qt.KeyboardModifier.NoModifier) -> None:
    """As the window system does: the event goes from widget to parent until one takes it."""
    window = chart.window()
    QTest.wheelEvent(
        window.windowHandle(), QPointF(chart.mapTo(window, place)), QPoint(0, 120), QPoint(0, 0), modifiers
    )
    QApplication.processEvents()


def test_different_units_are_never_on_one_scale() -> None:
    rows = quantities((observation(5, 0), observation(0.5, 1, "mg/dL"), observation(7, -3)))
    assert [(r.unit, [o.value for o in r.values]) for r in rows] == [("mg/L", [7, 5]), ("mg/dL", [0.5])]


@FEW
@given(values=st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=20, unique=True))
def test_later_is_right_and_higher_is_up(qtbot, values: list[float]) -> None:
    chart = TimelineChart(quantities([observation(v, n) for n, v in enumerate(values)]))
    chart.resize(336, chart.sizeHint().height())
    points = [(chart.point_of(0, o), o) for o in chart._rows[0].values]
    for (p, a), (q, b) in itertools.pairwise(points):
        assert p.x() < q.x()
        if abs(a.value - b.value) > 1e-3:
            assert (p.y() > q.y()) == (a.value < b.value)
    assert all(0 <= p.y() <= chart.height() and 100 < p.x() < 336 for p, _ in points)
    chart.deleteLater()


def test_pyqtgraph_draws_the_points_where_they_are_looked_for(make) -> None:
    chart = make(*TWO_ROWS)
    for number, row in enumerate(chart._rows):
        curve = chart._curves[number]
        for index, one in enumerate(row.values):
            drawn = curve.view.mapViewToScene(QPointF(curve.seconds[index], curve.heights[index]))
            found = chart.point_of(number, one)
            assert abs(drawn.x() - found.x()) < 1
            assert abs(drawn.y() - found.y()) < 1


def test_a_point_is_painted_in_the_accent_colour(make) -> None:
    chart = make(*TWO_ROWS)
    picture = chart.grab().toImage()
    place = chart.point_of(0, chart._rows[0].values[1]).toPoint()
    seen = QColor(picture.pixel(place))
    wanted = QColor(theme.tokens().accent)
    assert max(abs(a - b) for a, b in zip(seen.getRgb(), wanted.getRgb(), strict=True)) < 12


def test_extreme_values_stay_in_their_row(make) -> None:
    chart = make(observation(-1.7e308, -5), observation(1.7e308, -1), observation(0, 0))
    low, high, middle = (chart.point_of(0, one).y() for one in chart._rows[0].values)
    assert high < middle < low
    assert middle == pytest.approx((low + high) / 2)


@given(
    st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001 - hypothesis wants naive bounds
    st.floats(0.01, 40_000),
    st.integers(2, 6),
)
def test_ticks_are_round_in_order_and_few(start: datetime, days: float, most: int) -> None:
    begin = with_zone(start)
    end = begin + timedelta(days=days)
    ticks = time_ticks(begin, end, most)
    moments = [moment for moment, _ in ticks]
    assert moments == sorted(set(moments))
    assert all(begin <= moment <= end for moment in moments)
    assert len(ticks) <= most + 1
    assert all(moment.minute % 5 == 0 and moment.second == 0 for moment in moments)


def test_long_and_short_spans_have_fitting_words() -> None:
    year = [words for _, words in time_ticks(STUDY, STUDY + timedelta(days=2900), 4)]
    day = [words for _, words in time_ticks(STUDY, STUDY + timedelta(days=3), 4)]
    hour = [words for _, words in time_ticks(STUDY, STUDY + timedelta(hours=5), 4)]
    minute = [words for _, words in time_ticks(STUDY, STUDY + timedelta(minutes=4), 4)]
    assert year == ["2006", "2008", "2010", "2012"]
    assert day == ["03-03", "03-04", "03-05"]
    assert hour == ["12:00", "15:00"]
    assert minute == ["10:15", "10:16", "10:17", "10:18", "10:19"]
    assert span_words(STUDY, STUDY + timedelta(days=3)) == "2004"
    assert span_words(STUDY, STUDY + timedelta(hours=5)) == "2004-03-02"
    assert span_words(STUDY, STUDY + timedelta(hours=20)) == "2004-03-02–03-03"
    assert span_words(STUDY, STUDY + timedelta(days=400)) == "2004 – 2005"


@pytest.mark.parametrize("days", [1, 4, 20, 200, 3000])
@pytest.mark.parametrize("size", [60, 176, 500])
def test_the_words_under_the_axis_do_not_touch(make, days: int, size: int) -> None:
    axis = make(observation(5, -24 * days), observation(6, 0))._axis
    ((_, places),) = axis.tickValues(0.0, days * 86400.0, size)
    words = axis.tickStrings(places, 1, 1)
    assert words
    metrics = QLabel().fontMetrics()
    for (a, b), word in zip(itertools.pairwise(places), words, strict=False):
        assert (b - a) / (days * 86400.0) * size > metrics.horizontalAdvance(word) * 12 / 13


def test_one_value_and_none_are_drawn_without_trouble(make) -> None:
    for observations in ((observation(5, 0),), ()):
        assert not make(*observations).grab().isNull()
        assert not make(*observations, mark=None).grab().isNull()


def test_the_row_says_name_latest_value_and_limits(make) -> None:
    chart = make(*TWO_ROWS)
    words = [label.text() for label in chart.findChildren(QLabel)]
    assert words.count("7 mg/L") == 1
    assert {"CRP", "9", "5", "Heart rate", "80 /min", "80", "study", "2004"} <= set(words)
    assert chart.accessibleName() == "CRP 7 mg/L; Heart rate 80 /min"


@pytest.mark.parametrize(
    ("value", "words"), [(38.9, "38.9"), (250_000, "250000"), (0.001, "0.001"), (1 / 3, "0.333333")]
)
def test_limits_are_not_rounded_until_they_must(value: float, words: str) -> None:
    assert short_number(value) == words


def test_the_point_under_the_mouse_is_found(make) -> None:
    chart = make(observation(5, 0), observation(9, 48))
    first, second = chart._rows[0].values
    assert chart.value_at(chart.point_of(0, second).toPoint()) is second
    assert chart.value_at(chart.point_of(0, first).toPoint() + QPoint(3, 0)) is first
    assert chart.value_at(QPoint(10, 30)) is None
    assert chart.value_at(QPoint(200, 2000)) is None


def test_the_mouse_over_a_point_says_its_value_and_time(make, qtbot) -> None:
    chart = make(*TWO_ROWS)
    chart.show()
    one = chart._rows[0].values[1]
    chart._canvas.scene().sigMouseMoved.emit(chart.point_of(0, one))
    assert chart.readout() == "9 mg/L\n2004-03-01 14:15"
    assert chart._readout.isVisible()
    assert chart.rect().contains(chart._readout.geometry())
    chart._canvas.left.emit()
    assert chart.readout() == ""
    assert not chart._readout.isVisible()


def test_hostile_units_stay_plain_text(make) -> None:
    chart = make(observation(5, 0, "<b>\u202emg</b>"))
    chart._choose(0, 0)
    assert chart.readout().startswith("5 <b>⟨U+202E⟩mg</b>")
    assert chart._readout.textFormat() == Qt.TextFormat.PlainText


def test_the_keyboard_reaches_every_value(make, qtbot) -> None:
    chart = make(*TWO_ROWS)
    chart.show()
    chart.setFocus(Qt.FocusReason.TabFocusReason)
    said = []
    for key in (Qt.Key.Key_End, Qt.Key.Key_Left, Qt.Key.Key_Left, Qt.Key.Key_Left, Qt.Key.Key_Down, Qt.Key.Key_Home):
        qtbot.keyClick(chart, key)
        said.append(chart.readout().split("\n")[0])
    assert said == ["7 mg/L", "9 mg/L", "5 mg/L", "5 mg/L", "80 /min", "80 /min"]
    assert chart.accessibleDescription() == "Heart rate: 80 /min\n2004-02-29 18:15"


def test_keys_that_mean_something_here_do_not_reach_the_windows_shortcuts(make, qtbot) -> None:
    from PySide6.QtCore import QEvent
    from PySide6.QtGui import QKeyEvent

    chart = make(*TWO_ROWS)

    def is_kept(key: Qt.Key, modifiers=Qt.KeyboardModifier.NoModifier) -> bool:
        event = QKeyEvent(QEvent.Type.ShortcutOverride, key, modifiers)
        event.ignore()
        QApplication.sendEvent(chart, event)
        return event.isAccepted()

    assert is_kept(Qt.Key.Key_Left)
    assert not is_kept(Qt.Key.Key_Left, Qt.KeyboardModifier.ControlModifier)
    assert not is_kept(Qt.Key.Key_I)
    assert not is_kept(Qt.Key.Key_Escape)  # nothing to undo: Escape belongs to the window
    chart.zoom(0.5)
    assert is_kept(Qt.Key.Key_Escape)


def test_all_rows_zoom_together_and_a_double_click_shows_all(make, qtbot) -> None:
    chart = make(*TWO_ROWS)
    chart.show()
    whole = views(chart)
    assert whole[0] == whole[1]
    heights = [curve.view.viewRange()[1] for curve in chart._curves]
    turn_wheel(chart, QPoint(200, 100), Qt.KeyboardModifier.ControlModifier)
    assert [curve.view.viewRange()[1] for curve in chart._curves] == heights  # each row keeps its scale
    low, high = views(chart)[0]
    assert whole[0][0] < low < high < whole[0][1]
    assert views(chart)[1] == pytest.approx([low, high])
    qtbot.mouseDClick(chart._canvas.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(200, 60))
    assert views(chart) == [pytest.approx(whole[0])] * 2


def test_a_drag_moves_through_time_in_all_rows_but_not_beyond(make, qtbot) -> None:
    chart = make(*TWO_ROWS)
    chart.show()
    chart.zoom(0.5)
    before = views(chart)[0]
    chart._curves[1].view.translateBy(x=-3600.0)
    moved = views(chart)
    assert moved[0] == pytest.approx([end - 3600 for end in before])
    assert moved[1] == pytest.approx(moved[0])
    chart._curves[1].view.translateBy(x=-1e9)
    assert views(chart)[0][0] == pytest.approx(0)


def test_the_wheel_without_ctrl_scrolls_the_panel(qtbot) -> None:
    column = ScrollColumn()
    qtbot.addWidget(column)
    chart = TimelineChart(quantities(TWO_ROWS), STUDY, "study")
    column.column.addWidget(chart)
    column.resize(360, 90)
    column.show()
    qtbot.waitUntil(lambda: column.verticalScrollBar().maximum() > 0)
    column.verticalScrollBar().setValue(40)
    before = views(chart)
    turn_wheel(chart, QPoint(200, 60))
    assert views(chart) == before
    assert column.verticalScrollBar().value() < 40


def test_zoomed_in_the_axis_says_the_day_and_never_leaves_the_record(make, qtbot) -> None:
    chart = make(*TWO_ROWS)
    whole = chart.span()
    chart.zoom(1e-9, STUDY)
    start, end = chart.span()
    assert start < STUDY < end
    assert end - start == pytest.approx(timedelta(minutes=5), abs=timedelta(seconds=1))
    assert chart._span_label.text() == "2004-03-02"
    chart.zoom(1e9)
    assert chart.span() == whole


def test_the_study_is_named_only_while_it_is_in_view(make) -> None:
    chart = make(*TWO_ROWS)
    chart.show()
    assert chart._mark_label.isVisible()
    chart.zoom(0.1, STUDY - timedelta(hours=40))
    assert not chart._mark_label.isVisible()


def test_another_theme_changes_the_colours_of_a_chart_that_is_open(make, qapp) -> None:
    chart = make(*TWO_ROWS)
    theme.apply_theme(qapp, "light")
    QApplication.processEvents()
    assert chart._curves[0].dots.opts["brush"].color().name() == theme.THEMES["light"].accent


def test_a_record_with_many_quantities_shows_the_first_and_offers_the_rest(qtbot) -> None:
    from medviewer.gui.record_panel import RecordPanel
    from tests.gui.seen import press, show

    panel = RecordPanel()
    qtbot.addWidget(panel)
    many = tuple(replace(observation(n, -n), code=f"c{n}") for n in range(20))
    show(panel, made.opened(record=made.record(observations=many)))
    assert len(panel.findChild(TimelineChart)._rows) == 12
    press(panel, "Show 8 more")
    assert len([c for c in panel.findChildren(TimelineChart) if not c.isHidden()][-1]._rows) == 20


def test_a_window_without_a_record_does_not_load_the_chart() -> None:
    script = "import sys, medviewer.gui.record_panel; print(any('pyqtgraph' in name for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"
