"""Notes: token by token as other tokenizers cut them, weights as scikit-learn weighs them, languages told apart."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from medviewer.domain.case import Case
from medviewer.domain.errors import CardError, DigestError
from medviewer.inference.card import InputSpec, read_card
from medviewer.inference.inputs import text
from medviewer.inference.inputs.adapter import Missing
from medviewer.inference.inputs.language import language_of
from medviewer.inference.inputs.wordpiece import pieces, words
from tests import data_models, fakes

NOTES = [
    "The patient has a cough and fever. She denies chest pain.",
    "Fever, fever and COUGH; chest-pain?  chest pain chest pain",
    "Naïve café: résumé of the patient’s breath (98.6°F)\tnot\nshort of breath",
    "",
]


def spec_of(kind: str, folder: Path, **changes: object) -> InputSpec:
    made = {"wordpiece": data_models.wordpiece_input, "tfidf": data_models.tfidf_input}[kind]
    return read_card(data_models.make(kind, folder / kind, inputs=[made(**changes)])).inputs[0]


def test_berts_own_example_and_the_places_of_its_pieces() -> None:
    vocabulary = {"[UNK]": 0, "un": 1, "##aff": 2, "##able": 3, "##a": 4, "run": 5}
    found = pieces(words("Unaffable  XYZ run", lowercase=True, strip_accents=True), vocabulary)
    assert [(token.id, token.word) for token in found] == [(1, 0), (2, 0), (3, 0), (0, 1), (5, 2)]
    assert ["Unaffable  XYZ run"[token.start : token.end] for token in found] == ["Un", "aff", "able", "XYZ", "run"]


def test_words_stand_where_they_stand_in_the_note() -> None:
    note = "É1 \u200b Ünd, 咳嗽。\r\nend"
    found = list(words(note, lowercase=True, strip_accents=True))
    assert [word.text for word in found] == ["e1", "und", ",", "咳", "嗽", "。", "end"]
    assert [note[word.places[0] : word.places[-1] + 1] for word in found] == ["É1", "Ünd", ",", "咳", "嗽", "。", "end"]


@pytest.mark.parametrize("point", [c for c in range(0x110000) if chr(c).isspace()])
def test_whatever_parts_words_is_part_of_none(point: int) -> None:
    """Control characters among them are nothing, as BERT has it."""
    note = f"cough{chr(point)}fever"
    found = [word.text for word in words(note, lowercase=True, strip_accents=True)]
    is_nothing = unicodedata.category(chr(point)) == "Cc" and chr(point) not in "\t\n\r"
    assert found == (["coughfever"] if is_nothing else ["cough", "fever"])


@pytest.mark.parametrize("lowercase", [True, False])
def test_tokens_are_those_of_the_tokenizers_library(lowercase: bool) -> None:
    tokenizers = pytest.importorskip("tokenizers", reason="the library to compare with is not installed")
    letters = [chr(c) for c in range(33, 127)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters), "咳", "嗽",
                  "patient", "##ing", "cough", "bre", "##ath", "Fever", "fever"]  # fmt: skip
    table = {token: index for index, token in enumerate(dict.fromkeys(vocabulary))}
    theirs = tokenizers.BertWordPieceTokenizer(vocab=table, lowercase=lowercase, strip_accents=lowercase)
    notes = [*NOTES, "Coughing\u00a0Patient 咳嗽 \u0000\ufffdİstanbul straße ﬁbrosis " + "x" * 120, "a\u0301b $5.00~^`"]
    notes += [f"cough{chr(c)}fever" for c in (0x2028, 0x2029, 0x3000, 0x1680, 0x85, 0x0B, 0x0C, 0x1C, 0x1F, 0x200B)]
    for note in notes:
        encoded = theirs.encode(note, add_special_tokens=False)
        ours = pieces(words(note, lowercase=lowercase, strip_accents=lowercase), table)
        assert [token.id for token in ours] == encoded.ids, note
        spans = [(token.start, token.end) for token in ours if token.id != table["[UNK]"]]
        expected = [span for span, one in zip(encoded.offsets, encoded.ids, strict=True) if one != table["[UNK]"]]
        assert spans == expected, note


def test_ids_mask_and_padding(tmp_path: Path) -> None:
    spec = spec_of("wordpiece", tmp_path)
    found = text.encode(text.TextRaw("Fever. She denies"), spec).tensors
    tokens = ["[CLS]", "fever", ".", "she", "den", "##ies", "[SEP]"]
    assert found["ids"].tolist() == [data_models.VOCABULARY.index(t) for t in tokens] + [0] * 17
    assert found["attention"].tolist() == [1] * 7 + [0] * 17


def test_a_long_note_is_cut_and_that_is_said(tmp_path: Path) -> None:
    spec = spec_of("wordpiece", tmp_path)
    raw = text.TextRaw("the patient has a cough. " * 10)
    found = text.encode(raw, spec).tensors["ids"]
    assert found[-1] == data_models.VOCABULARY.index("[SEP]")
    assert "cut_note" in [doubt.code for doubt in text.examine(raw, spec)[0]]
    assert "cut_note" not in [doubt.code for doubt in text.examine(text.TextRaw(data_models.NOTE), spec)[0]]


@pytest.mark.parametrize("sublinear", [True, False])
def test_weights_are_those_of_scikit_learn(tmp_path: Path, sublinear: bool) -> None:
    theirs = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=sublinear, strip_accents="unicode", lowercase=True)
    expected = theirs.fit_transform(NOTES).toarray()
    terms = list(theirs.get_feature_names_out())
    folder = tmp_path / "m"
    steps = [{"op": "lowercase"}, {"op": "strip_accents"}, {"op": "tfidf", "most": 2, "sublinear": sublinear}]
    counts = [data_models.tensor("counts", "counts", [None, len(terms)])]
    data_models.make("tfidf", folder, inputs=[data_models.tfidf_input(tensors=counts, preprocessing=steps)])
    (folder / "terms.json").write_text(json.dumps({"terms": terms, "idf": list(theirs.idf_)}), encoding="utf-8")
    card = json.loads((folder / "model.json").read_bytes())
    card["files"][1] = fakes.file_entry("vocabulary", folder / "terms.json")
    fakes.write_card(folder, card)
    spec = read_card(folder).inputs[0]
    for note, row in zip(NOTES, expected, strict=True):
        np.testing.assert_allclose(text.encode(text.TextRaw(note), spec).tensors["counts"], row, atol=1e-6)


def test_a_word_that_is_counted_is_one_anchor_with_all_its_places(tmp_path: Path) -> None:
    spec = spec_of("tfidf", tmp_path)
    raw = text.TextRaw("Chest pain. The chest and a cough.")
    groups = {group.anchor.text: group for group in text.groups(raw, spec)}
    assert set(groups) == {"chest", "pain", "cough"}
    assert [raw.text[slice(*span)] for span in groups["chest"].anchor.spans] == ["Chest", "chest"]
    assert np.flatnonzero(groups["chest"].mask["counts"]).tolist() == [2, 3]  # chest, chest pain
    assert np.flatnonzero(groups["pain"].mask["counts"]).tolist() == [3]


def test_a_token_models_anchor_is_one_word_with_all_its_pieces(tmp_path: Path) -> None:
    spec = spec_of("wordpiece", tmp_path)
    raw = text.TextRaw("She denies fever")
    groups = text.groups(raw, spec)
    assert [group.anchor.text for group in groups] == ["She", "denies", "fever"]
    assert np.flatnonzero(groups[1].mask["ids"]).tolist() == [2, 3]
    assert not groups[1].mask["attention"].any()
    assert set(text.baseline(raw, spec)["ids"]) == {data_models.VOCABULARY.index("[MASK]")}


@pytest.mark.parametrize(
    ("note", "language"),
    [
        (data_models.NOTE, "en"),
        ("Der Patient klagt über Husten und Fieber, die Lunge ist frei, es wurde nicht geröntgt.", "de"),
        ("Le patient est fébrile avec une toux, pas de douleur dans la poitrine et les poumons.", "fr"),
        ("El paciente tiene tos y fiebre con dolor en el pecho, no se ha visto por los médicos.", "es"),
        ("Il paziente è febbrile e la tosse non è migliorata con gli antibiotici della terapia.", "it"),
        ("De patiënt heeft hoest en koorts, het is niet duidelijk of een foto voor de longen nodig is.", "nl"),
        ("患者咳嗽发热三天，胸痛。", "zh"),
        ("Пациент кашляет и температурит три дня.", "ru"),
        ("cough", ""),
        ("", ""),
    ],
)
def test_languages_are_told_apart(note: str, language: str) -> None:
    assert language_of(note) == language


def test_a_note_in_another_language_is_refused(tmp_path: Path) -> None:
    for kind in ("tfidf", "wordpiece"):
        spec = spec_of(kind, tmp_path)
        doubts, _ = text.examine(text.TextRaw("患者咳嗽发热三天，胸痛 cough"), spec)
        assert ("language", "abstain") in [(d.code, d.level) for d in doubts]
        doubts, _ = text.examine(text.TextRaw("cough fever"), spec)
        assert ("language.unknown", "warn") in [(d.code, d.level) for d in doubts]


def test_a_note_without_a_known_word_gets_no_answer(tmp_path: Path) -> None:
    spec = spec_of("tfidf", tmp_path)
    doubts, _ = text.examine(text.TextRaw("The weather is fine and the sun was out for the day."), spec)
    assert [(d.code, d.level) for d in doubts] == [("no_known_word", "abstain")]


def test_no_note_and_an_endless_one(tmp_path: Path) -> None:
    spec = spec_of("tfidf", tmp_path)
    for note, code in ((None, "no_note"), ("  \n", "no_note"), ("a " * 100_001, "long_note")):
        found = text.pull(Case(note=note), spec)
        assert isinstance(found, Missing)
        assert found.doubts[0].code == code


def test_a_changed_vocabulary_is_not_used(tmp_path: Path) -> None:
    spec = spec_of("tfidf", tmp_path)
    (spec.folder / "terms.json").write_text(json.dumps({**data_models.TERMS, "idf": [1, 1, 1, 1, 2]}), encoding="utf-8")
    with pytest.raises(DigestError):
        text.encode(text.TextRaw(data_models.NOTE), spec)


@pytest.mark.parametrize("content", ["[1]", "{}", '{"terms": ["a"], "idf": [1]}', "{"])
def test_a_vocabulary_that_is_none_says_so(tmp_path: Path, content: str) -> None:
    spec = spec_of("tfidf", tmp_path)
    path = spec.folder / "terms.json"
    path.write_text(content, encoding="utf-8")
    entry = fakes.file_entry("vocabulary", path)
    assert spec.file is not None
    changed = replace(spec, file=replace(spec.file, sha256=entry["sha256"], size=entry["size"]))
    with pytest.raises(CardError, match="vocabulary"):
        text.encode(text.TextRaw(data_models.NOTE), changed)
