from __future__ import annotations

import ast
import json
import re
import string
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtGui import QRawFont

import medviewer.gui
from medviewer import whole_file
from medviewer.app.commands import COMMANDS, MENUS, named
from medviewer.app.hanging_protocol import BUILT_IN
from medviewer.domain.errors import ModelError, UsageError
from medviewer.domain.recipe_settings import PathSetting, read_settings
from medviewer.domain.study import Caveat
from medviewer.gui import text
from medviewer.gui.findings_panel import FindingsPanel
from medviewer.gui.record_panel import RecordPanel
from medviewer.imaging import color_profile
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.data_guard_texts import DATA_TEXTS
from medviewer.inference.guard_texts import TEXTS
from medviewer.records.identity import mismatch
from medviewer.records.record import Identifier
from medviewer.resources import models_dir, resource
from medviewer.training.about import settings_of
from medviewer.training.recipes.abouts import ABOUTS
from tests import fakes
from tests.gui import panel_states as made
from tests.gui.seen import all_words, show
from tests.gui.sentences import PACKAGE, sentences, words_of

GUI = Path(medviewer.gui.__file__).parent
TABLE: dict[str, str] = json.loads(resource("translations/zh.json").read_text(encoding="utf-8"))


def calls_of_tr(path: Path) -> list[ast.expr]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    named = (
        n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "tr"
    )
    return [call.args[0] for call in named]


USED = sorted(
    {
        argument.value
        for path in GUI.rglob("*.py")
        for argument in calls_of_tr(path)
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }
)


def placeholders(words: str) -> list[str]:
    return sorted(name for _, name, _, _ in string.Formatter().parse(words) if name is not None)


def test_texts_are_found() -> None:
    assert len(USED) > 150


def test_every_text_has_its_chinese() -> None:
    assert [words for words in USED if not TABLE.get(words)] == []


@pytest.mark.parametrize("path", sorted(GUI.rglob("*.py")), ids=lambda p: p.name)
def test_no_text_is_put_together_before_it_is_translated(path: Path) -> None:
    assert not [ast.unparse(a) for a in calls_of_tr(path) if isinstance(a, ast.JoinedStr | ast.BinOp | ast.IfExp)]


def test_translations_keep_their_placeholders() -> None:
    assert [en for en, zh in TABLE.items() if placeholders(en) != placeholders(zh)] == []


def test_every_command_and_menu_speaks_both_languages() -> None:
    rows = [row.title for row in COMMANDS.values()] + list(MENUS.values())
    rows += [choice.title for row in COMMANDS.values() for choice in row.choices]
    assert not [title for title in rows if not (title.get("en") and title.get("zh"))]


def test_chinese_sentences_have_chinese_punctuation() -> None:
    choices = [choice.title for row in COMMANDS.values() for choice in row.choices]
    hangings = [named(protocol.name) for protocol in BUILT_IN]
    said = [*TABLE.values(), *(title["zh"] for title in (*choices, *hangings))]
    assert [zh for zh in said if re.search("[\u4e00-\u9fff][,;?!]|[,;?!][\u4e00-\u9fff]", zh)] == []


def test_every_chinese_character_is_in_the_bundled_font() -> None:
    fonts = [QRawFont(str(resource(f"fonts/{name}")), 13) for name in ("Inter-Regular.otf", "NotoSansSC-Regular.otf")]
    needed = set("".join(TABLE.values())) | set("".join(row.title["zh"] for row in COMMANDS.values()))
    assert [c for c in needed if not any(font.supportsCharacter(ord(c)) for font in fonts)] == []


def said_by_models() -> set[str]:
    """The Chinese of guards and of the cards that are bundled: it reaches the screen past the table."""
    cards = [path.read_text(encoding="utf-8") for path in models_dir().glob("*/model.json")]
    assert len(cards) >= 3
    found = {text for card in cards for text in re.findall(r'"zh": "((?:[^"\\]|\\.)*)"', card)}
    return found | {text.zh for text in (*TEXTS.values(), *DATA_TEXTS.values())}


