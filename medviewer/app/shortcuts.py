"""Which keys ask for which command: the table's own, changed by the reader.

A *place* is what keys can be given to: a command by its id (``view.fit``), or one of the
choices that it is offered with (``view.preset#3``). The reader's changes are kept as
place -> key sequences, only where they differ from the table. No sequence has two places.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the table uses this module
    from medviewer.app.commands import Command

log = logging.getLogger(__name__)

Keys = tuple[str, ...]
Changes = Mapping[str, Keys]
"""Place -> the sequences that the reader gave it; an empty tuple takes all keys away."""

NO_CHANGES: Changes = MappingProxyType({})
MOST_KEYS = 4  # of one place
_MODIFIERS = ("Meta", "Ctrl", "Alt", "Shift")  # in the order in which Qt writes them
_NAMED = {
    name.casefold(): name
    for name in (
        "Esc", "Tab", "Backtab", "Backspace", "Return", "Enter", "Ins", "Del", "Pause", "Home", "End", "Left", "Up",
        "Right", "Down", "PgUp", "PgDown", "Space", "Menu", *(f"F{n}" for n in range(1, 25)),
    )
}  # fmt: skip


def normal_keys(keys: str) -> str:
    """One key with its modifiers, as Qt writes it; "" for what no shortcut can be made of.

    >>> normal_keys("shift+ctrl+a"), normal_keys("Ctrl++"), normal_keys("Hyper+Q")
    ('Ctrl+Shift+A', 'Ctrl++', '')
    """
    rest, held = keys.strip(), set()
    while found := re.match(r"(?i)(meta|ctrl|alt|shift)\+(?=.)", rest):
        held.add(found[1].capitalize())
        rest = rest[found.end() :]
    is_character = len(rest) == 1 and rest.isprintable() and not rest.isspace()
    one = rest.upper() if len(rest.upper()) == 1 else rest  # "ß" has no capital of one letter
    key = one if is_character else _NAMED.get(rest.casefold(), "")
    return "+".join([*(m for m in _MODIFIERS if m in held), key]) if key else ""


def places(table: Mapping[str, Command]) -> Iterator[tuple[str, Keys]]:
    """Every place of the table with its own keys."""
    for row in table.values():
        if not row.needs_argument:
            yield row.id, tuple(k for k in (row.shortcut, *row.more_shortcuts) if k)
        for number, choice in enumerate(row.choices):
            yield choice_place(row.id, number), (choice.shortcut,) if choice.shortcut else ()


def choice_place(command_id: str, number: int) -> str:
    """The place of a command's choice."""
    return f"{command_id}#{number}"


def keys_in_use(table: Mapping[str, Command], changes: Changes) -> dict[str, Keys]:
    """Every place with the keys that it has now."""
    return {place: changes.get(place, own) for place, own in places(table)}


def with_changes(table: Mapping[str, Command], changes: Changes) -> dict[str, Command]:
    """The table with the reader's keys: what menus, tool tips, palette and help are made from."""
    made = dict(table)
    for place, keys in changes.items():
        command_id, _, number = place.partition("#")
        first, *more = keys or ("",)
        row = made[command_id]
        if number:
            choices = list(row.choices)
            choices[int(number)] = replace(choices[int(number)], shortcut=first)
            made[command_id] = replace(row, choices=tuple(choices))
        else:
            made[command_id] = replace(row, shortcut=first, more_shortcuts=tuple(more))
    return made


def owner_of(table: Mapping[str, Command], changes: Changes, keys: str) -> str:
    """The place that has this sequence now; "" if it is free."""
    wanted = normal_keys(keys)
    return next((place for place, has in keys_in_use(table, changes).items() if wanted in _normal(has)), "")


def give(table: Mapping[str, Command], changes: Changes, place: str, keys: Keys) -> Changes:
    """The changes after a place got these keys; whoever had one of them has it no longer."""
    taken = _normal(keys)
    changed = dict(changes)
    for other, has in keys_in_use(table, changes).items():
        left = tuple(k for k in has if normal_keys(k) not in taken)
        if other != place and left != has:
            changed[other] = left
    changed[place] = keys
    return _differing(table, changed)


def reset(table: Mapping[str, Command], changes: Changes, place: str) -> Changes:
    """The changes after a place got its own keys back, from whoever has them now."""
    return give(table, changes, place, dict(places(table))[place])


def checked(table: Mapping[str, Command], given: object) -> Changes:
    """What can be used of changes from a file: never an unknown place, unusable keys, or keys with two places."""
    own = dict(places(table))
    kept: dict[str, Keys] = {}
    dropped = 0
    for place, keys in given.items() if isinstance(given, Mapping) else ():
        if place not in own or not isinstance(keys, list | tuple):
            dropped += 1
            continue
        usable = tuple(dict.fromkeys(k for k in map(_usable, keys) if k))[:MOST_KEYS]
        dropped += len(keys) - len(usable)
        if usable or not keys:
            kept[place] = usable
    dropped += _drop_conflicts(own, kept)
    if dropped:
        log.info("%d entries of the shortcuts in the settings could not be used and were left out", dropped)
    return _differing(table, kept)


def _usable(keys: object) -> str:
    return normal_keys(keys) if isinstance(keys, str) else ""


def _drop_conflicts(own: Mapping[str, Keys], kept: dict[str, Keys]) -> int:
    """Let go of entries until no sequence has two places; says of how many."""
    dropped = 0
    while True:
        seen: dict[str, str] = {}
        for place, keys in {**own, **kept}.items():
            for key in _normal(keys):
                before = seen.setdefault(key, place)
                if before != place:
                    # One of the two is not the table's own, as the table has no conflict.
                    del kept[place if place in kept else before]
                    dropped += 1
                    break
            else:
                continue
            break
        else:
            return dropped


def _differing(table: Mapping[str, Command], changes: Changes) -> Changes:
    own = dict(places(table))
    return MappingProxyType({p: keys for p, keys in changes.items() if _normal(keys) != _normal(own[p])})


def _normal(keys: Keys) -> Keys:
    return tuple(normal_keys(k) for k in keys)
