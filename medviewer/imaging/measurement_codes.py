"""What our quantities and their units are called in DICOM structured reports: (code, scheme, meaning).

Source: PS3.16 CID 7469 (size), 7550 (angles), 6147, 7180 (units), 84 and 85 (SUV); UCUM.
"""

from __future__ import annotations

from typing import TypeAlias

from medviewer.domain.measurement import Basis, MeasurementKind, Quantity

CodeTriplet: TypeAlias = tuple[str, str, str]

SCHEME = "99MEDVIEWER"

KIND = ("kind", SCHEME, "Kind of measurement")
LABEL = ("label", SCHEME, "Label")
PLANE = ("cut-plane", SCHEME, "Plane that was cut from the series, and the points on it")
AUTHOR = ("author", SCHEME, "Author as named, not verified")

_NAMES: dict[str, CodeTriplet] = {
    "length": ("410668003", "SCT", "Length"),
    "horizontal": ("horizontal", SCHEME, "Horizontal extent"),
    "vertical": ("vertical", SCHEME, "Vertical extent"),
    "angle": ("1483009", "SCT", "Angle"),
    "Cobb angle": ("285285000", "SCT", "Cobb angle"),
    "long axis": ("103339001", "SCT", "Long Axis"),
    "short axis": ("103340004", "SCT", "Short Axis"),
    "area": ("42798000", "SCT", "Area"),
    "pixels": ("pixel-count", SCHEME, "Number of pixels"),
    "stored value": ("stored-value", SCHEME, "Stored pixel value"),
    "red": ("red", SCHEME, "Red"),
    "green": ("green", SCHEME, "Green"),
    "blue": ("blue", SCHEME, "Blue"),
    "cardiothoracic ratio": ("ctr", SCHEME, "Cardiothoracic ratio"),
    "heart width": ("heart-width", SCHEME, "Greatest width of the heart"),
    "thorax width": ("thorax-width", SCHEME, "Greatest width of the thorax"),
    "spacing between rows": ("111066", "DCM", "Vertical Pixel Spacing"),
    "spacing between columns": ("111026", "DCM", "Horizontal Pixel Spacing"),
}
_DERIVATIONS: dict[str, CodeTriplet] = {
    "mean": ("373098007", "SCT", "Mean"),
    "SD": ("386136009", "SCT", "Standard Deviation"),
    "minimum": ("255605001", "SCT", "Minimum"),
    "maximum": ("56851009", "SCT", "Maximum"),
}
_ATTENUATION = ("112031", "DCM", "Attenuation Coefficient")
_SUV = ("126401", "DCM", "SUVbw")
_MODALITY_VALUE = ("modality-value", SCHEME, "Modality value")

_UNITS: dict[str, CodeTriplet] = {
    "mm": ("mm", "UCUM", "millimeter"),
    "mm2": ("mm2", "UCUM", "square millimeter"),
    "px": ("{pixels}", "UCUM", "pixels"),
    "px2": ("{pixels_squared}", "UCUM", "square pixels"),
    "deg": ("deg", "UCUM", "degree"),
    "HU": ("[hnsf'U]", "UCUM", "Hounsfield unit"),
    "Bq/ml": ("Bq/ml", "UCUM", "Becquerels/milliliter"),
    "kBq/ml": ("kBq/ml", "UCUM", "kilobecquerels/milliliter"),
    "{counts}": ("{counts}", "UCUM", "Counts"),
    "{counts}/s": ("{counts}/s", "UCUM", "Counts per second"),
    "g/ml": ("g/ml", "UCUM", "gram/milliliter"),
    "s": ("s", "UCUM", "second"),
    "cm/s": ("cm/s", "UCUM", "centimeter/second"),
    "Hz": ("Hz", "UCUM", "hertz"),
    "dB": ("dB", "UCUM", "decibel"),
    "dB/s": ("dB/s", "UCUM", "decibel/second"),
    "%": ("%", "UCUM", "percent"),
    "cm2": ("cm2", "UCUM", "square centimeter"),
    "cm2/s": ("cm2/s", "UCUM", "square centimeter/second"),
    "cm3": ("cm3", "UCUM", "cubic centimeter"),
    "cm3/s": ("cm3/s", "UCUM", "cubic centimeter/second"),
    "": ("1", "UCUM", "no units"),
}
_SUV_UNIT = ("g/ml{SUVbw}", "UCUM", "Standardized Uptake Value body weight")

BASES: dict[Basis, CodeTriplet] = {
    "patient plane": ("patient-plane", SCHEME, "Pixel spacing in the patient plane"),
    "at detector": ("at-detector", SCHEME, "Pixel spacing at the detector, not corrected for magnification"),
    "calibrated": ("calibrated", SCHEME, "Calibrated pixel spacing"),
    "ultrasound region": ("ultrasound", SCHEME, "Calibration of an ultrasound region"),
    "px": ("pixels", SCHEME, "Pixels: the image gives no usable spacing"),
}
"""How a length was found; "" has none."""

_KIND_MEANINGS: dict[MeasurementKind, str] = {
    "length": "Length", "angle": "Angle", "cobb": "Cobb angle", "bidirectional": "Long and short axis",
    "rectangle": "Rectangle", "ellipse": "Ellipse", "freehand": "Freehand outline", "probe": "Probe",
    "cardiothoracic": "Cardiothoracic ratio", "calibration": "Calibration",
}  # fmt: skip


def kind_code(kind: MeasurementKind) -> CodeTriplet:
    """Give the code of a kind."""
    return kind, SCHEME, _KIND_MEANINGS[kind]


def quantity_codes(quantity: Quantity) -> tuple[CodeTriplet, CodeTriplet | None, CodeTriplet]:
    """Give the concept of a quantity, how it was derived (mean, SD, ...) and its unit.

    A unit that a file names in its own words has no UCUM code and becomes one of ours.
    """
    is_suv = quantity.name.startswith("SUVbw")
    statistic = quantity.name.removeprefix("SUVbw").strip()
    unit = _SUV_UNIT if is_suv else _UNITS.get(quantity.unit)
    # 16 characters are what a code may have (VR SH); its meaning may be longer.
    unit = unit or (quantity.unit[:16], SCHEME, quantity.unit[:64])
    derivation = _DERIVATIONS.get(statistic)
    if is_suv:
        return _SUV, derivation, unit
    if derivation is not None or quantity.name == "value":
        return (_ATTENUATION if quantity.unit == "HU" else _MODALITY_VALUE), derivation, unit
    return _NAMES[quantity.name], None, unit
