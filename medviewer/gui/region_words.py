"""What is said of an outline, in the language in use: how large it is and what that rests on, or why not."""

from __future__ import annotations

from medviewer.domain.answer import Region
from medviewer.domain.digits import area_number, percent_number
from medviewer.gui.text import tr, visible


def notice() -> str:
    """What stands beside every outline on screen."""
    return tr("AI result, research use only")


def area_words(region: Region) -> str:
    """An area in mm², pixels where its size is not known, or that there is nothing."""
    if not region.pixels:
        return tr("nothing outlined")
    if region.area_mm2 is None:
        return tr("{n} pixels").format(n=f"{region.pixels:,}")
    return f"{area_number(region.area_mm2)} mm²"


def basis_words(region: Region) -> str:
    """What the area rests on; why there is none. Empty of an empty mask."""
    if not region.pixels:
        return ""
    if region.area_mm2 is None:
        return tr("No area in mm²: {reason}").format(reason=visible(tr(region.remark)))
    if region.basis == "at detector":
        return tr("Measured at the detector: larger than in the patient.")
    return tr("Measured by: {basis}").format(basis=tr(region.basis))


def share_words(region: Region) -> str:
    """Which part of the image it takes, and within which bounds under small changes."""
    low, high = region.stability
    words = tr("{share}% of the image; {low}% to {high}% under small changes of it that do not change what it shows")
    return words.format(share=percent_number(region.share), low=percent_number(low), high=percent_number(high))


def ragged_words(region: Region) -> str:
    """That it is drawn as a picture, where its edge has too many corners for a line; else empty."""
    return tr("Too ragged for an outline: drawn as a picture of its pixels.") if region.is_ragged else ""


def output_words(region: Region) -> str:
    """How sure the network is inside; what the threshold is where it found nothing."""
    if region.mean_probability is None:
        return tr("Nothing outlined above the threshold {t}").format(t=f"{region.threshold:g}")
    words = tr("Network's mean probability inside {p}, not calibrated; threshold of a pixel {t}")
    return words.format(p=f"{region.mean_probability:.2f}", t=f"{region.threshold:g}")
