"""Names in every character set are the right names."""

from __future__ import annotations

import subprocess
from pathlib import Path
from shutil import which

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer.imaging.charset import decode_text, visible
from tests.dicom_maker import make_dataset, write_dataset

# The examples of PS3.5 annexes H to K, and the other sets in use; escape sequences as the standard prints them.
EXAMPLES = [
    ("H.3.1", r"\ISO 2022 IR 87", b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    ("H.3.2", r"ISO 2022 IR 13\ISO 2022 IR 87", b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J", "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
    ("I.2", r"\ISO 2022 IR 149", b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf", "Hong^Gildong=洪^吉洞=홍^길동"),
    ("J.1", "ISO_IR 192", b"Wang^XiaoDong=\xe7\x8e\x8b^\xe5\xb0\x8f\xe6\x9d\xb1=", "Wang^XiaoDong=王^小東="),
    ("J.3", "GB18030", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab=", "Wang^XiaoDong=王^小东="),
    ("GBK", "GBK", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab=", "Wang^XiaoDong=王^小东="),
    ("K.2", r"\ISO 2022 IR 58", b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=", "Zhang^XiaoDong=张^小东="),
    ("Latin 1", "ISO_IR 100", b"Buc^J\xe9r\xf4me", "Buc^Jérôme"),
    ("Latin 2", "ISO_IR 101", b"W\xb1\xb3\xeasa", "Wąłęsa"),
    ("Cyrillic", "ISO_IR 144", b"\xbb\xee\xda\xd5\xdc\xd1\xe3\xe0\xd3", "Люкембург"),
    ("Greek", "ISO_IR 126", b"\xc4\xe9\xef\xed\xf5\xf3\xe9\xef\xf2", "Διονυσιος"),
    ("Arabic", "ISO_IR 127", b"\xe2\xc8\xc7\xe6\xea^\xe4\xe6\xd2\xc7\xd1", "قباني^لنزار"),
    ("Hebrew", "ISO_IR 138", b"\xf9\xf8\xe5\xef^\xe3\xe1\xe5\xf8\xe4", "שרון^דבורה"),
    ("Thai", "ISO_IR 166", b"\xb9\xd2\xc2", "นาย"),
]  # fmt: skip


@pytest.mark.reliability
@pytest.mark.parametrize(("clause", "sets", "raw", "name"), EXAMPLES, ids=[row[0] for row in EXAMPLES])
def test_the_standards_examples(clause: str, sets: str, raw: bytes, name: str) -> None:
    assert decode_text(raw, sets.split("\\"), "PN") == (name,)


@pytest.mark.reliability
@pytest.mark.skipif(which("dcmdump") is None, reason="DCMTK is not installed")
@pytest.mark.parametrize(("clause", "sets", "raw", "name"), EXAMPLES, ids=[row[0] for row in EXAMPLES])
def test_dcmtk_reads_the_same_names(clause: str, sets: str, raw: bytes, name: str, tmp_path: Path) -> None:
    dataset = make_dataset(PatientID="T", SpecificCharacterSet="ISO_IR 100", PatientName="@" * len(raw))
    path = write_dataset(tmp_path / "name.dcm", dataset)
    padded_sets, padded_raw = (value + b" " * (len(value) % 2) for value in (sets.encode(), raw))
    data = path.read_bytes()
    field = b"@" * len(raw) + b" " * (len(raw) % 2)
    assert data.count(field) == 1
    old = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100"
    new = b"\x08\x00\x05\x00CS" + len(padded_sets).to_bytes(2, "little") + padded_sets
    path.write_bytes(data.replace(field, padded_raw).replace(old, new))
    done = subprocess.run(["dcmdump", "+U8", "+P", "PatientName", "-s", str(path)], capture_output=True, check=False)
    printed = done.stdout.decode()
    if done.returncode != 0 or "[" not in printed:
        pytest.skip(f"this DCMTK cannot convert {sets}")
    assert printed.split("[", 1)[1].rsplit("]", 1)[0] == name


def test_a_second_byte_that_looks_like_a_delimiter_does_not_split() -> None:
    # In GB18030 the second byte of 誠 is a backslash's and that of others a caret's.
    text = "誠^俓"
    assert b"\\" in text.encode("gb18030")
    assert decode_text(text.encode("gb18030"), ("GB18030",), "LO") == (text,)


def test_a_delimiter_brings_the_first_character_set_back() -> None:
    """PS3.5 6.1.2.5.3: what an escape sequence designated ends at the next delimiter."""
    raw = b"\x1b$)A\xd5\xc5^J\xe9r\xf4me"
    assert decode_text(raw, ("ISO 2022 IR 100", "ISO 2022 IR 58"), "PN") == ("张^Jérôme",)


def test_values_are_split_and_stripped() -> None:
    assert decode_text(b"A \\ B\0", (), "LO") == ("A", "B")
    assert decode_text(b"A\\B", (), "ST") == ("A\\B",)


def test_undeclared_text_is_utf_8_where_it_is_valid_and_latin_1_else() -> None:
    assert decode_text("Jérôme".encode(), (), "PN") == ("Jérôme",)
    assert decode_text("Jérôme".encode("latin-1"), (), "PN") == ("Jérôme",)


@pytest.mark.parametrize(
    ("term", "raw", "name"),
    [
        ("ISO 2022 IR 149", "홍^길동".encode("euc_kr"), "홍^길동"),  # without the escape sequence that belongs there
        ("ISO 2022 IR 58", "张^三".encode("gb2312"), "张^三"),
        ("ISO 2022 IR 149", b"\x1b$)C" + "홍".encode("euc_kr") + b"^\x1b$)C" + "길동".encode("euc_kr"), "홍^길동"),
        ("ISO-IR 144", "Люкс^Борис".encode("iso8859-5"), "Люкс^Борис"),
        ("iso_ir 144", "Люкс".encode("iso8859-5"), "Люкс"),
        ("ISO 2022 IR 100", "Müller".encode("latin-1"), "Müller"),
        ("ISO_IR_192", "Müller张".encode(), "Müller张"),
        ("gb18030", "张^三".encode("gb18030"), "张^三"),
        ("WINDOWS-1251", "Люкс".encode("cp1251"), "⟨0xCB⟩⟨0xFE⟩⟨0xEA⟩⟨0xF1⟩"),  # rather than another name
    ],
)
def test_a_misspelt_or_unknown_character_set_gives_no_other_name(term: str, raw: bytes, name: str) -> None:
    assert decode_text(raw, [term], "PN") == (name,)


def test_what_cannot_be_decoded_is_spelled_out() -> None:
    assert decode_text(b"A\xffB", ("ISO_IR 192",), "PN") == ("A⟨0xFF⟩B",)


@pytest.mark.reliability
def test_invisible_and_reordering_characters_are_spelled_out() -> None:
    assert visible("a\0b\x1bc") == "a␀b␛c"
    assert visible("abc\u202egnp") == "abc⟨U+202E⟩gnp"
    assert visible("\u200fX\u2066Y\ufeff") == "⟨U+200F⟩X⟨U+2066⟩Y⟨U+FEFF⟩"


@given(
    st.binary(max_size=200),
    st.sampled_from([row[1] for row in EXAMPLES] + ["", "nonsense"]),
    st.sampled_from(["PN", "LO", "UT", "CS"]),
)
def test_any_bytes_give_visible_text(raw: bytes, sets: str, representation: str) -> None:
    for text in decode_text(raw, sets.split("\\"), representation):
        assert not any(ord(character) < 0x20 or 0x202A <= ord(character) <= 0x202E for character in text)
