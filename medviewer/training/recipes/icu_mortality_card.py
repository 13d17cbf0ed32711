"""What the card of ``icu-mortality`` says, in English and Chinese."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medviewer import __version__
from medviewer.inference.card_schema import SCHEMA_ID
from medviewer.training.card import library_versions
from medviewer.training.configs import StayConfig
from medviewer.training.own_data import HELD_OUT_ONCE, STAYS, is_published, own_card, own_evidence
from medviewer.training.physionet import Stays
from medviewer.training.recipes.abouts import ABOUTS
from medviewer.training.stay_blend import PARTS

if TYPE_CHECKING:
    from medviewer.training.calibration import Decision

RECIPE = "icu-mortality"
VERSION = "1.0.1"

ABOUT = ABOUTS[RECIPE]
_INTENDED_USE = {
    "en": "Research and teaching: how often patients died in hospital whose first 48 hours in intensive care looked "
    "like these, from vital signs and laboratory values, with what counted most. It is no forecast for one person and "
    "no ground for giving or withholding treatment.",
    "zh": "科研与教学用途：根据生命体征与检验结果，给出重症监护头48小时情况相似的患者的院内死亡频率，"
    "并显示起主要作用的数据。"
    "它不是对个人的预测，也不能作为给予或放弃治疗的依据。",
}
_NOT_FOR = {
    "en": "Decisions on treatment, triage or its limits. Children. Stays of less than 48 hours, which were left out of "
    "the training data. Patients who died while treatment was limited count as deaths like all others: the model "
    "learned what was done as well as how ill they were.",
    "zh": "不得用于治疗、分诊或限制治疗的决策。不适用于儿童，也不适用于不足48小时的住院（训练数据未包含）。"
    "限制治疗后死亡的患者与其他死亡同样计入：模型学到的既有病情，也有当时的处置。",
}
_SITE = {
    "en": "12,000 adults in four intensive care units of one hospital in Boston (MIMIC II), 2001 to 2008; sets A and B "
    "of the challenge, 4,000 stays each. Where other things are measured, or at other times, the risk is another.",
    "zh": "美国波士顿一家医院四个重症监护病房的12000名成人（MIMIC II，2001至2008年）；使用竞赛A、B两组，各4000次住院。"
    "测量项目或时间不同时，风险也不同。",
}
_REGULATORY = {
    "en": "Research use only. Not a medical device; not cleared or approved by any authority.",
    "zh": "仅供科研使用。非医疗器械，未经任何监管机构批准。",
}
_CHOSEN_ON = {
    "en": "sets A and B in five folds, each stay judged by a blend that did not learn from it, at their own "
    "frequency of death",
    "zh": "A、B两组分五折，每次住院均由未学习过它的模型判断，按实际死亡频率",
}
_THRESHOLD_ON = {
    "en": "the same folds; where sensitivity and positive predictive value are the same, as the challenge scores it",
    "zh": "同上五折；取敏感度与阳性预测值相等处，与竞赛评分一致",
}
_HOSPITAL = {"en": "one hospital", "zh": "同一家医院"}
_OWN = {"en": "one archive", "zh": "同一来源"}
_SPLIT_RULE = (
    "Stays are patients. Evidence: learned from set A alone, judged once on set B, which chose nothing of it. "
    "Shipped: learned from both sets by the same recipe. Calibration and threshold of each come from five folds of "
    "what it learned from."
)
EVIDENCE_TEXT = {
    "en": "Set B of the challenge, judged by a blend that the same recipe learned from set A alone. The shipped blend "
    "learned from both sets",
    "zh": "竞赛B组，由同一流程仅用A组训练的模型判断；随附模型则用两组训练",
}
_REFERENCES = (
    (
        "Silva, Moody, Scott, Celi, Mark. Predicting In-Hospital Mortality of ICU Patients: The PhysioNet/Computing in "
        "Cardiology Challenge 2012. Computing in Cardiology 2012 (data: ODC-By 1.0)"
    ),
    "Che et al. Recurrent Neural Networks for Multivariate Time Series with Missing Values. Scientific Reports 2018",
    "Friedman. Greedy Function Approximation: A Gradient Boosting Machine. Annals of Statistics 2001",
)
_LICENCE_TEXT = """\
The weights in this folder (model.onnx) are licensed under the Apache License, Version 2.0:
http://www.apache.org/licenses/LICENSE-2.0

