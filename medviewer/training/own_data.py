"""The card of a model that was trained on somebody's own data: it claims nothing of the published data.

A recipe's card says on whom its data were made and under which licence. Whether a model learned from those data is
told by their digests (:func:`is_published`), by every recipe alike; of radiographs by their names, as they are about in
several sizes. Of other data nobody has described any of it, so the card says just that (:func:`own_card`,
:func:`own_evidence`), and the model does not pass for the published one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

VERSION = "0.1.0"

# sha256 of what each recipe's published data hold, part by part, as the recipe's reader makes it.
PUBLISHED: Mapping[str, frozenset[str]] = {
    "breast-ultrasound": frozenset(  # train and val of breastmnist.npz, 28 x 28
        {
            "362fc5a0132618eafe6b5201add2cf1e0f05d28c5ef9ae0f791e53eee268538c",
            "5ee1e9b95c5ee867394c783d495aef5f25eba06971bc3a1615c2c7a1fe146263",
        }
    ),
    "icu-forecast": frozenset({"184924b3ebaa18180bf460d9f89f11fd741957d27b0617d86c34bae2db02d8d9"}),  # set A
    "icu-mortality": frozenset(  # sets A and B with their outcomes
        {
            "184924b3ebaa18180bf460d9f89f11fd741957d27b0617d86c34bae2db02d8d9",
            "2bbe7235f2fced4b65d7df3655ad285ed990155040bfc9eb9e18738d4ec0abe8",
        }
    ),
    "note-section": frozenset(  # MTS-Dialog: training, validation, test 1
        {
            "65a28681dd59fc159681ea026e44610f2af7bc64a0e7f892d763eb03d9f503dc",
            "227206520c4534381c0d7fba6d3f09319a9af5a6d9603a93c0341af1198e3958",
            "b4d38dd2c99b2e9860099abcf653f1e0f3e9b69f9fcc45be2a2699b37a4d2f37",
        }
    ),
    "survival": frozenset({"f64040c91398875137822eca306a927208df6896808cd9764af7065722fa53d6"}),  # whas500.arff
    "toxicity": frozenset({"feae24f12dbc3191c6299bc1e21cdafe92c2973f82f5206cdbe32923e45d3ec5"}),  # tox21.csv
}

# Recipes whose published data are about in several sizes, each of other bytes.
_TOLD_BY_NAMES = ("chest-xray", "chest-xray-vit")
_OWN = "the card will say that it is of your own data"
_TITLE = {"en": "Trained on own data: {recipe}", "zh": "自有数据训练：{recipe}"}
_INTENDED_USE = {
    "en": "Research and teaching, at the place that trained it: the recipe {recipe} on data of one's own. "
    "A second look for a qualified reader, never a first.",
    "zh": "仅供训练该模型的机构用于科研与教学：在自有数据上按训练方案{recipe}训练。"
    "仅供有资质的阅片者作为第二意见，绝不能替代首次阅片。",
}
_NOT_FOR = {
    "en": "Diagnosis or treatment. Anything unlike those data, which this card does not describe.",
    "zh": "诊断或治疗。不适用于与该数据不同的情况；本卡未对该数据作描述。",
}
IMAGES = {
    "en": "{n} images of one archive of its owner's; ages and sexes are not known to this card.",
    "zh": "所有者自有影像库中的{n}张图像；本卡不了解其年龄与性别。",
}
PATIENTS = {
    "en": "{n} patients of one archive of its owner's, whom this card does not describe.",
    "zh": "所有者自有数据中的{n}名患者；本卡对其不作描述。",
}
STAYS = {
    "en": "{n} stays of one archive of its owner's, which this card does not describe.",
    "zh": "所有者自有数据中的{n}次住院；本卡对其不作描述。",
}
DIALOGUES = {
    "en": "{n} dialogues of its owner's, which this card does not describe.",
    "zh": "所有者自有的{n}段对话；本卡对其不作描述。",
}
MOLECULES = {
    "en": "{n} molecules of its owner's, which this card does not describe.",
    "zh": "所有者自有的{n}个分子；本卡对其不作描述。",
}
FOLDS = {
    "en": "Its owner's data in folds, each case judged by a model that did not learn from it; the one that is shipped "
    "learned from all of them",
    "zh": "所有者自有数据的分折验证，每例均由未学习过它的模型判断；随附模型则用全部数据训练",
}
HELD_OUT = {
    "en": "A part of its owner's data from which the model did not learn",
    "zh": "所有者自有数据中未用于训练的部分",
}
HELD_OUT_ONCE = {
    "en": "A part of its owner's data, judged by a model of the same recipe that did not learn from it; the one that "
    "is shipped learned from all parts",
    "zh": "所有者自有数据的一部分，由未学习过它的同一方案模型判断；随附模型则用全部数据训练",
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


def is_published(recipe: str, digests: Iterable[str]) -> bool:
    """Whether all that was learned from is the recipe's published data.

    Args:
        recipe: its name.
        digests: of each part that was learned from.
    """
    found = set(digests)
    return bool(found) and found <= PUBLISHED.get(recipe, frozenset())


def origin_of(recipe: str, digests: Sequence[str], *, has_published_names: bool) -> tuple[bool | None, str]:
    """Return whether data are the recipe's published ones, None where nobody knows, and a sentence that says so.

    Args:
        recipe: its name.
        digests: of each part that is learned from.
        has_published_names: of films, which are told by their names.
    """
    if recipe in _TOLD_BY_NAMES:
        if has_published_names:
            return True, "The files have the names of the published data; their contents are not compared."
        return False, f"These are not the published data, by the names of the files: {_OWN}."
    if recipe not in PUBLISHED:
        return None, ""
    told = ", ".join(digest[:12] for digest in digests)
    if is_published(recipe, digests):
        return True, f"These are the published data (digest {told})."
    return False, f"These are not the published data (digest {told}): {_OWN}."


def own_evidence(published: Mapping[str, str], own: Mapping[str, str], *, is_published: bool) -> dict[str, str]:
    """Return what the card says that a model was judged on.

    Args:
        published: of the published data.
        own: of others: :data:`FOLDS`, :data:`HELD_OUT`, :data:`HELD_OUT_ONCE`, or what the recipe itself says.
        is_published: which of them it was.
    """
    return dict(published if is_published else own)


def own_card(
    document: Mapping[str, Any], n: int, whose: Mapping[str, str], *, is_declared: bool = False, begun: str = ""
) -> dict[str, Any]:
    """Return a recipe's card without what it says of the published data.

    Args:
        document: the card as :func:`medviewer.training.card.write_card` takes it.
        n: how many cases were learned from.
        whose: :data:`IMAGES`, :data:`PATIENTS`, :data:`STAYS`, :data:`DIALOGUES` or :data:`MOLECULES`.
        is_declared: whether the data say themselves who is in which part, and the recipe keeps to it.
        begun: the published weights that training began with, and their licence; "" where it began with none.
    """
    card = {key: value for key, value in document.items() if key != "references"}
    recipe = document["training"]["recipe"]
    training = dict(document["training"])
    if is_declared:
        training |= {"split_rule": _SPLIT_RULE, "split": {**training.get("split", {}), "is_declared": True}}
    weights = "for their owner to say" + (f"; training began with {begun}" if begun else "")
    return card | {
        "id": f"{document['id']}-own",
        "version": VERSION,
        "title": {language: text.format(recipe=recipe) for language, text in _TITLE.items()},
        "intended_use": {language: text.format(recipe=recipe) for language, text in _INTENDED_USE.items()},
        "not_for": _NOT_FOR,
        "population": {"age_years": None, "sexes": [], "site": {k: text.format(n=n) for k, text in whose.items()}},
        "training": training,
        "licences": {"weights": weights, "data": "its owner's; not published"},
        "licence_text": _LICENCE,
    }
