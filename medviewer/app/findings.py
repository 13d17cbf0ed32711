"""Running a model on the image on screen or on the stack that it is of, asking why, and keeping what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from medviewer.app import analysis
from medviewer.app.analysis import Asked, Question
from medviewer.app.data_questions import takes_only
from medviewer.app.on_screen import (
    asked_key,
    asks_of_stack,
    current_answer,
    current_attribution,
    finding_shown,
    identity_of,
    is_record_checked,
    second_attribution,
    selections,
)
from medviewer.app.patient import explained_words, keep_answer, keep_event
from medviewer.app.record_models import is_for_screen, takes_only_images
from medviewer.app.stack_asking import Prepare, confirmation_of, key_of, partial_because, question_of
from medviewer.app.state import Given, Key, Overlay, Selection, State
from medviewer.app.told import age_of, told_of
from medviewer.domain.answer import Answer, Attribution, Subject
from medviewer.domain.errors import EngineError, MedViewerError, UsageError
from medviewer.domain.progress import Progress, StopToken
from medviewer.domain.study import Collection
from medviewer.explain.methods import METHODS, OWN_EXPLANATION, has_map, is_own_explanation, methods_for
from medviewer.explain.overlay import COLOR_MAPS

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

REPLACED = "A model was replaced or taken away: what it said before is not shown any more; run what there is now."
DOUBTED = (
    "Another file says something else of an image or its patient: what a model said of it before is not shown any "
    "more; run the model again."
)
OUTDATED = (
    "The patient's record tells what a model was not told when it answered: what it said before is not shown any more; "
    "run the model again."
)
WEIGHING_ENDED = "The check against random maps was interrupted; the answer stands."


def warm_up(app: Application) -> None:
    """Open the chosen model behind the reader's back, so that Run does not wait for it."""
    model_id = app.state.model_id

    def opened(prospect: str) -> None:
        if not app.state.provider:  # else it has run meanwhile, and says where it did
            app.session.update(provider=prospect)

    if model_id and not app.state.provider:
        app.background.start(
            "warm up",
            lambda stop, _progress: analysis.warm_up(app.engine, model_id, stop),
            opened,
            lambda _error: None,  # Run will say it
        )


def run_model(app: Application, _argument: object) -> None:
    """Run the chosen model on the image on screen, then ask why."""
    now = app.state.selection
    if now is None:
        return
    if not app.state.model_id:
        raise UsageError("No model can be used: the findings panel says what is wrong with each.")
    if asks_of_stack(app.state) and (reason := partial_because(app)):
        raise UsageError(reason)
    app.wishes.run = key_of(app.state, now)
    continue_run(app)


def run_if_wished(app: Application, selection: Selection) -> None:
    """Run the model on an image that comes on screen, where that is preferred."""
    if app.state.model_id and (app.settings.run_when_opened or app.wishes.runs_when_opened):
        app.wishes.run = key_of(app.state, selection)


def keep_wish(app: Application, old: Selection, grown: Selection) -> None:
    """Where a run waits for a stack that has grown: its first slice, by which it goes, may be another one now."""
    if app.wishes.run == key_of(app.state, old):
        app.wishes.run = key_of(app.state, grown)


def continue_run(app: Application) -> None:
    """Start the run that was asked for, once its pixels are there and the record has been compared.

    A result must not be shown beside another person's record, so the record is asked first.
    """
    state = app.state
    now = state.selection
    if now is None or app.wishes.run != key_of(state, now) or state.frame is None or not is_record_checked(state):
        return
    if asks_of_stack(state) and partial_because(app):  # it goes on when all files have been looked at
        return
    app.wishes.run = None
    if asked_key(state) is None:  # a plane came while the run waited: no model of images runs on its pixels
        return
    if state.record_mismatch:
        app.notify("alarm", state.record_mismatch)
        return
    _start_run(app, key_of(state, now), question_of(app, now))


def select_model(app: Application, model_id: str) -> None:
    """Choose the model that Run runs and whose answers are shown."""
    entry = next((e for e in app.engine.catalogue.entries if e.id == model_id), None)
    reason = "it is not installed." if entry is None else entry.problem
    if entry is not None and entry.card is not None and not is_for_screen(entry.card):
        is_of_molecules = takes_only(entry.card, "molecule")
        of_record = "it takes no image and stands beside the record."
        reason = "it takes a molecule: see Molecule… in the menu Model." if is_of_molecules else of_record
    if reason:
        raise UsageError(f"The model {model_id} cannot be chosen: {reason}")
    app.session.update(model_id=model_id, provider="")
    warm_up(app)


