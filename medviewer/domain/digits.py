"""Numbers for people: so many decimals, and never so few that what is there reads as nothing."""

from __future__ import annotations

import math


def rounded(value: float, decimals: int) -> str:
    """A number with so many decimals, with more where two digits other than leading zeros would not be left.

    Args:
        value: 0 or more.
        decimals: at least so many.

    >>> rounded(1234.5, 0), rounded(9.26, 1), rounded(0.0432, 1), rounded(0.0, 1)
    ('1,234', '9.3', '0.043', '0.0')
    """
    if value > 0:
        decimals = max(decimals, 1 - math.floor(math.log10(value)))
    return f"{value:,.{decimals}f}"


def three_digits(value: float) -> str:
    """A number with three digits, or all of its whole part where that has more; never as a power of ten.

    >>> three_digits(1543.2), three_digits(104.6), three_digits(7.125), three_digits(-0.5)
    ('1543', '105', '7.12', '-0.5')
    """
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def area_number(mm2: float) -> str:
    """An area in mm2 as people write it: whole from 100 on, else with a decimal or as many as it takes."""
    return rounded(mm2, 0 if mm2 >= 100 else 1)


def length_number(value: float, decimals: int = 1) -> str:
    """A length as people write it, without marks between thousands."""
    return rounded(value, decimals).replace(",", "")


def percent_number(share: float) -> str:
    """A share of 0 to 1 as a percentage, without the sign."""
    return rounded(100 * share, 1)