def test_what_models_say_in_chinese_is_in_the_bundled_font_and_punctuated_as_the_window_is() -> None:
    fonts = [QRawFont(str(resource(f"fonts/{name}")), 13) for name in ("Inter-Regular.otf", "NotoSansSC-Regular.otf")]
    said = said_by_models()
    assert [c for c in set("".join(said)) if not any(font.supportsCharacter(ord(c)) for font in fonts)] == []
    assert [one for one in said if re.search(r"[\u4e00-\u9fff}][,;:](?=[\u4e00-\u9fff{0-9])", one)] == []


def test_the_language_can_be_changed_and_unknown_text_stays_english() -> None:
    text.use_language("zh_CN")
    assert text.tr("Cancel") == "取消"
    assert text.tr("Never heard of") == "Never heard of"
    text.use_language("en")
    assert text.tr("Cancel") == "Cancel"


def test_a_sentence_with_numbers_is_translated_with_them() -> None:
    text.use_language("zh")
    assert (
        text.tr("3 slices seem to be missing: gaps are multiples of 2.5 mm.") == "似乎缺少 3 层：间隔为 2.5 mm 的倍数。"
    )
    assert text.tr("Never heard of 3") == "Never heard of 3"
    text.use_language("en")
    assert text.tr("4 files could not be shown; the problem list says why.").startswith("4 files")


def test_translated_sentences_keep_every_number() -> None:
    assert [en for en, zh in TABLE.items() if en.count("#") != zh.count("#")] == []


SENTENCES = sentences("app", "records")
COUNTED = "GAP0 could not be shown; the problem list says why."  # its value is "1 file" or "4 files"
# Several sentences after each other; each is met by itself.
SENTENCES = {text: place for text, place in SENTENCES.items() if re.sub(r"GAP\d|\s", "", text)}
SENTENCES["4 files could not be shown; the problem list says why."] = SENTENCES.pop(COUNTED)


def test_sentences_are_found() -> None:
    assert len(SENTENCES) > 45
    assert "The patient records are in use by another program: close it and try again." in SENTENCES
    assert "The image itself lies there as GAP1 and would be lost; choose another folder." in SENTENCES


def test_no_error_or_notice_names_a_key_which_the_reader_may_have_changed() -> None:
    key = re.compile(r"\b[Pp]ress [A-Z]\b|\bwith ([A-Z]|Esc)\b|\([A-Z]\)|[:.] [B-HJ-Z] \w+s\b|\b(Ctrl|Alt|Shift)\+")
    everywhere = {**SENTENCES, **sentences("imaging")}
    assert [one for one in everywhere if key.search(one)] == []


@pytest.mark.parametrize("sentence", SENTENCES, ids=SENTENCES.values())
def test_every_error_and_notice_has_its_chinese(sentence: str) -> None:
    text.use_language("zh")
    said = text.tr(sentence)
    text.use_language("en")
    assert re.search("[\u4e00-\u9fff]", said), sentence
    left = set(re.findall(r"[A-Za-z]{4,}", said)) - {
        "MedViewer",
        "FHIR",
        "JSON",
        "DICOM",
        "Bundle",
        "Study",
        "Instance",
    }
    left -= {"Python", "PyTorch", "install", "medviewer", "torch"}  # of a command to type
    assert left <= {"pydicom", "data"}, said  # and GAP, whose place is checked here:
    assert sorted(re.findall(r"GAP\d", said)) == sorted(re.findall(r"GAP\d", sentence))


def test_what_is_said_of_a_colour_profile_has_its_chinese() -> None:
    said = [one.text for one in vars(color_profile).values() if isinstance(one, Caveat)]
    assert len(said) >= 6
    assert [words for words in said if not TABLE.get(words)] == []


