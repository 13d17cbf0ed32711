"""Which resources of which sources state a fact: it leaves the record when all of them have taken it back.

An origin is text, as the store keeps it: one line a resource, with the names that it goes by. Such a name is where the
resource lies (``https://server/Observation/7``; ``Observation/7`` where no server is named) or one of its identifiers
(``system|value``). Empty where the source gave none, or an earlier version of the program did not keep it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def origin_of(names: Iterable[str]) -> str:
    """One resource, by the names that it goes by."""
    return " ".join(filter(None, dict.fromkeys("".join(name.split()) for name in names)))


def keys(origin: str) -> set[str]:
    """What two origins that share a name both have among theirs: to look facts up by."""
    return {"/".join(name.split("/")[-2:]) for name in origin.split()}


def shared_names(one: str, other: str) -> set[str]:
    """The names by which two origins hold the same resource; a place without its server is of any server."""
    ours, theirs = set(one.split()), set(other.split())
    both = {(a, b) for a in ours for b in theirs if a == b or a.endswith(f"/{b}") or b.endswith(f"/{a}")}
    return {max(pair, key=len) for pair in both}


def is_place(name: str) -> bool:
    """Whether the name says where a resource lies: it is no identifier, which a whole order may share."""
    return "|" not in name


def is_unique(name: str) -> bool:
    """Whether no other source can have given the name."""
    return is_place(name) and ("://" in name or bool(_UUID.fullmatch(name.rpartition("/")[2])))


def differ(one: str, other: str) -> bool:
    """Whether two origins are surely of different resources; names of different sorts cannot be compared."""
    return bool(_sorts(one) & _sorts(other)) and not shared_names(one, other)


def joined(older: str, newer: str) -> str:
    """The origin of a fact that both state."""
    return "\n".join(filter(None, (without(older, newer), newer)))


def without(origin: str, gone: str) -> str:
    """What is left of an origin when the resources of another have taken the fact back."""
    return "\n".join(line for line in origin.splitlines() if not shared_names(line, gone))


def _sorts(origin: str) -> set[str]:
    return {name.rpartition("|")[0] for name in origin.split()}
