"""What the card of ``icu-forecast`` says, in English and Chinese."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from medviewer import __version__
from medviewer.inference.card_schema import SCHEMA_ID
from medviewer.training.card import library_versions
from medviewer.training.configs import ForecastConfig
from medviewer.training.forecast_data import AHEAD_H, MOMENTS_H, RECENT_H
from medviewer.training.forecast_export import OUTPUT, Offered
from medviewer.training.forecast_learning import NOMINAL
from medviewer.training.own_data import HELD_OUT, STAYS, is_published, own_card, own_evidence
from medviewer.training.physionet import Stays
from medviewer.training.recipes.abouts import ABOUTS
from medviewer.training.stays import VARIABLES

RECIPE = "icu-forecast"
VERSION = "1.0.0"

ABOUT = ABOUTS[RECIPE]
_INTENDED_USE = {
    "en": "Research and teaching: where vital signs went in the next hours in patients whose hours so far looked like "
    "these, with a band that held nine of ten values. It shows what is usual, not what will happen.",
    "zh": "科研与教学用途：给出既往数小时情况相似的患者在随后数小时内生命体征的走向，及容纳十分之九实测值的区间。"
    "它显示的是通常情况，而不是必然发生的情况。",
}
_NOT_FOR = {
    "en": "Alarms, decisions on treatment, or the thought that a patient within the band is safe: one value in ten "
    "lies outside, sudden turns above all. Treatment to come is not known to it. Children; wards; other times of "
    "measuring.",
    "zh": "不得用于报警或治疗决策，也不得认为处于区间内的患者即为安全：十分之一的数值在区间之外，突发变化尤甚。"
    "模型不知道后续治疗。不适用于儿童、普通病房或其他测量频率。",
}
_SITE = {
    "en": "Adults in four intensive care units of one hospital in Boston (MIMIC II), 2001 to 2008: the first 48 hours "
    "of 4,000 stays (set A of the challenge); judged on 4,000 others (set B).",
    "zh": "美国波士顿一家医院四个重症监护病房的成人（MIMIC II，2001至2008年）：竞赛A组4000次住院的头48小时，"
    "在另外4000次住院（B组）上检验。",
}
_REGULATORY = {
    "en": "Research use only. Not a medical device; not cleared or approved by any authority.",
    "zh": "仅供科研使用。非医疗器械，未经任何监管机构批准。",
}
_HOSPITAL = {"en": "hospital", "zh": "医院"}
_OWN = {"en": "archive", "zh": "来源"}
_SPLIT_RULE = (
    f"Stays are patients. Learned from set A: at {len(MOMENTS_H)} moments a stay, one net for each fold of the stays, "
    "averaged; how wide the bands are comes from the folds, each judged by the net that did not learn from it. Set B "
    "judged once: a variable whose band did not hold 87% to 93% at some hour, or whose error was not surely smaller "
    "than that of the last value and of the mean of the last six hours, is not in the model; nor is a single hour at "
    "which a baseline was as good."
)
EVIDENCE_TEXT = {
    "en": "Set B of the challenge, stays that nothing was learned from; it judged once what is offered",
    "zh": "竞赛B组，未用于训练的住院；仅用一次以判定提供哪些预测",
}
_REFERENCES = (
    (
        "Silva, Moody, Scott, Celi, Mark. Predicting In-Hospital Mortality of ICU Patients: The PhysioNet/Computing in "
        "Cardiology Challenge 2012. Computing in Cardiology 2012 (data: ODC-By 1.0)"
    ),
    "Romano, Patterson, Candes. Conformalized Quantile Regression. NeurIPS 2019",
    "Che et al. Recurrent Neural Networks for Multivariate Time Series with Missing Values. Scientific Reports 2018",
)
_LICENCE_TEXT = """\
The weights in this folder (model.onnx) are licensed under the Apache License, Version 2.0:
http://www.apache.org/licenses/LICENSE-2.0

