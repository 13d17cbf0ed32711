"""What a bare network cannot say of itself: asked in the window, or answered by a file on the command line.

A graph knows its shapes. It does not know what its numbers are called, on which images
it was trained, or whether grey values should run to 1 or to 255, and a wrong guess
gives plausible nonsense. So each of these is a question, with the best guess that the
graph allows, and no answer is taken over without having been shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Literal

from medviewer.domain.errors import UsageError
from medviewer.domain.frozen import dataclass
from medviewer.inference.card import Text

Kind = Literal["text", "words", "codes", "choice", "number"]
QUESTIONS_SCHEMA = "medviewer.import-questions/1"

_CODE = re.compile(r"[A-Z0-9_ ]{1,16}")
_LABEL = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")
_LONGEST = 20_000
_LARGEST_SIDE = 4096


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """What a network's graph says of itself.

    Attributes:
        shape: (channels, rows, columns) of one input; None where it is left open.
        layout: the order of its axes, ``NCHW`` or ``NHWC``.
        batch: how many images it takes at once; None if any number.
        output: the name of the output that is used; (n, ``labels``), or masks of so many channels.
        tail: what makes probabilities at its end, if anything does: ``Sigmoid``, ``Softmax`` or empty.
        names: what its metadata call the outputs, if they do.
        axes: of masks the order of their axes, ``NCHW`` or ``NHWC``; empty where the output is a row of numbers.
    """

    file: str
    sha256: str
    producer: str
    opset: int
    input: str
    layout: str
    shape: tuple[int, int | None, int | None]
    batch: int | None
    output: str
    labels: int
    tail: str
    names: tuple[str, ...] = ()
    axes: str = ""

    @property
    def is_masks(self) -> bool:
        """Whether it outlines, instead of classifying."""
        return bool(self.axes)


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to ask. ``guess`` is what is answered if nobody says otherwise; None: it must be said."""

    id: str
    kind: Kind
    title: Text
    why: Text
    guess: Any = None
    choices: tuple[tuple[str, Text], ...] = ()


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers, checked. ``threshold`` is on the network's own output after sigmoid or softmax, 0..1.

    ``task`` is ``multilabel`` or ``multiclass``; of masks ``independent`` or ``exclusive``, and only these have a
    ``category``. ``rows`` and ``columns`` are those of the image as it is seen, whatever the ``first_axis`` is.
    """

    id: str
    title: str
    labels: tuple[str, ...]
    task: str
    output: str
    modality: tuple[str, ...]
    body_part: tuple[str, ...]
    view: tuple[str, ...]
    rows: int
    columns: int
    values: str
    aspect: str
    threshold: float
    intended_use: str
    licence: str
    category: str = ""
    first_axis: str = "down"
    version: str = "1.0.0"

    @property
    def is_across(self) -> bool:
        """Whether the network knows images as (columns, rows), as arrays of (x, y) are."""
        return self.first_axis == "across"

    @property
    def channels(self) -> int:
        """How many numbers the network gives an image, or a pixel."""
        return len(self.labels) + (self.task == "exclusive")


VALUES: Mapping[str, tuple[Text, float, float]] = {
    # title; mean and standard deviation that grey from 0 to 1 is normalised with
    "unit": (Text("0 to 1", "0 至 1"), 0.0, 1.0),
    "signed": (Text("−1 to 1", "−1 至 1"), 0.5, 0.5),
    "byte": (Text("0 to 255", "0 至 255"), 0.0, 1 / 255),
    "xrv": (Text("−1024 to 1024 (TorchXRayVision)", "−1024 至 1024（TorchXRayVision）"), 0.5, 1 / 2048),
    "imagenet": (Text("ImageNet mean and deviation", "ImageNet 均值与标准差"), 0.0, 1.0),
}
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of RGB in 0..1

_TASKS = (
    ("multilabel", Text("Each finding by itself; several may be present", "各所见相互独立，可同时存在")),
    ("multiclass", Text("Exactly one of them", "其中恰好一项")),
)
_CLASSES = (
    ("independent", Text("Each by itself; they may overlap", "各自独立，可相互重叠")),
    ("exclusive", Text("A pixel is of one of them or of the background, which comes first",
                       "每个像素只属于其中一项或背景（背景在最前）")),
)  # fmt: skip
CATEGORIES: Mapping[str, tuple[str, str, Text]] = {
    # code and meaning in SNOMED CT (PS3.16 CID 7150)
    "structure": ("91723000", "Anatomical Structure", Text("Anatomical structures", "解剖结构")),
    "abnormality": ("49755003", "Morphologically Abnormal Structure", Text("Abnormal structures", "异常结构（病灶）")),
    "tissue": ("85756007", "Tissue", Text("Tissues", "组织")),
}
_BACKGROUND = frozenset({"background", "bg", "backgroud", "_background_"})
_OUTPUTS = (
    ("logits", Text("Scores of any size (logits)", "任意大小的分值（logits）")),
    ("probabilities", Text("Numbers from 0 to 1", "0 至 1 的数值")),
)
_ASPECTS = (
    ("stretch", Text("Squeezed to the network's shape", "压缩为网络的尺寸")),
    ("pad", Text("Kept, with a dark border", "保持比例，四周补暗边")),
)
_FIRST_AXES = (
    ("down", Text("Down the image: its rows come first", "自上而下：先行后列")),
    ("across", Text("Across the image: its columns come first", "自左至右：先列后行")),
)


def questions(facts: GraphFacts, hints: Mapping[str, Any] | None = None) -> tuple[Question, ...]:
    """What to ask of a network; ``hints`` are better guesses that something else knows, by question."""
    hints = dict(hints or {})
    if facts.is_masks and "labels" in hints:
        facts = replace(facts, names=tuple(hints.pop("labels")))
    images = _images(facts, is_across=hints.get("first_axis") == "across")
    asked = (*_identity(facts), *(_outlines(facts) if facts.is_masks else _findings(facts)), *images, *_words())
    return tuple(
        Question(q.id, q.kind, q.title, q.why, hints.get(q.id, q.guess), q.choices) if q.id in hints else q
        for q in asked
    )


def questions_document(asked: Sequence[Question], facts: GraphFacts) -> dict[str, Any]:
    """The questions as JSON: what ``medviewer models import --questions`` prints."""
    return {
        "schema": QUESTIONS_SCHEMA,
        "graph": asdict(facts),
        "questions": [
            {
                "id": q.id,
                "kind": q.kind,
                "title": {"en": q.title.en, "zh": q.title.zh},
                "why": {"en": q.why.en, "zh": q.why.zh},
                "guess": q.guess,
                "choices": [value for value, _ in q.choices],
            }
            for q in asked
        ],
        "answers": {q.id: q.guess for q in asked},
    }


def read_answers(asked: Sequence[Question], given: Mapping[str, Any], facts: GraphFacts) -> Answers:
    """Check answers; what is not given is the guess.

    Raises:
        UsageError: an answer is missing, of the wrong kind, or to a question that was not asked; it is named.
    """
    unknown = sorted(set(given) - {q.id for q in asked})
    if unknown:
        raise UsageError(f"“{unknown[0]}” is no question of this import; they are: {', '.join(q.id for q in asked)}.")
    found = {q.id: _checked(q, given.get(q.id, q.guess)) for q in asked}
    labels = found["labels"]
    if facts.is_masks:
        _check_channels(len(labels), found["task"], facts.labels)
    elif len(labels) != facts.labels:
        raise UsageError(f"The network gives {facts.labels} numbers an image; {len(labels)} labels were named.")
    if found["task"] == "multiclass" and len(labels) < 2:
        raise UsageError("Exactly one of several findings needs at least two labels; answer “task” with multilabel.")
    for side in ("rows", "columns"):
        if not 8 <= found[side] <= _LARGEST_SIDE or found[side] % 1:
            raise UsageError(f"“{side}” must be a whole number from 8 to {_LARGEST_SIDE}.")
        found[side] = int(found[side])
    _check_sides(found, facts)
    if not 0 < found["threshold"] < 1:
        raise UsageError("“threshold” must lie between 0 and 1.")
    return Answers(**found)


def _check_sides(found: Mapping[str, Any], facts: GraphFacts) -> None:
    """Refuse a size that the graph cannot take with its first axis where it was said to be."""
    first = found["first_axis"]
    sides = ("columns", "rows") if first == "across" else ("rows", "columns")
    for side, size in zip(sides, facts.shape[1:], strict=True):
        if size not in (None, found[side]):
            raise UsageError(
                f"The network takes images of {size} {side} where their first axis runs {first}: answer “{side}” with "
                f"{size}, or “first_axis” as it was trained."
            )


def _check_channels(labels: int, task: str, channels: int) -> None:
    ground = int(task == "exclusive")
    if labels == 0 or labels + ground != channels:
        beside = " beside the background" if ground else ""
        raise UsageError(f"The network gives {channels} channels of masks; {labels} labels{beside} were named.")


def _checked(q: Question, value: Any) -> Any:
    if value is None or value == "":
        raise UsageError(f"“{q.id}” must be answered: {q.title.en}.")
    if q.kind == "number":
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UsageError(f"“{q.id}” must be a number.")
        return float(value)
    if q.kind in ("words", "codes"):
        return _list(q, value)
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise UsageError(f"“{q.id}” must be a text.")
    if q.kind == "choice" and value not in [choice for choice, _ in q.choices]:
        raise UsageError(f"“{q.id}” must be one of: {', '.join(choice for choice, _ in q.choices)}.")
    if q.id == "id" and not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,63}", value):
        raise UsageError("“id” must be of small letters, digits and hyphens, such as chest-model.")
    return value.strip()


def _list(q: Question, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value) or len(value) > 500:
        raise UsageError(f"“{q.id}” must be a list of words.")
    words = tuple(word.strip() for word in value)
    rule = _CODE if q.kind == "codes" else _LABEL
    wrong = next((word for word in words if not rule.fullmatch(word)), None)
    if wrong is not None:
        form = "a DICOM code such as CR or CHEST" if q.kind == "codes" else "a word such as Pleural_Effusion"
        raise UsageError(f"“{wrong[:40]}” in “{q.id}” is not {form}.")
    if len(set(words)) != len(words):
        raise UsageError(f"“{q.id}” names something twice.")
    if q.id == "modality" and not words:
        raise UsageError("“modality” must name at least one kind of image, such as CR and DX.")
    return words


def _identity(facts: GraphFacts) -> tuple[Question, ...]:
    stem = re.sub(r"[^a-z0-9]+", "-", facts.file.rsplit(".", maxsplit=1)[0].lower()).strip("-")[:64] or "model"
    return (
        Question(
            "id",
            "text",
            Text("Short name", "简称"),
            Text("Small letters, digits, hyphens.", "小写字母、数字、连字符。"),
            stem,
        ),
        Question("title", "text", Text("Title", "名称"), Text("What readers see.", "阅片者看到的名称。"), facts.file),
    )


def _of_numbers(facts: GraphFacts) -> Question:
    """Whether the graph ends in numbers of any size or in probabilities."""
    return Question(
        "output", "choice", Text("What its numbers are", "输出数值的类型"),
        Text(f"It ends in {facts.tail}." if facts.tail else "The graph does not say.",
             f"计算图以 {facts.tail} 结尾。" if facts.tail else "计算图未说明。"),
        "probabilities" if facts.tail else None, _OUTPUTS,
    )  # fmt: skip


def _findings(facts: GraphFacts) -> tuple[Question, ...]:
    guess = [name for name in facts.names if _LABEL.fullmatch(name)]
    has_names = len(guess) == len(set(guess)) == facts.labels
    task = "multiclass" if facts.tail == "Softmax" else "multilabel" if facts.tail or facts.labels == 1 else None
    return (
        Question(
            "labels", "words", Text("What its numbers are called, in order", "各输出的名称（按顺序）"),
            Text(f"The network gives {facts.labels}.", f"网络给出 {facts.labels} 个数。"), guess if has_names else None,
        ),
        Question(
            "task", "choice", Text("How they belong together", "它们之间的关系"),
            Text("The number is read as it was trained.", "须与训练时一致。"), task, _TASKS,
        ),
        _of_numbers(facts),
        Question(
            "threshold", "number", Text("From where a finding is flagged", "标记所见的阈值"),
            Text("Between 0 and 1; nobody has measured what it means.", "0 至 1 之间；其含义未经测量。"), 0.5,
        ),
    )  # fmt: skip


def _outlines(facts: GraphFacts) -> tuple[Question, ...]:
    has_ground = len(facts.names) == facts.labels > 1 and facts.names[0].lower() in _BACKGROUND
    guess = [name for name in facts.names[has_ground:] if _LABEL.fullmatch(name)]
    is_whole = len(guess) == len(set(guess)) == facts.labels - has_ground
    is_alone = facts.tail == "Sigmoid" or facts.labels == 1
    task = "exclusive" if facts.tail == "Softmax" or has_ground else "independent" if is_alone else None
    categories = tuple((name, title) for name, (_, _, title) in CATEGORIES.items())
    return (
        Question(
            "labels", "words", Text("What it outlines, in order", "勾画的对象（按顺序）"),
            Text(f"The network gives {facts.labels} channels; the background is not named.",
                 f"网络给出 {facts.labels} 个通道；背景不必命名。"), guess if is_whole else None,
        ),
        Question(
            "category", "choice", Text("What kind of thing that is", "勾画对象的类别"),
            Text("DICOM segmentations say so.", "DICOM 分割对象须注明。"), None, categories,
        ),
        Question(
            "task", "choice", Text("How they belong together", "它们之间的关系"),
            Text("The masks are read as they were trained.", "须与训练时一致。"), task, _CLASSES,
        ),
        _of_numbers(facts),
        Question(
            "threshold", "number", Text("From where a pixel is inside", "像素归入轮廓的阈值"),
            Text("Between 0 and 1; nobody has measured what it means.", "0 至 1 之间；其含义未经测量。"), 0.5,
        ),
    )  # fmt: skip


def _images(facts: GraphFacts, *, is_across: bool) -> tuple[Question, ...]:
    _, rows, columns = (facts.shape[0], *facts.shape[:0:-1]) if is_across else facts.shape
    size = Text("As it was trained.", "与训练时一致。")
    values = tuple((name, title) for name, (title, _, _) in VALUES.items())
    return (
        Question(
            "modality", "codes", Text("For which kinds of image (DICOM Modality)", "适用的检查类型（DICOM Modality）"),
            Text("It gives no answer about others, e.g. CR, DX.", "对其他类型不给出结果，例如 CR、DX。"),
        ),
        Question(
            "body_part", "codes", Text("For which body parts", "适用的检查部位"),
            Text("DICOM codes such as CHEST; none: not checked.", "DICOM 代码，如 CHEST；留空则不检查。"), (),
        ),
        Question(
            "view", "codes", Text("For which views", "适用的投照体位"),
            Text("DICOM codes such as PA, AP; none: not checked.", "DICOM 代码，如 PA、AP；留空则不检查。"), (),
        ),
        Question(
            "first_axis", "choice", Text("First axis of its images", "图像数组的第一轴"),
            Text("A wrong one shows it every image on its side. MONAI reads images across, most others down.",
                 "选错会使网络看到转置的图像。MONAI 按先列读取，其他大多按先行。"), "down", _FIRST_AXES,
        ),
        Question("rows", "number", Text("Rows of its input", "输入行数"), size, rows),
        Question("columns", "number", Text("Columns of its input", "输入列数"), size, columns),
        Question(
            "values", "choice", Text("Range of its grey values", "灰度值范围"),
            Text("A wrong range gives plausible nonsense.", "范围错误会得到貌似合理的错误结果。"), None, values,
        ),
        Question(
            "aspect", "choice", Text("The image's shape", "图像比例"), size, "stretch", _ASPECTS,
        ),
    )  # fmt: skip


def _words() -> tuple[Question, ...]:
    return (
        Question(
            "intended_use", "text", Text("What it is for", "用途"), Text("One or two sentences.", "一两句话。"),
        ),
        Question(
            "licence", "text", Text("Licence of its weights", "权重许可"),
            Text("As its makers state it.", "以制作者声明为准。"), "unknown",
        ),
    )  # fmt: skip
