"""Made-up stays in the challenge's layout: who dies has a faster heart and a lower coma score, and nobody is real."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from medviewer.domain.case import Case, Observation
from medviewer.training.physionet import Stay
from medviewer.training.stays import VARIABLES

ADMITTED = datetime(2024, 3, 1, 8, 0)  # noqa: DTZ001 - local, as recorded
USUAL = {
    "HR": (85, 10),
    "GCS": (13, 1),
    "Creatinine": (1.2, 0.3),
    "Lactate": (2.0, 0.6),
    "Temp": (37, 0.4),
    "FiO2": (0.5, 0.1),
}


def make_stays(n: int, *, seed: int = 0, first_id: int = 100_000) -> list[Stay]:
    """``n`` stays; two in five die."""
    chance = np.random.default_rng(seed)
    stays = []
    for index in range(n):
        died = bool(index % 5 < 2)
        observations = []
        for name, (mean, spread) in USUAL.items():
            shift = {"HR": 15, "GCS": -4}.get(name, 0) * died
            for hour in np.sort(chance.choice(48, 6, replace=False)):
                value = float(np.round(max(0.3, mean + shift + spread * chance.normal()), 2))
                observations.append((float(hour) + 0.25, name, min(value, 15.0) if name == "GCS" else value))
        about = {"Age": float(chance.integers(40, 85)), "Gender": float(index % 2), "Height": 170.0, "ICUType": 3.0}
        stays.append(Stay(first_id + index, about, tuple(sorted(observations)), died))
    return stays


def make_walks(n: int, *, seed: int = 0, first_id: int = 100_000) -> list[Stay]:
    """``n`` stays measured every hour: a pulse and a pressure that go back to what is usual for the patient.

    Half of what lies between now and the usual is left after an hour, so that the last value is a poor forecast
    and the mean of six hours another. Nobody's saturation is measured; every second one breathes.
    """
    chance = np.random.default_rng(seed)
    stays = []
    for index in range(n):
        rows = []
        for name, usual, spread in (("HR", 85, 10), ("MAP", 75, 8), ("RespRate", 18, 3)):
            own, far = usual + spread * chance.normal(), 0.0
            if name == "RespRate" and index % 2:
                continue
            for hour in range(48):
                far = 0.5 * far + spread * chance.normal()
                rows.append((hour + 0.5, name, float(np.round(max(5.0, own + far), 2))))
        about = {"Age": float(chance.integers(40, 85)), "Gender": float(index % 2), "ICUType": 1.0 + index % 4}
        stays.append(Stay(first_id + index, about, tuple(sorted(rows)), index % 5 < 2))
    return stays


def case_of(stay: Stay) -> Case:
    """The stay as a patient's record has it: LOINC codes, the card's units, two days after admission."""
    by_name = {one.name: one for one in VARIABLES}
    observations = [
        Observation(
            by_name[name].codes[0], name, value * by_name[name].factor, by_name[name].unit,
            ADMITTED + timedelta(hours=hours),
        )
        for hours, name, value in stay.observations
    ]  # fmt: skip
    sex = "M" if stay.descriptors["Gender"] else "F"
    moment = ADMITTED + timedelta(hours=48)
    return Case(age_years=stay.descriptors["Age"], sex=sex, observations=tuple(observations), at=moment)


def whole_stay(stay: Stay) -> Case:
    """The same, asked about when the two days are over that a record knows of: they begin with its first value."""
    return replace(case_of(stay), at=ADMITTED + timedelta(hours=48 + min(stay.observations)[0]))


def stay_case() -> Case:
    """A made-up patient of whom an answer can be had."""
    return whole_stay(make_stays(1)[0])


def walk_case() -> Case:
    """A made-up patient whose vital signs can be forecast."""
    return case_of(make_walks(1)[0])


def write_stays(root: Path, letter: str, stays: list[Stay]) -> Path:
    """Write them as ``set-x/*.txt`` and ``Outcomes-x.txt``."""
    folder = root / f"set-{letter}"
    folder.mkdir(parents=True)
    outcomes = ["RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death"]
    for stay in stays:
        lines = ["Time,Parameter,Value", f"00:00,RecordID,{stay.record_id}"]
        lines += [f"00:00,{name},{value:g}" for name, value in stay.descriptors.items()]
        for hours, name, value in stay.observations:
            minutes = round(hours * 60)
            lines.append(f"{minutes // 60:02d}:{minutes % 60:02d},{name},{value:g}")
        (folder / f"{stay.record_id}.txt").write_text("\n".join(lines) + "\n")
        outcomes.append(f"{stay.record_id},-1,-1,-1,-1,{int(bool(stay.died))}")
    (root / f"Outcomes-{letter}.txt").write_text("\n".join(outcomes) + "\n")
    return folder


assert set(USUAL) <= {one.name for one in VARIABLES}
