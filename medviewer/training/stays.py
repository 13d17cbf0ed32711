"""Intensive care stays as the networks see them: the same encoding in training and in the viewer.

Here is which of the challenge's parameters are used, by which codes they go elsewhere, in which unit,
and what is plausible. Left out are ``MechVent`` and ``ICUType``: no code carries them from one
hospital to another, and without them validation is no worse.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.domain.frozen import dataclass
from medviewer.inference.card import InputSpec, input_spec
from medviewer.inference.inputs import series, table
from medviewer.inference.inputs.quantity import implausible, quantities
from medviewer.training.physionet import HOURS, Stay

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Variable:
    """One parameter: its LOINC codes, its unit (UCUM), what is plausible in it, and what the files' values times."""

    name: str
    en: str
    zh: str
    codes: tuple[str, ...]
    unit: str
    low: float
    high: float
    factor: float = 1.0


VARIABLES: tuple[Variable, ...] = (
    Variable("ALP", "Alkaline phosphatase", "碱性磷酸酶", ("6768-6",), "U/L", 1, 5000),
    Variable("ALT", "ALT", "丙氨酸氨基转移酶", ("1742-6",), "U/L", 1, 20000),
    Variable("AST", "AST", "天冬氨酸氨基转移酶", ("1920-8",), "U/L", 1, 40000),
    Variable("Albumin", "Albumin", "白蛋白", ("1751-7",), "g/dL", 0.5, 7),
    Variable("BUN", "Urea nitrogen", "尿素氮", ("3094-0",), "mg/dL", 1, 300),
    Variable("Bilirubin", "Bilirubin", "总胆红素", ("1975-2",), "mg/dL", 0.1, 80),
    Variable("Cholesterol", "Cholesterol", "总胆固醇", ("2093-3",), "mg/dL", 20, 700),
    Variable("Creatinine", "Creatinine", "肌酐", ("2160-0",), "mg/dL", 0.1, 30),
    Variable("DiasABP", "Diastolic pressure, arterial line", "有创舒张压", ("76213-8",), "mm[Hg]", 5, 250),
    Variable("FiO2", "Inspired oxygen", "吸入氧浓度", ("3150-6", "19994-3"), "%", 20, 100, 100.0),
    Variable("GCS", "Glasgow coma score", "格拉斯哥昏迷评分", ("9269-2",), "{score}", 3, 15),
    Variable("Glucose", "Glucose", "血糖", ("2345-7", "2339-0"), "mg/dL", 10, 2000),
    Variable("HCO3", "Bicarbonate", "碳酸氢根", ("1963-8",), "mmol/L", 2, 60),
    Variable("HCT", "Haematocrit", "血细胞比容", ("4544-3", "20570-8"), "%", 5, 75),
    Variable("HR", "Heart rate", "心率", ("8867-4",), "/min", 10, 300),
    Variable("K", "Potassium", "血钾", ("2823-3", "6298-4"), "mmol/L", 1, 15),
    Variable("Lactate", "Lactate", "乳酸", ("2524-7", "32693-4"), "mmol/L", 0.1, 40),
    Variable("MAP", "Mean pressure, arterial line", "有创平均动脉压", ("76214-6",), "mm[Hg]", 10, 280),
    # The challenge calls it mmol/L, but nine of ten values lie between 1.4 and 2.7, which is usual in mg/dL.
    Variable("Mg", "Magnesium", "血镁", ("19123-9",), "mg/dL", 0.1, 10),
    Variable("NIDiasABP", "Diastolic pressure, cuff", "无创舒张压", ("76535-4", "8462-4"), "mm[Hg]", 5, 250),
    Variable("NIMAP", "Mean pressure, cuff", "无创平均动脉压", ("76536-2", "8478-0"), "mm[Hg]", 10, 280),
    Variable("NISysABP", "Systolic pressure, cuff", "无创收缩压", ("76534-7", "8480-6"), "mm[Hg]", 20, 300),
    Variable("Na", "Sodium", "血钠", ("2951-2", "2947-0"), "mmol/L", 90, 190),
    Variable("PaCO2", "Arterial CO2 pressure", "动脉血二氧化碳分压", ("2019-8",), "mm[Hg]", 5, 150),
    Variable("PaO2", "Arterial oxygen pressure", "动脉血氧分压", ("2703-7",), "mm[Hg]", 15, 700),
    Variable("Platelets", "Platelets", "血小板", ("26515-7", "777-3"), "10*3/uL", 1, 2500),
    Variable("RespRate", "Respiration rate", "呼吸频率", ("9279-1",), "/min", 1, 100),
    Variable("SaO2", "Oxygen saturation", "氧饱和度", ("2708-6", "59408-5"), "%", 20, 100),
    Variable("SysABP", "Systolic pressure, arterial line", "有创收缩压", ("76215-3",), "mm[Hg]", 20, 300),
    Variable("Temp", "Temperature", "体温", ("8310-5",), "Cel", 25, 45),
    Variable("TroponinI", "Troponin I", "肌钙蛋白I", ("10839-9",), "ug/L", 0.001, 500),
    Variable("TroponinT", "Troponin T", "肌钙蛋白T", ("6598-7",), "ug/L", 0.001, 100),
    # Not 9192-6: that is the sum of a day, and these are what was measured each time.
    Variable("Urine", "Urine output", "尿量", ("9187-6",), "mL", 0, 5000),
    Variable("WBC", "White cells", "白细胞", ("26464-8", "6690-2"), "10*3/uL", 0.1, 400),
    Variable("pH", "pH", "血液酸碱度", ("2744-1",), "[pH]", 6.5, 8),
)
FACTORS = {one.name: one.factor for one in VARIABLES}
_SEXES = {"M": 1.0, "F": 0.0}
FIELDS = ("Age", "Gender", "Height", "Weight")


