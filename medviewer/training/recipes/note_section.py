"""Which section of a note a doctor-patient dialogue becomes (MTS-Dialog, CC BY 4.0).

Read :func:`run` first: it is the whole recipe.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from medviewer.domain.errors import InputError
from medviewer.training.card import write_card
from medviewer.training.data_report import DataTable, write_data_report
from medviewer.training.dialogues import (
    LEFT_FOR_EVALUATION,
    VOCABULARY,
    Dialogues,
    dialogues_table,
    find_tables,
    read_dialogues,
    vocabulary_text,
    without_copies,
)
from medviewer.training.eight_bits import round_to_eight_bits
from medviewer.training.note_blend import Reader, notes_of
from medviewer.training.note_decision import decide, report_of_folds
from medviewer.training.note_evaluation import judge
from medviewer.training.note_export import write_graph, write_reference
from medviewer.training.publish import check_better, check_place, folds_of, model_folder
from medviewer.training.recipes.note_section_card import ABOUT, RECIPE, card_document, evidence_text
from medviewer.training.request import Request
from medviewer.training.search import Range, Trial, search
from medviewer.training.settings import configure
from medviewer.training.text_encoder import read_pretrained

FOLDERS = ABOUT.paths
METRIC = "accuracy in grouped folds of the training dialogues"
RANGES: Mapping[str, Range] = {
    "rate": Range(5e-5, 5e-4, is_logarithmic=True),
    "epochs": Range(2, 6),
    "lstm_rate": Range(1e-3, 1e-2, is_logarithmic=True),
    "balance": Range(0.0, 1.0),
    "penalty": Range(3.0, 100.0, is_logarithmic=True),
}


def run(request: Request) -> Path:
    """Train and write the model folder; see :func:`medviewer.training.train`.

    The parts are learned in folds, which choose the blend and its temperature; then from all training dialogues. What
    is shipped is rounded to eight bits, and it is the written file that validation and test 1 judge.
    """
    config, folders = configure(ABOUT.config, request.overrides, FOLDERS)
    check_place(request.out, RECIPE)
    sets, pretrained = _read(request), read_pretrained(folders.get("encoder"))
    digest, n_pieces = f"{sets['training'].digest} {pretrained.digest}", len(pretrained.pieces)
    request.check_comparable(digest, METRIC, folds_of(config))
    around = request.surroundings(config, digest, folders)
    write_data_report(dialogues_table(request.data, sets), around.folder, RECIPE, request.progress)
    sections, notes = notes_of(sets["training"], pretrained.pieces, config.length)
    reader = Reader(pretrained, len(sections), config)
    below = reader.below(notes)
    said = reader.out_of_fold(notes, below, around.within("folds"))
    chosen = decide(said, notes.truth)
    for name, value in sorted(chosen.compared.items(), key=lambda entry: entry[1]):
        request.progress(f"in folds: {name} {value:.4f}")
    best = max(chosen.compared.values())
    training = {"data_digest": digest, "validation": {"metric": METRIC, "value": best}, **request.asked}
    check_better(request.out, {"recipe": RECIPE, **training}, force=request.force, folds=folds_of(config))
    request.progress(f"learning {' and '.join(chosen.parts)} from all {len(notes.truth)} dialogues")
    parts = {name: reader.learn(name, notes, below, around.within("all")) for name in chosen.parts}
    network = reader.assembled(parts)
    round_to_eight_bits(network)
    if not request.processes.is_first:
        return request.out
    with model_folder(request.out) as partial:
        difference = write_graph(network, partial / "model.onnx", config.length, n_pieces)
        request.progress(f"largest difference of the graph from what was learned: {difference:.1e}")
        write_reference(network, partial / "reference.npz", config.length, n_pieces)
        (partial / VOCABULARY).write_text(vocabulary_text(pretrained.pieces), encoding="utf-8")
        document = card_document(sections, sets, config, chosen, training)
        write_card(partial, document)
        about = {"text": evidence_text("folds", sets), "digest": sets["training"].digest}
        reports = {"folds": report_of_folds(said, chosen, notes, sections, about)}
        for split in sorted(sets.keys() - {"training"}, reverse=True):
            report = judge(partial, split, sets[split])
            told = ", ".join(f"{name} {entry['value']:.4f}" for name, entry in report["metrics"].items())
            request.progress(f"{split}: {told}")
            reports[split] = {**report, "data": {**report["data"], "text": evidence_text(split, sets)}}
        write_card(partial, document, reports)
    return request.completed(folders)


def _read(request: Request) -> dict[str, Dialogues]:
    """Read the tables, and tell what cannot be used; what is judged on is not learned from."""
    tables = find_tables(request.data)
    if left := tables.pop(LEFT_FOR_EVALUATION, None):
        request.progress(f"not used: {left.name}: left for `medviewer evaluate`")
    sets = {split: read_dialogues(path) for split, path in tables.items()}
    if "training" not in sets:
        if request.data.is_file():
            raise InputError(
                f"{request.data.name} is not the training table; its name must begin with MTS-Dialog-TrainingSet."
            )
        raise InputError(f"{request.data} lacks the training table; put MTS-Dialog-TrainingSet.csv there.")
    sets = without_copies(sets)
    for split, found in sets.items():
        for name, reason in found.unusable:
            request.progress(f"not used: {name}: {reason}")
        request.progress(f"{split}: {len(found.rows)} dialogues")
    learned = {row.section for row in sets["training"].rows}
    if len(learned) < 3:
        n, path = len(learned), sets["training"].path
        raise InputError(f"{path} has dialogues of {n} sections; there must be three or more.")
    for found in sets.values():  # it would be missed at the end of the training
        if not learned & {row.section for row in found.rows}:
            raise InputError(
                f"{found.path} has no dialogue of a section that is learned; see that it is the right table."
            )
    return sets


def describe(request: Request) -> DataTable:
    """Return what the data hold, for a report before any training."""
    return dialogues_table(request.data, _read(request))


def explore(request: Request, n_trials: int) -> Trial:
    """Try ``n_trials`` settings within :data:`RANGES` on folds of the training table alone, and return the best."""
    config, folders = configure(ABOUT.config, request.overrides, FOLDERS)
    found, pretrained = _read(request)["training"], read_pretrained(folders.get("encoder"))
    digest = f"{found.digest} {pretrained.digest}"
    request.check_comparable(digest, METRIC, folds_of(config))
    sections, notes = notes_of(found, pretrained.pieces, config.length)
    below = Reader(pretrained, len(sections), config).below(notes)

    def score(settings: Mapping[str, str], folder: Path) -> float:
        tried, _ = configure(config, settings, FOLDERS)
        around = request.surroundings(tried, digest, {"checkpoints": folder})
        reader = Reader(pretrained, len(sections), tried)
        said = reader.out_of_fold(notes, below, around.within("folds"))
        return max(decide(said, notes.truth).compared.values())

    identity = {"config": dataclasses.asdict(config), "data": found.digest}
    return search(RANGES, n_trials, request.run_folder, score, identity=identity, progress=request.progress)
