"""What the card of ``note-section`` says, in English and Chinese."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medviewer import __version__
from medviewer.inference.card_schema import SCHEMA_ID
from medviewer.training.card import library_versions
from medviewer.training.configs import NoteConfig
from medviewer.training.dialogues import Dialogues, input_document
from medviewer.training.metrics import rates
from medviewer.training.note_decision import Chosen
from medviewer.training.note_evaluation import label_name
from medviewer.training.own_data import DIALOGUES, FOLDS, HELD_OUT, is_published, own_card, own_evidence
from medviewer.training.recipes.abouts import ABOUTS

RECIPE = "note-section"
VERSION = "1.0.1"
# A section is called where it is more probable than all others together.
THRESHOLD = 0.5
_FEWEST = 20  # dialogues of a section: what fewer say of the threshold is not printed

ABOUT = ABOUTS[RECIPE]
_INTENDED_USE = {
    "en": "Research and teaching: which of twenty sections of a clinical note a short dialogue between doctor and "
    "patient would be summarised in, with the words that counted most. It sorts text; it says nothing of the patient.",
    "zh": "科研与教学用途：判断一段简短的医患对话应归入病历二十个章节中的哪一个，并显示起主要作用的词语。"
    "它只对文本分类，不对患者作任何判断。",
}
_NOT_FOR = {
    "en": "Diagnosis, coding or filing without a reader. Whole consultations, which hold several sections. Recordings "
    "turned into text by machine, languages other than English. Seven sections had fewer than ten training dialogues "
    "and are hardly ever recognised.",
    "zh": "不得用于诊断、编码或无人审阅的归档。不适用于包含多个章节的完整问诊、机器转写的录音以及英语以外的语言。"
    "有七个章节的训练对话不足十段，几乎无法识别。",
}
_SITE = {
    "en": "1,201 English dialogues that were written by annotators after published, de-identified clinical notes "
    "(MTS-Dialog); no real conversation is among them. Real speech is less tidy, and the model will know less of it.",
    "zh": "1201段英语对话，由标注人员根据公开的去标识化病历撰写（MTS-Dialog），并非真实谈话。"
    "真实对话没有这么规整，模型的表现会更差。",
}
_REGULATORY = {
    "en": "Research use only. Not a medical device; not cleared or approved by any authority.",
    "zh": "仅供科研使用。非医疗器械，未经任何监管机构批准。",
}
_FOLDS = {
    "en": "the training dialogues in five folds, each judged by parts that did not learn from it, copies kept together",
    "zh": "训练对话分五折，每段均由未学习过它的模型判断，相同的对话置于同一折",
}
_SPLIT_RULE = (
    "Learned from the training table alone, without the dialogues that are in validation or test 1 as well. Parts, "
    "blend and temperature are chosen by grouped folds of it; validation and test 1 judged what was chosen. They did "
    "so twice: a first version without the probe had 0.700 and 0.750 there; the probe was then tried and kept for what "
    "it does in the folds (0.801 to 0.813), so that the validation figure is a little hopeful."
)
_OWN_SPLIT_RULE = (
    "Learned from the training table alone, without the dialogues that are in another table as well. Parts, blend and "
    "temperature are chosen by grouped folds of it; the other tables judged what was chosen."
)
EVIDENCE_TEXTS: Mapping[str, Mapping[str, str]] = {
    "folds": {
        "en": "Training dialogues in grouped folds; chose the parts and the temperature, by networks before rounding",
        "zh": "训练对话的分组交叉验证；用于选择模型组成与温度，取整前的网络",
    },
    "validation": {
        "en": "Validation table of MTS-Dialog; not learned from, judged two versions",
        "zh": "MTS-Dialog验证集；未用于训练，评判过两个版本",
    },
    "test-1": {
        "en": "Test table 1 of MTS-Dialog; not learned from, judged two versions",
        "zh": "MTS-Dialog测试集1；未用于训练，评判过两个版本",
    },
}
_REFERENCES = (
    (
        "Ben Abacha, Yim, Fan, Lin. An Empirical Study of Clinical Note Generation from Doctor-Patient Encounters. "
        "EACL 2023 (data: CC BY 4.0)"
    ),
    (
        "Wang et al. MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression. NeurIPS 2020; Reimers and "
        "Gurevych. Sentence-BERT. EMNLP 2019 (encoder all-MiniLM-L6-v2: Apache-2.0)"
    ),
    "Salton, Buckley. Term-weighting approaches in automatic text retrieval. 1988",
    "Jacob et al. Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference. 2018",
)
_LICENCE_TEXT = """\
The weights in this folder (model.onnx) are licensed under the Apache License, Version 2.0:
http://www.apache.org/licenses/LICENSE-2.0

