"""Explanations by parts: exact on linear models, one value an anchor, judged against random orders."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medviewer.domain.anchor import Atom, CharacterSpan, Field, PixelBox, TimeCell
from medviewer.domain.errors import InputError, Stopped, UsageError
from medviewer.domain.progress import StopToken, no_progress
from medviewer.explain.groups import GroupQuestion, ask_about, judge_groups
from medviewer.explain.methods import explain, methods_for, weigh
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.inference.gathering import gather, tensors_of
from tests import data_models

HAS_RDKIT = importlib.util.find_spec("rdkit") is not None
LINEAR = [kind for kind, made in data_models.KINDS.items() if made.task in ("multilabel", "multiclass")]
ANCHORS = {
    "table": {Field}, "series": {TimeCell}, "wordpiece": {CharacterSpan}, "tfidf": {CharacterSpan}, "molecule": {Atom},
    "volume": {PixelBox}, "views": {PixelBox}, "film": {PixelBox, Field}, "fusion": {Field, CharacterSpan},
}  # fmt: skip


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder: Path = tmp_path_factory.mktemp("models")
    for kind in data_models.KINDS:
        data_models.make(kind, folder / kind)
    with Engine(Catalogue([folder]), providers=["cpu"], threads=2) as made:
        yield made


@pytest.mark.parametrize(
    "kind",
    [pytest.param(k, marks=pytest.mark.skipif(k == "molecule" and not HAS_RDKIT, reason="no RDKit")) for k in LINEAR],
)
def test_on_a_linear_model_each_value_is_weight_times_distance(engine: Engine, kind: str) -> None:
    case, model_id = data_models.case_for(kind), f"tiny-{kind}"
    card = engine.catalogue.card(model_id)
    found = explain(engine, case, model_id, "occlusion", finding=card.targets[1], n_random=0)
    asked = ask_about(engine, case, card, 1, None, no_progress)
    made = data_models.KINDS[kind]
    expected = []
    for group in asked.groups:
        batch = {name: np.stack([a, a]) for name, a in tensors_of(gather(case, card).encode()).items()}
        for name, mask in group.mask.items():
            batch[name][1] = np.where(mask, asked.empty[name], batch[name][1])
        whole, without = data_models.forward(made.inputs(), made.task, batch)[:, 1]
        expected.append(whole - without)
    np.testing.assert_allclose(found.saliency, expected, atol=2e-4)
    assert {type(anchor) for anchor in found.anchors} == ANCHORS[kind]
    assert found.saliency.shape == (len(found.anchors),)
    assert found.placed.shape == (0, 0)
    assert not found.saliency.flags.writeable
    again = explain(engine, case, model_id, "occlusion", finding=card.targets[1], n_random=0)
    np.testing.assert_array_equal(again.saliency, found.saliency)


@pytest.mark.parametrize("kind", ["survival", "forecast", "score"])
def test_other_tasks_are_explained_too(engine: Engine, kind: str) -> None:
    found = explain(engine, data_models.case_for(kind), f"tiny-{kind}", "occlusion", n_random=20)
    assert found.finding == "risk"
    assert np.abs(found.saliency).max() > 0
    assert found.faithfulness is not None


def test_only_occlusion_is_offered_for_what_is_no_image(engine: Engine) -> None:
    for kind in data_models.KINDS:
        card = engine.catalogue.card(f"tiny-{kind}")
        # An outline is an explanation already.
        assert [row.id for row in methods_for(card)] == ([] if card.task == "segmentation" else ["occlusion"])
    with pytest.raises(UsageError, match="occlusion"):
        explain(engine, data_models.table_case(), "tiny-table", "grad-cam")


def test_the_order_by_weight_beats_random_orders_and_a_turned_one_does_not(engine: Engine) -> None:
    asked = ask_about(engine, data_models.series_case(), engine.catalogue.card("tiny-series"), 0, None, no_progress)
    found = explain(engine, data_models.series_case(), "tiny-series", "occlusion", finding="first", n_random=0)
    good, bad = (judge_groups(asked, sign * found.saliency, 100) for sign in (1, -1))
    assert min(good.deletion_percentile, good.insertion_percentile) >= 95
    assert max(bad.deletion_percentile, bad.insertion_percentile) <= 5
    flat = judge_groups(asked, np.zeros(len(asked.groups)), 10)
    assert (flat.deletion_percentile, flat.insertion_percentile) == (0, 0)
    assert "random orders" in good.sentence


def test_a_map_is_judged_later_only_beside_its_own_data(engine: Engine) -> None:
    case = data_models.table_case()
    found = explain(engine, case, "tiny-table", "occlusion", n_random=0)
    assert found.faithfulness is None
    judged = weigh(engine, case, found, n_random=30)
    assert judged.faithfulness is not None
    np.testing.assert_array_equal(judged.saliency, found.saliency)
    with pytest.raises(UsageError, match="other data"):
        weigh(engine, replace(case, age_years=40.0), found, n_random=1)


def test_what_is_missing_cannot_be_explained(engine: Engine) -> None:
    case = data_models.table_case()
    less = replace(case, observations=tuple(o for o in case.observations if o.code != "2524-7"))
    with pytest.raises(InputError, match="lactate"):
        explain(engine, less, "tiny-table", "occlusion")
    with pytest.raises(UsageError, match="does not report"):
        explain(engine, data_models.table_case(), "tiny-table", "occlusion", finding="nothing")


def test_it_reports_and_stops(engine: Engine) -> None:
    stop = StopToken()
    seen: list[tuple[int, int, str]] = []

    def progress(done: int, total: int, text: str) -> None:
        seen.append((done, total, text))
        stop.stop()

    asked = ask_about(engine, data_models.series_case(), engine.catalogue.card("tiny-series"), 0, stop, progress)
    assert isinstance(asked, GroupQuestion)
    with pytest.raises(Stopped):
        judge_groups(asked, np.arange(len(asked.groups), dtype=float), 50)
    assert seen == [(0, seen[0][1], "Comparing with random orders")]


def test_of_a_stack_with_recorded_values_the_boxes_alone_are_a_map(tmp_path: Path) -> None:
    data_models.make("volume", tmp_path / "both", inputs=[data_models.volume_input(), data_models.table_input()])
    case = replace(data_models.table_case(), volumes=data_models.volume_case().volumes)
    with Engine(Catalogue([tmp_path]), providers=["cpu"], threads=1) as engine:
        found = explain(engine, case, "tiny-volume", "occlusion", finding="first", n_random=3)
        judged = weigh(engine, case, found, n_random=3)
    assert found.volume is not None
    assert judged.volume is found.volume
    boxes = [(a, v) for a, v in zip(found.anchors, found.saliency, strict=True) if isinstance(a, PixelBox)]
    assert len(boxes) < len(found.anchors)  # the rest are values
    assert found.volume.values.size == len(boxes)
    for anchor, value in boxes:
        assert anchor.slices is not None
        place = [
            int(np.flatnonzero(edges[:-1] == low)[0])
            for edges, (low, _) in zip(found.volume.edges, (anchor.slices, anchor.rows, anchor.columns), strict=True)
        ]
        assert found.volume.values[tuple(place)] == value
    assert found.volume.voxels == (8, 12, 12)
