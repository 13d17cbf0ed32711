"""``analyze``: one image, one model, its answer with its reasons, saved for others to read; or many of each."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from medviewer.app.answering import Asking, answer_image
from medviewer.app.data_results import used_lines
from medviewer.app.joint_answering import answer_together
from medviewer.app.patient import RecordRoom, explained_words
from medviewer.app.region_results import region_lines
from medviewer.app.result import USUAL
from medviewer.app.results import NOTICE, Result, result_document, save_results
from medviewer.app.settings import home
from medviewer.app.state import Selection
from medviewer.app.views import is_of_views
from medviewer.cli.analyze_data import UNVERIFIED, analyze_data, finding_words, is_of_data, read_patient
from medviewer.cli.analyze_many import analyze_many
from medviewer.cli.choice import choose_image, choose_views
from medviewer.cli.models import open_catalogue
from medviewer.cli.terminal import clear_progress, print_json, progress, say, tell
from medviewer.cli.trail import keep_in_trail
from medviewer.domain.answer import probability_words
from medviewer.domain.errors import StorageError, UsageError
from medviewer.explain.methods import OWN_EXPLANATION, check_finding, is_own_explanation, methods_for
from medviewer.imaging.decode import read_frame, shutdown
from medviewer.inference.card import Card
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.inference.inputs.volume import stack_input


def analyze(arguments: argparse.Namespace) -> int:
    """Ask a model about an image, or about what is given instead of one, and save what it says; 4 if it abstained.

    A folder, several paths or several models are many questions, each with a folder of its own.
    """
    _check_finding_alone(arguments)
    if is_of_data(arguments) and not arguments.paths:
        return analyze_data(arguments)
    _check_what_is_given(arguments)
    catalogue = open_catalogue(arguments.models_folder)
    models = list(dict.fromkeys(arguments.model))
    cards = [catalogue.card(model_id) for model_id in models]
    for card in cards:
        check_methods(arguments.explain, card)
        check_finding(card, arguments.finding)
        _tell_what_there_is_not(arguments.also, card)
    if arguments.identity and not arguments.pdf:
        raise UsageError("--identity is about the page: give --pdf too. DICOM files say whose image it is in any case.")
    outputs = USUAL | frozenset(arguments.also)
    asking = Asking(tuple(arguments.explain), arguments.finding or "", arguments.language, outputs)
    [path, *more] = arguments.paths
    if len(cards) == 1 and not any(spec.kind in ("image", "volume") for spec in cards[0].inputs):
        raise UsageError(
            f"The model {cards[0].id} takes no image: give --record, --note or --smiles instead of a path."
        )
    has_views = any(is_of_views(card) for card in cards)
    if has_views and len(cards) > 1:
        raise UsageError("A model of several views is asked by itself: name one model.")
    is_of_stacks = any(stack_input(card) is not None for card in cards)
    if arguments.record is not None:
        _check_with_record(arguments, cards, has_views=has_views)
    if not has_views and (more or len(models) > 1 or path.is_dir() or is_of_stacks):
        _check_alone(arguments, is_of_stacks=is_of_stacks)
        return analyze_many(arguments, cards, asking, lambda: Engine(catalogue), _keep_in_trail)
    result, selection = _answer_one(arguments, catalogue, asking)
    pdf = _page(result, selection, catalogue, arguments) if arguments.pdf else None
    with contextlib.closing(RecordRoom(home())) as room:
        result = replace(result, is_in_audit_trail=_keep_in_trail(room, "model.run", result))

        def save(result: Result) -> Sequence[Path]:
            return save_results(arguments.out, result, outputs=asking.outputs, pdf=pdf)

        _tell_and_save(result, save, room, as_json=arguments.json)
    if result.answer.status != "answer":
        return 4
    return 3 if any(problem.status == "refused" for problem in result.problems) else 0


def _answer_one(arguments: argparse.Namespace, catalogue: Catalogue, asking: Asking) -> tuple[Result, Selection]:
    """What the model says of the image or the views that are named, with the record of the patient if it is given."""
    model_id = arguments.model[0]
    card = catalogue.card(model_id)
    try:
        if is_of_views(card):
            if arguments.frame is not None:
                raise UsageError("--frame chooses one image, and the model looks at several views; leave it out.")
            chosen = choose_views(arguments.paths, card)
        else:
            chosen = (choose_image(arguments.paths[0], arguments.frame, needs_frame=True),)
        frames = tuple(read_frame(one.image) for one in chosen)
    finally:
        shutdown()
    selection = chosen[0]
    record, problems = read_patient(arguments.record) if arguments.record is not None else (None, ())
    with Engine(catalogue) as engine:
        if record is None and len(frames) == 1:
            result = answer_image(engine, model_id, selection, frames[0], asking=asking, progress=progress)
        else:
            result = answer_together(engine, model_id, selection, frames, record, asking=asking, progress=progress)
    clear_progress()
    return replace(result, problems=problems), selection


def _check_what_is_given(arguments: argparse.Namespace) -> None:
    """Refuse what cannot be asked together: there is an image, alone or with the record of its patient."""
    if not arguments.paths or arguments.note is not None or arguments.smiles is not None:
        raise UsageError(
            "Give the path of an image, with --record or without, or else --record, --note or --smiles alone."
        )
    if arguments.at is not None:
        raise UsageError("Beside an image a record counts up to the day of the study: leave out --at.")


def _check_with_record(arguments: argparse.Namespace, cards: Sequence[Card], *, has_views: bool) -> None:
    """Refuse a record where it is not for one patient's image, or views, and one model that takes both."""
    is_one_file = len(arguments.paths) == 1 and not arguments.paths[0].is_dir()
    if len(cards) > 1 or not (is_one_file or has_views):
        raise UsageError("--record beside an image is about one patient: name one image file and one model with it.")
    kinds = {spec.kind for spec in cards[0].inputs}
    if "volume" in kinds:
        raise UsageError("A model of a stack of slices and a record can be asked in the window only: open the series.")
    if not kinds & {"table", "series"}:
        raise UsageError(f"The model {cards[0].id} takes nothing of a record: leave out --record.")


