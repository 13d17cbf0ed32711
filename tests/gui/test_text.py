from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import Qt
from PySide6.QtGui import QTextDocument
from PySide6.QtWidgets import QPushButton

import medviewer.gui
from medviewer.domain.study import Patient, Study
from medviewer.gui import text
from medviewer.gui.study_rows import age_words
from medviewer.gui.text import ElidedLabel, PlainLabel

GUI = Path(medviewer.gui.__file__).parent
EVIL = '<img src="file:///etc/passwd">\u202egnp.exe\x00'
DIRECTION = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"


@given(st.text())
def test_nothing_that_changes_direction_or_hides_gets_through(name: str) -> None:
    shown = text.visible(name)
    assert not set(shown) & set(DIRECTION)
    hidden = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
    assert not [c for c in shown if unicodedata.category(c) in hidden and c not in "\n\u200c\u200d"]


@given(
    st.text(
        alphabet=st.characters(blacklist_categories=("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))
        | st.sampled_from("\u200c\u200d")
    )
)
def test_ordinary_text_stays_as_it_is(name: str) -> None:
    assert text.visible(name) == name


@given(st.text())
def test_a_name_cannot_leave_its_isolation(name: str) -> None:
    shown = text.isolated(name)
    assert shown[0] == "\u2068"
    assert shown[-1] == "\u2069"
    assert not set(shown[1:-1]) & set(DIRECTION)


def test_what_cannot_be_seen_cannot_make_two_names_look_alike() -> None:
    assert text.person_name("Kowal\u200bska^Maria") != text.person_name("Kowalska^Maria")
    assert "⟨U+200B⟩" in text.person_name("Kowal\u200bska^Maria")


def test_an_infants_age_is_never_nothing() -> None:
    assert [text.age_in_words(years) for years in (5 / 365.25, 0.5, 1.99, 2.0, 63.4)] == [
        "5 days", "6 months", "23 months", "2 years", "63 years",
    ]  # fmt: skip


def test_direction_overrides_are_shown() -> None:
    assert text.visible("a\u202eb") == "a⟨U+202E⟩b"


def test_a_label_never_takes_a_name_for_html(qtbot) -> None:
    label = PlainLabel(EVIL)
    qtbot.addWidget(label)
    assert label.textFormat() == Qt.TextFormat.PlainText
    assert label.text() == '<img src="file:///etc/passwd">⟨U+202E⟩gnp.exe⟨U+0000⟩'
    label.setText(EVIL)
    assert "\u202e" not in label.text()


def test_a_tooltip_never_takes_a_name_for_html() -> None:
    document = QTextDocument()
    document.setHtml(text.plain_tooltip(EVIL))
    assert document.toPlainText() == '<img src="file:///etc/passwd">⟨U+202E⟩gnp.exe⟨U+0000⟩'


def test_a_tooltip_holds_the_shortcut_and_names_the_control(qtbot) -> None:
    made = QPushButton()
    qtbot.addWidget(made)
    text.set_tooltip(made, "Run the model", "Ctrl+R")
    assert "Run the model (Ctrl+R)" in made.toolTip()
    assert made.accessibleName() == "Run the model"


def test_a_button_shows_an_ampersand(qtbot) -> None:
    assert text.for_button("Head & neck") == "Head && neck"


def test_a_long_line_ends_in_an_ellipsis_and_tells_all_in_its_tooltip(qtbot) -> None:
    label = ElidedLabel("A very long study description <b>that</b> does not fit at all")
    qtbot.addWidget(label)
    label.resize(80, 20)
    label.show()
    label.grab()
    assert "&lt;b&gt;that" in label.toolTip()
    label.resize(2000, 20)
    label.grab()
    assert label.toolTip() == ""


@pytest.mark.parametrize(
    ("dicom", "shown"),
    [
        ("Kowalska^Maria", "Kowalska, Maria"),
        ("DOE^JANE^A^Dr", "DOE, JANE A Dr"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada, Tarou (山田 太郎)"),
        ("=王^小东=", "王 小东"),
        ("Müller^Jürgen", "Müller, Jürgen"),
        ("Иванов^Пётр", "Иванов, Пётр"),
        ("王^小东", "王 小东"),
        ("Plain name", "Plain name"),
        ("^Only", "Only"),
    ],
)
def test_person_names_are_for_reading(dicom: str, shown: str) -> None:
    assert text.person_name(dicom) == f"\u2068{shown}\u2069"


def test_no_name_is_no_name() -> None:
    assert text.person_name("") == ""
    assert text.person_name("^^=") == ""


@pytest.mark.parametrize(
    ("value", "shown"),
    [("20040131", "2004-01-31"), ("2004.01.31", "2004-01-31"), ("", ""), ("2004", "2004"), ("x\u202ey", "x⟨U+202E⟩y")],
)
def test_dates_are_iso_or_as_they_stand(value: str, shown: str) -> None:
    assert text.dicom_date(value) == shown


def test_ages_and_sexes_in_words() -> None:
    assert [text.dicom_age(a) for a in ("063Y", "006M", "002W", "010D", "001Y", "001M", "001W", "001D", "63")] == [
        "63 years", "6 months", "2 weeks", "10 days", "1 year", "1 month", "1 week", "1 day", "63",
    ]  # fmt: skip
    assert [text.sex_word(s) for s in ("F", "M", "O", "", "X")] == ["female", "male", "sex: other", "", "sex: X"]


@pytest.mark.parametrize(
    ("birth_date", "stated", "words"),
    [
        ("19500101", "076Y", "76 years"),
        ("19500301", "076Y", "75 years"),  # on another day than the study is dated
        ("19500101", "", "76 years"),
        ("", "045Y", "45 years"),
        ("19500101", "045Y", "76 years (file: 45 years)"),
        ("20251201", "076Y", "1 month (file: 76 years)"),
    ],
)
def test_an_age_that_the_file_contradicts_is_shown_with_what_it_states(
    birth_date: str, stated: str, words: str
) -> None:
    patient = Patient("P1", birth_date=birth_date)
    assert age_words(patient, Study("1.2", date="20260101", patient_age=stated)) == words


@pytest.mark.parametrize("path", sorted(GUI.rglob("*.py")), ids=lambda p: p.name)
def test_no_label_or_tooltip_can_be_rich_text(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert not re.findall(r"(?<![\w.])QLabel\((?!PlainLabel)", re.sub(r"class \w+\(QLabel\)", "", source))
    if path.name == "report_view.py":  # long text with links; test_documents shows that it takes nothing for HTML
        assert not re.findall(r"insertHtml|setMarkdown|setText\(|\bappend\(\"|setPlainText|setSource|QTextEdit", source)
        source = source.replace("QTextBrowser", "")
    if (
        path.name == "anchored_text.py"
    ):  # a note, painted word by word; test_notes_section shows that it stays characters
        assert not re.findall(r"insertHtml|setMarkdown|setText\(|self\.append\(|insertText|setDocument", source)
        assert source.count("setPlainText(") == 1
        source = source.replace("QTextEdit", "")
    assert not re.findall(r"\bQMessageBox\b|\bQErrorMessage\b|\bQTextBrowser\b|setHtml\(|\bQTextEdit\b", source)
    assert not re.findall(r"TextFormat\.(RichText|AutoText|MarkdownText)", source)
    for call in re.findall(r"setToolTip\((.*)", source) + re.findall(r"QToolTip\.showText\((.*)", source):
        assert "plain_tooltip" in call or "wanted" in call, call  # "wanted" is made by plain_tooltip one line above


def test_pick_falls_back_to_english() -> None:
    words = {"en": "Run", "zh": "运行"}
    assert text.tr_pick(words) == "Run"
    assert text.tr_pick(words, "zh_CN") == "运行"
    assert text.tr_pick({"en": "Only"}, "zh") == "Only"
    assert text.tr_pick("as it is", "zh") == "as it is"
