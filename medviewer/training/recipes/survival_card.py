"""What the card of ``survival-heart-attack`` says, in English and Chinese, and what its fields are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medviewer import __version__
from medviewer.inference.card_schema import SCHEMA_ID
from medviewer.training.card import library_versions
from medviewer.training.cohorts import EVENT, TIME, Cohort
from medviewer.training.configs import SurvivalConfig
from medviewer.training.cox import Cox
from medviewer.training.own_data import PATIENTS, is_published, own_card
from medviewer.training.recipes.abouts import ABOUTS
from medviewer.training.run_settings import is_recipes_own

RECIPE = "survival"
ID = "survival-heart-attack"
VERSION = "1.0.1"

TIMES = (30.0, 90.0, 180.0, 365.0, 730.0, 1095.0)  # days from admission
HORIZON = 365.0
HORIZONS = (30.0, 365.0, 1095.0)

_YES_NO = {"no": 0, "absent": 0, "yes": 1, "present": 1}


def _number(name: str, title: tuple[str, str], code: str, unit: str, plausible: tuple[float, float]) -> dict[str, Any]:
    english, chinese = title
    named = {"name": name, "title": {"en": english, "zh": chinese}}
    return {**named, "codes": [code], "unit": unit, "range": list(plausible)}


def _condition(name: str, title: tuple[str, str], code: str) -> dict[str, Any]:
    """Describe something that is there or not; where nothing is recorded, nobody may take it for absent."""
    english, chinese = title
    # Records name a code with its scheme or, from FHIR, without.
    named = {"name": name, "title": {"en": english, "zh": chinese}, "codes": [f"SCT:{code}", code]}
    return {**named, "categories": _YES_NO, "range": [0, 1], "baseline": 0}


# Length of stay is among the published columns and is left out: at admission nobody knows it, and who dies early has a
# short one.
FIELDS: tuple[Mapping[str, Any], ...] = (
    {"name": "age", "title": {"en": "Age", "zh": "年龄"}, "from": "age_years", "range": [18, 110]},
    {"name": "sex", "title": {"en": "Sex", "zh": "性别"}, "from": "sex", "categories": {"m": 0, "f": 1}},
    _number("heart_rate", ("Heart rate", "心率"), "8867-4", "/min", (20, 250)),
    _number("systolic_pressure", ("Systolic blood pressure", "收缩压"), "8480-6", "mm[Hg]", (40, 300)),
    _number("diastolic_pressure", ("Diastolic blood pressure", "舒张压"), "8462-4", "mm[Hg]", (5, 220)),
    _number("bmi", ("Body mass index", "体重指数"), "39156-5", "kg/m2", (10, 70)),
    _condition("cardiovascular_disease", ("History of cardiovascular disease", "心血管疾病史"), "266995000"),
    _condition("atrial_fibrillation", ("Atrial fibrillation", "心房颤动"), "49436004"),
    _condition("cardiogenic_shock", ("Cardiogenic shock", "心源性休克"), "89138009"),
    _condition("heart_failure", ("Heart failure", "心力衰竭"), "84114007"),
    _condition("complete_heart_block", ("Complete heart block", "完全性房室传导阻滞"), "27885002"),
    _condition("earlier_infarction", ("Earlier heart attack", "既往心肌梗死"), "399211009"),
    _condition("q_wave_infarction", ("Q wave infarction", "Q波型心肌梗死"), "304914007"),
)
# What the published file calls them.
COLUMNS: Mapping[str, str] = {
    "sex": "gender", "heart_rate": "hr", "systolic_pressure": "sysbp", "diastolic_pressure": "diasbp",
    "cardiovascular_disease": "cvd", "atrial_fibrillation": "afb", "cardiogenic_shock": "sho",
    "heart_failure": "chf", "complete_heart_block": "av3", "earlier_infarction": "miord",
    "q_wave_infarction": "mitype", TIME: "lenfol", EVENT: "fstat",
}  # fmt: skip

ABOUT = ABOUTS[RECIPE]
_INTENDED_USE = {
    "en": "Research and teaching: how many patients of a published cohort were alive up to three years after they had "
    "been admitted with a heart attack, if 13 values at admission were like these, and which values count most. It is "
    "no forecast for one person.",
    "zh": "科研与教学用途：在已发表的队列中，入院时13项数值相似的心肌梗死患者在三年内的存活比例，以及哪些数值最重要。"
    "它不是对个人的预测。",
}
_NOT_FOR = {
    "en": "Decisions on treatment, discharge or its limits. Patients of today: these were treated between 1997 and "
    "2001, before most stents and today's medicines, and survived less often. Anybody without a heart attack. Values "
    "that were not taken at admission.",
    "zh": "不得用于治疗、出院或限制治疗的决策。不适用于当今患者：这些患者于1997至2001年接受治疗，"
    "当时支架与现代药物尚未普及，存活率更低。不适用于未发生心肌梗死者，也不适用于非入院时的数值。",
}
_SITE = {
    "en": "500 adults aged 30 to 104 with a heart attack, hospitals of Worcester, Massachusetts, 1997, 1999 and 2001 "
    "(Worcester Heart Attack Study, the teaching sample WHAS500), watched until 2002.",
    "zh": "500名30至104岁心肌梗死成人患者，美国马萨诸塞州伍斯特市各医院，1997、1999与2001年"
    "（伍斯特心脏病研究教学样本WHAS500），随访至2002年。",
}
_REGULATORY = {
    "en": "Research use only. Not a medical device; not cleared or approved by any authority.",
    "zh": "仅供科研使用。非医疗器械，未经任何监管机构批准。",
}
EVIDENCE_TEXT = {
    "en": "All patients, each judged by a model that learned from the other folds, repeated with other folds; pairs of "
    "one fold are compared. The shipped model learned from all. concordance_network: a small network on the same "
    "folds, which is not shipped",
    "zh": "全部患者，每名均由用其他折学习的模型判断，并更换分折重复；仅比较同一折内的患者对。随附模型用全部患者学习。"
    "concordance_network：同样分折上的小型网络，未随附",
}
_SPLIT_RULE = (
    "No split: {folds} folds, {repeats} times (of the network once), those who died spread evenly. {all} 13 "
    "values at admission, {penalty}, ties after Efron. Length of stay, published too, is not used."
)
_REFERENCES = (
    "Hosmer, Lemeshow, May. Applied Survival Analysis, 2nd ed. Wiley 2008 (WHAS500)",
    "Goldberg et al. Age-related trends in short- and long-term survival after acute myocardial infarction. 1998",
    "Cox. Regression Models and Life-Tables. Journal of the Royal Statistical Society B 1972",
    "Efron. The Efficiency of Cox's Likelihood Function for Censored Data. JASA 1977",
)
_DATA = (
    "WHAS500, published with Hosmer, Lemeshow and May 2008 for teaching, as shipped in scikit-survival; no licence of "
    "its own is stated. No row of it is contained here: only 13 coefficients, means and deviations, and six hazards"
)
_LICENCE_TEXT = """\
The weights in this folder (model.onnx) are licensed under the Apache License, Version 2.0:
http://www.apache.org/licenses/LICENSE-2.0

