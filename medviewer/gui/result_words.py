"""What stands on a result's page, in the language in use: every fact that is needed to weigh it, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np

from medviewer import __version__
from medviewer.app.result import Result, pictures_of
from medviewer.app.state import Selection
from medviewer.domain.answer import (
    Answer,
    Attribution,
    Decision,
    Finding,
    Outcome,
    Region,
    Score,
    SurvivalCurve,
    probability_words,
    threshold_of,
)
from medviewer.explain.faithfulness import CONVINCING_PERCENTILE
from medviewer.gui import theme
from medviewer.gui.catalogue_rows import method_rows
from medviewer.gui.corner_text import axis_words
from medviewer.gui.decision_box import kind_word, local_time
from medviewer.gui.explain_controls import against_chance, reason_words
from medviewer.gui.finding_card import ran_on
from medviewer.gui.findings_panel import ModelRow, in_this_language
from medviewer.gui.own_error import own_error_words
from medviewer.gui.page_flow import Paragraph
from medviewer.gui.region_words import area_words, basis_words, notice, output_words, ragged_words, share_words
from medviewer.gui.result_page import ResultPage, Shown
from medviewer.gui.text import dicom_date, isolated, person_name, sex_word, tr, tr_pick, visible
from medviewer.imaging.orientation import orientation_letters
from medviewer.imaging.scale import pixel_aspect

_LIGHT = theme.THEMES["light"]
_SMALL_MM, _HEAD_MM = 2.6, 2.6


def result_page(result: Result, selection: Selection, row: ModelRow | None, *, with_identity: bool) -> ResultPage:
    """Put a result on a page.

    Args:
        result: the answer with its image, heat maps and decision; the first map is drawn.
        selection: of which patient and study the image is.
        row: what the catalogue says of the model; None if it is not there any more.
        with_identity: whether the page says whose image it is.
    """
    answer = result.answer
    findings = tuple((tuple(_finding(one, row, is_calibrated=answer.is_calibrated)), one) for one in answer.findings)
    others = tuple((tuple(_outcome(one)), None) for one in answer.outcomes)
    others += tuple((tuple(_region(one, row)), None) for one in answer.regions)
    abstained = ((tuple(_abstention(answer)), None),) if answer.status != "answer" else ()
    right = [*_map_words(result.attributions[0], _map_finding(result, row))] if result.attributions else []
    right += [*_decision_words(result.decision)] if answer.status == "answer" else []
    return ResultPage(
        title=tr("Result of a model"),
        model_title=visible(in_this_language(row.title, answer.model_title) if row is not None else answer.model_title),
        warning=tr("Research use only - not for diagnosis"),
        head=(tuple(_whose(selection, with_identity)), tuple(_what(result, selection, with_identity))),
        pictures=tuple(_pictures(result, row)),
        findings=(*findings, *others, *abstained),
        left=tuple(_checks(answer, row)),
        right=tuple(right),
        origin=tuple(_origin(answer)),
        scale_words=tr("threshold {t}"),
    )


def _heading(words: str) -> Paragraph:
    return Paragraph(words, _HEAD_MM, True, _LIGHT.secondary, 1.6)


def _small(words: str) -> Paragraph:
    return Paragraph(words, _SMALL_MM)


def _whose(selection: Selection, with_identity: bool) -> Iterator[Paragraph]:
    yield _heading(tr("Patient"))
    if not with_identity:
        yield Paragraph(tr("Without identity"), 3.6, True)
        return
    p = selection.patient
    yield Paragraph(person_name(p.name) or tr("No name"), 3.6, True)
    yield Paragraph(tr("ID {number}").format(number=isolated(p.patient_id)) if p.patient_id else tr("No patient ID"))
    about = (dicom_date(p.birth_date), sex_word(p.sex))
    if any(about):
        yield Paragraph("   ".join(part for part in about if part), before_mm=0.4)


def _what(result: Result, selection: Selection, with_identity: bool) -> Iterator[Paragraph]:
    d, study, series = selection.image.description, selection.study, selection.series
    yield _heading(tr("Image"))
    parts = (series.modality, d.body_part_examined, d.image_laterality, d.view_position)
    kind = "   ".join(visible(part) for part in parts if part)
    yield Paragraph(kind or tr("Image"), 3.6, True)
    if which := _which(selection) if not result.slices else "":
        yield Paragraph(which, before_mm=0.4)
    if not with_identity:  # dates, numbers and free texts tell who somebody is
        return
    said = (dicom_date(study.date), visible(study.description))
    if any(said):
        yield Paragraph("   ".join(part for part in said if part))
    more = [visible(study.institution)] if study.institution else []
    if study.accession_number:
        more.append(tr("Accession {number}").format(number=isolated(study.accession_number)))
    if more:
        yield Paragraph("   ".join(more), before_mm=0.4)


def _which(selection: Selection) -> str:
    """Which image of its stack it is, and of which volume; empty where there is one image."""
    count = selection.stack.slices
    number = tr("image {n} of {total}").format(n=selection.index % count + 1, total=count) if count > 1 else ""
    return "   ".join(part for part in (number, axis_words(selection)) if part)


def _pictures(result: Result, row: ModelRow | None) -> Iterator[Shown]:
    """The words now, in the language in use; the pictures when they are painted, in the thread that paints them."""
    description = result.image.description
    letters, aspect = orientation_letters(description), pixel_aspect(description)
    made = cache(lambda: pictures_of(result))

    def plain() -> np.ndarray:
        return made()[0]

    def overlay() -> np.ndarray:
        drawn = made()[1]
        assert drawn is not None  # noqa: S101 - there are maps or regions
        return drawn

    yield Shown(plain, letters, _caption(result), aspect)
    if result.attributions:
        method = _method_title(result.attributions[0])
        finding = _map_finding(result, row)
        method = tr("{what}: {finding}").format(what=method, finding=finding) if finding else method
        words = tr("{method}: where the model looked, not the outline of a lesion").format(method=method)
        yield Shown(overlay, letters, words, aspect)
    elif result.answer.regions:
        yield Shown(overlay, letters, f"{tr('What the model outlined')}. {notice()}", aspect)


def _caption(result: Result) -> str:
    """What the first picture is: of a stack that was analysed as a whole, which of its slices."""
    keys = [one.key for one in result.slices]
    if result.image.key not in keys:
        return tr("The image as it was shown")
    words = tr("Slice {number} of {total} as it was shown; all of them were analysed as a whole")
    return words.format(number=keys.index(result.image.key) + 1, total=len(keys))


def _method_title(attribution: Attribution) -> str:
    row = next((one for one in method_rows() if one.id == attribution.method), None)
    return tr_pick(row.title) if row is not None else visible(attribution.method_title)


def _map_finding(result: Result, row: ModelRow | None) -> str:
    """What the finding is called that the map is of; "" where the answer has no other."""
    return _title(result.attributions[0].finding, row) if len(result.answer.findings) > 1 else ""


def _title(label: str, row: ModelRow | None) -> str:
    return visible(tr_pick(row.findings.get(label, label)) if row is not None else label)


def _finding(finding: Finding, row: ModelRow | None, *, is_calibrated: bool) -> Iterator[Paragraph]:
    """Its name with the flag, its numbers; then what the threshold means and how stable it is."""
    title = _title(finding.label, row)
    flag, ink = (tr("flagged"), _LIGHT.caution) if finding.flagged else (tr("not flagged"), _LIGHT.text)
    yield Paragraph(tr("{finding}: {flag}").format(finding=title, flag=flag), 4.2, True, ink, 2.0)
    probability = probability_words(finding.probability, finding.threshold)
    calibrated, raw = tr("calibrated probability {p}, threshold {t}"), tr("output of the network {p}, threshold {t}")
    words = calibrated if is_calibrated else raw
    yield Paragraph(words.format(p=probability, t=threshold_of(finding)), 3.4, True)
    if finding.stability is not None:
        low, high = (probability_words(value, finding.threshold) for value in finding.stability)
        words = tr("{low} to {high} under small changes of the image that do not change what it shows")
        yield _small(words.format(low=low, high=high))
    else:
        yield _small(tr("How stable this is was not computed."))
    if finding.meaning:
        yield _small(visible(finding.meaning))


def _outcome(outcome: Outcome) -> Iterator[Paragraph]:
    """What is no finding: a score in its band, a curve at its horizon, the end of a forecast."""
    if isinstance(outcome, Score):
        ink = _LIGHT.caution if outcome.flagged else _LIGHT.text
        words = tr("{name}: {value} of {highest}, {band}")
        said = words.format(
            name=visible(outcome.title), value=f"{outcome.value:g}", highest=f"{outcome.highest:g}",
            band=visible(outcome.band),
        )  # fmt: skip
        yield Paragraph(said, 4.2, True, ink, 2.0)
        measured = outcome.meaning
    elif isinstance(outcome, SurvivalCurve):
        at = outcome.times.index(outcome.horizon)
        words = tr("{name}: free of it up to {time} {unit} with probability {p}")
        said = words.format(
            name=visible(outcome.title), time=f"{outcome.horizon:g}", unit=visible(outcome.time_unit),
            p=probability_words(outcome.survival[at]),
        )  # fmt: skip
        yield Paragraph(said, 4.2, True, before_mm=2.0)
        measured = outcome.measured
    else:
        words = tr("{name}: {value} {unit} in {hours} h, between {low} and {high}")
        said = words.format(
            name=visible(outcome.title), value=f"{outcome.median[-1]:g}", unit=visible(outcome.unit),
            hours=f"{outcome.hours[-1]:g}", low=f"{outcome.low[-1]:g}", high=f"{outcome.high[-1]:g}",
        )  # fmt: skip
        yield Paragraph(said, 4.2, True, before_mm=2.0)
        measured = outcome.measured
    if measured:
        yield _small(visible(measured))


def _region(region: Region, row: ModelRow | None) -> Iterator[Paragraph]:
    """What was outlined: its size, what that rests on, how sure the network is."""
    title = visible(tr_pick(row.findings.get(region.label, region.title)) if row is not None else region.title)
    # In its own colour, dark enough for paper: the picture has no other legend.
    red, green, blue = (round(0.55 * level) for level in region.color)
    ink = f"#{red:02x}{green:02x}{blue:02x}" if region.pixels else _LIGHT.text
    words = tr("{finding}: {flag}").format(finding=title, flag=area_words(region))
    yield Paragraph(words, 4.2, True, ink, 2.0)
    share = share_words(region) if region.pixels else ""
    said = [basis_words(region), share, output_words(region), ragged_words(region), region.measured]
    for words in said:
        if words:
            yield _small(visible(words))


def _abstention(answer: Answer) -> Iterator[Paragraph]:
    yield Paragraph(tr("The model gave no answer"), 4.2, True, _LIGHT.caution)
    for reason in answer.reasons:
        yield Paragraph(visible(reason))


def _checks(answer: Answer, row: ModelRow | None) -> Iterator[Paragraph]:
    yield _heading(tr("Does the model fit this patient?"))
    if not answer.guards:
        yield Paragraph(tr("Nothing was checked before this answer."), 2.8, True, _LIGHT.caution)
    for guard in answer.guards:
        if guard.level == "warn":
            words = tr("Caution: {text}").format(text=visible(guard.text))
            yield Paragraph(words, 2.8, True, _LIGHT.caution)
    n = sum(guard.level == "ok" for guard in answer.guards)
    if n:
        yield Paragraph(tr("1 check passed") if n == 1 else tr("{n} checks passed").format(n=n), 2.8)
    for guard in answer.guards:
        if guard.level == "ok":
            yield Paragraph(visible(guard.text), _SMALL_MM, before_mm=0.3)
    yield _small(tr("No warning does not mean that the model knows patients like this one."))
    site = in_this_language(row.validated_on, answer.validated_on) if row is not None else answer.validated_on
    if site:
        yield _heading(tr("Validated on"))
        yield _small(visible(site))


def _map_words(attribution: Attribution, finding: str) -> Iterator[Paragraph]:
    yield _heading(tr("Where the model looked"))
    if finding:
        yield Paragraph(tr("For the finding: {finding}").format(finding=finding), 2.8, True)
    judged = attribution.faithfulness
    if judged is None:
        words = tr("Whether this map is better than a random one was not checked.")
        yield Paragraph(words, 2.8, True, _LIGHT.caution)
    else:
        is_good = min(judged.deletion_percentile, judged.insertion_percentile) >= CONVINCING_PERCENTILE
        verdict = tr("Better than chance") if is_good else tr("Not clearly better than chance")
        yield Paragraph(verdict, 2.8, True, _LIGHT.good if is_good else _LIGHT.caution)
        reason = reason_words(judged.sentence)
        if reason:
            yield _small(visible(reason))
        yield _small(against_chance(attribution, judged))
    if words := own_error_words(attribution):
        yield _small(words)


def _decision_words(decision: Decision | None) -> Iterator[Paragraph]:
    yield _heading(tr("The reader's decision"))
    if decision is None or decision.kind == "withdrawn":
        yield Paragraph(tr("No decision was recorded."), 2.8)
        return
    words = tr("{decision} at {time}").format(decision=kind_word(decision.kind), time=local_time(decision.time))
    yield Paragraph(words, 3.2, True)
    if decision.value:
        yield Paragraph(tr("Reported instead: {value}").format(value=isolated(decision.value)), 2.8)
    if decision.reason:
        yield Paragraph(visible(decision.reason), 2.8)


def _origin(answer: Answer) -> Iterator[Paragraph]:
    made = answer.provenance
    signed = tr("Verified") if made.is_verified else tr("Unverified")
    yield _heading(tr("Made by"))
    yield _small(f"{visible(made.model_id)} {visible(made.model_version)} ({signed})   sha256 {made.model_sha256}")
    parts = [f"{tr('Ran on')}: {ran_on(made)}", f"{tr('Runtime')}: {visible(made.runtime)}"]
    parts += [f"{tr('Started')}: {local_time(made.started)}", f"MedViewer {__version__}"]
    yield Paragraph("   ".join(parts), _SMALL_MM, before_mm=0.3)
    if made.input_sha256:
        yield Paragraph(f"{tr('Input')}: sha256 {made.input_sha256}", _SMALL_MM, before_mm=0.3)
