"""What a card must say of an input, for each kind of data: part of :mod:`medviewer.inference.card_schema`.

Each kind has its own closed list of preprocessing steps: what is not in it is refused.
"""

from __future__ import annotations

from typing import Any

KINDS = ("image", "volume", "series", "text", "table", "molecule")
_NAME = {"type": "string", "pattern": r"^[A-Za-z][A-Za-z0-9_.-]{0,99}$"}
_FILE_NAME = {"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"}
_NUMBER = {"type": "number"}
_POSITIVE = {"type": "number", "exclusiveMinimum": 0}
_COUNT = {"type": "integer", "minimum": 1, "maximum": 100_000}
_STRING = {"type": "string", "maxLength": 20_000}
_SIZES = {"oneOf": [{"type": "integer", "minimum": 1, "maximum": 100_000}, {"type": "null"}]}
SHAPE = {"type": "array", "items": _SIZES, "minItems": 1, "maxItems": 6}
TEXT = {
    "oneOf": [
        _STRING,
        {
            "type": "object",
            "properties": {"en": _STRING, "zh": _STRING},
            "required": ["en"],
            "additionalProperties": False,
        },
    ]
}
_SIDE = {"enum": ["L", "R", "A", "P", "H", "F"]}  # as DICOM names them
_SIDES_OF_BODY = {"type": "array", "items": {"enum": ["L", "R"]}, "minItems": 1, "maxItems": 2}
_RANGE = {"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2}
_DICOM_CODES = {"type": "array", "items": {"type": "string", "pattern": "^[A-Z0-9_ ]{1,16}$"}, "maxItems": 1000}
_UIDS = {"type": "array", "items": {"type": "string", "pattern": "^[0-9.]{1,64}$"}, "maxItems": 1000}
_CODES = {"type": "array", "items": {"type": "string", "maxLength": 64}, "minItems": 1, "maxItems": 20}


def _object(required: dict[str, Any], optional: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


def _steps(**operations: dict[str, Any]) -> dict[str, Any]:
    """A list of steps out of a closed vocabulary; each operation with its own parameters, all of them needed."""
    one = [_object({"op": {"const": name}, **parameters}, {}) for name, parameters in operations.items()]
    return {"type": "array", "items": {"oneOf": one}, "maxItems": 50}


def _tensors(*parts: str) -> dict[str, Any]:
    tensor = _object(
        {"part": {"enum": list(parts)}, "name": _NAME, "dtype": {"enum": ["float32", "int64"]}, "shape": SHAPE}, {}
    )
    return {"type": "array", "items": tensor, "minItems": 1, "maxItems": 8}


# A quantity, in a table or a series. ``range``: what is plausible. ``mean`` and ``std`` are the
# training data's. ``constant``: the one value that it had in training; ``unseen``: it never had any.
_QUANTITY = {
    "title": TEXT,
    "codes": _CODES,  # LOINC, or scheme:value; the first that the case has is taken
    "unit": _STRING,  # UCUM
    "range": _RANGE,
    "mean": _NUMBER,
    "std": _POSITIVE,
    "required": {"type": "boolean"},  # without it there is no answer; in a table this is the default
    "constant": _NUMBER,
    "unseen": {"type": "boolean"},
}
_FIELD = _object(
    {"name": _NAME},
    {
        **_QUANTITY,
        "from": {"enum": ["observation", "age_years", "sex"]},
        "categories": {"type": "object", "additionalProperties": _NUMBER},  # a word to its number; no other word
        # Taken, and said so, where nothing is recorded. What is recorded of such a field holds until something else
        # is, whatever together_h: it is something decided for the patient, not something measured.
        "default": _NUMBER,
        "baseline": _NUMBER,  # what "without this value" means in explanations; else the mean
    },
)
_VARIABLE = _object({"name": _NAME, "codes": _CODES}, _QUANTITY)

_IMAGE = _object(
    {
        "name": _NAME,  # the graph's input name
        "modality": _DICOM_CODES,  # DICOM Modality (0008,0060); the guards abstain on any other
        "body_part": _DICOM_CODES,  # Body Part Examined (0018,0015); empty: not checked
        "view": _DICOM_CODES,  # View Position (0018,5101); empty: not checked
        "photometric_interpretation": _DICOM_CODES,
        "dtype": {"enum": ["float32"]},
        "layout": {"enum": ["NCHW"]},
        "shape": SHAPE,  # null is the batch: [null, 1, 224, 224]
    },
    {
        "kind": {"enum": ["image"]},
        "sop_class_uids": _UIDS,  # absent or empty: not checked
        "spacing_mm": {
            **_RANGE,
            "items": _POSITIVE,
        },  # size of a pixel, of rows and of columns; outside of it there is no answer
        "laterality": _SIDES_OF_BODY,  # with choose "view": Image Laterality; absent: one side, the same for all
        "choose": {"enum": ["first", "view"]},  # which of the case's images: absent, the first
        "preprocessing": {"type": "array", "items": {"type": "object", "required": ["op"]}, "maxItems": 50},
    },
)
_VOLUME = _object(
    {
        "kind": {"const": "volume"},
        "name": _NAME,
        "modality": _DICOM_CODES,
        "body_part": _DICOM_CODES,
        "dtype": {"enum": ["float32"]},
        "layout": {"enum": ["NCDHW"]},
        "shape": SHAPE,  # [null, 1, slices, rows, columns]
        "preprocessing": _steps(
            # Towards which side of the patient each axis rises; without it the stack stays as it is stored.
            orient={"slices": _SIDE, "rows": _SIDE, "columns": _SIDE},
            window={"low": _NUMBER, "high": _NUMBER},  # modality values (HU) to 0..1, the rest clipped
            resize={"slices": _COUNT, "rows": _COUNT, "columns": _COUNT},
            normalise={"mean": _NUMBER, "std": _POSITIVE},
        ),
    },
    {
        "sop_class_uids": _UIDS,
        "spacing_mm": _RANGE,  # plausible distance between slices
        "slices": _RANGE,  # how many of them a stack may have
    },
)
_SERIES = _object(
    {
        "kind": {"const": "series"},
        "name": _NAME,
        "tensors": _tensors("values", "mask", "age", "joined"),
        "hours": _COUNT,  # how much time the grid covers
        "step_h": _POSITIVE,  # of one cell
        "origin": {"enum": ["first", "last"]},  # the grid begins with the stay, or ends at the case's moment
        "variables": {"type": "array", "items": _VARIABLE, "minItems": 1, "maxItems": 1000},
        "preprocessing": _steps(
            mean={},  # of several values in one cell; without it the last one counts
            carry_forward={},  # a cell without a value has that of the cell before
            z_score={},  # by each variable's mean and std; what was never measured is then 0
            age={"cap_h": _POSITIVE},  # hours since the last value, as a part of the cap; 1 where there was none
        ),
    },
    {"group_h": _POSITIVE, "least_values": _COUNT},
)
_TABLE = _object(
    {
        "kind": {"const": "table"},
        "name": _NAME,
        "tensors": _tensors("values", "mask"),
        "fields": {"type": "array", "items": _FIELD, "minItems": 1, "maxItems": 1000},
        "preprocessing": _steps(z_score={}, log1p={"fields": {"type": "array", "items": _NAME}}),
    },
    # how far apart in time the values may be; how old the newest may be before it is warned of
    {"together_h": _POSITIVE, "warn_older_h": _POSITIVE, "abstain_older_h": _POSITIVE},
)
_TEXT_INPUT = _object(
    {
        "kind": {"const": "text"},
        "name": _NAME,
        "tensors": _tensors("ids", "mask", "types", "counts"),
        "vocabulary": _FILE_NAME,  # a file with the role "vocabulary"
        "languages": {"type": "array", "items": {"type": "string", "pattern": "^[a-z]{2}$"}, "minItems": 1},
        "preprocessing": _steps(
            lowercase={},
            strip_accents={},
            wordpiece={"length": _COUNT},  # vocabulary: one token a line, as BERT's vocab.txt
            tfidf={"most": _COUNT, "sublinear": {"type": "boolean"}},  # vocabulary: {"terms": [...], "idf": [...]}
        ),
    },
    {},
)
_MOLECULE = _object(
    {
        "kind": {"const": "molecule"},
        "name": _NAME,
        "tensors": _tensors("fingerprint", "nodes", "properties", "bonds", "mask"),
        "preprocessing": _steps(
            fingerprint={"radius": {"type": "integer", "minimum": 0, "maximum": 6}, "bits": _COUNT},
            graph={"atoms": _COUNT},
        ),
    },
    {"one_part": {"type": "boolean"}},  # salts, hydrates and mixtures are refused
)
_OF_KIND = {
    "image": _IMAGE,
    "volume": _VOLUME,
    "series": _SERIES,
    "text": _TEXT_INPUT,
    "table": _TABLE,
    "molecule": _MOLECULE,
}


def _is(kind: str) -> dict[str, Any]:
    known: dict[str, Any] = {"properties": {"kind": {"const": kind}}}
    return known if kind == "image" else {**known, "required": ["kind"]}


# By kind, not "one of": what is wrong is then said of the kind that is meant. Without a kind it is an image.
INPUT: dict[str, Any] = {
    "type": "object",
    "properties": {"kind": {"enum": list(KINDS)}},
    "allOf": [{"if": _is(kind), "then": schema} for kind, schema in _OF_KIND.items()],
}
