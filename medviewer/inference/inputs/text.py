"""A note, as token numbers (WordPiece) or as weights of known words (TF-IDF), with every word's place in it.

The vocabulary is a file of the model's folder, checked by its digest like the network itself.

Sources: Devlin et al., "BERT: pre-training of deep bidirectional transformers", NAACL 2019 (its
released tokenizer); Salton and Buckley, "Term-weighting approaches in automatic text retrieval",
Information Processing & Management 24 (1988), in the form of scikit-learn's TfidfVectorizer.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from medviewer.domain.anchor import CharacterSpan
from medviewer.domain.case import Case
from medviewer.domain.errors import CardError
from medviewer.domain.frozen import dataclass
from medviewer.inference.card import InputSpec
from medviewer.inference.inputs.adapter import Arrays, Doubt, Encoded, Group, Missing
from medviewer.inference.inputs.language import language_of
from medviewer.inference.inputs.wordpiece import Token, pieces, words
from medviewer.inference.loading import read_file

LONGEST_NOTE = 200_000  # characters; more is no note
_TERM = re.compile(r"(?u)\b\w\w+\b")  # a word for TF-IDF: two letters or digits, or more


@dataclass(frozen=True, slots=True)
class TextRaw:
    """A note as it was written."""

    text: str


@dataclass(frozen=True, slots=True, eq=False)
class _Weights:
    """A TF-IDF vocabulary: each term's column, and how rare it was among the training notes."""

    columns: dict[str, int]
    idf: np.ndarray


def problems(spec: InputSpec) -> Iterator[str]:
    """Contradictions of the card's input."""
    steps = {step["op"]: step for step in spec.preprocessing}
    parts = {tensor.part for tensor in spec.tensors}
    if len({"wordpiece", "tfidf"} & steps.keys()) != 1:
        yield f"{spec.name} needs one of the steps wordpiece and tfidf"
    elif ("counts" in parts) != ("tfidf" in steps) or ("counts" in parts and len(parts) > 1):
        yield f"{spec.name} gives arrays that its steps do not make"
    length = steps.get("wordpiece", {}).get("length")
    for tensor in spec.tensors:
        if length is not None and tensor.shape[1:] != (length,):
            yield f"{tensor.name} has not the length of its tokens"
        if (tensor.dtype == "int64") != (tensor.part != "counts"):
            yield f"{tensor.name} is of the wrong type"


def pull(case: Case, spec: InputSpec) -> TextRaw | Missing:
    """The case's note; refused if it is empty or longer than any note."""
    note = case.note or ""
    if not note.strip():
        return Missing((spec.name,), (Doubt("no_note", "abstain", spec.name),))
    if len(note) > LONGEST_NOTE:
        return Missing((spec.name,), (Doubt("long_note", "abstain", spec.name, {"most": str(LONGEST_NOTE)}),))
    return TextRaw(note)


def examine(raw: TextRaw, spec: InputSpec) -> tuple[list[Doubt], tuple[()]]:
    """Whether it is in a language that the model knows, holds words that it knows, and was read to its end."""
    doubts: list[Doubt] = []
    known, found = spec.document["languages"], language_of(raw.text)
    facts = {"expected": ", ".join(known), "found": found}
    if not found:
        doubts.append(Doubt("language.unknown", "warn", spec.name, facts))
    elif found not in known:
        doubts.append(Doubt("language", "abstain", spec.name, facts))
    step = _step(spec, "wordpiece")
    if step is not None and len(_tokens(raw, spec)) > step["length"] - 2:
        doubts.append(Doubt("cut_note", "warn", spec.name, {"most": str(step["length"] - 2)}))
    if step is None and not _terms(raw, spec):
        doubts.append(Doubt("no_known_word", "abstain", spec.name))
    return doubts, ()


def encode(raw: TextRaw, spec: InputSpec) -> Encoded:
    """``ids``, ``mask`` and ``types`` ``(length,)`` int64, or ``counts`` ``(terms,)`` float32 of length 1.

    Raises:
        ModelError: the vocabulary is missing, changed, or not one.
    """
    step = _step(spec, "wordpiece")
    if step is None:
        return Encoded({tensor.name: _weights_of(raw, spec) for tensor in spec.tensors})
    vocabulary, length = _vocabulary(spec), int(step["length"])
    ids = np.full(length, vocabulary["[PAD]"], np.int64)
    row = [vocabulary["[CLS]"], *(token.id for token in _kept(raw, spec)), vocabulary["[SEP]"]]
    ids[: len(row)] = row
    mask = (np.arange(length) < len(row)).astype(np.int64)
    parts = {"ids": ids, "mask": mask, "types": np.zeros(length, np.int64)}
    return Encoded({tensor.name: parts[tensor.part] for tensor in spec.tensors})


def groups(raw: TextRaw, spec: InputSpec) -> list[Group]:
    """One a word: each time it stands there, or once for all times where the model only counts words."""
    return _groups_of_tokens(raw, spec) if _step(spec, "wordpiece") is not None else _groups_of_terms(raw, spec)


def baseline(raw: TextRaw, spec: InputSpec) -> Arrays:
    """A note of the same length with every token masked; no word at all where they are only counted."""
    arrays = encode(raw, spec).tensors
    for tensor in spec.tensors:
        if tensor.part == "ids":
            vocabulary = _vocabulary(spec)
            arrays[tensor.name] = np.full_like(arrays[tensor.name], vocabulary.get("[MASK]", vocabulary["[UNK]"]))
        if tensor.part == "counts":
            arrays[tensor.name] = np.zeros_like(arrays[tensor.name])
    return arrays


