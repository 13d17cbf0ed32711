"""What is said by folds: never by who has seen the image, and never with a threshold from its own fold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

torch = pytest.importorskip("torch")

from medviewer.training.batches import Part  # noqa: E402
from medviewer.training.data import ClassFolders, LabelledImage  # noqa: E402
from medviewer.training.fold_report import fold_metrics, fold_report, folds_table  # noqa: E402
from medviewer.training.image_folds import (  # noqa: E402
    PLAIN,
    FoldAnswers,
    answer_by_folds,
    cross_decide,
    decide_by_folds,
)
from medviewer.training.lesson import Surroundings  # noqa: E402
from medviewer.training.networks import PooledClassifier  # noqa: E402
from medviewer.training.networks_small import Ensemble, SmallNet  # noqa: E402
from medviewer.training.shifts import SHIFTS  # noqa: E402

pytestmark = pytest.mark.torch

STEPS = ({"op": "resize", "rows": 8, "columns": 8},)


class Level(PooledClassifier):
    """Its logit is the mean grey."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout, self.linear = torch.nn.Dropout(0.0), torch.nn.Linear(1, 1)
        with torch.no_grad():
            self.linear.weight.fill_(1.0)
            self.linear.bias.fill_(0.0)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_nobody_is_judged_by_who_learned_from_a_copy(tmp_path: Path) -> None:
    images = Part([np.full((8, 8), index, np.uint8) for index in range(24)], np.arange(24) // 2 % 2)
    groups = np.arange(24) // 4 * 4
    seen: list[set[int]] = []

    def learn(part: Part, _: Surroundings) -> PooledClassifier:
        seen.append({int(grey[0, 0]) for grey in part.pixels})
        return Level()

    labels = Part(images.pixels, (groups // 4 % 2).astype(np.int64))
    answers = answer_by_folds(labels, groups, STEPS, learn, (2, 3, 0), Surroundings(tmp_path, progress=lambda _: None))
    assert len(seen) == 6
    for (repeat, fold), learned in zip(np.ndindex(2, 3), seen, strict=True):
        held_out = np.flatnonzero(answers.folds[repeat] == fold)
        assert not {int(groups[i]) for i in held_out} & {int(groups[i]) for i in learned}
        np.testing.assert_allclose(answers.logits[PLAIN][repeat, held_out], held_out, atol=1e-4)
    assert answers.logits.keys() == SHIFTS.keys()


def answers_of(n: int = 200, *, repeats: int = 2) -> FoldAnswers:
    chance = np.random.default_rng(2)
    truth = np.arange(n) % 4 == 0
    logit = 2.0 * truth + chance.normal(0, 1, (repeats, n))
    folds = np.stack([np.random.default_rng(r).permutation(n) % 5 for r in range(repeats)])
    return FoldAnswers(truth, np.arange(n), folds, {PLAIN: logit, "noise": logit - 0.2})


def test_a_fold_has_no_say_in_its_own_calibration_and_threshold() -> None:
    answers = answers_of()
    before = cross_decide(answers)
    held_out = answers.folds[0] == 2
    truth = answers.truth.copy()
    truth[held_out] = ~truth[held_out]
    after = cross_decide(FoldAnswers(truth, answers.groups, answers.folds, answers.logits))
    np.testing.assert_array_equal(after.probability[PLAIN][0, held_out], before.probability[PLAIN][0, held_out])
    np.testing.assert_array_equal(after.called[PLAIN][0, held_out], before.called[PLAIN][0, held_out])
    assert (after.probability[PLAIN][0, ~held_out] != before.probability[PLAIN][0, ~held_out]).any()


def test_figures_are_means_over_repeats_and_a_copy_is_no_second_patient() -> None:
    answers = answers_of()
    crossed = cross_decide(answers)
    found = fold_metrics(answers, crossed)
    said = answers.logits[PLAIN]
    assert found["auc"]["value"] == pytest.approx(np.mean([roc_auc_score(answers.truth, z) for z in said]), abs=1e-5)
    called = crossed.called[PLAIN]
    assert found["sensitivity"]["value"] == pytest.approx(called[:, answers.truth].mean(), abs=1e-5)
    twice = FoldAnswers(
        np.tile(answers.truth, 4), np.tile(answers.groups, 4), np.tile(answers.folds, 4),
        {name: np.tile(z, 4) for name, z in answers.logits.items()},
    )  # fmt: skip
    copied = fold_metrics(twice, cross_decide(twice))
    assert np.ptp(copied["auc"]["ci95"]) == pytest.approx(np.ptp(found["auc"]["ci95"]), abs=1e-3)
    decision = decide_by_folds(answers, crossed)
    assert decision.n == 200
    assert decision.sensitivity == pytest.approx(found["sensitivity"]["value"], abs=1e-5)
    assert decision.ece_after < decision.ece_before


def test_the_report_counts_copies_as_one_and_tells_who_has_none(tmp_path: Path) -> None:
    answers = answers_of()
    groups = np.where(np.arange(200) < 40, np.arange(200) // 20 * 20, np.arange(200))
    answers = FoldAnswers(answers.truth, groups, answers.folds, answers.logits)
    images = tuple(LabelledImage(tmp_path, f"{i}", int(t), f"{i}", "d") for i, t in enumerate(answers.truth))
    found = ClassFolders(tmp_path, ("NO", "YES"), images)
    report = fold_report(found, answers, cross_decide(answers), {"en": "by folds", "zh": "分折"})
    assert (report["data"]["n"], report["data"]["n_patients"]) == (200, 162)
    assert [entry["n"] for entry in report["subgroups"]] == [160, 40]
    table = folds_table(found, groups, 5, 0)
    assert len(set(table.patients)) == 162
    assert (table.unit, report["data"]["unit"]) == ("groups of near copies", "groups of near copies")
    named = folds_table(replace(found, is_table=True), groups, 5, 0)
    assert named.unit.startswith("patients (")
    assert set(table.splits) == set(table.expected_splits)


def test_an_ensemble_is_the_mean_of_its_members_on_the_image_and_its_mirror_image() -> None:
    torch.manual_seed(0)
    members = [SmallNet(4).eval() for _ in range(3)]
    for member in members:
        for layer in member.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(layer.running_mean, -0.5, 0.5)
    x = torch.randn(5, 1, 28, 28)
    with torch.inference_mode():
        expected = torch.stack([m(view) for m in members for view in (x, x.flip(3))]).mean(0)
        ensemble = Ensemble(members)
        np.testing.assert_allclose(ensemble(x).numpy(), expected.numpy(), atol=1e-5)
        np.testing.assert_allclose(ensemble(x.flip(3)).numpy(), expected.numpy(), atol=1e-5)
        assert ensemble.features(x).shape == (5, 2 * 3 * 16, 7, 7)
        turned = ensemble.features(x)[:, 16:32].flip(3)
        np.testing.assert_allclose(turned.numpy(), members[0].features(x.flip(3)).numpy(), atol=1e-5)
