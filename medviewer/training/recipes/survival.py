"""Survival after a heart attack, from what is known at admission (WHAS500: Hosmer, Lemeshow and May 2008).

Read :func:`run` first: it is the whole recipe.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medviewer.domain.errors import InputError
from medviewer.inference.card import InputSpec, input_spec
from medviewer.training.card import write_card
from medviewer.training.cohorts import Cohort, cohort_table, encoded, read_cohort, statistics
from medviewer.training.configs import SurvivalConfig
from medviewer.training.cox import Cox, fit_cox
from medviewer.training.data_report import DataTable, with_copies, write_data_report
from medviewer.training.extras import install
from medviewer.training.lesson import Surroundings
from medviewer.training.metrics import Floats, Truth
from medviewer.training.publish import check_better, check_place, folds_of, model_folder
from medviewer.training.recipes.survival_card import (
    ABOUT,
    COLUMNS,
    EVIDENCE_TEXT,
    FIELDS,
    HORIZON,
    HORIZONS,
    RECIPE,
    TIMES,
    card_document,
    input_document,
)
from medviewer.training.request import Request
from medviewer.training.search import Range, Trial, search
from medviewer.training.settings import configure
from medviewer.training.survival_export import write_graph, write_reference
from medviewer.training.survival_folds import SurvivalAnswers, answer_by_folds, survival_measures, survival_report
from medviewer.training.survival_net import SurvivalNet

FOLDERS = ABOUT.paths
FILE = "whas500.arff"
METRIC = "concordance in folds, mean over repeats"
RANGES: Mapping[str, Range] = {"penalty": Range(0.1, 100.0, is_logarithmic=True)}


def run(request: Request) -> Path:
    """Train and write the model folder; see :func:`medviewer.training.train`.

    Cox's model by folds, which is the evidence; beside it a small network on the same folds, to see whether it is
    worth more; then Cox's model from all patients, which is what is shipped.
    """
    config, folders = configure(ABOUT.config, request.overrides, FOLDERS)
    check_place(request.out, RECIPE)
    cohort, spec, document = _read(request)
    request.check_comparable(cohort.digest, METRIC, folds_of(config))
    around = request.surroundings(config, cohort.digest, folders)
    held = write_data_report(cohort_table(cohort, spec), around.folder, RECIPE, request.progress)
    x = encoded(cohort.values, spec)
    cox = _by_folds(x, cohort, config, around, is_network=False)
    proof = survival_report(cohort, spec, cox, HORIZONS, with_copies(EVIDENCE_TEXT, held))
    network = survival_measures(_by_folds(x, cohort, config, around, is_network=True), HORIZONS)
    proof["metrics"] |= {f"{name}_network": entry for name, entry in network.items() if name == "concordance"}
    told = ", ".join(f"{name} {entry['value']:.4f}" for name, entry in proof["metrics"].items())
    request.progress(f"judged by folds: {told}")
    value = proof["metrics"]["concordance"]["value"]
    training = {"data_digest": cohort.digest, "validation": {"metric": METRIC, "value": value}, **request.asked}
    check_better(request.out, {"recipe": RECIPE, **training}, force=request.force, folds=folds_of(config))
    model = _fitted(x, cohort.time, cohort.event, config)
    if not request.processes.is_first:
        return request.out
    with model_folder(request.out) as partial:
        difference = write_graph(model, TIMES, partial / "model.onnx")
        request.progress(f"largest difference of the graph from what was fitted: {difference:.1e}")
        write_reference(model, TIMES, partial / "reference.npz")
        card = card_document(document, cohort, config, model, proof | {"risk": 1 - cox.at(HORIZON).mean(axis=0)})
        card["training"] |= training
        write_card(partial, card, {"folds": proof})
    return request.completed(folders)


def _read(request: Request) -> tuple[Cohort, InputSpec, dict[str, Any]]:
    """Read the patients, and tell what cannot be used; the input, with their statistics; and its entry on the card."""
    path = request.data / FILE if request.data.is_dir() else request.data
    if not path.is_file():
        brought = f"the folder of scikit-survival's data ({install('sksurv')} brings it)"
        raise InputError(f"{path} is not there; give {brought}, or a CSV file.")
    columns = COLUMNS if path.suffix.lower() == ".arff" else None
    cohort = read_cohort(path, input_spec(input_document(FIELDS)), columns)
    for name, reason in cohort.unusable:
        request.progress(f"not used: {name}: {reason}")
    request.progress(f"{len(cohort.time)} patients, {int(cohort.event.sum())} with the event")
    if cohort.time.max() <= TIMES[-1]:
        raise InputError(
            f"Nobody in {path.name} was watched for longer than {cohort.time.max():g} days, and the model tells the "
            f"chance up to {TIMES[-1]:g} days; give data of a longer time, in days."
        )
    document = input_document(statistics(cohort.values, FIELDS))
    return cohort, input_spec(document), document


def _fitted(x: Floats, time: Floats, event: Truth, config: SurvivalConfig) -> Cox:
    return fit_cox(x, time, event, penalty=config.penalty, names=[str(field["name"]) for field in FIELDS])


def _by_folds(
    x: Floats, cohort: Cohort, config: SurvivalConfig, around: Surroundings, *, is_network: bool
) -> SurvivalAnswers:
    """Judge one of the two models; the network once only, as it takes a hundred times as long."""

    def learn(part: Floats, time: Floats, event: Truth, name: str) -> Cox | SurvivalNet:
        if is_network:
            return SurvivalNet(part, time, event, config, around.within(name))
        return _fitted(part, time, event, config)

    numbers = (1 if is_network else config.n_repeats, config.n_folds, config.seed)
    return answer_by_folds(x, cohort, learn, numbers, TIMES, HORIZON)


def describe(request: Request) -> DataTable:
    """Return what the data hold, for a report before any training."""
    cohort, spec, _ = _read(request)
    return cohort_table(cohort, spec)


def explore(request: Request, n_trials: int) -> Trial:
    """Try ``n_trials`` penalties on folds of another seed than those that judge, and return the best."""
    config, _ = configure(ABOUT.config, request.overrides, FOLDERS)
    cohort, spec, _ = _read(request)
    request.check_comparable(cohort.digest, METRIC, folds_of(config))
    x = encoded(cohort.values, spec)

    def score(settings: Mapping[str, str], folder: Path) -> float:
        tried, _ = configure(config, settings, FOLDERS)
        other = dataclasses.replace(tried, n_repeats=1, seed=tried.seed + 500)
        around = request.surroundings(other, cohort.digest, {"checkpoints": folder / "folds"})
        answers = _by_folds(x, cohort, other, around, is_network=False)
        return float(survival_measures(answers, ())["concordance"]["value"])

    identity = {"config": dataclasses.asdict(config), "data": cohort.digest}
    return search(RANGES, n_trials, request.run_folder, score, identity=identity, progress=request.progress)