They were learned from set A of the PhysioNet/Computing in Cardiology Challenge 2012
(Silva, Moody, Scott, Celi, Mark; https://physionet.org/content/challenge-2012/1.0.0/), made available
under the Open Data Commons Attribution License 1.0 (https://opendatacommons.org/licenses/by/1-0/).
No stay is contained in this folder; reference.npz holds made-up ones.

Research use only. No warranty of any kind; see the licence.
"""


def card_document(
    learned: Stays,
    config: ForecastConfig,
    inputs: Sequence[Mapping[str, Any]],
    offered: Sequence[Offered],
    measured: Sequence[Mapping[str, Any]],
    training: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the card, all but files and evidence.

    Args:
        learned: the data that were learned from.
        config: the settings of the run.
        inputs: the card's inputs.
        offered: which variables, at which hours.
        measured: of :func:`medviewer.training.forecast_scores.measure_forecasts`, of every variable, offered or not.
        training: ``data_digest``, ``validation`` and ``not_offered``.
    """
    by_name = {one["name"]: one for one in measured}
    rows = sum(len(one.hours) for one in offered)
    of_published = is_published(RECIPE, [learned.digest])
    whose = _HOSPITAL if of_published else _OWN
    card = {
        "schema": SCHEMA_ID,
        "id": RECIPE,
        "version": VERSION,
        "title": dict(ABOUT.title),
        "task": "forecast",
        "intended_use": _INTENDED_USE,
        "not_for": _NOT_FOR,
        "languages": ["en", "zh"],
        "inputs": [dict(one) for one in inputs],
        "outputs": [
            {
                "name": OUTPUT,
                "shape": [None, rows, 3],
                "meaning": "low, middle, high; a row an hour ahead, one variable after the other",
            }
        ],
        "preprocessing": [],
        "explain": {"target_layer": "none", "grid": [1, 1], "methods": ["occlusion"]},
        "labels": [],
        "outcomes": [_outcome(one, by_name[one.name], whose) for one in offered],
        "population": {"age_years": [16, 90], "sexes": ["F", "M"], "site": _SITE, "is_strict": True},
        "training": {
            "recipe": RECIPE,
            "config": dataclasses.asdict(config),
            "data_digests": {"a": learned.digest},
            "judged": [dict(one) for one in measured],
            "split_rule": _SPLIT_RULE,
            "seed": config.seed,
            "code_version": __version__,
            "libraries": library_versions(),
            **training,
        },
        "licences": {"weights": "Apache-2.0, learned from the data below", "data": "ODC-By 1.0, Silva et al. 2012"},
        "references": list(_REFERENCES),
        "regulatory": _REGULATORY,
        "reference_tolerance": 1e-3,
        "licence_text": _LICENCE_TEXT,
    }
    return card if of_published else own_card(card, len(learned.stays), STAYS)


def evidence_text(learned: Stays) -> dict[str, str]:
    """Return what the model was judged on."""
    return own_evidence(EVIDENCE_TEXT, HELD_OUT, is_published=is_published(RECIPE, [learned.digest]))


def _outcome(offered: Offered, measured: Mapping[str, Any], whose: Mapping[str, str]) -> dict[str, Any]:
    variable = VARIABLES[[one.name for one in VARIABLES].index(offered.name)]
    return {
        "name": offered.name,
        "code": {"scheme": "LN", "value": variable.codes[0], "meaning": variable.en},
        "title": {"en": variable.en, "zh": variable.zh},
        "unit": variable.unit,
        "times": list(offered.hours),
        "nominal": NOMINAL,
        "recent": {"variable": offered.name, "hours": RECENT_H},
        "measured": _said(measured, len(offered.hours), whose),
    }


def _said(measured: Mapping[str, Any], n_hours: int, whose: Mapping[str, str]) -> dict[str, str]:
    """Say how true it was, in numbers."""
    of_all = {key: one["value"] for key, one in measured["all"].items() if key != "n"}
    held = [100 * hour["coverage"]["value"] for hour in measured["hours"]]
    low, high = f"{min(held):.1f}", f"{max(held):.1f}"
    gain = f"{of_all['mae']:.1f}", f"{of_all['mae_last']:.1f}", f"{of_all['mae_mean']:.1f}"
    n = measured["all"]["n"]
    rest = "" if n_hours == AHEAD_H else " Hours at which a baseline was as good are left out."
    rest_zh = "" if n_hours == AHEAD_H else "基线同样准确的时点未列出。"
    return {
        "en": f"On stays of the same {whose['en']} that it had not seen, it held {low} to {high} of 100 ({n} values); "
        f"mean error {gain[0]}, of the last value {gain[1]}, of the mean of six hours {gain[2]}.{rest}",
        "zh": f"在同一{whose['zh']}未见过的住院中，每100个数值有{low}至{high}个落在区间内（共{n}个）；"
        f"平均误差{gain[0]}，以末次值预测为{gain[1]}，以六小时均值预测为{gain[2]}。{rest_zh}",
    }
