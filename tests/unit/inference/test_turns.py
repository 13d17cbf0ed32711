"""What a reader waits for has the next turn, whatever waits behind it and for however long."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from medviewer.domain.errors import Stopped
from medviewer.domain.progress import StopToken
from medviewer.inference.turns import Turns, in_background


def test_the_reader_goes_before_the_background() -> None:
    turns, order = Turns(), []
    waiting = threading.Semaphore(0)

    def take(name: str) -> None:
        waiting.release()
        with turns.taking():
            order.append(name)

    def behind(name: str) -> None:
        with in_background():
            take(name)

    with ThreadPoolExecutor(6) as pool:
        with turns.taking():
            # All of the background wait before the first reader comes.
            first = [pool.submit(behind, f"behind {n}") for n in range(3)]
            for _ in first:
                waiting.acquire()
            assert not wait(first, timeout=0.1).done
            second = [pool.submit(take, f"reader {n}") for n in range(2)]
            while turns._urgent < 2:
                wait(second, timeout=0.01)
        wait([*first, *second], timeout=10)
    assert len(order) == 5
    assert {name.split()[0] for name in order[:2]} == {"reader"}


def test_one_at_a_time_and_free_again_after_a_failure() -> None:
    turns, inside = Turns(), []

    def take(number: int) -> None:
        with turns.taking():
            inside.append(number)
            assert len(inside) == 1
            inside.remove(number)
            if number % 3 == 0:
                raise ValueError(number)

    with ThreadPoolExecutor(8) as pool:
        results = [pool.submit(take, n) for n in range(60)]
    assert [type(result.exception()) for result in results if result.exception()] == [ValueError] * 20


@pytest.mark.parametrize("is_background", [True, False])
def test_who_waits_can_be_stopped(is_background: bool) -> None:
    turns, stop = Turns(), StopToken()

    def take() -> None:
        if is_background:
            with in_background(), turns.taking(stop):
                pass
        with turns.taking(stop):
            pass

    with ThreadPoolExecutor(1) as pool:
        with turns.taking():
            waiting = pool.submit(take)
            stop.stop()
            with pytest.raises(Stopped):
                waiting.result(timeout=10)
        with turns.taking():  # and who was stopped is not waited for
            pass
    assert turns._urgent == 0