They are derived from the encoder all-MiniLM-L6-v2 (sentence-transformers, Apache License, Version 2.0;
https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2), of which vocab.txt is a part: pieces that do not occur
in English were taken out, its last layers were trained further, and its weights were rounded to eight bits.

They were learned from MTS-Dialog (Ben Abacha, Yim, Fan, Lin; https://github.com/abachaa/MTS-Dialog), made available
under the Creative Commons Attribution 4.0 International licence (https://creativecommons.org/licenses/by/4.0/).
No dialogue is contained in this folder; reference.npz holds made-up ones.

Research use only. No warranty of any kind; see the licence.
"""
_BEGUN = "the encoder all-MiniLM-L6-v2 (Apache-2.0)"
# Section of MTS-Dialog: LOINC code and its meaning, where one code means the same; English; Chinese.
SECTIONS: Mapping[str, tuple[str, str, str, str]] = {
    "ALLERGY": ("48765-2", "Allergies and adverse reactions", "Allergies", "过敏史"),
    "ASSESSMENT": ("51848-0", "Evaluation note", "Assessment", "评估"),
    "CC": ("10154-3", "Chief complaint", "Chief complaint", "主诉"),
    "DIAGNOSIS": ("29308-4", "Diagnosis", "Diagnosis", "诊断"),
    "DISPOSITION": ("", "Disposition", "Disposition", "去向安排"),
    "EDCOURSE": ("", "Emergency department course", "Course in the emergency department", "急诊经过"),
    "EXAM": ("29545-1", "Physical findings", "Physical examination", "体格检查"),
    "FAM/SOCHX": ("", "Family and social history", "Family and social history", "家族史与社会史"),
    "GENHX": ("10164-2", "History of present illness", "History of present illness", "现病史"),
    "GYNHX": ("", "Gynaecological history", "Gynaecological history", "妇科史"),
    "IMAGING": ("18748-4", "Diagnostic imaging study", "Imaging", "影像检查"),
    "IMMUNIZATIONS": ("11369-6", "History of immunization", "Immunisations", "免疫接种史"),
    "LABS": ("30954-2", "Relevant diagnostic tests and/or laboratory data", "Laboratory results", "实验室检查"),
    "MEDICATIONS": ("10160-0", "History of medication use", "Medicines", "用药史"),
    "OTHER_HISTORY": ("", "Other history", "Other history", "其他病史"),
    "PASTMEDICALHX": ("11348-0", "History of past illness", "Past medical history", "既往史"),
    "PASTSURGICAL": ("10167-5", "History of surgical procedures", "Past surgical history", "手术史"),
    "PLAN": ("18776-5", "Plan of care note", "Plan", "诊疗计划"),
    "PROCEDURES": ("", "Procedures", "Procedures", "操作"),
    "ROS": ("10187-3", "Review of systems", "Review of systems", "系统回顾"),
}


def card_document(
    sections: Sequence[str],
    sets: Mapping[str, Dialogues],
    config: NoteConfig,
    chosen: Chosen,
    training: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the card, all but files and evidence.

    Args:
        sections: the classes, in the order of the logits.
        sets: the data by split.
        config: the settings of the run.
        chosen: by the folds.
        training: ``data_digest`` and ``validation``.
    """
    times = Counter(row.section for row in sets["training"].rows)
    of_published = is_published(RECIPE, [sets["training"].digest])
    card = {
        "schema": SCHEMA_ID,
        "id": RECIPE,
        "version": VERSION,
        "title": dict(ABOUT.title),
        "task": "multiclass",
        "intended_use": _INTENDED_USE,
        "not_for": _NOT_FOR,
        "languages": ["en", "zh"],
        "inputs": [input_document(config.length)],
        "outputs": [
            {"name": "logits", "shape": [None, len(sections)], "meaning": "mean of the parts, before calibration"},
            {
                "name": "parts",
                "shape": [None, len(chosen.parts), len(sections)],
                "meaning": f"logits of {', '.join(chosen.parts)}",
            },
        ],
        "preprocessing": [],
        "explain": {"target_layer": "none", "grid": [1, 1], "methods": ["occlusion"]},
        "labels": [_label(index, section, chosen) for index, section in enumerate(sections)],
        "calibration": {
            "method": "temperature",
            "parameters": {"temperature": chosen.temperature},
            "ece_before": round(chosen.ece_before, 4),
            "ece_after": round(chosen.ece_after, 4),
            "on": _FOLDS,
        },
        "population": {"age_years": None, "sexes": [], "site": _SITE},
        "training": {
            "recipe": RECIPE,
            "config": dataclasses.asdict(config),
            "data_digests": {split: found.digest for split, found in sets.items()},
            "per_class": {label_name(section): times[section] for section in sections},
            "parts": list(chosen.parts),
            "compared": {name: round(value, 4) for name, value in chosen.compared.items()},
            "split_rule": _SPLIT_RULE if of_published else _OWN_SPLIT_RULE,
            "seed": config.seed,
            "code_version": __version__,
            "libraries": library_versions(),
            **training,
        },
        "licences": {
            "weights": "Apache-2.0, derived from all-MiniLM-L6-v2 (Apache-2.0), learned from the data below",
            "data": "CC BY 4.0, MTS-Dialog, Ben Abacha et al. 2023",
        },
        "references": list(_REFERENCES),
        "regulatory": _REGULATORY,
        "reference_tolerance": 1e-3,
        "licence_text": _LICENCE_TEXT,
    }
    return card if of_published else own_card(card, len(sets["training"].rows), DIALOGUES, begun=_BEGUN)


def evidence_text(split: str, sets: Mapping[str, Dialogues]) -> dict[str, str]:
    """Return what the model was judged on."""
    of_published = is_published(RECIPE, [sets[name].digest for name in ("training", split) if name in sets])
    return own_evidence(EVIDENCE_TEXTS[split], FOLDS if split == "folds" else HELD_OUT, is_published=of_published)


def _label(index: int, section: str, chosen: Chosen) -> dict[str, Any]:
    name = label_name(section)
    code, meaning, en, zh = SECTIONS.get(section, ("", section.capitalize(), section.capitalize(), section))
    own = {"scheme": "LN", "value": code} if code else {"scheme": "99MEDVIEWER", "value": name[:16]}
    found: dict[str, Any] = {"name": name, "code": {**own, "meaning": meaning}, "title": {"en": en, "zh": zh}}
    found["threshold"] = THRESHOLD
    truth = chosen.truth == index
    if (n := int(truth.sum())) >= _FEWEST:
        at = rates(truth, np.ascontiguousarray(chosen.probability[:, index]), THRESHOLD)
        right, wrong = round(100 * at.sensitivity), round(1000 * (1 - at.specificity))
        found["operating_point"] = {
            "threshold": THRESHOLD,
            "sensitivity": round(at.sensitivity, 4),
            "specificity": round(at.specificity, 4),
            "n": len(truth),
            "on": _FOLDS,
            "meaning": {
                "en": f"In validation ({n} dialogues of this section, {len(truth) - n} of others) {right} of 100 of "
                f"this section were called so, and {wrong} of 1,000 of the others.",
                "zh": f"在验证中（本章节{n}段，其他章节{len(truth) - n}段），本章节每100段有{right}段被识别，"
                f"其他章节每1000段有{wrong}段被误判为本章节。",
            },
        }
    return found
