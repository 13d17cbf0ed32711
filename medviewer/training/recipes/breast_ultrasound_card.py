"""What the card of ``breast-ultrasound`` says, in English and Chinese."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medviewer import __version__
from medviewer.inference.card_schema import SCHEMA_ID
from medviewer.training.breastmnist import CLASSES, part_digests
from medviewer.training.card import library_versions
from medviewer.training.configs import SmallConfig
from medviewer.training.data import ClassFolders
from medviewer.training.networks import N_APPEARANCE
from medviewer.training.own_data import IMAGES, is_published, own_card, own_evidence
from medviewer.training.recipes.abouts import ABOUTS

if TYPE_CHECKING:
    from medviewer.training.calibration import Decision

RECIPE = "breast-ultrasound"
VERSION = "1.2.0"

# Ids of medviewer.explain.methods.METHODS.
METHODS = ("grad-cam", "integrated-gradients", "occlusion")

ABOUT = ABOUTS[RECIPE]
_INTENDED_USE = {
    "en": "Research and teaching: says how typical a picture of breast ultrasound, squeezed to 28 x 28 pixels, is of a "
    "malignant lesion, with a heat map of where the networks looked. It shows what can be learned from few and small "
    "pictures, and no more.",
    "zh": "科研与教学用途：判断压缩为28×28像素的乳腺超声图像与恶性病变的相似程度，并以热力图显示网络关注的部位。"
    "它只说明从少量小图像中能学到什么，仅此而已。",
}
_NOT_FOR = {
    "en": "Diagnosis, screening, biopsy decisions or treatment. Whole frames of a scanner: it learned from cut-outs "
    "around the tissue, without the borders, rulers and text of the screen, which were squeezed to a square of 28 x 28 "
    "pixels; margins, calcifications and texture by which a radiologist judges are not in them. Images in colour, "
    "Doppler, elastography, men, and anything but the breast. It cannot tell a normal breast from a benign lesion.",
    "zh": "不得用于诊断、筛查、活检决策或治疗。不适用于超声仪的完整画面：训练图像是去除屏幕边框、标尺和文字后的组织区域"
    "，并被压缩为28×28像素的正方形，放射科医生据以判断的边缘、钙化和纹理在其中已不可见。"
    "不适用于彩色图像、多普勒、弹性成像、男性以及乳腺以外的部位。它不能区分正常乳腺与良性病变。",
}
_SITE = {
    "en": "Women aged 25 to 75, one hospital (Baheya, Cairo), 2018, two scanners (LOGIQ E9); the training and "
    "validation parts of BreastMNIST. Which images are of one woman is not published.",
    "zh": "25至75岁女性，单一医院（埃及开罗Baheya医院），2018年，两台超声仪（LOGIQ E9）；"
    "使用BreastMNIST的训练与验证部分。未公布哪些图像属于同一患者。",
}
_REGULATORY = {
    "en": "Research use only. Not a medical device; not cleared or approved by any authority.",
    "zh": "仅供科研使用。非医疗器械，未经任何监管机构批准。",
}
_CHOSEN_ON = {
    "en": "images held out by folds, plain and shifted, malignant and other weighing the same; the errors are of "
    "calibrations from the other folds",
    "zh": "按折留出的图像（原图与各种变换），恶性与其他权重相同；误差由其余各折得到的校准计算",
}
_THRESHOLD_ON = {
    "en": "images held out by folds, each called by a threshold from the other folds; chosen where the worse of "
    "sensitivity and specificity is best, which does not depend on how common malignancy is",
    "zh": "按折留出的图像，各折使用其余各折得到的阈值；阈值取敏感度与特异度中较差者最优处，与恶性比例无关",
}
EVIDENCE_TEXT = {
    "en": "All images, each judged by networks that learned from other folds, repeated with other folds. Images that "
    "are copies of each other, or nearly, stay in one fold and are counted as one patient here, since no patient is "
    "published: two unlike images of one woman may still be on both sides, and figures on new women may be lower. "
    "The settings were chosen on folds of the same images",
    "zh": "全部图像，每张均由用其他折训练的网络判断，并更换分折重复。相同或近似相同的图像归入同一折，"
    "并在此按一名患者计数，因为患者信息未公布：同一患者的两张不同图像仍可能分在两侧，用于新患者时结果可能更低。参数在同一批图像的分折上选定",
}
# Measured once with the limits of version 1.2.0: these images belong to no data of the recipe.
_ELSEWHERE = {
    "en": "Other images, of which the recipe has none, were measured once, shown in grey and as if their header said "
    "breast ultrasound. Warned of or refused were all of 1,500 chest films of children (90.5% refused), 227 CT (96.9%) "
    "and 258 MR slices (78.7%), 6 other radiographs (5 refused), 3 PET and scintigraphy images (1), 31 test patterns "
    "and secondary captures (28), and 140 frames of other ultrasound (6.4%, most of one colour film): ultrasound of "
    "another organ is warned of, and nearly always answered. Of 123 photographs and parts of them 87.8% were warned of "
    "or refused (52.8% refused): 15 were answered without any warning. AUC 0.978 for photographs, 0.98 for one other "
    "radiograph, 0.993 or more for every other kind. How often breast ultrasound of other scanners is warned of is not "
    "known; the nearest to it are the shares of changed images above.",
    "zh": "另用本训练方案数据之外的其他图像测试过一次（以灰度显示，并假定其文件头标明为乳腺超声）。"
    "被警告或拒绝的有：全部1,500幅儿童胸片（90.5%被拒绝）、227幅CT（96.9%）和258幅MR层面（78.7%）、"
    "6幅其他X线片（5幅被拒绝）、3幅PET与核素图像（1幅）、31幅测试图与二次获取图像（28幅），"
    "以及140帧其他超声图像（6.4%，多数来自同一段彩色影像）：其他器官的超声会得到警告，但几乎总会给出结果。"
    "123幅照片及其局部中87.8%被警告或拒绝（52.8%被拒绝）：15幅未得到任何警告即给出结果。"
    "照片的AUC为0.978，一幅其他X线片为0.98，其余各类均不低于0.993。"
    "其他超声仪的乳腺图像被警告的频率未知，最接近的参考是上文各种变换后图像被警告的比例。",
}
_OWN_EVIDENCE = {
    "en": "Its owner's images in folds, each judged by networks that did not learn from it; the ones that are shipped "
    "learned from all of them. Images that are copies of each other, or nearly, stay in one fold and are counted as "
    "one",
    "zh": "所有者自有图像的分折验证，每张均由未学习过它的网络判断；随附网络则用全部图像训练。"
    "相同或近似相同的图像归入同一折，并按一个计数",
}
_BY_TABLE = {
    "en": ", as are those of one patient of the label table",
    "zh": "；标签表中同一患者的图像亦如此",
}
_NO_PATIENTS = {
    "en": ", since no table names the patients: two unlike images of one woman may still be on both sides, and figures "
    "on new women may be lower",
    "zh": "，因为没有标签表说明患者：同一患者的两张不同图像仍可能分在两侧，用于新患者时结果可能更低",
}
_OWN_LABEL = {"en": "one archive", "zh": "同一影像库"}
_SPLIT_RULE = (
    "No split: {folds} folds, {repeats} times, stratified by class. Images whose greys at 28 x 28 pixels correlate "
    "above 0.94, mirrored or not, and whatever is linked through them, stay in one fold. Calibration and threshold "
    "come from the folds; the shipped networks learned from all images. The last epoch is taken: no image chooses one."
)
_REFERENCES = (
    (
        "Yang et al. MedMNIST v2: A Large-Scale Lightweight Benchmark for 2D and 3D Biomedical Image Classification. "
        "Scientific Data 2023 (BreastMNIST, CC BY 4.0; its ResNet-18 at 28 pixels: AUC 0.901 on the official test part)"
    ),
    "Al-Dhabyani, Gomaa, Khaled, Fahmy. Dataset of Breast Ultrasound Images. Data in Brief 2020 (BUSI)",
    (
        "Pawlowska, Karwat, Zolek. Letter to the Editor. Re: Dataset of Breast Ultrasound Images. Data in Brief 2023 "
        "(on copies and mistakes in BUSI)"
    ),
)
_LICENCE_TEXT = """\
The weights in this folder (model.onnx, model.explain.onnx, and the statistics in ood.npz)
are licensed under the Apache License, Version 2.0:
http://www.apache.org/licenses/LICENSE-2.0

