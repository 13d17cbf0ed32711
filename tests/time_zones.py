"""This computer in another time zone, for as long as a test needs it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest


@contextmanager
def in_zone(name: str) -> Iterator[None]:
    """Let local time be that of a place; skips the test where the system cannot."""
    if not hasattr(time, "tzset"):
        pytest.skip("this system cannot change its time zone for one test")
    try:
        with mock.patch.dict(os.environ, {"TZ": name}):
            time.tzset()
            yield
    finally:
        time.tzset()
