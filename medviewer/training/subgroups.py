"""Parts of a data set by what is known of its cases, and how much worse or better a model is there than elsewhere."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.training.data import COPY_ELSEWHERE, are_published_names
from medviewer.training.intervals import gaps
from medviewer.training.metrics import Truth, measures, with_intervals
from medviewer.training.robustness import BRIEF
from medviewer.training.scoring import Scored

FEWEST = 10  # cases of a group, and of those that it is compared with
COMPARED = ("auc", "sensitivity", "specificity")
_MOST_VALUES = 12  # of one column
_FEWEST_NUMBERS = 9  # different ones that are cut into quarters; of fewer, each is a group


def subgroups(scored: Scored, threshold: float) -> list[dict[str, Any]]:
    """Return the measures of groups within the images, and their gaps: each measure less that of all other images.

    Groups are by name where the names are the published ones, by each column of a label table, by near copies, and by
    brightness. A group of one class (bacterial pneumonia, one series of normals) is set beside the *other* class as a
    whole, so that its AUC exists; what is measured of that other class alone has no gap. Groups of fewer than
    :data:`FEWEST` cases are left out: their figures would be noise.
    """
    n = len(scored.images)
    nobody, found = np.zeros(n, dtype=bool), []
    if are_published_names(scored.images):
        names = [image.path.name for image in scored.images]
        bacteria, virus = (np.array([word in name for name in names]) for word in ("_bacteria_", "_virus_"))
        first, second = (np.array([name.startswith(word) for name in names]) for word in ("IM-", "NORMAL2-"))
        found += [
            _subgroup("bacterial pneumonia, against all normal", scored, bacteria, ~scored.truth, threshold),
            _subgroup("viral pneumonia, against all normal", scored, virus, ~scored.truth, threshold),
            _subgroup("normal, series IM, against all pneumonia", scored, first, scored.truth, threshold),
            _subgroup("normal, series NORMAL2, against all pneumonia", scored, second, scored.truth, threshold),
        ]
    for column in sorted({name for image in scored.images for name in image.facts} - {COPY_ELSEWHERE}):
        values = [image.facts.get(column, "") for image in scored.images]
        for name, members in groups_of_column(column, values).items():
            found.append(_subgroup(name, scored, members, nobody, threshold))
    copied = np.array([image.facts.get(COPY_ELSEWHERE, "") for image in scored.images])
    for value, name in (("no", "without a near copy in another part of the file"), ("yes", "with one")):
        found.append(_subgroup(name, scored, copied == value, nobody, threshold))
    edges = np.percentile(scored.brightness, (25, 50, 75))
    quartile = np.searchsorted(edges, scored.brightness)
    for index, name in enumerate(("darkest", "darker", "brighter", "brightest")):
        found.append(_subgroup(f"{name} quarter of the images", scored, quartile == index, nobody, threshold))
    return [entry for entry in found if entry]


def groups_of_column(column: str, values: Sequence[str]) -> dict[str, Truth]:
    """Return which cases belong to which group by one column of a table.

    A group is one value; numbers of which there are many are cut into quarters. Of other values only the most common
    are kept, and none that all cases have.

    Args:
        column: its name.
        values: of each case; empty where the table does not say.

    >>> {name: members.tolist() for name, members in groups_of_column("sex", ["F", "M", ""]).items()}
    {'sex: F': [True, False, False], 'sex: M': [False, True, False], 'sex: not given': [False, False, True]}
    """
    counts = Counter(values)
    is_given = np.array([bool(value) for value in values])
    groups: dict[str, Truth]
    if (numbers := many_numbers(values)) is not None:
        groups = _quarters(column, numbers)
    else:
        common = sorted(value for value, _ in counts.most_common(_MOST_VALUES) if value)
        groups = {f"{column}: {value}": np.array([one == value for one in values]) for value in common}
    groups[f"{column}: not given"] = ~is_given
    return {name: members for name, members in groups.items() if members.any() and not members.all()}


def many_numbers(values: Sequence[str]) -> npt.NDArray[np.float64] | None:
    """Return a column's values as numbers, NaN where it says nothing; None if it holds words, or few numbers.

    Args:
        values: of each case; empty where the table does not say.

    >>> many_numbers(["1", "", "2"]) is None
    True
    """
    numbers = np.array([_number(value) if value else math.nan for value in values])
    is_given = np.array([bool(value) for value in values])
    return numbers if len(set(values)) >= _FEWEST_NUMBERS and np.isfinite(numbers[is_given]).all() else None


def _quarters(column: str, numbers: npt.NDArray[np.float64]) -> dict[str, Truth]:
    edges = np.nanpercentile(numbers, (25, 50, 75))
    quarter = np.searchsorted(edges, numbers)  # NaN lies behind the last edge
    groups = {}
    for index in range(4):
        members = (quarter == index) & np.isfinite(numbers)
        if members.any():
            groups[f"{column}: {numbers[members].min():.10g} to {numbers[members].max():.10g}"] = members
    return groups


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return math.nan


def _subgroup(name: str, scored: Scored, members: Truth, beside: Truth, threshold: float) -> dict[str, Any]:
    if members.sum() < FEWEST:
        return {}
    own = _figures(scored.where(members | beside), threshold)
    entry: dict[str, Any] = {"name": name, "n": int(members.sum()), "metrics": own}
    if (~members & ~beside).sum() < FEWEST:
        return entry
    others = _figures(scored.where(~members | beside), threshold)
    of_other_class = {True: "specificity", False: "sensitivity"}[bool(scored.truth[members][0])] if beside.any() else ""
    names = [measure for measure in COMPARED if measure != of_other_class]
    return {**entry, "gaps": gaps(own, others, names)}


def _figures(part: Scored, threshold: float) -> Mapping[str, Mapping[str, Any]]:
    wanted = {measure: measures(threshold)[measure] for measure in BRIEF}
    figures = with_intervals(wanted, part.truth, part.probability, part.patients, n_resamples=300)
    return {measure: entry for measure, entry in figures.items() if entry["value"] is not None}