def test_what_a_setting_of_a_recipe_means_and_why_one_is_refused_have_their_chinese() -> None:
    means = {one["about"]["en"] for about in ABOUTS.values() for one in settings_of(about.config)}
    assert len(means) > 60
    assert sorted(words for words in means if not TABLE.get(words)) == []
    defaults, paths = {"rate": 0.1}, {"weights": PathSetting("file", {}), "refresh": PathSetting("folder", {})}
    here = str(GUI)
    for given in ({"odd": "1"}, {"rate": "x"}, {"weights": ""}, {"weights": here}, {"refresh": here, "rate": "1"}):
        with pytest.raises(UsageError) as refused:
            read_settings(defaults, given, paths)
        text.use_language("zh")
        said = text.tr(str(refused.value))
        text.use_language("en")
        assert said.startswith(("设置", "没有名为")), refused.value


def contradictions_of_cards() -> dict[str, str]:
    """Every clause for "The card of ... contradicts itself: ...", with where it stands; values are ``GAP``."""
    found = {}
    inference = PACKAGE / "inference"
    for path in (inference / "card_checks.py", inference / "card_masks.py", *(inference / "inputs").glob("*.py")):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef) and ("problems" in function.name or function.name[:4] == "_of_"):
                for node in ast.walk(function):
                    checked = node.value if isinstance(node, ast.Yield) else node
                    if isinstance(checked, ast.Tuple) and len(checked.elts) == 2:
                        checked = checked.elts[1]
                    elif not isinstance(node, ast.Yield):
                        continue
                    for words in filter(lambda words: " " in words, words_of(checked)):
                        found[words] = f"{path.name}:{node.lineno}"
    return found


CONTRADICTIONS = contradictions_of_cards()
CONTRADICTIONS["the masks have not one channel for the background and one for each label"] = CONTRADICTIONS.pop(
    "the masks have not GAP1"
)


def test_contradictions_are_found() -> None:
    assert len(CONTRADICTIONS) > 75
    assert {"two inputs have the same name", "the scale of GAP1 is empty", "GAP0 is of the wrong type"} <= set(
        CONTRADICTIONS
    )


@pytest.mark.parametrize("clause", CONTRADICTIONS, ids=CONTRADICTIONS.values())
def test_what_contradicts_itself_in_a_card_is_chinese_to_its_end(clause: str) -> None:
    text.use_language("zh")
    said = text.tr(f"The card of some-model contradicts itself: {clause}.")
    text.use_language("en")
    start, _, rest = said.partition("some-model 的卡片自相矛盾：")
    assert start == ""
    assert re.search("[\u4e00-\u9fff]", rest), said
    assert sorted(re.findall(r"GAP\d", rest)) == sorted(re.findall(r"GAP\d", clause))
    assert rest.endswith("。")


OF_MASKS = (
    (
        "“net.onnx” gives whole numbers only for trial images, as a map of classes or a mask that has been cut does; export "
        "the numbers before sigmoid or softmax (logits), or the probabilities after it, a channel a class, without argmax "
        "or a threshold."
    ),
    (
        "“net.onnx” outlines all of every trial image when its numbers are read as logits; answer “output” as it was "
        "exported, or export the numbers before sigmoid or softmax (logits), or the probabilities after it, a channel a "
        "class."
    ),
    "The network of chest-net gives masks of 2 images for 1; refused.",
    (
        "“net.onnx” takes 64 images at once, no more and no fewer; export it for any number of images (an open batch "
        "axis), for 1, or for at most 16."
    ),
    (
        "“net.onnx” takes 3 images at once, and what it gives one of them depends on the others (its answers differ from "
        "the file's by 0.2); export it for any number of images (an open batch axis), or for 1."
    ),
    "This model looks at a whole stack of slices, and the series holds a single image.",
    "The slices are stored in different ways, so a model of a whole stack cannot be asked about them.",
    "The outlines are not of the image's size; run the model on this image again before saving.",
    "The heat map is not of the image's size; explain this image again before saving it.",
)