They were learned, from random first weights, from the training and validation parts of BreastMNIST:
Jiancheng Yang, Rui Shi, Donglai Wei, Zequan Liu, Lin Zhao, Bilian Ke, Hanspeter Pfister, Bingbing Ni,
"MedMNIST v2", Scientific Data 2023, licensed under CC BY 4.0
(https://creativecommons.org/licenses/by/4.0/), made from the Dataset of Breast Ultrasound Images
(Al-Dhabyani, Gomaa, Khaled, Fahmy; Data in Brief 2020). No image is contained in this folder;
the statistics are means and directions over all of them.

reference.npz holds made-up images and the network's answers to them (Apache License 2.0).

Research use only. No warranty of any kind; see the licence.
"""


def card_document(
    found: ClassFolders, config: SmallConfig, steps: Sequence[Mapping[str, Any]], metric: str, value: float
) -> dict[str, Any]:
    """Return the card, all but what is measured later: the files, :func:`decided`, the guards and the evidence.

    Args:
        found: the data.
        config: the settings of the run.
        steps: the preprocessing.
        metric: what ``value`` is.
        value: how good the recipe was by folds.
    """
    card = {
        "schema": SCHEMA_ID,
        "id": RECIPE,
        "version": VERSION,
        "title": dict(ABOUT.title),
        "task": "multilabel",
        "intended_use": _INTENDED_USE,
        "not_for": _NOT_FOR,
        "languages": ["en", "zh"],
        **_interface(config, steps),
        "population": {"age_years": [25, 75], "sexes": ["F"], "site": _SITE},
        "training": {
            "recipe": RECIPE,
            "classes": list(CLASSES),
            "config": dataclasses.asdict(config),
            "data_digest": found.digest,
            "data_digests": part_digests(found),
            "data_per_class": found.per_class,
            "split_rule": _SPLIT_RULE.format(folds=config.n_folds, repeats=config.n_repeats),
            "seed": config.seed,
            "code_version": __version__,
            "libraries": library_versions(),
            "validation": {"metric": metric, "value": value},
        },
        "licences": {
            "weights": "Apache-2.0, learned from the data below",
            "data": "CC BY 4.0, MedMNIST v2 (BreastMNIST), Yang et al. 2023, from BUSI, Al-Dhabyani et al. 2020",
        },
        "references": list(_REFERENCES),
        "regulatory": _REGULATORY,
        "reference_tolerance": 1e-3,
        "licence_text": _LICENCE_TEXT,
    }
    if not _is_published(found):
        return own_card(card, len(found.images), IMAGES)
    return card | {"ood": {"elsewhere": _ELSEWHERE}}


def evidence_text(found: ClassFolders) -> dict[str, str]:
    """Return what the model was judged on."""
    whose = _BY_TABLE if found.is_table else _NO_PATIENTS
    own = {language: text + whose[language] for language, text in _OWN_EVIDENCE.items()}
    return own_evidence(EVIDENCE_TEXT, own, is_published=_is_published(found))


def _is_published(found: ClassFolders) -> bool:
    return is_published(RECIPE, part_digests(found).values())


def decided(decision: Decision, found: ClassFolders) -> dict[str, Any]:
    """Return the sections of the card that say how a logit becomes an answer."""
    return {
        "labels": [_label(decision, found)],
        "calibration": {
            "method": "platt",
            "parameters": {"slope": [decision.slope], "intercept": [decision.intercept]},
            "ece_before": round(decision.ece_before, 4),
            "ece_after": round(decision.ece_after, 4),
            "on": _CHOSEN_ON,
            "measured_on": "images held out by folds as they are, both classes weighing the same, 15 equal-width bins",
        },
    }


def _interface(config: SmallConfig, steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what goes in and what comes out."""
    size, grid = config.size, config.size // 4
    n_features = 2 * config.n_members * 4 * config.width
    return {
        "inputs": [
            {
                "name": "x",
                "kind": "image",
                "modality": ["US"],
                "body_part": ["BREAST"],
                "view": [],
                "photometric_interpretation": ["MONOCHROME1", "MONOCHROME2"],
                "dtype": "float32",
                "layout": "NCHW",
                "shape": [None, 1, size, size],
            }
        ],
        "outputs": [
            {"name": "logits", "shape": [None, 1], "meaning": "mean of the networks, before calibration"},
            {"name": "features", "shape": [None, n_features], "meaning": "pooled last feature maps of all networks"},
            {"name": "cam", "shape": [None, 1, grid, grid], "meaning": "each position's own share of the logit"},
            {"name": "appearance", "shape": [None, N_APPEARANCE], "meaning": "grey and grain of the image's parts"},
        ],
        "preprocessing": [dict(step) for step in steps],
        "ranges": {"x": [-1.0, 1.0]},
        "explain": {"target_layer": "features", "grid": [grid, grid], "methods": list(METHODS)},
    }


def _label(decision: Decision, found: ClassFolders) -> dict[str, Any]:
    sick, well = round(100 * decision.sensitivity), round(100 * decision.specificity)
    whose = {"en": "BreastMNIST", "zh": "BreastMNIST"} if _is_published(found) else _OWN_LABEL
    return {
        "name": "Malignant",
        "code": {"scheme": "SCT", "value": "254837009", "meaning": "Malignant neoplasm of breast"},
        "title": {"en": "Malignant breast lesion", "zh": "乳腺恶性病变"},
        "threshold": decision.threshold,
        "operating_point": {
            "threshold": decision.threshold,
            "sensitivity": round(decision.sensitivity, 4),
            "specificity": round(decision.specificity, 4),
            "n": decision.n,
            "on": _THRESHOLD_ON,
            "meaning": {
                "en": f"In validation by folds ({decision.n} images of {whose['en']}) {sick} of 100 malignant ones "
                f"were flagged, and {well} of 100 others were not.",
                "zh": f"在分折验证中（{whose['zh']}的{decision.n}张图像），每100张恶性图像有{sick}张被标记，"
                f"每100张其他图像有{well}张未被标记。",
            },
        },
    }
