"""Which sentence a document that breaks its schema gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from medviewer.domain.errors import CardError
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.schema_check import check_document
from tests.fakes import make_model

NUMBER = {"type": "integer", "minimum": 1}
NAMED = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
SCHEMA = {
    "type": "object",
    "properties": {"n": NUMBER, "deep": {"type": "array", "items": {"oneOf": [NUMBER, {"type": "null"}, NAMED]}}},
    "required": ["n"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("document", [{"n": 1}, {"n": 2, "deep": []}, {"n": 2, "deep": [1, None, {"a": "x"}]}])
def test_what_keeps_to_the_schema_passes(document: dict[str, Any]) -> None:
    check_document(document, SCHEMA)


STEPS = {
    "type": "array",
    "items": {
        "oneOf": [
            {
                "type": "object", "properties": {"op": {"const": op}, field: {"type": "integer", "minimum": 1}},
                "required": ["op"], "additionalProperties": False,
            }
            for op, field in (("age", "cap"), ("mean", "over"), ("zero", "below"))
        ]
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("step", "where", "what"),
    [
        ({"op": "mean", "over": 0}, "steps/0/over", "less than the minimum"),
        ({"op": "mean", "cap": 1}, "steps/0", "unexpected"),
        ({"op": "mean", "cap": 1, "over": 0}, "steps/0", "unexpected"),  # nearest to the top
        ({"op": "zero", "below": "x"}, "steps/0/below", "not of type"),
        ({"op": "exec"}, "steps/0", "not valid under any"),
    ],
)
def test_of_alternatives_with_names_the_named_one_is_meant(step: dict[str, Any], where: str, what: str) -> None:
    with pytest.raises(CardError, match=f"not valid at {where}: ") as caught:
        check_document({"steps": [step]}, {"properties": {"steps": STEPS}})
    assert what in str(caught.value)


def test_a_document_deeper_than_the_library_goes_is_one_sentence(tmp_path: Path) -> None:
    deep: list[Any] = []
    for _ in range(400):
        deep = [deep]
    with pytest.raises(CardError, match="not valid"):
        check_document({"n": 1, "odd": deep}, SCHEMA)
    make_model(tmp_path / "fine")
    make_model(tmp_path / "deep")
    path = tmp_path / "deep" / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "odd": deep}))
    entries = {entry.folder.name: entry for entry in Catalogue([tmp_path]).entries}
    assert entries["fine"].card is not None
    assert "not valid" in entries["deep"].problem


def test_tuples_are_arrays() -> None:
    check_document({"n": 1, "deep": (1, None)}, SCHEMA)


@pytest.mark.parametrize(
    ("document", "where", "what"),
    [
        ({}, "the card", '"n" is a required property'),
        ({"n": 0}, "n", "0 is less than the minimum of 1"),
        ({"n": True}, "n", "true is not of type"),
        ({"n": 1, "odd": 2}, "the card", "odd"),
        ({"n": 1, "deep": [1, "x"]}, "deep/1", "not valid under any"),  # nobody knows which alternative was meant
        ({"n": 1, "deep": [{"a": 3}]}, "deep/0/a", '3 is not of type "string"'),  # the object is
        ({"n": 0, "deep": [{"a": 3}]}, "n", "minimum"),  # of two problems the one nearer to the top
    ],
)
def test_the_sentence_names_the_field_that_is_wrong(document: dict[str, Any], where: str, what: str) -> None:
    with pytest.raises(CardError) as caught:
        check_document(document, SCHEMA)
    assert str(caught.value).startswith(f"The model's card is not valid at {where}: ")
    assert what in str(caught.value)


def test_a_long_value_does_not_make_a_long_sentence() -> None:
    with pytest.raises(CardError) as caught:
        check_document({"n": "x" * 5000}, SCHEMA)
    assert len(str(caught.value)) < 400


def test_a_schema_is_compiled_once_and_never_taken_for_another() -> None:
    check_document({"n": 1}, SCHEMA)
    for limit in range(2, 40):  # each dies at once: an address may come back
        with pytest.raises(CardError, match=f"minimum of {limit}"):
            check_document({"n": 1}, {"properties": {"n": {"minimum": limit}}})
