r"""Text in the character set that the file declares (PS3.5 6.1 and annexes H to K).

Names are identity: a wrong character can be a wrong person. Code extensions
(ISO 2022 escape sequences) are followed byte by byte with the state that the
standard describes, because libraries that hand whole values to one codec get
the standard's own example for ``\ISO 2022 IR 58`` wrong. What cannot be decoded
or seen (NUL, control characters, direction overrides) is spelled out, so that it
can neither hide nor reorder what the reader sees.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence

from medviewer.domain.hidden_characters import is_hidden

MAX_TEXT_BYTES = 10_240
_SPELL_OUT = "medviewer.spell_out"

# PS3.3 C.12.1.1.2, tables C.12-2 to C.12-5: defined term -> Python codec of the upper half (or of the whole).
_CODECS = {
    "": "",
    "IR 6": "",
    "IR 100": "latin-1",
    "IR 101": "iso8859-2",
    "IR 109": "iso8859-3",
    "IR 110": "iso8859-4",
    "IR 144": "iso8859-5",
    "IR 127": "iso8859-6",
    "IR 126": "iso8859-7",
    "IR 138": "iso8859-8",
    "IR 148": "iso8859-9",
    "IR 203": "iso8859-15",
    "IR 13": "shift_jis",
    "IR 166": "tis-620",
    # Only to be reached by escape sequences, which some writers leave out.
    "IR 149": "euc_kr",
    "IR 58": "gb2312",
    "IR 87": "",
    "IR 159": "",
}
_TWO_BYTES = frozenset({"euc_kr", "gb2312"})
# These use bytes of every value in their second place, so they are decoded whole, before values are split.
_WHOLE = {"IR 192": "utf-8", "GB18030": "gb18030", "GBK": "gbk"}
_UNKNOWN = "unknown"  # declared, but no character set that the standard knows
_TERM = re.compile(r"(?:ISO[ _-]*)?(?:2022[ _-]*)?IR[ _-]*(\d+)")

# Escape sequence -> (which half it designates, codec, bytes per character).
_ESCAPES: dict[bytes, tuple[str, str, int]] = {
    b"\x1b(B": ("G0", "ascii", 1),
    b"\x1b(J": ("G0", "shift_jis", 1),
    b"\x1b)I": ("G1", "shift_jis", 1),
    b"\x1b$B": ("G0", "jisx0208", 2),
    b"\x1b$(D": ("G0", "jisx0212", 2),
    b"\x1b$)C": ("G1", "euc_kr", 2),
    b"\x1b$)A": ("G1", "gb2312", 2),
    b"\x1b-A": ("G1", "latin-1", 1),
    b"\x1b-B": ("G1", "iso8859-2", 1),
    b"\x1b-C": ("G1", "iso8859-3", 1),
    b"\x1b-D": ("G1", "iso8859-4", 1),
    b"\x1b-L": ("G1", "iso8859-5", 1),
    b"\x1b-G": ("G1", "iso8859-6", 1),
    b"\x1b-F": ("G1", "iso8859-7", 1),
    b"\x1b-H": ("G1", "iso8859-8", 1),
    b"\x1b-M": ("G1", "iso8859-9", 1),
    b"\x1b-b": ("G1", "iso8859-15", 1),
    b"\x1b-T": ("G1", "tis-620", 1),
}
_ESCAPE = re.compile(rb"(\x1b\$?[()\-]?[A-Za-z])")
# PS3.5 6.1.2.5.3: after these the character sets of the first value hold again.
_RESETS = {"PN": b"\\^=\t\n\f\r", "": b"\\\t\n\f\r"}
_UNSPLIT_VRS = frozenset({"LT", "ST", "UT"})
_CONTROL_PICTURES = 0x2400


def _spell_out(error: UnicodeError) -> tuple[str, int]:
    """Stand in for bytes that no codec reads; unlike Python's escapes it has no backslash, which splits values."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(f"⟨0x{byte:02X}⟩" for byte in error.object[error.start : error.end]), error.end


codecs.register_error(_SPELL_OUT, _spell_out)


