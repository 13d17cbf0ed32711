"""Vital signs in a reader's words: short names, and how old a value is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo

from medviewer.domain.case import Observation, is_whole_day
from medviewer.domain.frozen import dataclass
from medviewer.gui.text import tr, visible
from medviewer.records.record import as_told_in, format_observation, placed, with_zone

SYSTOLIC, DIASTOLIC = "8480-6", "8462-4"
VITAL_CODES = ("8867-4", SYSTOLIC, DIASTOLIC, "8478-0", "9279-1", "59408-5", "2708-6", "8310-5", "29463-7", "8302-2")
"""LOINC codes of the FHIR vital signs profile (and mean pressure), in the order in which they are shown."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The moment against which a value's age is told: that of the study on screen, or now."""

    moment: datetime
    is_study: bool
    has_time: bool = True  # a study without a time of day: ages are whole days

    @property
    def zone(self) -> tzinfo | None:
        """By whose clock times beside it are told: the study's own, or, as None, this computer's."""
        return self.moment.tzinfo if self.is_study else None


def bare_code(code: str) -> str:
    """A LOINC code without its scheme."""
    return code.rsplit(":", maxsplit=1)[-1]


def short_name(observation: Observation) -> str:
    """The usual short name of a vital sign; other quantities by the name they came with."""
    names = {
        "8867-4": tr("Heart rate"),
        SYSTOLIC: tr("Systolic pressure"),
        DIASTOLIC: tr("Diastolic pressure"),
        "8478-0": tr("Mean pressure"),
        "9279-1": tr("Breathing rate"),
        "59408-5": tr("SpO₂"),
        "2708-6": tr("SpO₂"),
        "8310-5": tr("Temperature"),
        "29463-7": tr("Weight"),
        "8302-2": tr("Height"),
    }
    return names.get(bare_code(observation.code)) or visible(observation.display or observation.code)


def latest_vitals(observations: Sequence[Observation], zone: tzinfo | None = None) -> list[tuple[str, str, datetime]]:
    """The newest value of each vital sign as (name, value with unit, time); pressures of one moment together.

    Of ``zone``, by whose clock whole days begin, see :func:`medviewer.records.record.placed`.
    """
    newest: dict[str, Observation] = {}
    for one in observations:
        code = bare_code(one.code)
        if code in VITAL_CODES and (code not in newest or placed(one.time, zone) >= placed(newest[code].time, zone)):
            newest[code] = one
    upper, lower = newest.get(SYSTOLIC), newest.get(DIASTOLIC)
    is_pair = upper is not None and lower is not None and (upper.time, upper.unit) == (lower.time, lower.unit)
    rows = []
    for code in VITAL_CODES:
        found = newest.get(code)
        if found is None or (is_pair and code == DIASTOLIC):
            continue
        name, value = short_name(found), visible(format_observation(found))
        if is_pair and code == SYSTOLIC and upper is not None and lower is not None:
            name, value = tr("Blood pressure"), f"{upper.value:.12g}/{visible(format_observation(lower))}"
        rows.append((name, value, found.time))
    return rows


def reference_words(reference: Reference) -> str:
    """Against what ages are told; it stands above them."""
    if reference.is_study:
        return tr("age at the study of {date}").format(date=f"{reference.moment:%Y-%m-%d}")
    return tr("age now")


def age_words(moment: datetime, reference: Reference) -> str:
    """How old a value is: ``3 h before`` the study, ``2 days ago``; ``after`` is never hidden."""
    if is_whole_day(moment) or (reference.is_study and not reference.has_time):
        # Days as the clock at the reference tells them.
        day = moment if is_whole_day(moment) else as_told_in(reference.zone, moment)
        days = (reference.moment.date() - day.date()).days
        if days == 0:
            return tr("same day") if reference.is_study else tr("today")
        distance = _days(abs(days))
        is_before = days > 0
    else:
        gap = with_zone(reference.moment) - with_zone(moment)
        is_before = gap.total_seconds() >= 0
        distance = _distance(abs(gap.total_seconds()))
    if reference.is_study:
        words = tr("{distance} before") if is_before else tr("{distance} after")
    else:
        words = tr("{distance} ago") if is_before else tr("{distance} in the future")
    return words.format(distance=distance)


def _distance(seconds: float) -> str:
    if seconds < 3600:
        return tr("{n} min").format(n=int(seconds // 60))
    if seconds < 48 * 3600:
        return tr("{n} h").format(n=int(seconds // 3600))
    return _days(int(seconds // 86400))


def _days(days: int) -> str:
    if days == 1:
        return tr("1 day")
    if days < 60:
        return tr("{n} days").format(n=days)
    if days < 730:
        return tr("{n} months").format(n=round(days / 30.44))
    return tr("{n} yr").format(n=int((days + 1) / 365.25))  # two years may be 730 days
