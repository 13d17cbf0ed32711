"""Stays as the rows of a data report: who they are of, and how often each variable was measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from medviewer.training.data_report import Column, DataTable
from medviewer.training.physionet import Stays
from medviewer.training.stay_evaluation import groups_by_descriptor
from medviewer.training.stays import FIELDS, VARIABLES, implausible_values, input_documents

CLASSES = ("survived", "died", "outcome not given")


def stays_table(path: Path, sets: Mapping[str, Stays], learned: Sequence[str]) -> DataTable:
    """Return stays as rows: descriptors with the subgroups of an evaluation, what was measured, and what is left out.

    Only outcomes that are there are classes: whether a recipe needs both is for it to say. ``learned`` are the letters
    of the sets that are learned from.
    """
    rows = [(letter, stay) for letter, found in sets.items() for stay in found.stays]
    groups = groups_by_descriptor([stay for _, stay in rows])
    labels = [CLASSES[2 if stay.died is None else int(stay.died)] for _, stay in rows]
    columns: dict[str, Column] = {
        name: np.array([stay.descriptors.get(name, np.nan) for _, stay in rows])
        for name in dict.fromkeys((*FIELDS, *groups))
    }
    for one in VARIABLES:
        times = [sum(name == one.name for _, name, _ in stay.observations) for _, stay in rows]
        columns[f"times {one.name}"] = np.array(times, np.float64)
    stays = [stay for _, stay in rows]
    contents = [stay.content for stay in stays]
    copied = {content for content, n in Counter(contents).items() if content and n > 1}
    implausible = implausible_values(stays, input_documents(stays))
    for name in sorted({name for counts in implausible for name in counts}):
        left_out = np.array([counts[name] for counts in implausible], np.float64)
        columns[f"implausible {name} ({left_out.sum():.0f} values)"] = left_out
    return DataTable(
        path=path,
        names=[str(stay.record_id) for _, stay in rows],
        labels=labels,
        classes=[name for name in CLASSES if name in labels],
        patients=[str(stay.record_id) for _, stay in rows],
        splits=[letter for letter, _ in rows],
        expected_splits=tuple(sets),
        digests=contents,
        columns=columns,
        groups=groups,
        unusable=[entry for found in sets.values() for entry in found.unusable],
        digest=" ".join(found.digest for found in sets.values()),
        learned=[sets[letter].digest for letter in learned],
        parts_copies=bool(
            copied & {content for content, (letter, _) in zip(contents, rows, strict=True) if letter in learned}
        ),  # sets stay as they came, and folds are of stays
    )
