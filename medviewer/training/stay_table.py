"""Stays as the rows of a data report: who they are of, and how often each variable was measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from medviewer.training.data_report import Column, DataTable
from medviewer.training.physionet import Stays
from medviewer.training.stays import FIELDS, VARIABLES, implausible_values, input_documents

CLASSES = ("survived", "died")


def stays_table(path: Path, sets: Mapping[str, Stays]) -> DataTable:
    """Return stays as rows: descriptors, how often each variable was measured, and which values are left out."""
    rows = [(letter, stay) for letter, found in sets.items() for stay in found.stays]
    columns: dict[str, Column] = {
        name: np.array([stay.descriptors.get(name, np.nan) for _, stay in rows]) for name in FIELDS
    }
    for one in VARIABLES:
        times = [sum(name == one.name for _, name, _ in stay.observations) for _, stay in rows]
        columns[f"times {one.name}"] = np.array(times, np.float64)
    stays = [stay for _, stay in rows]
    implausible = implausible_values(stays, input_documents(stays))
    for name in sorted({name for counts in implausible for name in counts}):
        left_out = np.array([counts[name] for counts in implausible], np.float64)
        columns[f"implausible {name} ({left_out.sum():.0f} values)"] = left_out
    return DataTable(
        path=path,
        names=[str(stay.record_id) for _, stay in rows],
        labels=[CLASSES[bool(stay.died)] for _, stay in rows],
        classes=CLASSES,
        patients=[str(stay.record_id) for _, stay in rows],
        splits=[letter for letter, _ in rows],
        expected_splits=tuple(sets),
        columns=columns,
        unusable=[entry for found in sets.values() for entry in found.unusable],
        digest=" ".join(found.digest for found in sets.values()),
    )
