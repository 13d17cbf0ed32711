"""Made-up patients with a heart attack: the old, the shocked and those with a fast heart die sooner; nobody is real."""

from __future__ import annotations

import csv
from datetime import datetime
from pathlib import Path

import numpy as np

from medviewer.domain.case import Case, Observation, TextObservation
from medviewer.training.recipes.survival_card import COLUMNS, FIELDS

ADMITTED = datetime(2024, 3, 1, 8, 0)  # noqa: DTZ001 - local, as recorded
NAMES = [str(field["name"]) for field in FIELDS]
USUAL = {
    "age": (68, 13),
    "heart_rate": (88, 20),
    "systolic_pressure": (140, 28),
    "diastolic_pressure": (78, 18),
    "bmi": (27, 5),
}


def make_patients(n: int, *, seed: int = 0) -> list[dict[str, float]]:
    """``n`` rows with every field, ``time`` in days and ``event``."""
    chance = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        row = {name: float(chance.random() < 0.3) for name in NAMES}
        for name, (mean, spread) in USUAL.items():
            row[name] = float(
                np.clip(np.round(mean + spread * chance.normal()), mean - 2.5 * spread, mean + 2.5 * spread)
            )
        slope = 0.12 * (row["age"] - 68) + 0.03 * (row["heart_rate"] - 88) + 2.0 * row["cardiogenic_shock"] - 0.6
        died, left = chance.exponential(900 * np.exp(-slope)), chance.uniform(200, 2000)
        row |= {"time": float(max(1, round(min(died, left)))), "event": float(died <= left)}
        rows.append(row)
    return rows


def write_csv(path: Path, rows: list[dict[str, float]]) -> Path:
    """As ``medviewer evaluate`` takes it; conditions and sex as words."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*NAMES, "time", "event"])
        writer.writeheader()
        for row in rows:
            writer.writerow({name: worded(name, row[name]) for name in writer.fieldnames})
    return path


def worded(name: str, value: float) -> str:
    """A condition as yes or no, the sex as F or M, anything else as a number."""
    if name == "sex":
        return "F" if value else "M"
    return ("no", "yes")[int(value)] if name in NAMES and name not in USUAL else f"{value:g}"


def write_arff(path: Path, rows: list[dict[str, float]]) -> Path:
    """As the published file: other names, one column more, numbers only."""
    names = [*NAMES, "time", "event"]
    lines = ["% made up", "@RELATION DataTable", *(f"@ATTRIBUTE {COLUMNS.get(name, name)}\tnumeric" for name in names)]
    lines += ["@ATTRIBUTE los numeric", "", "@DATA"]
    lines += [",".join([*(f"{row[name]:g}" for name in names), "3"]) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def case_of(row: dict[str, float]) -> Case:
    """The patient as a record has him an hour after admission."""
    observations, texts = [], []
    for field in FIELDS:
        name = str(field["name"])
        if name in ("age", "sex"):
            continue
        code = field["codes"][-1]
        if name in USUAL:
            observations.append(Observation(code, name, row[name], field["unit"], ADMITTED))
        else:
            texts.append(TextObservation(code, name, worded(name, row[name]), ADMITTED))
    return Case(
        age_years=row["age"], sex="F" if row["sex"] else "M", observations=tuple(observations),
        text_observations=tuple(texts), at=ADMITTED,
    )  # fmt: skip


def heart_attack_case() -> Case:
    """A made-up patient of whom an answer can be had."""
    return case_of(make_patients(1)[0])
