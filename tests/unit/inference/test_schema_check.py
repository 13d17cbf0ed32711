"""Which sentence a document that breaks its schema gets."""

from __future__ import annotations

from typing import Any

import pytest

from medviewer.domain.errors import CardError
from medviewer.inference.schema_check import check_document

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
