"""Cut the bundled fonts out of the full ones that Debian ships (fonts-inter, fonts-noto-cjk).

Run once, by hand, when the fonts change::

    apt-get install fonts-inter fonts-noto-cjk
    pip install fonttools
    python packaging/make_fonts.py

Inter keeps Latin, Greek, Cyrillic and the signs a report uses; its digits are made tabular for
good, so that numbers under each other line up wherever they are drawn. Noto Sans SC keeps the
6,763 characters of GB 2312 and the full-width signs. Contextual alternates are left out: what
is shown must be what was written ("->" stays "->").
"""

from __future__ import annotations

from pathlib import Path

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTCollection, TTFont

SOURCES = Path("/usr/share/fonts/opentype")
TARGET = Path(__file__).resolve().parent.parent / "resources" / "fonts"
INTER = ("Regular", "Medium", "SemiBold")
NOTO = ("Regular", "Bold")
FEATURES = ["kern", "mark", "mkmk", "ccmp", "locl", "case", "zero"]
LATIN_GREEK_CYRILLIC = (
    (0x0020, 0x007E), (0x00A0, 0x024F), (0x0259, 0x0259), (0x02B0, 0x02FF), (0x0300, 0x036F), (0x0370, 0x03FF),
    (0x0400, 0x052F), (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x209F), (0x20A0, 0x20BF), (0x2100, 0x214F),
    (0x2150, 0x218F), (0x2190, 0x21FF), (0x2200, 0x22FF), (0x2300, 0x23FF), (0x25A0, 0x25FF), (0x27E8, 0x27E9),
)  # fmt: skip


def gb2312() -> set[int]:
    """The code points of GB 2312: 6,763 characters and the signs of its first nine rows."""
    found = set()
    for high in range(0xA1, 0xF8):
        for low in range(0xA1, 0xFF):
            try:
                found.add(ord(bytes((high, low)).decode("gb2312")))
            except UnicodeDecodeError:
                continue
    return found


def cut(font: TTFont, characters: set[int]) -> None:
    """Keep only these characters and the layout features that change no meaning."""
    options = Options()
    options.layout_features = FEATURES
    options.name_IDs = ["*"]
    options.notdef_outline = True
    options.hinting = True
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=characters)
    subsetter.subset(font)


def make_digits_tabular(font: TTFont) -> None:
    """Map 0-9 to the figures of equal width that the font offers as ``tnum``."""
    substitutions: dict[str, str] = {}
    layout = font["GSUB"].table
    for record in layout.FeatureList.FeatureRecord:
        if record.FeatureTag != "tnum":
            continue
        for index in record.Feature.LookupListIndex:
            for table in layout.LookupList.Lookup[index].SubTable:
                substitutions.update(getattr(table, "ExtSubTable", table).mapping)
    for table in font["cmap"].tables:
        for digit in range(0x30, 0x3A):
            if digit in table.cmap:
                table.cmap[digit] = substitutions.get(table.cmap[digit], table.cmap[digit])


def add_brackets(font: TTFont) -> None:
    """Draw the brackets around a character that is spelled out (``⟨U+202E⟩``), which Inter lacks, like ‹ and ›."""
    for table in font["cmap"].tables:
        for wanted, like in ((0x27E8, 0x2039), (0x27E9, 0x203A)):
            if like in table.cmap:
                table.cmap.setdefault(wanted, table.cmap[like])


def rename(font: TTFont, family: str) -> None:
    """Give the cut font a family name of its own.

    Where the full font is installed too, the system's would be taken for ours: the
    digits would not be tabular there, and a text would look different on every computer.
    """
    old = font["name"].getBestFamilyName()
    for record in font["name"].names:
        if record.nameID in (1, 3, 4, 16):
            record.string = record.toUnicode().replace(old, family)
        elif record.nameID == 6:
            record.string = record.toUnicode().replace(old.replace(" ", ""), family.replace(" ", ""))
    compact = font["CFF "].cff
    compact.fontNames = [f"{family.replace(' ', '')}-{font['name'].getBestSubFamilyName().replace(' ', '')}"]
    top = compact.topDictIndex[0]
    for field in ("FullName", "FamilyName"):
        if field in top.rawDict:
            setattr(top, field, family)


def main() -> None:
    """Write the cut fonts to resources/fonts."""
    TARGET.mkdir(parents=True, exist_ok=True)
    western = {code for first, last in LATIN_GREEK_CYRILLIC for code in range(first, last + 1)}
    for style in INTER:
        font = TTFont(SOURCES / "inter" / f"Inter-{style}.otf", recalcTimestamp=False)
        make_digits_tabular(font)
        add_brackets(font)
        cut(font, western)
        rename(font, "MedViewer Inter")
        font.save(TARGET / f"Inter-{style}.otf")
    for style in NOTO:
        collection = TTCollection(SOURCES / "noto" / f"NotoSansCJK-{style}.ttc")
        font = next(f for f in collection.fonts if f["name"].getBestFamilyName() == "Noto Sans CJK SC")
        font.recalcTimestamp = False
        cut(font, gb2312() - western)
        rename(font, "MedViewer Noto Sans SC")
        font.save(TARGET / f"NotoSansSC-{style}.otf")
    for path in sorted(TARGET.glob("*.otf")):
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB, {len(TTFont(path).getBestCmap())} characters")


if __name__ == "__main__":
    main()