@dataclass(frozen=True, slots=True, eq=False)
class StayTensors:
    """Stays, encoded.

    Attributes:
        joined: ``(n, 48, 3 * variables)`` values as z-scores, masks, ages.
        fields: ``(n, 2 * fields)``: z-scores, and which are known.
        truth: ``(n,)`` whether the patient died in hospital.
    """

    joined: FloatArray
    fields: FloatArray
    truth: npt.NDArray[np.bool_]

    def where(self, chosen: npt.NDArray[Any]) -> StayTensors:
        """Return some of them."""
        return StayTensors(self.joined[chosen], self.fields[chosen], self.truth[chosen])


def input_documents(stays: Sequence[Stay], **grid: Any) -> list[dict[str, Any]]:
    """Return the card's inputs, with the means and deviations of these stays, from which alone is learned.

    Args:
        stays: from which is learned.
        grid: what is other than the first 48 hours: ``hours``, ``origin``, ``least_values`` of the series.
    """
    values: dict[str, list[float]] = {one.name: [] for one in VARIABLES}
    for stay in stays:
        for _, name, value in stay.observations:
            if name in values:
                values[name].append(value * FACTORS[name])
    return [_series([_variable(one, values[one.name]) for one in VARIABLES], **grid), _table(stays)]


def encode(stays: Sequence[Stay], documents: Sequence[Mapping[str, Any]]) -> StayTensors:
    """Encode stays as the viewer will: through the adapters of the card's inputs."""
    hours, about = (input_spec(document) for document in documents)
    return StayTensors(
        np.stack([joined_of(stay.observations, hours) for stay in stays]),
        np.stack([known_fields(stay, about) for stay in stays]),
        np.array([bool(stay.died) for stay in stays]),
    )


def joined_of(observations: Sequence[tuple[float, str, float]], spec: InputSpec) -> FloatArray:
    """Encode ``(hours since the grid begins, parameter, value as in the files)`` in order of time."""
    known = [one for one in observations if one[1] in FACTORS]
    at, names = [one[0] for one in known], [one[1] for one in known]
    raw = series.observations(at, names, [one[2] * FACTORS[one[1]] for one in known], spec)
    return np.asarray(series.encode(raw, spec).tensors["joined"], np.float32)


def known_fields(stay: Stay, spec: InputSpec) -> FloatArray:
    """Encode what is known of the patient: z-scores, and which are known, ``(2 * fields,)``."""
    said = [(stay.descriptors.get(one.name), one) for one in quantities(spec)]
    # Heights of 1.8 cm are slips of the pen; in the viewer such a value is refused.
    values = [None if value is None or implausible(value, one) else value for value, one in said]
    tensors = table.encode(table.row(values, spec), spec).tensors
    return np.concatenate([tensors["fields"], tensors["known"]]).astype(np.float32)


