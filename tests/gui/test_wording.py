"""No card tells anyone to treat: the program shows what was found, people decide what to do."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

import medviewer.gui
from medviewer.gui.explain_controls import ExplainControls
from medviewer.gui.findings_panel import FindingsPanel
from medviewer.resources import resource
from tests.gui import panel_states as made
from tests.gui.seen import all_words, show

GUI = Path(medviewer.gui.__file__).parent
ORDERS = re.compile(
    r"\b(prescrib\w*|administer\w*|dose|dosage|treat with|discontinu\w*|should (be )?(given|taken|started|stopped)"
    r"|(give|start|stop|begin|increase|reduce|withhold)\s+(the\s+|a\s+|an\s+|any\s+)?"
    r"(patient|drug|medic\w*|therapy|treatment|antibiotic\w*|oxygen|chemo\w*))\b",
    re.IGNORECASE,
)
CHINESE_ORDERS = re.compile(r"处方|用药|给药|停药|开始治疗|停止治疗|应给予|建议治疗|增加剂量|减少剂量")
CERTAINTY = re.compile(r"\b(diagnosed|has pneumonia for sure|definitely|certainly|proves that)\b", re.IGNORECASE)


def test_the_rule_catches_orders() -> None:
    for order in ("Give antibiotics.", "Start treatment now", "Stop the medicine", "prescribed", "should be given"):
        assert ORDERS.search(order), order
    assert not ORDERS.search("Stop the model")
    assert not ORDERS.search("Run the model again")


def test_no_text_of_the_window_gives_orders() -> None:
    literals = [
        node.args[0].value
        for path in GUI.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "tr"
        and isinstance(node.args[0], ast.Constant)
    ]
    assert len(literals) > 150
    assert [text for text in literals if ORDERS.search(text) or CERTAINTY.search(text)] == []


def test_no_translation_gives_orders() -> None:
    table = json.loads(resource("translations/zh.json").read_text(encoding="utf-8"))
    assert [text for text in table.values() if CHINESE_ORDERS.search(text)] == []


@pytest.mark.parametrize(
    "state",
    [
        made.opened(),
        made.explained(),
        made.answered(said=made.abstention()),
        made.failed(),
        made.decided(),
        made.running(),
    ],
    ids=["not run", "answer", "abstained", "failed", "decided", "running"],
)
def test_no_card_gives_orders(qtbot, state) -> None:
    panel = FindingsPanel(made.MODELS, made.METHODS)
    qtbot.addWidget(panel)
    show(panel, state)
    assert not ORDERS.search(all_words(panel))


def test_the_heat_map_always_says_what_it_is_not(qtbot) -> None:
    panel = FindingsPanel(made.MODELS, made.METHODS)
    qtbot.addWidget(panel)
    for state in (made.answered(), made.explained(), made.decided()):
        show(panel, state)
        assert "not the outline of a lesion" in all_words(panel.findChild(ExplainControls))
