"""The loop: repeatable, resumable to the same bytes, and it chooses what it says it chooses."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from medviewer.domain.errors import InputError, RuntimeMissingError, Stopped, TrainingError, UsageError  # noqa: E402
from medviewer.training import checkpoint  # noqa: E402
from medviewer.training.batches import Part  # noqa: E402
from medviewer.training.checkpoint import weights_digest  # noqa: E402
from medviewer.training.configs import FilmConfig, LoopConfig  # noqa: E402
from medviewer.training.film_lesson import FilmLesson  # noqa: E402
from medviewer.training.lesson import Surroundings  # noqa: E402
from medviewer.training.loop import fit  # noqa: E402
from medviewer.training.networks import EfficientNetLite0  # noqa: E402
from medviewer.training.run import exact  # noqa: E402
from medviewer.training.run_record import read_record  # noqa: E402
from medviewer.training.search import search  # noqa: E402
from tests.event_files import scalars  # noqa: E402
from tests.lessons import TinyLesson, tiny_network  # noqa: E402

pytestmark = pytest.mark.torch

CONFIG = LoopConfig(batch=8, average=0.5, keep_every=2, threads=1)


def silent(line):
    """Tell nobody."""


def around(folder, **changes):
    return Surroundings(folder, **({"identity": {"config": asdict(CONFIG)}, "progress": silent} | changes))


def learned(folder, lesson=None, config=CONFIG, dropout=0.5, **changes):
    network = tiny_network(dropout=dropout)
    history = fit(network, lesson or TinyLesson(), config, around(folder, **changes))
    return weights_digest(network), history


class Interrupted:
    """Cancels at a step, as Ctrl-C does: anywhere."""

    def __init__(self, at):
        self.at = at

    def __call__(self, done, *_):
        if done == self.at:
            raise KeyboardInterrupt


def test_two_runs_of_one_seed_are_one(tmp_path):
    first, again = learned(tmp_path / "a"), learned(tmp_path / "b")
    assert first[0] == again[0]
    assert [entry["loss"] for entry in first[1]] == [entry["loss"] for entry in again[1]]


def test_another_seed_is_another_run(tmp_path):
    class Reseeded(TinyLesson):
        @property
        def stages(self):
            return tuple(replace(stage, seed=stage.seed + 9) for stage in super().stages)

    assert learned(tmp_path / "a")[0] != learned(tmp_path / "b", Reseeded())[0]


def test_the_loss_falls_and_the_network_learns(tmp_path):
    _, history = learned(tmp_path, dropout=0.0)
    losses = [entry["loss"] for entry in history]
    assert losses[-1] < 0.7 * losses[0]
    assert history[-1]["score"] > 0.8


@pytest.mark.parametrize("at", [1, 3, 6, 7, 12, 13, 20, 24])
def test_an_interrupted_run_goes_on_to_the_same_bytes(tmp_path, at):
    """In the first step, between checkpoints, at the end of an epoch, and in the second stage."""
    whole, history = learned(tmp_path / "whole")
    with pytest.raises(Stopped, match="the same command goes on"):
        learned(tmp_path / "broken", bar=Interrupted(at))
    resumed, again = learned(tmp_path / "broken")
    assert resumed == whole

    def without_time(entries):
        return [{key: value for key, value in entry.items() if key != "seconds"} for entry in entries]

    assert without_time(again) == without_time(history)


def test_a_finished_run_gives_its_weights_without_another_step(tmp_path):
    whole, _ = learned(tmp_path)

    def never(*_):
        raise AssertionError

    assert learned(tmp_path, bar=never)[0] == whole


def test_the_record_holds_every_step_once_after_a_break(tmp_path):
    with pytest.raises(Stopped):
        learned(tmp_path, bar=Interrupted(9))
    # What a killed process was writing: half a line.
    with (tmp_path / "record.jsonl").open("a") as file:
        file.write('{"kind": "step", "st')
    told: list[tuple[object, object]] = []
    learned(tmp_path, record=lambda folder, line: told.append((folder, line)))
    record = read_record(tmp_path)
    assert told == [(tmp_path, line) for line in record]  # whoever looks sees the steps of before the break too
    assert [line["step"] for line in record if line["kind"] == "step"] == list(range(1, 25))
    assert [line["epoch"] for line in record if line["kind"] == "epoch"] == [1, 2, 3, 4]
    assert json.loads((tmp_path / "history.json").read_text())[0]["loss"] == np.mean(
        [line["loss"] for line in record if line["kind"] == "step" and line["epoch"] == 1]
    )


def test_another_setting_is_not_gone_on_with(tmp_path):
    with pytest.raises(Stopped):
        learned(tmp_path, bar=Interrupted(9))
    other = {"config": asdict(replace(CONFIG, weight_decay=0.5))}
    with pytest.raises(UsageError, match=r"another weight_decay \(0.02, not 0.5\)"):
        learned(tmp_path, identity=other)


def test_a_damaged_checkpoint_is_said(tmp_path):
    (tmp_path / checkpoint.FILE).write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"cannot be read.*remove it to begin anew"):
        learned(tmp_path)


def test_a_checkpoint_runs_no_code(tmp_path):
    import pickle

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "evil"), "w"))

    (tmp_path / checkpoint.FILE).write_bytes(pickle.dumps(Evil()))
    with pytest.raises(InputError):
        learned(tmp_path)
    assert not (tmp_path / "evil").exists()


def test_the_best_epoch_is_chosen_and_a_tie_goes_to_the_later_one(tmp_path):
    _, history = learned(tmp_path, TinyLesson(epochs=(4,), scores=[0.4, 0.9, 0.9, 0.5]))
    assert [entry["chosen"] for entry in history] == [False, False, True, False]
    network = tiny_network()
    network.load_state_dict(torch.load(tmp_path / "epoch-3.pt", weights_only=True))
    assert weights_digest(network) == learned(tmp_path, TinyLesson(epochs=(4,)))[0]


def test_an_epoch_without_a_score_cannot_be_chosen(tmp_path):
    _, history = learned(tmp_path, TinyLesson(epochs=(3,), scores=[None, 0.1, None]))
    assert [entry["chosen"] for entry in history] == [False, True, False]
    with pytest.raises(TrainingError, match="none can be chosen"):
        learned(tmp_path / "b", TinyLesson(epochs=(1,), scores=[None]))


def test_it_stops_early_when_nothing_gets_better(tmp_path):
    scores = [0.5, 0.7, 0.6, 0.6, 0.9, 0.1]
    lesson = TinyLesson(epochs=(5, 1), scores=scores)
    _, history = learned(tmp_path, lesson, replace(CONFIG, patience=2))
    # Two epochs after the best, the stage ends; the next stage goes on from the best.
    assert [(entry["stage"], entry["chosen"]) for entry in history] == [
        (1, False), (1, False), (1, False), (1, False), (2, True)
    ]  # fmt: skip


def test_the_average_follows_slowly_and_is_what_is_kept(tmp_path):
    """Against the same average taken by hand from the weights of every step."""
    network, lesson, seen = tiny_network(), TinyLesson(epochs=(1,)), []
    seen.append({name: value.clone() for name, value in network.named_parameters()})

    def look(done, *_):
        if done < len(seen):
            return  # it is told again before the validation
        seen.append({name: value.detach().clone() for name, value in network.named_parameters()})

    fit(network, lesson, CONFIG, around(tmp_path, bar=look))
    for name, kept in network.named_parameters():
        average = seen[0][name].clone()
        for step, fast in enumerate(seen[1:]):
            decay = min(0.5, (2 + step) / (11 + step))
            average = decay * average + (1 - decay) * fast[name]
        torch.testing.assert_close(kept, average)


def test_a_step_is_pytorchs_own(tmp_path):
    """The loop without an average against a bare loop written here."""
    lesson = TinyLesson(epochs=(1,), noise=0.0)
    network = tiny_network()
    fit(network, lesson, replace(CONFIG, average=0.0, warmup=0.25), around(tmp_path))
    bare = tiny_network()
    bare.train()
    optimiser = torch.optim.AdamW(bare.parameters(), weight_decay=0.02)
    batches = torch.split(torch.randperm(48, generator=torch.Generator().manual_seed(0)), 8)
    for step, chosen in enumerate(batches):
        done = step / len(batches)
        rise = (done + 1e-3) / 0.25
        fall = 0.03 + 0.97 * 0.5 * (1 + np.cos(np.pi * (done - 0.25) / 0.75))
        optimiser.param_groups[0]["lr"] = 3e-2 * (rise if done < 0.25 else fall)
        loss = torch.nn.functional.cross_entropy(bare(lesson.x[chosen]), lesson.labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert weights_digest(bare) == weights_digest(network)


def test_long_gradients_are_cut(tmp_path):
    network = tiny_network()
    fit(network, TinyLesson(epochs=(1,)), replace(CONFIG, clip_norm=1e-3), around(tmp_path))
    last = torch.stack([p.grad.norm() for p in network.parameters()])
    assert float(last.norm()) == pytest.approx(1e-3, rel=1e-3)


def test_a_loss_that_is_no_number_ends_the_run(tmp_path):
    lesson = TinyLesson()
    lesson.x[7] = float("nan")
    with pytest.raises(TrainingError, match=r"loss of step . is no number"):
        learned(tmp_path, lesson)


def test_a_validation_that_is_no_number_ends_the_run(tmp_path):
    with pytest.raises(TrainingError, match="epoch 2 gave no number"):
        learned(tmp_path, TinyLesson(scores=[0.5, float("nan")]))


def test_the_bar_counts_every_step_and_says_what_is_left(tmp_path):
    told = []
    learned(tmp_path, bar=lambda *words: told.append(words))
    steps = [words for words in told if "step" in words[2].split("loss")[0]]
    assert [done for done, _, _ in steps] == list(range(1, 25))
    assert {total for _, total, _ in told} == {24}
    assert "epoch 3 of 4  step 1/6" in steps[12][2]
    between = [(done, text.split("  ")[:2]) for done, _, text in told if "validating" in text]
    assert between == [(6 * n, [f"epoch {n} of 4", "validating"]) for n in range(1, 5)]
    assert all("left" in text for _, _, text in told)


def test_the_bar_says_of_which_part_it_speaks(tmp_path):
    told = []
    place = around(tmp_path, bar=lambda *words: told.append(words[2])).within("fold-1").within("net-0")
    fit(tiny_network(), TinyLesson(), CONFIG, place)
    assert all(text.startswith("fold-1/net-0  epoch ") and text.endswith("left of this part") for text in told)


def test_a_card_is_asked_to_calculate_the_same_twice(monkeypatch):
    def flags():
        cudnn = torch.backends.cudnn
        modes = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
        return cudnn.benchmark, cudnn.deterministic, *modes, os.environ.get("CUBLAS_WORKSPACE_CONFIG")

    before = flags()
    with exact(torch.device("cpu")):
        assert flags() == before
    for given in (None, ":16:8"):
        with monkeypatch.context() as patch:
            if given:
                patch.setenv("CUBLAS_WORKSPACE_CONFIG", given)
            outside = flags()
            with exact(torch.device("cuda")):
                assert flags() == (False, True, True, True, given or ":4096:8")
            assert flags() == outside
    assert flags() == before


def test_event_files_hold_the_losses(tmp_path):
    pytest.importorskip("tensorboardX")
    learned(tmp_path / "run", tensorboard=tmp_path / "events")
    record = {line["step"]: line["loss"] for line in read_record(tmp_path / "run") if line["kind"] == "step"}
    assert scalars(tmp_path / "events", "train/loss") == pytest.approx(record)


def test_two_runs_of_a_real_network_are_one(tmp_path):
    steps = ({"op": "resize", "rows": 32, "columns": 32}, {"op": "percentile_window", "low": 1, "high": 99})
    config = FilmConfig(sizes=(32,), finish=1, batch=4, n_statistics=2, n_validation=2, threads=1)

    def part(n=12, seed=0):
        chance = np.random.default_rng(seed)
        labels = np.arange(n) % 2
        pixels = [np.uint8(chance.integers(0, 120, (32, 32)) + 100 * label) for label in labels]
        return Part(pixels, labels.astype(np.int64))

    def run(name):
        torch.manual_seed(7)
        network = EfficientNetLite0(dropout=0.3)
        lesson = FilmLesson({"train": part(), "tune": part(4, seed=1)}, steps, config)
        history = fit(network, lesson, config, around(tmp_path / name))
        return weights_digest(network), [entry["loss"] for entry in history]

    assert run("a") == run("b")


def test_packages_that_are_not_installed_are_named(tmp_path, monkeypatch):
    for name in ("optuna", "tensorboardX"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it now fails as if it were not there
    with pytest.raises(RuntimeMissingError, match="pip install tensorboardX"):
        learned(tmp_path / "run", tensorboard=tmp_path / "events")
    with pytest.raises(RuntimeMissingError, match="needs the package optuna"):
        search({}, 1, tmp_path / "search", lambda *_: 0.0, identity={}, progress=silent)
