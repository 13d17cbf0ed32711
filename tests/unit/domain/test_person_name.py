"""Names that can be one person's, and names that cannot."""

from __future__ import annotations

import pytest

from medviewer.domain.person_name import names_differ, names_share_nothing


@pytest.mark.parametrize(
    ("first", "second", "differ", "share_nothing"),
    [
        ("Test^Object", "TEST^OBJECT", False, False),
        ("Test^Object", "Object^Test", False, False),
        ("Müller^Jörg", "Mueller^Joerg", False, False),
        ("Test^Object", "Married^Object", True, False),
        ("Test^Object", "Other^Person", True, True),
        ("Test^O", "Other^Person", True, False),  # "O" may be "Other": not known to be a stranger
        ("", "Other^Person", False, False),
        ("Wang^XiaoDong=王^小東", "王^小東", False, False),
        ("王^小東", "王^大明", True, False),
        ("王^小東", "李^大明", True, True),
        ("Wang^XiaoDong", "李^大明", False, False),  # two scripts cannot be compared
    ],
)
def test_names_are_compared_by_what_they_share(first: str, second: str, differ: bool, share_nothing: bool) -> None:
    for a, b in ((first, second), (second, first)):
        assert names_differ(a, b) is differ
        assert names_share_nothing(a, b) is share_nothing
