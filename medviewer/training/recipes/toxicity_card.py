"""What the card of ``toxicity`` says, in English and Chinese."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from medviewer import __version__
from medviewer.domain.frozen import dataclass
from medviewer.inference.card_schema import SCHEMA_ID
from medviewer.training.card import library_versions
from medviewer.training.configs import MoleculeConfig
from medviewer.training.molecule_blend import BLENDED, PARTS
from medviewer.training.molecule_tensors import input_document
from medviewer.training.molecules import ASSAYS, Molecules
from medviewer.training.own_data import FOLDS, HELD_OUT_ONCE, MOLECULES, is_published, own_card, own_evidence
from medviewer.training.recipes.abouts import ABOUTS

if TYPE_CHECKING:
    from medviewer.training.calibration import Decision
    from medviewer.training.metrics import Floats

RECIPE = "toxicity"
VERSION = "1.0.1"
_TITLES = {
    "NR-AR": ("Androgen receptor", "雄激素受体"),
    "NR-AR-LBD": ("Androgen receptor, ligand-binding domain", "雄激素受体（配体结合域）"),
    "NR-AhR": ("Aryl hydrocarbon receptor", "芳香烃受体"),
    "NR-Aromatase": ("Aromatase", "芳香化酶"),
    "NR-ER": ("Estrogen receptor alpha", "雌激素受体α"),
    "NR-ER-LBD": ("Estrogen receptor alpha, ligand-binding domain", "雌激素受体α（配体结合域）"),
    "NR-PPAR-gamma": ("Peroxisome proliferator-activated receptor gamma", "过氧化物酶体增殖物激活受体γ"),
    "SR-ARE": ("Antioxidant response element", "抗氧化反应元件"),
    "SR-ATAD5": ("DNA damage, ATAD5", "DNA损伤（ATAD5）"),
    "SR-HSE": ("Heat shock response element", "热休克反应元件"),
    "SR-MMP": ("Mitochondrial membrane potential", "线粒体膜电位"),
    "SR-p53": ("DNA damage, p53 pathway", "DNA损伤（p53通路）"),
}

ABOUT = ABOUTS[RECIPE]
_INTENDED_USE = {
    "en": "Research and teaching: how often molecules with a structure like this one were active in twelve assays of "
    "cells in a dish (seven of nuclear receptors, five of stress), and which atoms the answer rests on. It may rank "
    "what to test first; it is no test.",
    "zh": "科研与教学用途：给出结构相似的分子在十二项体外细胞实验（七项核受体、五项应激反应）中呈阳性的频率，"
    "并显示答案所依据的原子。可用于排列实验先后，不能代替实验。",
}
_NOT_FOR = {
    "en": "Whether a medicine is safe or harms a patient, at any dose: active in a dish is not toxic in a person, and "
    "inactive is not safe. Dose, uptake and metabolism are not looked at. Regulatory decisions. Proteins, salts, "
    "mixtures and metals.",
    "zh": "不得用于判断任何剂量下药物是否安全或有害：体外阳性不等于对人有毒，阴性也不等于安全；"
    "未考虑剂量、吸收与代谢。不得用于监管决策。不适用于蛋白质、盐、混合物和金属化合物。",
}
_SITE = {
    "en": "7,823 environmental chemicals and drugs of the Tox21 programme (United States, 2014), each tested in one "
    "laboratory with one protocol an assay. No patients. Molecules of unknown skeletons are judged worse.",
    "zh": "Tox21项目（美国，2014年）的7823种环境化学品与药物，每项实验均按单一方案在单一实验室完成。不涉及患者。"
    "对未见过骨架的分子判断较差。",
}
_REGULATORY = {
    "en": "Research use only. Not a medical device; not cleared or approved by any authority.",
    "zh": "仅供科研使用。非医疗器械，未经任何监管机构批准。",
}
_CHOSEN_ON = {
    "en": "the training part in five folds of whole skeletons, each molecule judged by a blend that did not learn from "
    "its skeleton, at the assays' own frequency; errors are means over assays",
    "zh": "训练部分按骨架整体分五折，每个分子均由未学习过其骨架的模型判断，按各实验实际阳性频率；误差为各实验平均值",
}
_THRESHOLD_ON = {
    "en": "the same folds; where the worse of sensitivity and specificity is best",
    "zh": "同上五折；取敏感度与特异度中较差者最优处",
}
_OOD_ON = {
    "en": "100 times (1 - Tanimoto similarity) to the nearest molecule that was learned from; in folds of whole "
    "skeletons 5% of the training part were farther than the first limit from all others, 0.5% than the second",
    "zh": "与最近的训练分子的距离，即100×(1−Tanimoto相似度)；在按骨架分折的训练部分中，"
    "5%的分子超过第一个限值，0.5%超过第二个限值",
}
_SPLIT_RULE = (
    "Molecules are split by their Bemis-Murcko skeletons as in MoleculeNet: 80% training, 10% validation, 10% test, "
    "from common skeletons to rare ones. Evidence: five folds of whole skeletons inside of the training part, which "
    "chose parts, calibration and thresholds; and a blend of the training part alone, judged once on validation and "
    "test, which chose nothing. Shipped: learned from all molecules by the same recipe, with that calibration and "
    "those thresholds."
)
EVIDENCE_TEXT = {
    "folds": {
        "en": "Training part of Tox21 in five folds of whole skeletons, each molecule judged by a blend that did not "
        "learn from its skeleton; chose parts, calibration and thresholds",
        "zh": "Tox21训练部分按骨架整体分五折，每个分子由未学习过其骨架的模型判断；用于选择组成、校准与阈值",
    },
    "valid": {
        "en": "Validation part of Tox21 (MoleculeNet's scaffold split), judged once by a blend that learned from the "
        "training part alone",
        "zh": "Tox21验证部分（MoleculeNet骨架划分），由仅用训练部分训练的模型判断一次",
    },
    "test": {
        "en": "Test part of Tox21 (MoleculeNet's scaffold split), judged once by a blend that learned from the "
        "training part alone. The shipped blend learned from all parts",
        "zh": "Tox21测试部分（MoleculeNet骨架划分），由仅用训练部分训练的模型判断一次；随附模型则用全部数据训练",
    },
}
_REFERENCES = (
    "Huang et al. Modelling the Tox21 10 K chemical profiles. Nature Communications 2016",
    "Wu et al. MoleculeNet: a benchmark for molecular machine learning. Chemical Science 2018 (data: MIT)",
    "Mayr et al. DeepTox: Toxicity Prediction using Deep Learning. Frontiers in Environmental Science 2016",
    "Gilmer et al. Neural Message Passing for Quantum Chemistry. ICML 2017",
    "Rogers, Hahn. Extended-Connectivity Fingerprints. Journal of Chemical Information and Modeling 2010",
)
_LICENCE_TEXT = """\
The weights in this folder (model.onnx) are licensed under the Apache License, Version 2.0:
http://www.apache.org/licenses/LICENSE-2.0

