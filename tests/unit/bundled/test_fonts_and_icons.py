"""Fonts and icons are there, with their licences, and small enough to carry."""

from __future__ import annotations

import pytest

from medviewer.resources import resource

FONTS = (
    "Inter-Regular.otf", "Inter-Medium.otf", "Inter-SemiBold.otf", "NotoSansSC-Regular.otf", "NotoSansSC-Bold.otf",
)  # fmt: skip


@pytest.mark.parametrize("name", FONTS)
def test_every_font_is_an_opentype_font(name: str) -> None:
    assert resource(f"fonts/{name}").read_bytes()[:4] == b"OTTO"


def test_the_fonts_are_small_enough_to_carry() -> None:
    total = sum(path.stat().st_size for path in resource("fonts").glob("*.otf"))
    assert total < 8_000_000


def test_no_font_is_there_that_is_not_named() -> None:
    assert {path.name for path in resource("fonts").glob("*.otf")} == set(FONTS)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fonts/LICENSE-Inter.txt", ("The Inter Project Authors", "SIL OPEN FONT LICENSE Version 1.1")),
        ("fonts/LICENSE-NotoSansSC.txt", ("Adobe", "SIL OPEN FONT LICENSE Version 1.1")),
        ("icons/LICENSE-Lucide.txt", ("ISC License", "Lucide")),
    ],
)
def test_every_licence_is_beside_what_it_licenses(name: str, words: tuple[str, ...]) -> None:
    text = resource(name).read_text(encoding="utf-8")
    assert all(word in text for word in words)
    assert "PERMISSION" in text.upper()


def test_icons_draw_in_the_colour_they_are_given() -> None:
    icons = list(resource("icons").glob("*.svg"))
    assert len(icons) > 30
    for path in icons:
        svg = path.read_text(encoding="utf-8")
        assert 'stroke="currentColor"' in svg
        assert "<script" not in svg
        assert "href" not in svg
