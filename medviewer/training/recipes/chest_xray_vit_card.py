"""What the card of ``chest-xray-vit`` says where it is not that of ``chest-xray``, in English and Chinese."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medviewer.training.configs import TransformerConfig
from medviewer.training.data import ClassFolders
from medviewer.training.recipes import chest_xray_card
from medviewer.training.recipes.abouts import ABOUTS
from medviewer.training.recipes.chest_xray_card import interface

RECIPE = "chest-xray-vit"
VERSION = "1.0.0"
# Of medviewer.explain.methods.METHODS: attention, the last tokens, and the gradients of the image.
METHODS = ("attention-rollout", "grad-cam", "integrated-gradients", "occlusion")

ABOUT = ABOUTS[RECIPE]
_INTENDED_USE = {
    "en": "Research and teaching: another kind of network for the question of chest-xray-pneumonia, to compare its "
    "answers and its attention. For a second look use chest-xray-pneumonia.",
    "zh": "科研与教学用途：以另一类网络回答与chest-xray-pneumonia相同的问题，用于比较其结果与注意力。"
    "作为第二意见请使用chest-xray-pneumonia。",
}
_REFERENCES = (
    *chest_xray_card.REFERENCES[:2],
    "Dosovitskiy et al. An Image is Worth 16x16 Words. ICLR 2021",
    "Xiao et al. Early Convolutions Help Transformers See Better. NeurIPS 2021",
    "Abnar, Zuidema. Quantifying Attention Flow in Transformers. ACL 2020",
)
_LICENCE_TEXT = """\
The weights in this folder (model.onnx, model.explain.onnx, and the statistics in ood.npz)
are licensed under the Apache License, Version 2.0:
http://www.apache.org/licenses/LICENSE-2.0
{begun}
They are derived from the chest radiographs of: Kermany, Daniel; Zhang, Kang; Goldbaum, Michael (2018),
"Labeled Optical Coherence Tomography (OCT) and Chest X-Ray Images for Classification",
Mendeley Data, doi:10.17632/rscbjbr9sj.2, licensed under CC BY 4.0
(https://creativecommons.org/licenses/by/4.0/). Changed: resized, and split by patient;
no image is contained in this folder.

reference.npz holds made-up images and the network's answers to them (Apache License 2.0).

Research use only. No warranty of any kind; see the licence.
"""
_GIVEN = "weights given by who trained it"
_BEGUN = """
as far as the licence of the weights that training began with allows; see where those came from.
"""


def card_document(
    found: ClassFolders,
    config: TransformerConfig,
    steps: Sequence[Mapping[str, Any]],
    history: Sequence[Mapping[str, Any]],
    metric: str,
) -> dict[str, Any]:
    """Return the card, as :func:`medviewer.training.recipes.chest_xray_card.card_document`."""
    size = config.sizes[-1]
    grid = size // config.patch
    faces = interface(size, steps, grid=grid, n_features=config.width)
    rollout = {
        "name": "rollout",
        "shape": [None, grid, grid],
        "meaning": "how far attention leads from each square to the answer; sums to 1",
    }
    weights = "Apache-2.0, from the data below"
    other = {
        "id": RECIPE,
        "version": VERSION,
        "title": dict(ABOUT.title),
        "intended_use": _INTENDED_USE,
        **faces,
        "outputs": [*faces["outputs"], rollout],
        "explain": faces["explain"] | {"methods": list(METHODS)},
        "training": {"recipe": RECIPE, "begun": _GIVEN if config.pretrained else ""},
        "licences": {
            "weights": f"{weights} and {_GIVEN}" if config.pretrained else weights,
            "data": "CC BY 4.0, Kermany et al. 2018, doi:10.17632/rscbjbr9sj.2",
        },
        "references": list(_REFERENCES),
        "licence_text": _LICENCE_TEXT.format(begun=_BEGUN if config.pretrained else ""),
    }
    return chest_xray_card.card_document(found, config, steps, history, metric, other)