def _check_alone(arguments: argparse.Namespace, *, is_of_stacks: bool) -> None:
    """Refuse what is for one image and one model alone."""
    if arguments.frame is not None and is_of_stacks:
        raise UsageError("--frame chooses one image, and the model looks at a whole stack of slices; leave it out.")
    if arguments.frame is not None:
        raise UsageError("--frame chooses an image of one file; name one file and one model with it.")
    if arguments.pdf:
        raise UsageError("--pdf makes the page of one image; name one file and one model with it.")


def _page(result: Result, selection: Selection, catalogue: Catalogue, arguments: argparse.Namespace) -> bytes:
    from medviewer.gui.run import result_pdf  # noqa: PLC0415 - Qt only for who wants the page

    entry = next((one for one in catalogue.entries if one.id == result.answer.provenance.model_id), None)
    return result_pdf(result, selection, entry, with_identity=arguments.identity, say_in=arguments.language)


def _tell_and_save(
    result: Result, save: Callable[[Result], Sequence[Path]], room: RecordRoom, *, as_json: bool
) -> None:
    """Print the answer and save it; neither is lost where the other cannot be done.

    Raises:
        BrokenPipeError, StorageError: one of the two could not be done.
    """
    unheard: OSError | StorageError | None = None
    try:
        if not as_json:
            for line in (*summary(result), *used_lines(result.answer, result.at.tzinfo if result.at else None)):
                say(line)
    except (BrokenPipeError, StorageError) as error:  # of the output: the files may have another disk
        unheard = error
    try:
        paths = save(result)
    except StorageError as error:
        _finish(result, (), as_json=as_json)
        # What could not be saved first is of no interest, since all of it or nothing is.
        _, _, reason = str(error).rpartition(" was not saved: ")
        raise StorageError(f"Nothing was saved: {reason}") from error
    if result.is_in_audit_trail:  # or it has been said why it cannot be
        _keep_in_trail(room, "results.saved", result)
    if unheard is not None:
        raise unheard
    _finish(result, paths, as_json=as_json)