def confirm_guard(app: Application, code: str) -> None:
    """The reader confirms what the file does not say (for example the view), and the model runs again."""
    now = app.state.selection
    if now is None:
        return
    subject = confirmation_of(app, key_of(app.state, now), app.state.model_id)
    confirmed = app.state.confirmed.get(subject, frozenset()) | {code}
    app.session.update(confirmed=MappingProxyType({**app.state.confirmed, subject: confirmed}))
    run_model(app, None)


def use_method(app: Application, method: str) -> None:
    """Show where the model looked by another method; it is worked out if it is not there yet."""
    if not any(row.id == method for row in METHODS):
        raise UsageError(f"There is no method {method!r}.")
    if app.state.model_id and is_own_explanation(app.engine.catalogue.card(app.state.model_id)):
        app.notify("info", OWN_EXPLANATION)
        return
    before = app.state.overlay
    second = before.method if method == before.second else before.second  # one cannot be compared with itself
    app.session.change(overlay=replace(before, method=method, second=second, visible=True))
    explain_shown(app)
    explain_second(app)


def choose_finding(app: Application, label: str) -> None:
    """Look at another finding of the answer on screen: its heat map, and how far it can be believed.

    The choice is of this answer: every other one begins with its own finding in question.
    """
    found = current_answer(app.state)
    names = [one.label for one in found[1].findings] if found is not None else []
    if found is None or not names:
        raise UsageError("There is no finding to choose: run a model first.")
    if label not in names:
        raise UsageError(f"The answer has no finding “{label}”; it has: {', '.join(names)}.")
    before = app.state.overlay
    app.session.change(overlay=replace(before, chosen=replace(found[0], finding=label), visible=True))
    for slot, shown in (("explain", current_attribution), ("compare", second_attribution)):
        known = shown(app.state)
        method = app.state.overlay.method if slot == "explain" else app.state.overlay.second
        app.jobs.stop(slot)  # what is under way is of another finding
        if method and (known is None or known.faithfulness is None):
            _explain_by(app, method, slot)


def explain_shown(app: Application) -> None:
    """Work out the heat map of the chosen method for the answer on screen."""
    if current_attribution(app.state) is None:
        _explain_by(app, app.state.overlay.method, "explain")


def explain_second(app: Application) -> None:
    """Work out the heat map of the method that the chosen one is compared with, if there is one."""
    if app.state.overlay.second and second_attribution(app.state) is None:
        _explain_by(app, app.state.overlay.second, "compare")


def _explain_by(app: Application, method: str, slot: str) -> None:
    found = current_answer(app.state)
    now = app.state.selection
    if found is None or now is None or app.state.frame is None or found[1].status != "answer":
        return
    if not app.state.record_mismatch:
        _start_explaining(app, found[0], question_of(app, now), method, slot)


def toggle_overlay(app: Application, _argument: object) -> None:
    """Hide the heat map, or show it."""
    change_overlay("visible")(app, not app.state.overlay.visible)


def change_overlay(name: str) -> Callable[[Application, Any], None]:
    """A command that changes one thing of how heat maps are drawn; a slider's steps are undone together."""

    def run(app: Application, value: Any) -> None:
        if name in ("opacity", "threshold"):
            value = min(max(float(value), 0.0), 1.0)
        if name == "color_map" and value not in COLOR_MAPS:
            raise UsageError(f"There is no colour map {value!r}.")
        overlay: Overlay = replace(app.state.overlay, **{name: value})
        if overlay != app.state.overlay:
            app.session.change(gesture=f"overlay {name}", overlay=overlay)

    return run


