"""Pictures are kept within their budget, and counted right."""

from __future__ import annotations

import numpy as np

from medviewer.app.frame_cache import FrameCache
from medviewer.app.picture import Picture
from tests.fakes import make_frame


def picture(rows: int) -> Picture:
    return Picture(make_frame(rows, 10))


def test_the_size_is_what_the_pictures_take_whatever_was_put_and_forgotten() -> None:
    chance = np.random.default_rng(0)
    cache = FrameCache(20_000)
    for _ in range(200):
        key = (str(chance.integers(12)), "", 0)
        cache.put(key, picture(int(chance.integers(10, 60))))
        kept = [cache.get((str(n), "", 0)) for n in range(12)]
        assert cache.size_bytes == sum(one.size_bytes for one in kept if one is not None)
        assert cache.size_bytes <= 20_000
    cache.clear()
    assert cache.size_bytes == 0


def test_one_that_is_larger_than_all_is_kept_alone() -> None:
    cache = FrameCache(100)
    cache.put(("a", "", 0), picture(30))
    cache.put(("b", "", 0), picture(30))
    assert ("a", "", 0) not in cache
    assert ("b", "", 0) in cache


def test_the_one_looked_at_last_goes_last() -> None:
    size = picture(10).size_bytes
    cache = FrameCache(2 * size)
    for name in "ab":
        cache.put((name, "", 0), picture(10))
    cache.get(("a", "", 0))
    cache.put(("c", "", 0), picture(10))
    assert ("a", "", 0) in cache
    assert ("b", "", 0) not in cache