They were learned from sets A and B of the PhysioNet/Computing in Cardiology Challenge 2012
(Silva, Moody, Scott, Celi, Mark; https://physionet.org/content/challenge-2012/1.0.0/), made available
under the Open Data Commons Attribution License 1.0 (https://opendatacommons.org/licenses/by/1-0/).
No stay is contained in this folder; reference.npz holds made-up ones.

Research use only. No warranty of any kind; see the licence.
"""


def card_document(
    sets: Mapping[str, Stays],
    config: StayConfig,
    inputs: Sequence[Mapping[str, Any]],
    decision: Decision,
    training: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the card, all but files and evidence.

    Args:
        sets: the data.
        config: the settings of the run.
        inputs: the card's inputs.
        decision: calibration and threshold.
        training: ``data_digest`` and ``validation``.
    """
    of_published = _is_published(sets)
    card = {
        "schema": SCHEMA_ID,
        "id": RECIPE,
        "version": VERSION,
        "title": dict(ABOUT.title),
        "task": "multilabel",
        "intended_use": _INTENDED_USE,
        "not_for": _NOT_FOR,
        "languages": ["en", "zh"],
        "inputs": [dict(one) for one in inputs],
        "outputs": [
            {"name": "logits", "shape": [None, 1], "meaning": "mean of the parts, before calibration"},
            {"name": "parts", "shape": [None, len(PARTS)], "meaning": ", ".join(PARTS)},
        ],
        "preprocessing": [],
        "explain": {"target_layer": "none", "grid": [1, 1], "methods": ["occlusion"]},
        "labels": [_label(decision, _HOSPITAL if of_published else _OWN)],
        "calibration": {
            "method": "platt",
            "parameters": {"slope": [decision.slope], "intercept": [decision.intercept]},
            "ece_before": round(decision.ece_before, 4),
            "ece_after": round(decision.ece_after, 4),
            "on": _CHOSEN_ON,
        },
        "population": {"age_years": [16, 90], "sexes": ["F", "M"], "site": _SITE, "is_strict": True},
        "training": {
            "recipe": RECIPE,
            "config": dataclasses.asdict(config),
            "data_digests": {letter: found.digest for letter, found in sets.items()},
            "parts": list(PARTS),
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
    return card if of_published else own_card(card, sum(len(one.stays) for one in sets.values()), STAYS)


def evidence_text(sets: Mapping[str, Stays]) -> dict[str, str]:
    """Return what was judged on."""
    return own_evidence(EVIDENCE_TEXT, HELD_OUT_ONCE, is_published=_is_published(sets))


def _is_published(sets: Mapping[str, Stays]) -> bool:
    return is_published(RECIPE, [one.digest for one in sets.values()])


def _label(decision: Decision, whose: Mapping[str, str]) -> dict[str, Any]:
    found, right = round(100 * decision.sensitivity), round(100 * decision.specificity)
    return {
        "name": "DeathInHospital",
        "code": {"scheme": "SCT", "value": "16983000", "meaning": "Death in hospital"},
        "title": {"en": "Death in hospital", "zh": "院内死亡"},
        "threshold": decision.threshold,
        "operating_point": {
            "threshold": decision.threshold,
            "sensitivity": round(decision.sensitivity, 4),
            "specificity": round(decision.specificity, 4),
            "n": decision.n,
            "on": _THRESHOLD_ON,
            "meaning": {
                "en": f"In validation ({decision.n} stays of {whose['en']}) {found} of 100 who died were flagged, and "
                f"{right} of 100 who survived were not.",
                "zh": f"在验证中（{whose['zh']}{decision.n}次住院），每100名死亡患者有{found}名被标记，"
                f"每100名存活患者有{right}名未被标记。",
            },
        },
    }