def _start_run(app: Application, key: Key, prepare: Prepare) -> None:
    model_id, of = app.state.model_id, _selections_of(app.state.collection, {key}).get(key)
    known = known_of(of) if of is not None else ()
    _set_problem(app, key, model_id, "")
    app.jobs.stop("explain")
    app.jobs.stop("compare")

    def work(stop: StopToken, progress: Progress) -> tuple[Question, Asked]:
        question = prepare(stop, progress)
        return question, analysis.ask(app.engine, question, stop, progress)

    def done(found: tuple[Question, Asked]) -> None:
        question, asked = found
        answer = asked.answer
        subject = Subject(key, model_id, answer.provenance.model_sha256)
        now = _selections_of(app.state.collection, {key}).get(key)
        if now is None or known_of(now) != known:
            app.notify("caution", DOUBTED)
            return
        given = Given(known, asked.told)
        if is_outdated(app, now, model_id, given):
            app.notify("caution", OUTDATED)
            return
        if not take_answer(app, subject, answer, given):
            app.notify("caution", REPLACED)
            return
        app.succeeded("explain")  # what was said of the check of an earlier answer
        if answer.provenance.provider:  # else a check stopped it, and nothing has run
            app.session.update(provider=asked.provider)
        keep_answer(app, subject, answer)
        if answer.status == "answer":
            again: Prepare = lambda _stop, _progress: question  # noqa: E731 - what was read is there
            _start_explaining(app, subject, again, _method_for(app, model_id))
            if app.state.overlay.second:
                _start_explaining(app, subject, again, app.state.overlay.second, "compare")

    def failed(error: MedViewerError) -> None:
        # A failure is no finding: nothing of an earlier run may be taken for this one's result.
        _forget_answer(app, key, model_id)
        _set_problem(app, key, model_id, str(error))

    app.jobs.start("model", work, done, failed)


def _method_for(app: Application, model_id: str) -> str:
    """The chosen method; the model's first one, which is then chosen, if it cannot be explained by that."""
    chosen = app.state.overlay.method
    allowed = [row.id for row in methods_for(app.engine.catalogue.card(model_id))]
    if chosen in allowed or not allowed:
        return chosen
    app.session.update(overlay=replace(app.state.overlay, method=allowed[0]))
    return allowed[0]


def _start_explaining(app: Application, asked: Subject, prepare: Prepare, method: str, slot: str = "explain") -> None:
    card, answer = app.engine.catalogue.card(asked.model_id), app.state.answers.get(asked)
    if not has_map(card) or answer is None:
        return  # what it rests on is no map over what is on screen, or is what it outlined
    finding = finding_shown(app.state, asked, answer)

    def work(stop: StopToken, progress: Progress) -> tuple[Question, Attribution]:
        question = prepare(stop, progress)
        return question, analysis.explain_finding(app.engine, question, method, stop, progress, finding)

    def done(found: tuple[Question, Attribution]) -> None:
        question, attribution = found
        _take_attribution(app, asked, attribution)
        _start_weighing(app, asked, question, attribution, slot)

    def failed(error: MedViewerError) -> None:
        if slot == "explain":
            _set_problem(app, asked.image_key, asked.model_id, str(error))
        else:  # the first method's map stays, and so does the answer
            app.notify("alarm", str(error), job=slot)

    app.jobs.start(slot, work, done, failed)


def _start_weighing(app: Application, asked: Subject, question: Question, attribution: Attribution, slot: str) -> None:
    """Judge a map that is already shown; if that fails, answer and map stay, the map unjudged, and it says so."""

    def done(weighed: Attribution) -> None:
        app.succeeded(slot)
        _take_attribution(app, asked, weighed)

    def failed(error: MedViewerError) -> None:
        # The engine says of a run that it has no result; here there is one, and only its check is missing.
        text = WEIGHING_ENDED if isinstance(error, EngineError) else str(error)
        app.notify("caution", text, job=slot)

    app.jobs.start(slot, lambda stop, p: analysis.weigh_map(app.engine, question, attribution, stop, p), done, failed)


def _take_attribution(app: Application, asked: Subject, attribution: Attribution) -> None:
    """Keep a map under the answer that it explains; never if answer or model have been replaced meanwhile."""
    answer = app.state.answers.get(asked)
    if answer is None or not attribution.provenance.is_same_question(answer.provenance):
        return
    subject = replace(asked, method=attribution.method, finding=attribution.finding)
    if attribution.faithfulness is None:  # told again once it has been judged
        keep_event(app, "model.explain", asked.image_key[1], explained_words(attribution))
    app.session.update(attributions=MappingProxyType(dict(app.state.attributions) | {subject: attribution}))


def take_answer(app: Application, subject: Subject, answer: Answer, given: Given) -> bool:
    """Replace what this model said of this image before: one answer, its own maps, no old decision.

    False, and nothing is taken, for a model that was replaced since the answer left it: :func:`forget_replaced` may
    have been here already.
    """
    if not app.engine.catalogue.has_given(answer.provenance):
        return False
    _forget_answer(app, subject.image_key, subject.model_id)
    app.session.update(
        answers=MappingProxyType(dict(app.state.answers) | {subject: answer}),
        given=MappingProxyType(dict(app.state.given) | {subject: given}),
    )
    return True


