"""A molecule that the reader types in: drawn, and put to the models that take molecules.

It belongs to nobody: nothing of it is kept with a patient, and no patient's data go with it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from medviewer.app.data_questions import DataAnswer, DataQuestion, ModelOffer, ask_about_data, explain_data, offers_for
from medviewer.app.patient import explained_words, keep_event
from medviewer.app.state import JobStatus
from medviewer.domain.case import Case
from medviewer.domain.errors import MedViewerError
from medviewer.inference.molecule_drawing import Drawing, draw_molecule, require

if TYPE_CHECKING:  # whose engine, jobs and trail are used
    from medviewer.app.application import Application

JOB = "molecule"
_DRAWING = "molecule drawing"


class MoleculeDesk:
    """One molecule at a time; what was said of another is let go. GUI thread only.

    Args:
        app: whose engine and jobs are used.
        changed: called when there is something new to show.

    Attributes:
        smiles: what is looked at, as it was typed.
        drawing: of it; None while it is being drawn, or where it cannot be.
        problem: why there is no drawing; "" where nothing was typed.
        is_missing: RDKit is not there, whatever is typed.
    """

    def __init__(self, app: Application, changed: Callable[[], None]) -> None:
        self._app, self._changed = app, changed
        self.offers: tuple[ModelOffer, ...] = offers_for(app.engine.catalogue, "molecule")
        self.smiles = ""
        self.drawing: Drawing | None = None
        self.problem = ""
        self.is_missing = False
        self._said: dict[str, DataAnswer] = {}
        self._asked = ""
        try:
            require()
        except MedViewerError as error:
            self.problem, self.is_missing = str(error), True

    def look_at(self, text: str) -> None:
        """Draw another molecule; what was said of the one before is stopped and forgotten."""
        smiles = text.strip()
        if self.is_missing or smiles == self.smiles:
            return
        self.stop()
        self._said, self._asked = {}, ""
        self.smiles, self.drawing, self.problem = smiles, None, ""
        self._app.jobs.stop(_DRAWING)
        if smiles:
            is_dark = self._app.state.theme != "light"
            self._app.jobs.start(
                _DRAWING, lambda _stop, _progress: draw_molecule(smiles, is_dark=is_dark), self._drawn, self._refused
            )
        self._changed()

    def answer_of(self, model_id: str) -> DataAnswer | None:
        """What a model has said of the molecule so far."""
        return self._said.get(model_id)

    def work_of(self, model_id: str) -> JobStatus | None:
        """How far a model's work on the molecule is."""
        job = next((job for job in self._app.state.jobs if job.name == JOB), None)
        return job if self._asked == model_id else None

    def explained(self) -> tuple[ModelOffer, DataAnswer] | None:
        """The model of the last answer that has an explanation, with what it said."""
        offers = {offer.id: offer for offer in self.offers}
        found = ((offers[name], said) for name, said in reversed(self._said.items()) if said.attribution is not None)
        return next(found, None)

    def run(self, model_id: str) -> None:
        """Ask a model about the molecule that is drawn."""
        if self.drawing is not None:
            self._said.pop(model_id, None)
            self._asked = model_id
            ask_about_data(self._app, JOB, self._question(model_id), partial(self._take, model_id))
            self._changed()

    def explain(self, model_id: str, finding: str) -> None:
        """Say which atoms speak for one label of what a model said."""
        said = self._said.get(model_id)
        if said is not None:
            self._asked = model_id
            explain_data(self._app, JOB, self._question(model_id), said, finding, partial(self._take, model_id))

    def stop(self) -> None:
        """Stop what a model works on; what it has said stays."""
        self._app.jobs.stop(JOB)

    def close(self) -> None:
        """Let go of everything: the dialog is gone."""
        self._app.jobs.stop(_DRAWING)
        self.stop()

    def _question(self, model_id: str) -> DataQuestion:
        return DataQuestion(Case(smiles=(self.smiles,)), model_id, self._app.state.language)

    def _drawn(self, drawing: Drawing) -> None:
        self.drawing = drawing
        self._changed()

    def _refused(self, error: MedViewerError) -> None:
        self.problem = str(error)
        self._changed()

    def _take(self, model_id: str, said: DataAnswer) -> None:
        before = self._said.pop(model_id, None)
        self._said[model_id] = said  # last in the order: it was told last
        if said.answer is not None and (before is None or before.answer is not said.answer):
            keep_event(self._app, "model.run", "", model_id)  # without a subject: it is about nobody
        why = said.attribution
        if why is not None and why.faithfulness is None and (before is None or before.attribution is not why):
            keep_event(self._app, "model.explain", "", explained_words(why))  # told again once it has been judged
        self._changed()