def _groups_of_tokens(raw: TextRaw, spec: InputSpec) -> list[Group]:
    of_word: dict[int, list[int]] = {}
    kept = _kept(raw, spec)
    for place, token in enumerate(kept, start=1):  # after [CLS]
        of_word.setdefault(token.word, []).append(place)
    found = []
    for places in of_word.values():
        first, last = kept[places[0] - 1], kept[places[-1] - 1]
        hidden = {
            tensor.name: np.isin(np.arange(tensor.shape[1] or 0), places) & (tensor.part == "ids")
            for tensor in spec.tensors
        }
        span = (first.start, last.end)
        found.append(Group(CharacterSpan(spec.name, raw.text[slice(*span)], (span,)), hidden))
    return found


def _groups_of_terms(raw: TextRaw, spec: InputSpec) -> list[Group]:
    spans: dict[str, list[tuple[int, int]]] = {}
    for word, start, end in _term_words(raw, spec):
        spans.setdefault(word, []).append((start, end))
    columns: dict[str, list[int]] = {}
    for term, column in _terms(raw, spec).items():
        for part in set(term.split(" ")):
            columns.setdefault(part, []).append(column)
    name, size = spec.tensors[0].name, len(_weights(spec).idf)
    return [
        Group(CharacterSpan(spec.name, word, tuple(places)), {name: np.isin(np.arange(size), columns[word])})
        for word, places in spans.items()
        if word in columns
    ]


def _tokens(raw: TextRaw, spec: InputSpec) -> list[Token]:
    is_lower, is_plain = _step(spec, "lowercase") is not None, _step(spec, "strip_accents") is not None
    vocabulary = _vocabulary(spec)
    return pieces(words(raw.text, lowercase=is_lower, strip_accents=is_plain), vocabulary)


def _kept(raw: TextRaw, spec: InputSpec) -> list[Token]:
    """The tokens that the network is given: room is left for [CLS] and [SEP]."""
    step = _step(spec, "wordpiece")
    return _tokens(raw, spec)[: step["length"] - 2] if step is not None else []


def _term_words(raw: TextRaw, spec: InputSpec) -> list[tuple[str, int, int]]:
    """The words of a note for TF-IDF with their places: (word as it is looked up, start, end)."""
    is_lower, is_plain = _step(spec, "lowercase") is not None, _step(spec, "strip_accents") is not None
    letters = [
        (letter, at)
        for word in words(raw.text, lowercase=is_lower, strip_accents=is_plain, keeps_all=True)
        for letter, at in zip(word.text, word.places, strict=True)
    ]
    text = "".join(letter for letter, _ in letters)
    return [(match[0], letters[match.start()][1], letters[match.end() - 1][1] + 1) for match in _TERM.finditer(text)]


def _terms(raw: TextRaw, spec: InputSpec) -> dict[str, int]:
    """The terms of a note that the model knows, with their columns."""
    columns = _weights(spec).columns
    return {term: columns[term] for term in _counted(raw, spec) if term in columns}


def _counted(raw: TextRaw, spec: InputSpec) -> Counter[str]:
    step = _step(spec, "tfidf") or {"most": 1}
    plain_words = [word for word, _, _ in _term_words(raw, spec)]
    return Counter(
        " ".join(plain_words[at : at + n])
        for n in range(1, int(step["most"]) + 1)
        for at in range(len(plain_words) - n + 1)
    )


def _weights_of(raw: TextRaw, spec: InputSpec) -> np.ndarray:
    weights, step = _weights(spec), _step(spec, "tfidf") or {}
    row = np.zeros(len(weights.idf))
    for term, times in _counted(raw, spec).items():
        if term in weights.columns:
            row[weights.columns[term]] = 1 + np.log(times) if step.get("sublinear") else times
    row *= weights.idf
    length = float(np.linalg.norm(row))
    return (row / length if length else row).astype(np.float32)


def _step(spec: InputSpec, operation: str) -> Any:
    return next((step for step in spec.preprocessing if step["op"] == operation), None)


@lru_cache(maxsize=8)
def _vocabulary(spec: InputSpec) -> dict[str, int]:
    """Token to number: the place of its line in the file."""
    lines = _read(spec).splitlines()
    found = {line.strip(): index for index, line in enumerate(lines) if line.strip()}
    if not {"[PAD]", "[UNK]", "[CLS]", "[SEP]"} <= found.keys():
        raise CardError(f"The vocabulary of {spec.folder.name} lacks [PAD], [UNK], [CLS] or [SEP]; install it again.")
    return found


@lru_cache(maxsize=8)
def _weights(spec: InputSpec) -> _Weights:
    try:
        document = json.loads(_read(spec))
        terms, idf = list(map(str, document["terms"])), np.array(document["idf"], np.float64)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CardError(f"The vocabulary of {spec.folder.name} is not a list of terms; install it again.") from error
    size = spec.tensors[0].shape[1]
    if len(set(terms)) != len(terms) or idf.shape != (size,) or len(terms) != size or not np.isfinite(idf).all():
        raise CardError(f"The vocabulary of {spec.folder.name} has not the {size} terms that its network takes.")
    return _Weights({term: column for column, term in enumerate(terms)}, idf)


def _read(spec: InputSpec) -> str:
    if spec.file is None:
        raise CardError(f"The model {spec.folder.name} has no vocabulary; install it again.")
    try:
        return read_file(spec.folder, spec.file).decode("utf-8")
    except UnicodeDecodeError as error:
        raise CardError(f"The vocabulary of {spec.folder.name} is not text in UTF-8; install it again.") from error