They were learned from Tox21 as MoleculeNet publishes it (Huang et al. 2016; Wu et al. 2018), under the MIT License:
Copyright (c) 2018 Guillaume Lambard.

model.onnx holds a folded fingerprint (1,024 bits) of each molecule that was learned from, to tell strange ones.
reference.npz holds made-up molecules.

Research use only. No warranty of any kind; see the licence.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """What a run found out before it is written down.

    Attributes:
        molecules: all of them.
        config: the settings.
        decisions: of each assay.
        far: how far each molecule of the training part is from the nearest one of another fold.
        training: ``data_digest`` and ``validation``.
    """

    molecules: Molecules
    config: MoleculeConfig
    decisions: Sequence[Decision]
    far: Floats
    training: Mapping[str, Any]

    @property
    def limits(self) -> tuple[float, float]:
        """Return the distances above which a molecule is warned of, and refused."""
        warn, abstain = (round(float(limit), 1) for limit in np.percentile(self.far, (95, 99.5)))
        return warn, abstain


def card_document(findings: Findings) -> dict[str, Any]:
    """Return the card, all but files and evidence."""
    config, decisions = findings.config, findings.decisions
    warn, abstain = findings.limits
    card = {
        "schema": SCHEMA_ID,
        "id": RECIPE,
        "version": VERSION,
        "title": dict(ABOUT.title),
        "task": "multilabel",
        "intended_use": _INTENDED_USE,
        "not_for": _NOT_FOR,
        "languages": ["en", "zh"],
        "inputs": [input_document()],
        "outputs": [
            {"name": "logits", "shape": [None, len(ASSAYS)], "meaning": f"mean of {', '.join(PARTS[:BLENDED])}"},
            {"name": "parts", "shape": [None, len(PARTS), len(ASSAYS)], "meaning": ", ".join(PARTS)},
            {"name": "novelty", "shape": [None, 1], "meaning": "distance to the nearest molecule learned from, 0-100"},
        ],
        "preprocessing": [],
        "explain": {"target_layer": "none", "grid": [1, 1], "methods": ["occlusion"]},
        "labels": [_label(name, decision) for name, decision in zip(ASSAYS, decisions, strict=True)],
        "calibration": {
            "method": "platt",
            "parameters": {
                "slope": [one.slope for one in decisions],
                "intercept": [one.intercept for one in decisions],
            },
            "ece_before": round(float(np.mean([one.ece_before for one in decisions])), 4),
            "ece_after": round(float(np.mean([one.ece_after for one in decisions])), 4),
            "on": _CHOSEN_ON,
        },
        "ood": {
            "file": "ood.npz",
            "method": "mahalanobis",  # of one number with one centre: the number itself
            "output": "novelty",
            "warn_above": warn,
            "abstain_above": abstain,
            "on": _OOD_ON,
        },
        "population": {"age_years": None, "sexes": [], "site": _SITE},
        "training": {
            "recipe": RECIPE,
            "config": dataclasses.asdict(config),
            "parts": list(PARTS),
            "blended": list(PARTS[:BLENDED]),
            "split_rule": _SPLIT_RULE,
            "seed": config.seed,
            "code_version": __version__,
            "libraries": library_versions("rdkit", "scikit-learn"),
            **findings.training,
        },
        "licences": {"weights": "Apache-2.0, learned from the data below", "data": "MIT, Tox21 in MoleculeNet"},
        "references": list(_REFERENCES),
        "regulatory": _REGULATORY,
        "reference_tolerance": 1e-3,
        "licence_text": _LICENCE_TEXT,
    }
    molecules = findings.molecules
    return card if is_published(RECIPE, [molecules.digest]) else own_card(card, len(molecules.names), MOLECULES)


