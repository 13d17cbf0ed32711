"""Standardised uptake values of PET images, where the file says all that they need.

SUVbw (g/ml) is the activity in a millilitre over the injected activity in a gram of the
patient. It depends on weight, dose, half-life and on the time to which the decay was
corrected; if one of them is missing or doubtful there is no SUV, and the reason is told.

Source: PS3.3 C.8.9.1 (PET series), and the QIBA FDG-PET/CT profile's vendor-neutral pseudo-code for SUV.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from medviewer.domain.frozen import dataclass
from medviewer.domain.study import PixelDescription
from medviewer.imaging import tags
from medviewer.imaging.dataset import DataSet

PET_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.128"

_UNITS = {"BQML": "Bq/ml", "CNTS": "{counts}", "GML": "g/ml", "CPS": "{counts}/s", "KBQML": "kBq/ml"}
# After so many half-lives nothing is left to see: the clock or the date is wrong.
_MOST_HALF_LIVES = 12.0
# A nuclide that lasts longer is often seen on a later day than it was injected, which a time alone does not say.
_NEEDS_A_DATE_S = 12 * 3600.0
_PHILIPS = "Philips PET Private Group"
_SAME_FACTOR = 1e-6  # relative
_DATE_TIME = re.compile(r"(\d{14})(?:\.(\d{1,6}))?([+-]\d{4})?")
_TIME = re.compile(r"(\d{6})(?:\.(\d{1,6}))?")


@dataclass(frozen=True, slots=True)
class Suv:
    """The unit of the modality values (UCUM), the factor from them to SUVbw in g/ml, or why there is none."""

    unit: str = ""
    factor: float | None = None
    reason: str = ""


def common_suv(descriptions: Sequence[PixelDescription]) -> tuple[float | None, str]:
    """Give the factor from modality values to SUVbw that holds for all of some images; None, and why there is none."""
    factors = [one.suv_factor for one in descriptions]
    first = factors[0]
    if first is not None and all(one is not None and abs(one / first - 1) < _SAME_FACTOR for one in factors):
        return first, ""
    own = next((one.no_suv_because for one in descriptions if one.no_suv_because), "")
    return None, own or ("The slices have different factors to SUV." if any(factors) else "")


class _NoSuvError(Exception):
    """The file does not allow it; the text says why."""


def read_suv(dataset: DataSet, sop_class_uid: str) -> Suv:
    """Give how a PET image's values become SUVbw; nothing at all for other images.

    Args:
        dataset: the image's attributes.
        sop_class_uid: only the PET Image IOD has these attributes where they are looked for here.
    """
    if dataset.text(tags.MODALITY) != "PT":
        return Suv()
    units = dataset.text(tags.UNITS)
    unit = _UNITS.get(units, units)
    if sop_class_uid != PET_IMAGE_STORAGE:
        return Suv(unit, None, "SUV is calculated for plain PET images only.")
    try:
        return Suv(unit, _factor(dataset, units))
    except _NoSuvError as reason:
        return Suv(unit, None, str(reason))


def _factor(dataset: DataSet, units: str) -> float:
    if units == "GML":
        if dataset.text(tags.SUV_TYPE) not in ("", "BW"):
            raise _NoSuvError("The values are SUV, but not by body weight.")
        return 1.0
    if units == "CNTS":
        factor = dataset.number(tags.PHILIPS_SUV_FACTOR)
        if dataset.text(tags.PHILIPS_PET_CREATOR) == _PHILIPS and factor is not None and factor > 0:
            return factor
        raise _NoSuvError("The values are counts, and the file gives no factor from counts to SUV.")
    if units != "BQML":
        raise _NoSuvError("The values are not activity per millilitre.")
    missing = {"ATTN", "DECY"} - set(dataset.texts(tags.CORRECTED_IMAGE))
    if missing:
        raise _NoSuvError("The file does not say that the image is corrected for attenuation and decay.")
    weight_kg = dataset.number(tags.PATIENT_WEIGHT)
    # Grams or pounds in the place of kilograms make SUVs that look real.
    if weight_kg is None or not 0.2 <= weight_kg <= 650:
        raise _NoSuvError("The file gives no sensible weight of the patient.")
    return weight_kg * 1000.0 / _activity(dataset)


def _activity(dataset: DataSet) -> float:
    """Give the injected activity in Bq as it was at the time to which the image's decay is corrected."""
    items = dataset.items(tags.RADIOPHARMACEUTICAL_SEQUENCE)
    if len(items) != 1:
        raise _NoSuvError("The file does not name one radiopharmaceutical.")
    dose = items[0].number(tags.RADIONUCLIDE_TOTAL_DOSE)
    if dose is None or not 1e4 <= dose <= 1e11:
        raise _NoSuvError("The file gives no sensible injected activity in Bq.")
    correction = dataset.text(tags.DECAY_CORRECTION)
    if correction == "ADMIN":
        return dose
    if correction != "START":
        raise _NoSuvError("The file does not say to which time the decay is corrected.")
    half_life_s = items[0].number(tags.RADIONUCLIDE_HALF_LIFE)
    if half_life_s is None or not 1.0 <= half_life_s <= 1e9:
        raise _NoSuvError("The file gives no sensible half-life.")
    elapsed_s = _elapsed_s(dataset, items[0], half_life_s)
    if not 0 <= elapsed_s <= _MOST_HALF_LIVES * half_life_s:
        raise _NoSuvError("The times of injection and scan do not fit together.")
    return dose * math.exp2(-elapsed_s / half_life_s)