They are coefficients that were fitted to WHAS500, 500 patients of the Worcester Heart Attack Study that
were published for teaching with: Hosmer, Lemeshow, May, "Applied Survival Analysis", 2nd edition, Wiley 2008
(http://www.umass.edu/statdata/statdata/data/). No licence is stated for these data. They were read from the file
whas500.arff that scikit-survival ships; that package is under the GPL, none of its code was used, and nothing of it
or of the data is contained in this folder: 13 coefficients, means and deviations, and six cumulative hazards.

reference.npz holds made-up patients and the model's answers to them (Apache License 2.0).

Research use only. No warranty of any kind; see the licence.
"""


def input_document(fields: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the card's input; before anything is known of the patients their mean is 0 and their deviation 1."""
    known = [{"mean": 0.0, "std": 1.0, **field} for field in fields]
    shape = [None, len(known)]
    return {
        "kind": "table",
        "name": "admission",
        "tensors": [{"part": "values", "name": "values", "dtype": "float32", "shape": shape}],
        "fields": known,
        "preprocessing": [{"op": "z_score"}],
        "together_h": 24,
        "warn_older_h": 24,
        "abstain_older_h": 48,
    }


def card_document(
    document: Mapping[str, Any], cohort: Cohort, config: SurvivalConfig, model: Cox, proof: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the card, all but files, evidence and validation.

    Args:
        document: the input, with the patients' statistics.
        cohort: the patients.
        config: the settings of the run.
        model: what is shipped.
        proof: the report on the folds, and ``risk``: what was said of each patient at the horizon.
    """
    names = [str(field["name"]) for field in document["fields"]]
    ratios = {name: round(float(np.exp(beta)), 4) for name, beta in zip(names, model.beta, strict=True)}
    card = {
        "schema": SCHEMA_ID,
        "id": ID,
        "version": VERSION,
        "title": dict(ABOUT.title),
        "task": "survival",
        "intended_use": _INTENDED_USE,
        "not_for": _NOT_FOR,
        "languages": ["en", "zh"],
        "inputs": [dict(document)],
        "outputs": [
            {"name": "survival", "shape": [None, len(TIMES)], "meaning": "chance of being alive at each time"},
            {"name": "log_hazard", "shape": [None, 1], "meaning": "log of the hazard, relative to the mean patient's"},
        ],
        "preprocessing": [],
        "explain": {"target_layer": "none", "grid": [1, 1], "methods": ["occlusion"]},
        "labels": [],
        "outcomes": [_outcome(cohort, proof)],
        "population": {"age_years": [30, 104], "sexes": ["F", "M"], "site": _SITE, "is_strict": True},
        "training": {
            "recipe": RECIPE,
            "config": dataclasses.asdict(config),
            "patients_digest": cohort.patients_digest,
            "split_rule": _split_rule(config),
            "hazard_ratios_per_deviation": ratios,
            "risk_cuts": [round(float(cut), 4) for cut in np.quantile(proof["risk"], (1 / 3, 2 / 3))],
            "calibration": proof["calibration"],
            "seed": config.seed,
            "code_version": __version__,
            "libraries": library_versions(),
        },
        "licences": {"weights": "Apache-2.0, fitted to the data below", "data": _DATA},
        "references": list(_REFERENCES),
        "regulatory": _REGULATORY,
        "reference_tolerance": 1e-4,
        "licence_text": _LICENCE_TEXT,
    }
    return card if is_published(RECIPE, [cohort.digest]) else own_card(card, len(cohort.time), PATIENTS)


def _split_rule(config: SurvivalConfig) -> str:
    """Return how it was judged and fitted; that no setting was chosen is said only where all are the recipe's."""
    return _SPLIT_RULE.format(
        folds=config.n_folds,
        repeats=config.n_repeats,
        all="No setting was chosen: all" if is_recipes_own(RECIPE, config) else "All",
        penalty=f"a penalty of {config.penalty:g}" if config.penalty else "no penalty",
    )


def _outcome(cohort: Cohort, proof: Mapping[str, Any]) -> dict[str, Any]:
    found = proof["metrics"]["concordance"]
    between = {"en": "", "zh": ""}
    if found["ci95"] is not None:
        low, high = found["ci95"]
        between = {"en": f" (95% {low:.0%} to {high:.0%})", "zh": f"（95%区间{low:.0%}至{high:.0%}）"}
    error = proof["metrics"][f"calibration_error_{HORIZON:g}"]["value"]
    off = {"en": "", "zh": ""}
    if error is not None:
        off = {
            "en": f"; at one year the chance given was {error:.1%} from the share that had died, on average over five "
            "groups",
            "zh": f"；一年时给出的概率与实际死亡比例平均相差{error:.1%}（五组平均）",
        }
    n = len(cohort.time)
    of = (
        {"en": "of 1997 to 2001", "zh": "1997至2001年"}
        if is_published(RECIPE, [cohort.digest])
        else {"en": "of one archive", "zh": "同一来源"}
    )
    return {
        "name": "survival",
        "code": {"scheme": "SCT", "value": "419620001", "meaning": "Death"},
        "title": {"en": "Death after the heart attack", "zh": "心肌梗死后死亡"},
        "unit": "d",
        "times": list(TIMES),
        "horizon": HORIZON,
        "measured": {
            "en": f"In validation by folds on {n} patients {of['en']}, of two patients the one who died first had "
            f"the higher risk in {found['value']:.0%} of pairs{between['en']}{off['en']}.",
            "zh": f"在{of['zh']}{n}名患者的分折验证中，两名患者里先死亡者风险更高的比例为{found['value']:.0%}"
            f"{between['zh']}{off['zh']}。",
        },
    }