def forget_replaced(app: Application, replaced: frozenset[str]) -> bool:
    """Let go of what models said that are not in use any more, and give whether there was any.

    Beside it would stand figures of the new card, and heat maps of the new network. What the old one failed at is
    not said of the new one.
    """
    is_of_now = app.engine.catalogue.has_given
    gone = {(s.image_key, s.model_id) for s, a in app.state.answers.items() if not is_of_now(a.provenance)}
    _forget(app, gone)
    problems = {asked: text for asked, text in app.state.analysis_problem.items() if asked[1] not in replaced}
    queue = tuple(item for item in app.state.queue if item.is_open or item.model_id not in replaced)
    app.session.update(analysis_problem=MappingProxyType(problems), queue=queue)
    return bool(gone)


def forget_doubted(app: Application) -> None:
    """Let go of what models said of images of which files that were found since say something else.

    One may claim to be the very image, or complete who the patient is: the checks before an answer have to see that.
    """
    given = app.state.given
    now = _selections_of(app.state.collection, {subject.image_key for subject in given})

    def is_doubted(subject: Subject) -> bool:
        found = now.get(subject.image_key)
        return found is None or known_of(found) != given[subject].known

    _let_go(app, {subject for subject in given if is_doubted(subject)}, DOUBTED)


def forget_outdated(app: Application, old: State, new: State) -> None:
    """Let go of what models said before the record told what they were not told: an age, values that they take."""
    if old.record is new.record or not new.given:
        return
    now = _selections_of(new.collection, {subject.image_key for subject in new.given})
    pairs = ((subject, now.get(subject.image_key), given) for subject, given in new.given.items())
    gone = {s for s, found, given in pairs if found is not None and is_outdated(app, found, s.model_id, given)}
    _let_go(app, gone, OUTDATED)


def is_outdated(app: Application, selection: Selection, model_id: str, given: Given) -> bool:
    """Whether the record beside the image would tell a model something else than it was told."""
    state, patient = app.state, selection.patient
    if state.record is None or state.record_mismatch or state.record_of != identity_of(patient):
        return False
    is_of_images = takes_only_images(app.engine.catalogue.card(model_id))
    record = replace(state.record, observations=(), text_results=()) if is_of_images else state.record
    told = told_of(analysis.who_it_is_of(patient, selection.study, record))
    return (told.age, told.sex) != (given.told.age, given.told.sex) if is_of_images else told != given.told


def _let_go(app: Application, gone: set[Subject], why: str) -> None:
    if not gone:
        return
    _forget(app, {(subject.image_key, subject.model_id) for subject in gone})
    changed = {subject.image_key for subject in gone}
    queue = tuple(i for i in app.state.queue if i.is_open or i.selection.image.key not in changed)
    app.session.update(queue=queue)
    app.notify("caution", why)


def known_of(selection: Selection) -> tuple[object, ...]:
    """What an answer about an image rests on that other files may change: its caveats, the patient's age and sex."""
    patient = selection.patient
    return selection.image.warnings, age_of(patient, selection.study), patient.sex


def _selections_of(collection: Collection, keys: set[Key]) -> dict[Key, Selection]:
    return {one.image.key: one for one in selections(collection) if one.image.key in keys} if keys else {}


def _forget_answer(app: Application, key: Key, model_id: str) -> None:
    _forget(app, {(key, model_id)})


def _forget(app: Application, gone: set[tuple[Key, str]]) -> None:
    def others(mapping: Any) -> Any:
        return MappingProxyType({s: v for s, v in mapping.items() if (s.image_key, s.model_id) not in gone})

    state = app.state
    app.session.update(
        answers=others(state.answers),
        given=others(state.given),
        attributions=others(state.attributions),
        decisions=others(state.decisions),
    )


def _set_problem(app: Application, key: Key, model_id: str, text: str) -> None:
    """Keep why one model gave nothing of an image: what failed is not said of another model."""
    asked = (key, model_id)
    problems = {k: v for k, v in app.state.analysis_problem.items() if k != asked}
    if text:
        problems[asked] = text
    app.session.update(analysis_problem=MappingProxyType(problems))
