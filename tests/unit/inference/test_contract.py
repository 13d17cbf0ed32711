"""What every model promises, whatever its data and whatever runs it: every folder of ``models/`` and a tiny one a kind."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medviewer.domain.case import Case
from medviewer.inference.card import Card, read_card
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.inference.gathering import gather, tensors_of
from medviewer.inference.inputs import INPUTS
from medviewer.inference.inputs.quantity import quantities
from medviewer.inference.outcomes import wanted_outputs
from medviewer.resources import models_dir
from tests import data_models, fakes
from tests.breast_maker import breast_case
from tests.dialogue_maker import dialogue_case
from tests.molecule_maker import molecule_case
from tests.news2 import news2_case
from tests.stay_maker import stay_case, walk_case
from tests.survival_maker import heart_attack_case

BUNDLED = sorted(path.name for path in models_dir().iterdir() if (path / "model.json").is_file())
CASES = {
    "breast-ultrasound": breast_case,
    "chest-xray-pneumonia": fakes.make_case,
    "icu-forecast": walk_case,
    "icu-mortality": stay_case,
    "news2": news2_case,
    "note-section": dialogue_case,
    "survival-heart-attack": heart_attack_case,
    "toxicity": molecule_case,
}
OF_MOLECULES = {"molecule", "toxicity"}
ALL = [*data_models.KINDS, *BUNDLED]
needs_rdkit = pytest.mark.skipif(importlib.util.find_spec("rdkit") is None, reason="RDKit is not installed")
each_model = pytest.mark.parametrize(
    "name", [pytest.param(one, marks=needs_rdkit) if one in OF_MOLECULES else one for one in ALL]
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("models")
    for kind in data_models.KINDS:
        data_models.make(kind, folder / kind)
    with Engine(Catalogue([folder, models_dir()]), providers=["cpu"], threads=2) as made:
        yield made


def model_id(name: str) -> str:
    return f"tiny-{name}" if name in data_models.KINDS else name


def case_for(name: str) -> Case:
    return data_models.case_for(name) if name in data_models.KINDS else CASES[name]()


def batch_for(card: Card, case: Case, n: int) -> dict[str, np.ndarray]:
    """The case's own arrays first, then the same a little changed."""
    chance = np.random.default_rng(5)
    batch = {}
    for key, array in tensors_of(gather(case, card).encode()).items():
        rows = np.repeat(array[None], n, axis=0)
        if rows.dtype == np.float32 and card.runtime != "rule":
            rows[1:] += chance.normal(0, 0.1, rows[1:].shape).astype(np.float32)
        batch[key] = rows
    return batch


def test_every_bundled_model_is_met_here() -> None:
    assert set(BUNDLED) <= set(CASES)


@each_model
def test_a_case_gets_an_answer_and_the_same_one_again(engine: Engine, name: str) -> None:
    first, second = (engine.ask(case_for(name), model_id(name)) for _ in range(2))
    if name == "chest-xray-pneumonia":  # made-up noise is no radiograph, and it says so
        assert first.status == "abstained"
    else:
        assert first.status == "answer", first.reasons
        assert [bool(first.findings), bool(first.regions), bool(first.outcomes)].count(True) == 1
    for one, other in zip(first.regions, second.regions, strict=True):
        np.testing.assert_array_equal(one.mask, other.mask)
    assert (first.findings, first.outcomes, first.guards) == (second.findings, second.outcomes, second.guards)
    assert first.provenance.input_sha256 == second.provenance.input_sha256 != ""
    assert first.provenance.runtime == engine.catalogue.card(model_id(name)).runtime


@each_model
def test_a_batch_gives_what_its_cases_give_alone(engine: Engine, name: str) -> None:
    card = engine.catalogue.card(model_id(name))
    whole = batch_for(card, case_for(name), 8)
    for n in (1, 3, 8):
        found = engine.run(card.id, {key: array[:n] for key, array in whole.items()}, outputs=wanted_outputs(card))
        for i in range(n):
            alone = engine.run(card.id, {key: a[i : i + 1] for key, a in whole.items()}, outputs=wanted_outputs(card))
            for key, array in found.items():
                np.testing.assert_allclose(array[i], alone[key][0], atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("n", [1, 3, 8])
@pytest.mark.parametrize(
    "kind", [pytest.param(one, marks=needs_rdkit) if one == "molecule" else one for one in data_models.KINDS]
)
def test_a_network_gives_what_its_arithmetic_says(engine: Engine, kind: str, n: int) -> None:
    card = engine.catalogue.card(model_id(kind))
    batch = batch_for(card, data_models.case_for(kind), n)
    made = data_models.KINDS[kind]
    expected = data_models.forward(made.inputs(), made.task, batch)
    (found,) = engine.run(card.id, batch, outputs=wanted_outputs(card)).values()
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-4)


def required(card: Card) -> list[tuple[str, str]]:
    """(input, field) of all that a card cannot do without."""
    found = []
    for spec in card.inputs:
        if spec.kind in ("table", "series"):
            found += [
                (spec.name, one.name)
                for one in quantities(spec)
                if one.is_required and one.default is None and one.source == "observation"
            ]
        else:
            found.append((spec.name, spec.name))
    return found


