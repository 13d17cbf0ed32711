from __future__ import annotations

import ast
import json
import string
from pathlib import Path

import pytest
from PySide6.QtGui import QRawFont

import medviewer.gui
from medviewer.app.commands import COMMANDS, MENUS
from medviewer.gui import text
from medviewer.resources import resource

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


def test_every_chinese_character_is_in_the_bundled_font() -> None:
    fonts = [QRawFont(str(resource(f"fonts/{name}")), 13) for name in ("Inter-Regular.otf", "NotoSansSC-Regular.otf")]
    needed = set("".join(TABLE.values())) | set("".join(row.title["zh"] for row in COMMANDS.values()))
    assert [c for c in needed if not any(font.supportsCharacter(ord(c)) for font in fonts)] == []


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
