"""docs/decoding.md names what the table of decoders holds."""

from __future__ import annotations

from medviewer.imaging.codecs import CODECS
from tests.samples import ROOT


def test_every_transfer_syntax_and_decoder_is_on_the_page_in_order() -> None:
    page = (ROOT / "docs" / "decoding.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:-1] for line in page.splitlines() if line.startswith("| ") and "1.2." in line]
    for uid, codecs in CODECS.items():
        short = uid.removeprefix("1.2.840.10008.")
        last = "." + short.rsplit(".", 1)[1]
        group = short.rsplit(".", 1)[0]
        (row,) = [
            row for row in rows if short in row[1].replace(" ", "").split(",") or (
                last in row[1].replace(" ", "").split(",") and group in row[1]
            )
        ]  # fmt: skip
        places = [row[2].index(codec.name) for codec in codecs]
        assert places == sorted(places), uid
