"""A search finds what is good, stays in its ranges, and goes on where it was broken off."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

pytest.importorskip("optuna")

from medviewer.domain.errors import Stopped, StorageError, TrainingError, UsageError
from medviewer.training.search import FILE, Choice, Range, search

RANGES = {"rate": Range(1e-4, 1e-1, is_logarithmic=True), "width": Range(1, 8), "kind": Choice(("gru", "lstm"))}


class Teacher:
    """Best at a rate of .01 and a width of 4; remembers what it was asked."""

    def __init__(self, breaks_at: int = 0, fails_at: tuple[int, ...] = ()) -> None:
        self.asked: list[tuple[Mapping[str, str], Path]] = []
        self.breaks_at, self.fails_at = breaks_at, fails_at

    def __call__(self, settings: Mapping[str, str], folder: Path) -> float:
        self.asked.append((dict(settings), folder))
        if len(self.asked) == self.breaks_at:
            raise Stopped
        if len(self.asked) in self.fails_at:
            raise TrainingError("The loss of step 3 is no number.")
        return -abs(float(settings["rate"]) - 0.01) - 0.01 * abs(int(settings["width"]) - 4)


def run(folder: Path, n: int, learn: Teacher, data: str = "d"):
    return search(RANGES, n, folder, learn, identity={"data": data}, progress=lambda _: None)


def test_every_trial_is_in_its_ranges_and_the_best_is_returned(tmp_path: Path) -> None:
    learn = Teacher()
    best = run(tmp_path, 12, learn)
    assert len(learn.asked) == 12
    for settings, _ in learn.asked:
        assert 1e-4 <= float(settings["rate"]) <= 1e-1
        assert 1 <= int(settings["width"]) <= 8
        assert settings["kind"] in {"gru", "lstm"}
    again = Teacher()
    scores = {str(folder): again(settings, folder) for settings, folder in learn.asked}
    assert best.score == max(scores.values())
    assert scores[str(best.folder)] == best.score
    assert len({folder for _, folder in learn.asked}) == 12


def test_a_broken_search_goes_on_with_the_trial_that_was_running(tmp_path: Path) -> None:
    first, second = Teacher(breaks_at=4), Teacher()
    with pytest.raises(Stopped):
        run(tmp_path, 6, first)
    run(tmp_path, 6, second)
    # Three were complete: the fourth is asked again in its own folder, then two more.
    assert second.asked[0] == first.asked[3]
    assert len(second.asked) == 3
    assert len({str(settings) for settings, _ in [*first.asked[:3], *second.asked]}) == 6
    assert run(tmp_path, 6, third := Teacher()).score == run(tmp_path, 6, Teacher()).score
    assert third.asked == []


def test_wherever_it_is_broken_off_it_tries_the_same(tmp_path: Path) -> None:
    """Fourteen trials: the last four are drawn by what the others gave, not by chance alone."""
    run(tmp_path / "whole", 14, whole := Teacher())
    wanted = [settings for settings, _ in whole.asked]
    assert len({str(settings) for settings in wanted}) == 14
    for place in (1, 2, 7, 13):
        first, second = Teacher(breaks_at=place), Teacher()
        with pytest.raises(Stopped):
            run(tmp_path / f"broken-{place}", 14, first)
        run(tmp_path / f"broken-{place}", 14, second)
        assert [settings for settings, _ in [*first.asked[:-1], *second.asked]] == wanted


def test_a_trial_that_was_drawn_by_half_is_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ends between two settings of a trial: the same trial is then drawn whole."""
    from optuna.storages.journal import JournalFileBackend

    run(tmp_path / "whole", 4, whole := Teacher())
    append, first, n_written = JournalFileBackend.append_logs, Teacher(), [0]

    def end(self: JournalFileBackend, logs: list[dict[str, object]]) -> None:
        n_written[0] += len(first.asked) == 2
        if n_written[0] == 4:  # the end of the second trial, then the third one and its first setting
            raise Stopped
        append(self, logs)

    with monkeypatch.context() as patch:
        patch.setattr(JournalFileBackend, "append_logs", end)
        with pytest.raises(Stopped):
            run(tmp_path / "broken", 4, first)
    run(tmp_path / "broken", 4, second := Teacher())
    assert [settings for settings, _ in [*first.asked, *second.asked]] == [settings for settings, _ in whole.asked]


def test_each_seed_tries_something_else(tmp_path: Path) -> None:
    tried = []
    for seed in (0, 1):
        learn = Teacher()
        identity = {"config": {"seed": seed}}
        search(RANGES, 3, tmp_path / str(seed), learn, identity=identity, progress=lambda _: None)
        tried.append([settings for settings, _ in learn.asked])
    assert tried[0] != tried[1]


def test_a_trial_that_fails_is_told_and_does_not_count(tmp_path: Path) -> None:
    told: list[str] = []
    learn = Teacher(fails_at=(2,))
    search(RANGES, 3, tmp_path, learn, identity={}, progress=told.append)
    assert len(learn.asked) == 4
    assert any("trial 2 failed: The loss of step 3 is no number." in line for line in told)


def test_when_every_trial_fails_it_ends(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="Every trial"):
        run(tmp_path, 2, Teacher(fails_at=(1, 2, 3, 4)))


def test_the_search_of_other_data_is_not_gone_on_with(tmp_path: Path) -> None:
    run(tmp_path, 1, Teacher())
    with pytest.raises(UsageError, match="other settings, ranges or data"):
        run(tmp_path, 2, Teacher(), data="other")


def test_no_trial_is_no_search(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least one"):
        run(tmp_path, 0, Teacher())


@pytest.mark.parametrize("fails_at", [(), (2,)])
def test_on_a_full_disk_the_trials_that_are_complete_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: tuple[int, ...]
) -> None:
    """The second trial's end finds no room: half of its line is written, as a full disk does it."""
    from optuna.storages.journal import JournalFileBackend

    append, learn = JournalFileBackend.append_logs, Teacher(fails_at=fails_at)

    def fill(self: JournalFileBackend, logs: list[dict[str, object]]) -> None:
        if len(learn.asked) == 2:
            with (tmp_path / FILE).open("ab") as log:
                log.write(b'{"op_code": 6, "wor')
            raise OSError(28, "No space left on device")
        append(self, logs)

    with monkeypatch.context() as patch:
        patch.setattr(JournalFileBackend, "append_logs", fill)
        with pytest.raises(
            StorageError, match=r"cannot be kept in .*No space left on device.*the same command goes on"
        ):
            run(tmp_path, 3, learn)
    second = Teacher()
    run(tmp_path, 3, second)
    assert second.asked[0] == learn.asked[1]
    assert len(second.asked) == 2


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="The search cannot be kept in"):
        run(tmp_path / "file" / "run", 1, Teacher())
    from optuna.storages.journal import JournalFileBackend

    learn, append = Teacher(), JournalFileBackend.append_logs

    def fill(self: JournalFileBackend, logs: list[dict[str, object]]) -> None:
        if learn.asked or (tmp_path / "run" / FILE).stat().st_size > 200:  # the study is there, no trial is drawn yet
            raise OSError(28, "No space left on device")
        append(self, logs)

    monkeypatch.setattr(JournalFileBackend, "append_logs", fill)
    with pytest.raises(StorageError, match="The search cannot be kept in"):
        run(tmp_path / "run", 1, learn)
    assert learn.asked == []
