"""The card of a model that a hospital trained on its own archive: it claims nothing of the published data.

A recipe's card says on whom its data were made and under which licence. Of an archive that
came with a label table nobody has described any of it, so the card says just that, and the model
does not pass for the published one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medviewer.training.data import ClassFolders

VERSION = "0.1.0"

_TITLE = {"en": "Trained on own data: {recipe}", "zh": "自有数据训练：{recipe}"}
_INTENDED_USE = {
    "en": "Research and teaching, at the place that trained it: the recipe {recipe} on an archive of one's own. "
    "A second look for a qualified reader, never a first.",
    "zh": "仅供训练该模型的机构用于科研与教学：在自有影像库上按配方{recipe}训练。"
    "仅供有资质的阅片者作为第二意见，绝不能替代首次阅片。",
}
_NOT_FOR = {
    "en": "Diagnosis or treatment. Anybody unlike the patients of that archive, whom this card does not describe.",
    "zh": "诊断或治疗。不适用于与该影像库患者不同的人群；本卡未对这些患者作描述。",
}
IMAGES = {
    "en": "{n} images of one archive of its owner's; ages and sexes are not known to this card.",
    "zh": "所有者自有影像库中的{n}张图像；本卡不了解其年龄与性别。",
}
PATIENTS = {
    "en": "{n} patients of one archive of its owner's, whom this card does not describe.",
    "zh": "所有者自有数据中的{n}名患者；本卡对其不作描述。",
}
_SPLIT_RULE = (
    "Patients were put into train, block, tune and report by the label table. "
    "Epoch, calibration and threshold were chosen on tune and block; report chose nothing."
)
_LICENCE = """\
This model was trained on data of its owner's. Who may use or pass on these weights is for the owner
to say; the weights that training began with are named in model.json.

Research use only. No warranty of any kind.
"""


def of_own_data(document: Mapping[str, Any], found: ClassFolders) -> dict[str, Any]:
    """Return a recipe's card without what it says of the published data.

    Args:
        document: the card as :func:`medviewer.training.card.write_card` takes it.
        found: the data that were learned from; class folders are taken for the published ones.
    """
    if not found.is_table:
        return dict(document)
    is_declared = any(image.split for image in found.images)
    return own_card(document, len(found.images), IMAGES, is_declared=is_declared)


def own_card(
    document: Mapping[str, Any], n: int, whose: Mapping[str, str], *, is_declared: bool = False
) -> dict[str, Any]:
    """Return a recipe's card without what it says of the published data.

    Args:
        document: the card as :func:`medviewer.training.card.write_card` takes it.
        n: how many cases were learned from.
        whose: :data:`IMAGES` or :data:`PATIENTS`.
        is_declared: whether the data say themselves who is in which part.
    """
    card = {key: value for key, value in document.items() if key != "references"}
    recipe = document["training"]["recipe"]
    training = dict(document["training"])
    if is_declared:
        training |= {"split_rule": _SPLIT_RULE, "split": {**training.get("split", {}), "is_declared": True}}
    return card | {
        "id": f"{document['id']}-own",
        "version": VERSION,
        "title": {language: text.format(recipe=recipe) for language, text in _TITLE.items()},
        "intended_use": {language: text.format(recipe=recipe) for language, text in _INTENDED_USE.items()},
        "not_for": _NOT_FOR,
        "population": {"age_years": None, "sexes": [], "site": {k: text.format(n=n) for k, text in whose.items()}},
        "training": training,
        "licences": document["licences"] | {"data": "its owner's; not published"},
        "licence_text": _LICENCE,
    }