def without(case: Case, card: Card, field: str) -> Case:
    """The case without what one field is made of."""
    spec = next(s for s in card.inputs if s.name == field or _has(s, field))
    if spec.kind in ("table", "series"):
        codes = next(one.codes for one in quantities(spec) if one.name == field)
        return replace(
            case,
            observations=tuple(o for o in case.observations if o.code not in codes),
            text_observations=tuple(o for o in case.text_observations if o.code not in codes),
        )
    if spec.kind == "image":
        others = [f for f in case.images if spec.view and f.description.view_position not in spec.view]
        return replace(case, images=tuple(others))
    gone = {"text": {"note": None}, "molecule": {"smiles": ()}, "volume": {"volumes": ()}}
    return replace(case, **gone[spec.kind])


def _has(spec: object, field: str) -> bool:
    return spec.kind in ("table", "series") and any(one.name == field for one in quantities(spec))  # type: ignore


@each_model
@pytest.mark.parametrize("language", ["en", "zh"])
def test_each_required_field_that_is_missing_is_named(engine: Engine, name: str, language: str) -> None:
    card = engine.catalogue.card(model_id(name))
    fields = required(card)
    assert fields
    for input_name, field in fields:
        case = without(case_for(name), card, field)
        assert field in gather(case, card).missing[input_name]
        answer = engine.ask(case, card.id, language=language)
        assert answer.status == "abstained"
        assert answer.findings == answer.outcomes == answer.regions == ()
        reason = next(g for g in answer.guards if g.level == "abstain" and g.code.split(".")[0] in CODES)
        assert reason.text in answer.reasons
        spec = next(s for s in card.inputs if s.name == input_name)
        if spec.kind in ("table", "series"):
            title = next(one.title for one in quantities(spec) if one.name == field)
            assert reason.code == f"missing.{field}"
            assert title.say(language) in reason.text


CODES = {"missing", "no_note", "no_molecule", "no_volume", "no_view", "no_image"}


@each_model
def test_a_column_that_never_varied_in_training_is_refused(engine: Engine, name: str, tmp_path: Path) -> None:
    card = engine.catalogue.card(model_id(name))
    tables = [spec for spec in card.inputs if spec.kind in ("table", "series")]
    if not tables:
        pytest.skip("It is given no columns of numbers.")
    case = case_for(name)
    _, used = INPUTS[tables[0].kind].examine(INPUTS[tables[0].kind].pull(case, tables[0]), tables[0])
    for mark, is_refused in (({"constant": 12345.0}, True), ({"unseen": True}, True), ({}, False)):
        spec = _marked(tables[0], used[0].name, mark)  # a column of which the case has a value
        raw = INPUTS[spec.kind].pull(case, spec)
        doubts, _ = INPUTS[spec.kind].examine(raw, spec)
        assert any(doubt.code == "constant" and doubt.level == "abstain" for doubt in doubts) == is_refused


def _marked(spec: object, name: str, mark: dict[str, object]) -> object:
    key = "fields" if spec.kind == "table" else "variables"  # type: ignore
    columns = [{**one, **mark} if one["name"] == name else one for one in spec.document[key]]  # type: ignore
    return replace(spec, document={**spec.document, key: columns})  # type: ignore


@each_model
def test_groups_lie_on_the_arrays_and_taking_all_away_leaves_nothing(engine: Engine, name: str) -> None:
    card = engine.catalogue.card(model_id(name))
    gathered = gather(case_for(name), card)
    for spec in card.inputs:
        adapter, raw = INPUTS[spec.kind], gathered.raws[spec.name]
        arrays, empty = adapter.encode(raw, spec).tensors, adapter.baseline(raw, spec)
        groups = adapter.groups(raw, spec)
        assert groups
        assert len({group.anchor for group in groups}) == len(groups)
        for group in groups:
            assert group.anchor.input == spec.name
            assert group.mask.keys() == arrays.keys() == empty.keys()
            assert any(mask.any() for mask in group.mask.values())
            for key, mask in group.mask.items():
                assert mask.shape == arrays[key].shape == empty[key].shape
                assert arrays[key].dtype == empty[key].dtype
                assert mask.dtype == np.bool_


@each_model
def test_every_text_is_there_in_both_languages(engine: Engine, name: str) -> None:
    card = engine.catalogue.card(model_id(name))
    texts = [card.title, card.intended_use, card.not_for, card.regulatory, card.population.site]
    texts += [label.title for label in card.labels] + [outcome.title for outcome in card.outcomes]
    texts += [title for outcome in card.outcomes for _, title in outcome.parts]
    texts += [text for outcome in card.outcomes for band in outcome.bands for text in (band.title,)]
    if name in BUNDLED:
        texts += [one.title for spec in card.inputs if spec.kind in ("table", "series") for one in quantities(spec)]
    assert all(text.en and text.zh and text.en != text.zh for text in texts)
    answer = engine.ask(case_for(name), card.id, language="zh")
    assert all(any("\u4e00" <= letter <= "\u9fff" for letter in guard.text) for guard in answer.guards)


def test_a_folder_that_is_added_is_a_model(tmp_path: Path) -> None:
    catalogue = Catalogue([tmp_path])
    assert catalogue.entries == ()
    data_models.make("table", tmp_path / "new")
    catalogue.refresh()
    assert [(entry.id, entry.problem) for entry in catalogue.entries] == [("tiny-table", "")]


@each_model
def test_the_card_is_read_alike_from_its_folder(engine: Engine, name: str) -> None:
    card = engine.catalogue.card(model_id(name))
    again = read_card(card.folder)
    assert (again.id, again.sha256, again.targets) == (card.id, card.sha256, card.targets)
    assert [spec.tensors for spec in again.inputs] == [spec.tensors for spec in card.inputs]