def _elapsed_s(dataset: DataSet, item: DataSet, half_life_s: float) -> float:
    """Give the seconds from the injection to the start of the scan."""
    scan = _together(dataset.text(tags.SERIES_DATE), dataset.text(tags.SERIES_TIME))
    acquired = _together(dataset.text(tags.ACQUISITION_DATE), dataset.text(tags.ACQUISITION_TIME))
    if scan is None or acquired is None:
        raise _NoSuvError("The file gives no usable date and time of the scan.")
    if scan > acquired:
        # A later series time is that of some later processing; when the scan began is then not known.
        raise _NoSuvError("The series is dated later than its acquisition, so the start of the scan is not known.")
    told = item.text(tags.RADIOPHARMACEUTICAL_START_DATE_TIME)
    if told:
        return (scan - _date_time(told, dataset.text(tags.TIMEZONE_OFFSET_FROM_UTC))).total_seconds()
    injected = _together(dataset.text(tags.SERIES_DATE), item.text(tags.RADIOPHARMACEUTICAL_START_TIME))
    if injected is None:
        raise _NoSuvError("The file gives no usable time of injection.")
    if half_life_s > _NEEDS_A_DATE_S:
        raise _NoSuvError("The file gives the time but not the date of the injection, and the nuclide lasts for days.")
    if injected > scan:  # over midnight
        injected -= timedelta(days=1)
    return (scan - injected).total_seconds()


def _date_time(text: str, zone: str) -> datetime:
    found = _DATE_TIME.fullmatch(text)
    # A zone that is not the one of the file's other times would shift the decay by hours.
    if found is None or (found[3] and found[3] != zone):
        raise _NoSuvError("The file gives no usable time of injection.")
    moment = _parsed(found[1], found[2])
    if moment is None:
        raise _NoSuvError("The file gives no usable time of injection.")
    return moment


def _together(date: str, time: str) -> datetime | None:
    found = _TIME.fullmatch(time)
    if found is None or not re.fullmatch(r"\d{8}", date):
        return None
    return _parsed(date + found[1], found[2])


def _parsed(digits: str, fraction: str | None) -> datetime | None:
    try:
        moment = datetime.strptime(digits, "%Y%m%d%H%M%S")  # noqa: DTZ007 - differences of one file's own clock
    except ValueError:
        return None
    return moment.replace(microsecond=int((fraction or "0").ljust(6, "0")))