def test_why_models_of_one_id_cannot_be_used_has_its_chinese(tmp_path: Path) -> None:
    for place, version in (("own/a", "1.0.0"), ("own/b", "2.0.0"), ("later/a", "1.0.0"), ("earlier/a", "1.0.0")):
        fakes.make_model(tmp_path / place, version=version)
    (tmp_path / "earlier" / "a" / "model.onnx").write_bytes(b"x")
    doubtful = Catalogue([tmp_path / "own"])
    _, second = Catalogue([tmp_path / "earlier", tmp_path / "later"]).entries
    with pytest.raises(ModelError) as refused:
        doubtful.card(fakes.MODEL_ID)
    problems = [*(entry.problem for entry in (*doubtful.entries, second)), str(refused.value)]
    assert len(problems) == 4
    text.use_language("zh")
    said = [text.tr(problem).replace(str(tmp_path), "").replace(fakes.MODEL_ID, "") for problem in problems]
    text.use_language("en")
    assert [one for one in said if re.search("[a-z]{4,}", one.replace("own", ""))] == []


OF_TRAININGS = (
    "Too few images to learn from: the part train has 18, and at least 20 are needed; add more data.",
    "The class 'NORMAL' in /d has no usable image; add files of it.",
    (
        "The class 'NORMAL' in /d has no usable image; add files of it. Left out as not usable: 2; the first is a.png: The "
        "image is one grey all over and shows nothing; leave it out or replace it."
    ),
    (
        "The images that were learned from all look the same to the network, so that nothing can be told from them. Look at "
        "them: they may be empty or nearly so. Give others, and another --out."
    ),
    "The model cannot be made at /d (nothing can be written in /); choose another --out, or free some space.",
    "The run cannot be kept in /d (nothing can be written in /); choose another folder for checkpoints, or free some space.",
)


@pytest.mark.parametrize(
    ("sentence", "latin"),
    [(one, None) for one in OF_MASKS] + [(one, {"NORMAL", "png", "train", "out"}) for one in OF_TRAININGS],
    ids=[f"masks-{n}" for n in range(len(OF_MASKS))] + [f"trainings-{n}" for n in range(len(OF_TRAININGS))],
)
def test_what_is_said_of_masks_and_by_trainings_has_its_chinese(sentence: str, latin: set[str] | None) -> None:
    """Of masks with whatever names of files; by a training with no other words than ``latin``."""
    text.use_language("zh")
    said = text.tr(sentence)
    text.use_language("en")
    assert re.search("[\u4e00-\u9fff]{4}", said), sentence
    assert "{" not in said
    assert latin is None or set(re.findall("[A-Za-z]{3,}", said)) <= latin, said


def sentences_of_statistics() -> dict[str, str]:
    """What may be wrong with the files of neighbours and of out-of-distribution statistics."""
    inference = PACKAGE / "inference"
    found = {text: place for text, place in sentences("inference").items()
             if place.startswith(("inference/neighbours.py", "inference/asking.py"))}  # fmt: skip
    for function in ast.walk(ast.parse((inference / "neighbours.py").read_text(encoding="utf-8"))):
        if isinstance(function, ast.FunctionDef) and function.name == "_problem":
            for node in ast.walk(function):
                for problem in words_of(node.value) if isinstance(node, ast.Return) else ():
                    if problem:
                        found[f"“GAP9” {problem}; install the model again."] = f"neighbours.py:{node.lineno}"
    return {text: place for text, place in found.items() if not re.match(r"“GAP\d” GAP\d;", text)}


OF_STATISTICS = sentences_of_statistics()


def test_sentences_of_statistics_are_found() -> None:
    assert len(OF_STATISTICS) >= 11


@pytest.mark.parametrize("sentence", OF_STATISTICS, ids=OF_STATISTICS.values())
def test_what_is_wrong_with_files_of_neighbours_and_statistics_has_its_chinese(sentence: str) -> None:
    text.use_language("zh")
    said = text.tr(sentence)
    text.use_language("en")
    assert re.search("[\u4e00-\u9fff]{4}", said), sentence
    assert sorted(re.findall(r"GAP\d", said)) == sorted(re.findall(r"GAP\d", sentence))