def evidence_text(split: str, molecules: Molecules) -> dict[str, str]:
    """Return what was judged on."""
    own = FOLDS if split == "folds" else HELD_OUT_ONCE
    return own_evidence(EVIDENCE_TEXT[split], own, is_published=is_published(RECIPE, [molecules.digest]))


def _label(name: str, decision: Decision) -> dict[str, Any]:
    found, right = round(100 * decision.sensitivity), round(100 * decision.specificity)
    en, zh = _TITLES[name]
    return {
        "name": name,
        "code": {"scheme": "99TOX21", "value": name, "meaning": en},
        "title": {"en": en, "zh": zh},
        "threshold": decision.threshold,
        "operating_point": {
            "threshold": decision.threshold,
            "sensitivity": round(decision.sensitivity, 4),
            "specificity": round(decision.specificity, 4),
            "n": decision.n,
            "on": _THRESHOLD_ON,
            "meaning": {
                "en": f"In validation ({decision.n} molecules of unknown skeletons) {found} of 100 that were active "
                f"were flagged, and {right} of 100 that were not active were not.",
                "zh": f"在验证中（{decision.n}个骨架未见过的分子），每100个阳性分子有{found}个被标记，"
                f"每100个阴性分子有{right}个未被标记。",
            },
        },
    }