def _finish(result: Result, paths: Sequence[Path], *, as_json: bool) -> None:
    """Print what can only be said after saving: the document, or where the files lie."""
    if as_json:
        print_json(json.loads(paths[0].read_bytes()) if paths else result_document(result, [], []))
        return
    for line in (*(f"  saved: {path}" for path in paths), NOTICE):
        say(line)


def _keep_in_trail(room: RecordRoom, what: str, result: Result) -> bool:
    """Record what was done, with a run each of its heat maps; False if any of it could not be recorded."""
    uid = result.image.sop_instance_uid
    maps = result.attributions if what == "model.run" else ()
    return keep_in_trail(room, what, uid, result.answer.provenance.model_id) and all(
        keep_in_trail(room, "model.explain", uid, explained_words(one)) for one in maps
    )


def _check_finding_alone(arguments: argparse.Namespace) -> None:
    """Refuse a finding where there is no heat map that could be of it."""
    if arguments.finding is not None and is_of_data(arguments):
        raise UsageError("--finding is about heat maps of images; leave it out with --record, --note or --smiles.")
    if arguments.finding is not None and not arguments.explain:
        raise UsageError("--finding says what a heat map is of: give --explain METHOD too.")


def check_methods(methods: Sequence[str], card: Card) -> None:
    """Refuse a method that the model cannot be explained by, before anything is read or run.

    Raises:
        UsageError: the message names the methods that there are.
    """
    if methods and is_own_explanation(card):
        raise UsageError(f"{OWN_EXPLANATION} Ask {card.id} without --explain.")
    known = [row.id for row in methods_for(card)]
    for method in methods:
        if method not in known:
            raise UsageError(
                f"The model {card.id} has no explanation method “{method}”; there are: {', '.join(known) or 'none'}."
            )


def _tell_what_there_is_not(also: Sequence[str], card: Card) -> None:
    """Say that what would be saved of heat maps and flagged findings is nothing for a model that outlines."""
    if also and is_own_explanation(card):
        tell(
            f"--also {' '.join(sorted(set(also)))}: there is none of {card.id}, which has no heat maps and no flagged "
            "findings; what it outlines is saved as a DICOM Segmentation without being asked for."
        )


def summary(result: Result) -> list[str]:
    """Say in a few lines what the model said and how far it can be believed."""
    answer = result.answer
    made_by = answer.provenance
    ran_on = f", {made_by.provider}" if made_by.provider else ""  # a check may have stopped it first
    lines = [f"{answer.model_title} ({made_by.model_id} {made_by.model_version}{ran_on})"]
    if not made_by.is_verified:
        lines.append(UNVERIFIED)
    if answer.status != "answer":
        lines.append("  The model abstained:")
    for finding in answer.findings:
        lines.append(f"  {finding_words(finding, answer)}")
        if finding.stability is not None:
            low, high = (probability_words(value, finding.threshold) for value in finding.stability)
            lines.append(f"    between {low} and {high} under small changes of the image")
        if finding.neighbours is not None:
            lines.append(f"    {finding.neighbours.sentence}")
            if finding.neighbours.on:
                lines.append(f"    counted on: {finding.neighbours.on}")
    lines += [f"  {line}" for region in answer.regions for line in region_lines(region)]
    lines += [f"  {guard.level}: {guard.text}" for guard in answer.guards if guard.level != "ok"]
    for attribution in result.attributions:
        of = f" for {attribution.finding}" if len(answer.findings) > 1 else ""
        sentence = attribution.faithfulness.sentence if attribution.faithfulness else "not tested against random maps"
        lines.append(f"  {attribution.method_title}{of}: {sentence}")
    return lines