@pytest.mark.parametrize(
    ("record", "named"),
    [
        ({"name": "Nowak^Ewa"}, "姓名"),
        ({"name": "Nowak^Ewa", "sex": "M", "birth_date": "1980-01-01"}, "姓名、出生日期、性别"),
        ({"identifiers": (Identifier("Hospital", "ZZ-1"),), "sex": "M"}, "患者编号、性别"),
    ],
)
def test_the_alarm_of_two_people_is_chinese_with_all_that_differs(record: dict[str, object], named: str) -> None:
    who = made.patient()
    sentence = mismatch(made.record(**record), who)
    text.use_language("zh")
    said = text.tr(sentence)
    text.use_language("en")
    assert f"矛盾：{named}。" in said
    assert not re.search("[A-Za-z]", said)


def test_a_reason_within_a_sentence_is_translated_and_a_name_is_not() -> None:
    text.use_language("zh")
    said = text.tr(
        "Patient records imported: 2; entries that could not be used: 1."
        " Bundle entry 3 (Condition/name): the problem has no name."
    )
    places = [
        text.tr(f"Patient records imported: 0; entries that could not be used: 1. {reason}.")
        for reason in (
            "entry 8 MedicationRequest: its medicine is not in this file", "Line 12 entry 3 Condition: the problem has no name",
            "Line 5: not JSON", "File: not a FHIR resource", "entry 3.json: not JSON",
        )
    ]  # fmt: skip
    named = text.tr("The image itself lies there as name and would be lost; choose another folder.")
    text.use_language("en")
    assert said == "已导入患者病历：2 份；无法使用的条目：1 个。Bundle entry 3 (Condition/name)：健康问题没有名称。"
    assert "姓名" not in named
    assert [place.partition("个。")[2] for place in places] == [
        "第 8 条 MedicationRequest：其药物不在此文件中。", "第 12 行 第 3 条 Condition：健康问题没有名称。",
        "第 5 行：不是 JSON。", "文件：不是 FHIR 资源。", "entry 3.json：不是 JSON。",
    ]  # fmt: skip


@pytest.mark.parametrize("panel_class", [FindingsPanel, RecordPanel])
def test_the_panels_say_alarms_in_the_readers_language(qtbot, panel_class: type) -> None:
    panel = panel_class(made.MODELS, made.METHODS) if panel_class is FindingsPanel else panel_class()
    qtbot.addWidget(panel)
    sentence = mismatch(made.record(name="Nowak^Ewa"), made.patient())
    state = made.opened(record=made.record(name="Nowak^Ewa"), record_mismatch=sentence)
    show(panel, state, replace(state, language="zh"))
    assert "姓名。二者可能不属于同一人" in all_words(panel)


def test_a_store_that_cannot_be_read_says_so_in_chinese(qtbot) -> None:
    panel = RecordPanel()
    qtbot.addWidget(panel)
    sentence = "The patient records are in use by another program: close it and try again."
    show(panel, made.opened(record_problem=sentence, language="zh"))
    assert "患者病历正被另一个程序使用" in all_words(panel)


@pytest.mark.parametrize("number", whole_file._REASONS)
@pytest.mark.parametrize("name", ["result.json", "The result in out", "The settings file"])
def test_why_a_file_was_not_saved_is_said_in_chinese(name: str, number: int) -> None:
    sentence = str(whole_file.storage_error(name, OSError(number, "refused")))
    text.use_language("zh")
    said = text.tr(sentence)
    text.use_language("en")
    assert re.sub(r"result\.json|out", "", said).isascii() is False
    assert not re.search(r"[A-Za-z]", re.sub(r"result\.json|out", "", said)), said


def test_no_sentence_is_translated_twice() -> None:
    """JSON would take the last one in silence."""
    pairs = json.loads(resource("translations/zh.json").read_bytes(), object_pairs_hook=list)
    assert [en for en, count in Counter(en for en, _zh in pairs).items() if count > 1] == []