def implausible_values(stays: Sequence[Stay], documents: Sequence[Mapping[str, Any]]) -> list[Counter[str]]:
    """Return how many values of each stay lie outside of what a card allows, by variable: :func:`encode` has none."""
    hours, about = (input_spec(document) for document in documents)
    known, fields, found = {one.name: one for one in quantities(hours)}, quantities(about), []
    for stay in stays:
        counts = Counter(
            name
            for _, name, value in stay.observations
            if name in known and implausible(value * FACTORS[name], known[name])
        )
        said = [(stay.descriptors.get(one.name), one) for one in fields]
        counts.update(one.name for value, one in said if value is not None and implausible(value, one))
        found.append(counts)
    return found


def all_implausible(stays: Sequence[Stay], documents: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return the same of several stays together, in the order of the names."""
    return dict(sorted(sum(implausible_values(stays, documents), Counter[str]()).items()))


def _series(
    variables: list[dict[str, Any]], *, hours: int = HOURS, origin: str = "first", least_values: int = 24
) -> dict[str, Any]:
    return {
        "kind": "series",
        "name": "stay",
        "tensors": [
            {"part": "joined", "name": "joined", "dtype": "float32", "shape": [None, hours, 3 * len(variables)]}
        ],
        "hours": hours,
        "step_h": 1,
        "origin": origin,
        "variables": variables,
        "preprocessing": [
            {"op": "mean"}, {"op": "carry_forward"}, {"op": "z_score"}, {"op": "age", "cap_h": hours},
        ],
        "group_h": 6,
        "least_values": least_values,
    }  # fmt: skip


def _variable(one: Variable, values: Sequence[float]) -> dict[str, Any]:
    there = np.array([value for value in values if one.low <= value <= one.high])
    document: dict[str, Any] = {
        "name": one.name,
        "title": {"en": one.en, "zh": one.zh},
        "codes": list(one.codes),
        "unit": one.unit,
        "range": [one.low, one.high],
        "required": one.name == "HR",  # a stay without a single heart rate is no intensive care stay
    }
    if not len(there):
        return document | {"mean": 0.0, "std": 1.0, "unseen": True}
    mean, std = _rounded(there.mean()), _rounded(there.std())
    if std == 0:
        return document | {"mean": mean, "std": 1.0, "constant": float(there[0])}
    return document | {"mean": mean, "std": std}


def _table(stays: Sequence[Stay]) -> dict[str, Any]:
    shape = [None, len(FIELDS)]
    return {
        "kind": "table",
        "name": "patient",
        "tensors": [
            {"part": "values", "name": "fields", "dtype": "float32", "shape": shape},
            {"part": "mask", "name": "known", "dtype": "float32", "shape": shape},
        ],
        "fields": [
            _field(stays, "Age", "Age", "年龄", {"from": "age_years", "unit": "a", "range": [15, 120]}),
            _field(stays, "Gender", "Sex", "性别", {"from": "sex", "categories": _SEXES, "required": False}),
            _field(
                stays, "Height", "Height", "身高",
                {"codes": ["8302-2"], "unit": "cm", "range": [100, 230], "required": False},
            ),
            _field(
                stays, "Weight", "Weight", "体重",
                {"codes": ["29463-7", "3141-9"], "unit": "kg", "range": [20, 400], "required": False},
            ),
        ],
        "preprocessing": [{"op": "z_score"}],
    }  # fmt: skip


def _field(stays: Sequence[Stay], name: str, en: str, zh: str, rest: Mapping[str, Any]) -> dict[str, Any]:
    low, high = rest.get("range", (0, 1))
    said = (stay.descriptors[name] for stay in stays if name in stay.descriptors)
    there = np.array([value for value in said if low <= value <= high] or [0.0])
    std = _rounded(there.std())
    return {"name": name, "title": {"en": en, "zh": zh}, "mean": _rounded(there.mean()), "std": std or 1.0, **rest}


def _rounded(value: Any) -> float:
    """Return six digits: what a card shows is what is calculated with."""
    return float(f"{float(value):.6g}")