def decode_text(value: bytes, character_sets: Sequence[str], representation: str) -> tuple[str, ...]:
    """Give the values of a text element as the reader may see them.

    Args:
        value: the element's bytes.
        character_sets: the values of Specific Character Set (0008,0005).
        representation: the element's VR; LT, ST and UT have one value, the others
            are split at backslashes.

    Returns:
        One string a value, without padding; control characters are made visible.
    """
    text = _decode(value[:MAX_TEXT_BYTES], character_sets, representation)
    parts = [text] if representation in _UNSPLIT_VRS else text.split("\\")
    return tuple(visible(part.strip(" \0")) for part in parts)


def decode_paragraphs(value: bytes, character_sets: Sequence[str]) -> str:
    """Give a text of one value (LT, ST, UT) of any length with its line breaks; tabs become spaces.

    As in :func:`decode_text` all other control characters are made visible.
    """
    text = _decode(value, character_sets, "UT").rstrip(" \0\r\n")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n").expandtabs(4).split("\n")
    return "\n".join(visible(line) for line in lines)


def visible(text: str) -> str:
    """Spell out what would be invisible or would reorder its neighbours: NUL as ␀, U+202E as ⟨U+202E⟩."""
    if text.isprintable():
        return text
    return "".join(_visible_character(character) for character in text)


def _visible_character(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(_CONTROL_PICTURES + code)
    return f"⟨U+{code:04X}⟩" if is_hidden(character) else character


def _decode(value: bytes, character_sets: Sequence[str], representation: str) -> str:
    if representation in ("CS", "DA", "TM", "DT", "AS", "UI", "IS", "DS"):
        return value.decode("ascii", _SPELL_OUT)  # not subject to (0008,0005): PS3.5 6.1.2.2
    first = _term(character_sets[0]) if character_sets else ""
    whole = _WHOLE.get(first)
    if whole is not None:
        return value.decode(whole, _SPELL_OUT)
    default = _CODECS.get(first, _UNKNOWN)
    if b"\x1b" not in value:
        return _decode_upper(value, default)
    return _decode_extended(value, default, _RESETS["PN" if representation == "PN" else ""])


def _term(written: str) -> str:
    """The number of a character set as the standard counts it, however the writer spelled the defined term."""
    upper = written.strip().upper()
    match = _TERM.fullmatch(upper)
    return f"IR {int(match[1])}" if match else re.sub(r"[ _-]", "", upper)


def _decode_upper(value: bytes, codec: str) -> str:
    """Decode bytes with one codec; without one, what is valid UTF-8 is that.

    The rest is Latin-1 where the file declares nothing; where it declares what nobody
    knows, a guess could be another person's name, so the bytes are spelled out.
    """
    if codec not in ("", _UNKNOWN):
        return value.decode(codec, _SPELL_OUT)
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("ascii", _SPELL_OUT) if codec == _UNKNOWN else value.decode("latin-1")


def _decode_extended(value: bytes, default: str, resets: bytes) -> str:
    """Follow the escape sequences: G0 holds the bytes below 0x80, G1 those above."""
    ascii_half, upper_half = ("ascii", 1), (default, 2 if default in _TWO_BYTES else 1)
    g0, g1 = ascii_half, upper_half
    out: list[str] = []
    for part in _ESCAPE.split(value):
        designation = _ESCAPES.get(part)
        if designation is not None:
            half, codec, width = designation
            if half == "G0":
                g0 = (codec, width)
            else:
                g1 = (codec, width)
            continue
        position = 0
        while position < len(part):
            byte = part[position]
            if g0[1] == 1 and byte in resets:
                g0, g1 = ascii_half, upper_half
            codec, width = g0 if byte < 0x80 else g1
            out.append(_decode_character(part[position : position + width], codec))
            position += width
    return "".join(out)


def _decode_character(code: bytes, codec: str) -> str:
    if codec in ("jisx0208", "jisx0212"):
        upper = bytes(byte | 0x80 for byte in code)
        prefix = b"\x8f" if codec == "jisx0212" else b""
        return (prefix + upper).decode("euc_jp", _SPELL_OUT)
    return _decode_upper(code, codec)
