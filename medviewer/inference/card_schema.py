"""What a model's card (``model.json``) must hold, as a JSON schema (draft 2020-12).

Names follow the MONAI bundle ``metadata.json`` where they overlap (``version``,
``task``, ``intended_use``, ``dtype``, ``modality``). Kept as Python, not as a
file, so that a wheel or a frozen program cannot lose it. What a schema cannot
say (the out-of-distribution file is one of ``files``, thresholds in order) is
checked in :mod:`medviewer.inference.card`.
"""

from __future__ import annotations

from typing import Any

from medviewer.inference.input_schema import INPUT, SHAPE, TEXT

SCHEMA_ID = "medviewer-model-card/1"
VARIANTS = ("int8", "fp16", "pruned")
ROLES = ("model", "explain", "cam", "reference", "ood", "neighbours", "vocabulary", *VARIANTS)
TASKS = ("multilabel", "multiclass", "segmentation", "score", "survival", "forecast")
RUNTIMES = ("onnx", "torch", "rule")
CONTROL_FLOW = ("If", "Loop", "Scan")


def _object(
    required: dict[str, Any], optional: dict[str, Any] | None = None, *, is_open: bool = False
) -> dict[str, Any]:
    """Describe an object; closed unless said otherwise, so that a misspelt field is found."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": is_open,
    }


def _list(items: dict[str, Any], *, least: int = 0, most: int = 1000) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


def _pair(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 2, "maxItems": 2}


_STRING = {"type": "string", "maxLength": 20_000}
_NAME = {"type": "string", "pattern": r"^[A-Za-z][A-Za-z0-9_.-]{0,99}$"}
_ID = {"type": "string", "pattern": r"^[a-z0-9][a-z0-9-]{0,63}$"}
_FILE_NAME = {"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"}
_SHA256 = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_NUMBER = {"type": "number"}
_UNIT = {"type": "number", "minimum": 0, "maximum": 1}
_COUNT = {"type": "integer", "minimum": 0}
_LEVEL = {"type": "integer", "minimum": 0, "maximum": 255}
# One sentence or more for people. English is the fallback, so it must be there.
_TEXT, _SHAPE = TEXT, SHAPE
_METRICS = {
    "type": "object",
    "additionalProperties": _object({"value": _NUMBER}, {"ci95": _pair(_NUMBER)}, is_open=True),
}

_FILE = _object(
    {
        "role": {"enum": list(ROLES)},
        "path": _FILE_NAME,  # beside the card: no folders, so nothing outside can be named
        "sha256": _SHA256,
        "size": {"type": "integer", "minimum": 1},  # bytes
    },
    {
        "opset": {"type": "integer", "minimum": 1},
        "control_flow": _list({"enum": list(CONTROL_FLOW)}, most=3),  # undeclared If, Loop and Scan are refused
    },
)

_OUTPUT = _object(
    {
        # logits (N, C); masks (N, C, h, w), h and w the input's; features (N, F) pooled; cam (N, C, h, w) analytic;
        # feature_map (N, F, h, w)
        "name": _NAME,
        "shape": _SHAPE,
    },
    {"dtype": {"enum": ["float32"]}, "meaning": _TEXT},
)

_CODE = _object({"scheme": _STRING, "value": _STRING, "meaning": _STRING})

_LABEL = _object(
    {
        "name": _NAME,
        "code": _CODE,  # e.g. SCT 233604007; of segmentation the Segmented Property Type, e.g. SCT 39607008
        "title": _TEXT,
        "threshold": _UNIT,  # on the calibrated probability; of segmentation on that of each pixel
    },
    {
        # absent: nobody measured what the threshold means, and that is said beside every answer
        "operating_point": _object(
            {"sensitivity": _UNIT, "specificity": _UNIT, "n": _COUNT, "on": _TEXT, "meaning": _TEXT},
            # at which threshold all of that was measured; without it nothing is said of what the threshold means
            {"threshold": _UNIT},
            is_open=True,
        ),
        # of segmentation alone, where category and colour must be there
        "category": _CODE,  # Segmented Property Category, e.g. SCT 91723000 Anatomical Structure
        "color": {"type": "array", "items": _LEVEL, "minItems": 3, "maxItems": 3},  # red, green, blue
        "measured": _TEXT,  # how well its outlines fitted people's: Dice, of how many, on whom
    },
)

# How the output "masks" (N, channels, h, w) is read. independent: a channel a label. exclusive: the first channel is
# the background, and a pixel is of the class whose probability is highest, where that reaches the label's threshold.
_MASKS = _object({"values": {"enum": ["logits", "probabilities"]}, "classes": {"enum": ["independent", "exclusive"]}})

# What a task other than classification reports. A score: a scale with bands. A survival curve: the
# output "survival" (N, times), free of the event up to each. A forecast: the output "quantiles"
# (N, times, 3): low, median, high; of several, the times of one after those of the other.
_OUTCOME = _object(
    {"name": _NAME, "code": _CODE, "title": _TEXT},
    {
        "unit": _STRING,  # UCUM: of a forecast's values, of a survival curve's times
        "lowest": _NUMBER,
        "highest": _NUMBER,
        "bands": _list(_object({"from": _NUMBER, "title": _TEXT}, {"flagged": {"type": "boolean"}, "meaning": _TEXT})),
        "parts": _list(
            _object({"name": _NAME, "title": _TEXT})
        ),  # columns of the output "parts": what it is the sum of
        "times": _list(_NUMBER, most=500),
        "horizon": _NUMBER,
        "nominal": _UNIT,  # how much of what comes true the band is to hold
        # a forecast is given only if this variable of the series was measured in the last so many hours
        "recent": _object({"variable": _NAME, "hours": {"type": "number", "exclusiveMinimum": 0}}),
        "measured": _TEXT,  # how true it was, of how many, on whom
    },
)

_RULE = _object({"name": _ID, "version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"}, "sha256": _SHA256})

_CALIBRATION = _object(
    {
        # none: nothing was fitted; the number is the network's own, and is never called a probability
        "method": {"enum": ["temperature", "platt", "none"]},
        # temperature: {"temperature": T}, p = link(logits / T), link the sigmoid (multilabel) or softmax (multiclass)
        # platt: {"slope": [a per label], "intercept": [b per label]}, p = sigmoid(a * logit + b); multilabel only
        "parameters": {
            "oneOf": [
                _object({"temperature": {"type": "number", "exclusiveMinimum": 0}}),
                _object({"slope": _list(_NUMBER, least=1), "intercept": _list(_NUMBER, least=1)}),
                _object({}),
            ]
        },
        "ece_before": {"oneOf": [_UNIT, {"type": "null"}]},  # null with the method none only
        "ece_after": {"oneOf": [_UNIT, {"type": "null"}]},
        "on": _TEXT,
    },
    is_open=True,
)

_LIMITS = {
    "warn_above": {"type": "number", "exclusiveMinimum": 0},
    "abstain_above": {"type": "number", "exclusiveMinimum": 0},
}

# The second statistic: what lies outside of the directions in which the training images vary.
_RESIDUAL = _object({"output": _NAME, **_LIMITS}, {"on": _TEXT})
# The third, of models of one image: how the picture itself is composed.
_TEXTURE = _object({**_LIMITS}, {"on": _TEXT})

_OOD = _object(
    {
        # npz with "means" (K, F) and "whitening" (D, F), float32:
        # distance = min over k of |whitening @ (features - means[k])|, which is the
        # Mahalanobis distance with precision whitening.T @ whitening (D <= F: a subspace)
        # and, for "residual", "residual_mean" (F), "residual_scale" (F, above zero) and
        # "residual_directions" (D, F), float32 or float16, orthonormal rows:
        # z = (features - mean) / scale, distance = |z - directions.T @ (directions @ z)|
        # and, for "texture", "texture_means" (1, T) and "texture_whitening" (D, T), float32, of the T numbers of
        # medviewer.inference.texture: distance = |whitening @ (texture - means[0])|
        "file": _FILE_NAME,
        "method": {"enum": ["mahalanobis"]},
        **_LIMITS,
    },
    {
        "output": _NAME,  # which graph output; default "features"
        "on": _TEXT,
        "residual": _RESIDUAL,  # absent: it is not checked
        "texture": _TEXTURE,  # absent: it is not checked
        "elsewhere": _TEXT,  # what was measured once on images that the recipe has not: for the model's page
    },
    is_open=True,
)

# Which training cases are most like a case. npz with "mean" (F), "scale" (F, above zero), "directions" (D, F,
# orthonormal rows), "points" (n, D) of the training cases, and "truth" (n, labels), 0 or 1; the distance is that of
# directions @ ((features - mean) / scale).
_NEIGHBOURS = _object(
    {"file": _FILE_NAME, "output": _NAME, "k": {"type": "integer", "minimum": 1, "maximum": 200}},
    {
        # by label: how often the model was wrong on held-out cases, by how many of the k had the label
        "seen": {
            "type": "object",
            "additionalProperties": _list(
                _object({"least": _COUNT, "most": _COUNT, "n": _COUNT, "n_wrong": _COUNT}), most=201
            ),
        },
        "on": _TEXT,
    },
)

_METHOD_ID = "^[a-z0-9-]{1,64}$"
_SHARE = _object({"value": _UNIT, "ci95": _pair(_UNIT)})
_CORRELATION = {"type": "number", "minimum": -1, "maximum": 1}

# What `medviewer models assess` measured of one method (medviewer.training.assess)
_METHOD_SANITY = _object(
    {
        "n": _COUNT,  # images with the finding
        "deletion": _SHARE,  # on which share of them its map beats 95% of random maps of the same smoothness
        "insertion": _SHARE,
        "both": _SHARE,
        "verdict": _TEXT,  # one sentence for readers
    },
    {
        # after shuffling the weights of so many layers from the output down: mean absolute rank correlation with
        # the trained network's maps, and structural similarity (Adebayo 2018); passed: the last rank is low
        "randomised": _object(
            {
                "n": _COUNT,
                "layers": _list({"type": "integer", "minimum": 1}, least=1),
                "rank": _list(_CORRELATION, least=1),
                "structure": _list(_CORRELATION, least=1),
                "passed": {"type": "boolean"},
            }
        ),
        "grain": _object({"n": _COUNT, "rank": _CORRELATION, "passed": {"type": "boolean"}}),
        "repeated": _object({"n": _COUNT, "largest_difference": _NUMBER, "passed": {"type": "boolean"}}),
        "pointing": _object({"value": _UNIT, "ci95": _pair(_UNIT), "n": _COUNT, "blind": _UNIT}),
        "median_error": _NUMBER,
    },
    is_open=True,
)

_SANITY = _object(
    {
        "network_sha256": _SHA256,  # of the network that was assessed; another one's figures are refused
        "held_out": {"type": "boolean"},  # whether training had held the images out
        "split": _STRING,
        "digest": _STRING,  # of the images
        "n": _COUNT,
        "n_random": _COUNT,
        "n_few": _COUNT,  # images for "randomised", "grain" and "repeated"
        "methods": {
            "type": "object",
            "propertyNames": {"pattern": _METHOD_ID},
            "additionalProperties": _METHOD_SANITY,
        },
    },
    is_open=True,
)

_EXPLAIN = _object(
    {
        "target_layer": _STRING,
        "grid": _pair({"type": "integer", "minimum": 1}),  # rows, columns of the feature map
        "methods": _list({"type": "string", "pattern": _METHOD_ID}),
    },
    {"sanity": _SANITY},  # absent: the explanations were never assessed
    is_open=True,
)

_POPULATION = _object(
    {
        "age_years": {"oneOf": [_pair({"type": "number", "minimum": 0, "maximum": 150}), {"type": "null"}]},
        "sexes": _list({"enum": ["M", "F", "O"]}),
        "site": _TEXT,  # one sentence: where and on whom; shown beside every answer
    },
    {"is_strict": {"type": "boolean"}},  # at any other age it abstains, instead of warning
    is_open=True,
)

_EVIDENCE = _object({"data": _TEXT, "n": _COUNT, "metrics": _METRICS}, is_open=True)  # digest, split, comparator
_SUBGROUP = _object({"name": _TEXT, "n": _COUNT, "metrics": _METRICS}, {"gaps": _METRICS}, is_open=True)

_TRAINING = _object(
    {
        "recipe": _STRING,
        "config": {"type": "object"},
        "data_digest": _STRING,
        "split_rule": _STRING,
        "seed": {"type": "integer"},
        "code_version": _STRING,
        "libraries": {"type": "object", "additionalProperties": _STRING},
    },
    is_open=True,
)

# A copy of the network in fewer bits or with fewer channels, with the test that it passed against the full one. Its
# file has its name as role.
_VARIANT = _object(
    {
        "name": {"enum": list(VARIANTS)},
        "file": _FILE_NAME,
        # largest absolute difference of a calibrated probability (or other outcome) on n cases: allowed, and found
        "drift": _object(
            {
                "bound": {"type": "number", "exclusiveMinimum": 0},
                "measured": {"type": "number", "minimum": 0},
                "n": {"type": "integer", "minimum": 1},
                "data": _TEXT,
            },
            is_open=True,
        ),
        "reference_tolerance": {"type": "number", "exclusiveMinimum": 0},  # absolute, of the full network's answers
    }
)

CARD_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "MedViewer model card",
    **_object(
        {
            "schema": {"const": SCHEMA_ID},
            "id": _ID,
            "version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+([.+-][A-Za-z0-9.+-]+)?$"},
            "title": _TEXT,
            "task": {"enum": list(TASKS)},
            "intended_use": _TEXT,
            "not_for": _TEXT,
            "languages": _list({"type": "string", "pattern": "^[a-z]{2}(-[A-Za-z]+)?$"}, least=1),
            "files": _list(_FILE, most=20),
            "inputs": _list(INPUT, least=1, most=8),
            "outputs": _list(_OUTPUT, least=1, most=20),
            "preprocessing": _list(_object({"op": _NAME}, is_open=True), most=50),
            "labels": _list(_LABEL, most=500),  # of classification and segmentation
            "population": _POPULATION,
            "evidence": _list(_EVIDENCE),
            "licences": _object({"weights": _STRING, "data": _STRING}, is_open=True),
            "regulatory": _TEXT,
        },
        {
            "runtime": {"enum": list(RUNTIMES)},  # absent: onnx
            "rule": _RULE,  # of the runtime "rule": which one of our own code
            "training": _TRAINING,  # of everything but rules
            "calibration": _CALIBRATION,  # of classification
            "outcomes": _list(_OUTCOME, most=100),  # of the other tasks
            "masks": _MASKS,  # of segmentation
            "ood": _OOD,
            "neighbours": _NEIGHBOURS,
            "explain": _EXPLAIN,
            "ranges": {"type": "object", "additionalProperties": _pair(_NUMBER)},  # input name: [lowest, highest]
            "subgroups": _list(_SUBGROUP),
            "references": _list(_STRING),
            "variants": _list(_VARIANT, most=len(VARIANTS)),
            # reference.npz: "input.<name>" (n, ...) and "output.<name>" (n, ...) of the graph with role "model"
            "reference_tolerance": {"type": "number", "exclusiveMinimum": 0},  # absolute; default 1e-3
        },
    ),
}
