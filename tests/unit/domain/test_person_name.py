"""Names that can be one person's, and names that cannot."""

from __future__ import annotations

import pytest

from medviewer.domain.person_name import names_differ, names_match, names_share_nothing


@pytest.mark.parametrize(
    ("first", "second", "differ", "share_nothing"),
    [
        ("Test^Object", "TEST^OBJECT", False, False),
        ("Test^Object", "Object^Test", False, False),
        ("Müller^Jörg", "Mueller^Joerg", False, False),
        ("Test^Object", "Married^Object", True, False),
        ("Test^Object", "Other^Person", True, True),
        ("Test^O", "Other^Person", True, True),  # "O" may be "Other", but that is not known
        ("Test^O", "Test^Object", False, False),
        ("Test^O^A", "Albert^Other", True, True),
        ("Test^O", "Object^T", True, True),  # each other's initials are no word in common
        ("T^O", "Test^Object", False, False),
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


@pytest.mark.parametrize(
    ("first", "second", "match"),
    [
        ("Test^Object", "TEST^OBJECT", True),
        ("Test^Object", "Test^Other", False),
        ("", "Test^Object", True),
        ("^^", "Test^Object", True),
        ("=张^三", "=李^四", False),
        ("Zhang^San", "=李^四", False),  # no writing in common: not known to be one person
        ("Zhang^San=张^三", "=张^三", True),
        ("Zhang^San=张^三", "Zhang^San=李^四", False),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada^Tarou=山田^太郎", True),
        ("张^三", "Zhang^San=张^三", False),  # an ideographic name where the Latin one belongs
        ("张^三", "=张^三", True),
    ],
)
def test_names_match_in_every_writing_that_both_have(first: str, second: str, match: bool) -> None:
    assert names_match(first, second) is match
    assert names_match(second, first) is match
