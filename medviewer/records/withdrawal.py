"""What its source takes back or corrects leaves the record, however long ago it came; what another says stays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import fields, replace
from typing import Any, Literal, TypeAlias, TypeVar

from medviewer.domain.case import Observation, is_whole_day
from medviewer.records import origin
from medviewer.records.record import Allergy, Condition, Medication, PatientRecord, TextResult, parse_moment, with_zone

Dated: TypeAlias = Allergy | Condition | Medication | Observation | TextResult
Result = TypeVar("Result", Observation, TextResult)

STATES = ("status", "clinical_status", "ended", "stated")
"""What later accounts of one fact may say differently."""


def still_stated(existing: PatientRecord, incoming: PatientRecord, name: str) -> tuple[Any, ...] | None:
    """Allergies, problems or medicines that an import does not take back; "none known" is never what is left."""
    known: tuple[Any, ...] | None = getattr(existing, name)
    if known == ():
        return None if name in incoming.unsaid else known
    if known is None or not (incoming.withdrawn or incoming.deleted):
        return known
    facts = _Facts(known, getattr(incoming, name) or (), _what)
    facts.take_back(incoming)
    return tuple(facts.kept.values()) or None


def still_said(existing: tuple[Result, ...], incoming: PatientRecord) -> tuple[Result, ...]:
    """The results that an import neither takes back nor corrects; what it says again comes back with the others.

    A correction whose resource is not known here means the one value of its moment: of several (of two arms) all stay.
    """
    if not (incoming.withdrawn or incoming.deleted or incoming.corrected or incoming.misplaced):
        return existing
    facts = _Facts(existing, (*incoming.observations, *incoming.text_results), _value)
    facts.take_back(incoming)
    for early in incoming.misplaced:
        facts.drop(place for place in facts.alike(early) if not facts.kept[place].origin)
    unknown: dict[Hashable, Dated] = {}
    for new in incoming.corrected:
        if own := facts.versions_of(new):
            facts.take((place for place in own if not facts.is_said_again(place)), new.origin)
        elif isinstance(new, Observation):  # of words there are several: each germ of a culture
            unknown[_measured(new)] = new
    said = facts.kept.values()
    counts = Counter(map(_measured, said))

    def is_replaced(one: Result) -> bool:
        new = unknown.get(_measured(one))
        return new is not None and counts[_measured(one)] == 1 and not origin.differ(one.origin, new.origin)

    return tuple(one for one in said if not is_replaced(one))


def is_same_resource(one: Any, other: Any, *, by: Literal["any", "place"] = "any") -> bool:
    """Whether two facts are versions of one resource: by a name (or place) that they share, and what they are about.

    A name that others may have given too (a plain number) counts only for one moment.
    """
    if not (getattr(one, "origin", "") and getattr(other, "origin", "")):
        return False
    shared = origin.shared_names(one.origin, other.origin)
    if by == "place":
        shared = set(filter(origin.is_place, shared))
    is_sure = any(map(origin.is_unique, shared)) or (bool(shared) and _moment(one) == _moment(other))
    return is_sure and not _subjects(one).isdisjoint(_subjects(other))


def plain(text: str) -> str:
    """Words without what does not tell them apart."""
    return " ".join(text.casefold().split())


class _Facts:
    """Facts of one kind of which some are taken away, by their resources or by what they say."""

    def __init__(self, existing: Iterable[Any], stated: Iterable[Any], content: Callable[[Any], Hashable]) -> None:
        self.kept: dict[int, Any] = dict(enumerate(existing))
        self._content = content
        self._stated = _by_name(enumerate(stated := tuple(stated)))
        self._said = set(map(content, stated))
        self._by_name = _by_name(self.kept.items())
        self._by_content: dict[Hashable, list[int]] = {}
        for place, fact in self.kept.items():
            self._by_content.setdefault(content(fact), []).append(place)
        self._kinds = {_kind(fact) for fact in self.kept.values()}

    def take_back(self, incoming: PatientRecord) -> None:
        for gone in (one for one in incoming.withdrawn if _kind(one) in self._kinds):
            names = origin.keys(gone.origin)
            if any(is_same_resource(one, gone) for name in names for _, one in self._stated.get(name, ())):
                continue  # a newer version of it is in the same import
            if own := self.versions_of(gone):
                self.take(own, gone.origin)
            else:
                self.drop(self._meant(gone))
        for place_of in incoming.deleted:
            found = self._named(place_of)
            self.take((one for one in found if origin.shared_names(self.kept[one].origin, place_of)), place_of)

    def versions_of(self, new: Dated) -> list[int]:
        """The facts of the resource, by where it lies; else the one that shares an identifier with it."""
        found = self._named(new.origin)
        lie_there = [place for place in found if is_same_resource(self.kept[place], new, by="place")]
        identified = [place for place in found if is_same_resource(self.kept[place], new)]
        return lie_there or (identified if len(identified) == 1 else [])

    def alike(self, gone: Dated) -> list[int]:
        """What says the same and may be of the same resource; nothing that the import says again."""
        content = self._content(gone)
        found = self._by_content.get(content, ()) if content not in self._said else ()
        return [place for place in found if place in self.kept and self._may_be_of(place, gone.origin)]

    def is_said_again(self, place: int) -> bool:
        """Whether the import says the very same of the same resource."""
        fact = self.kept[place]
        versions = (one for name in origin.keys(fact.origin) for _, one in self._stated.get(name, ()))
        return any(self._content(one) == self._content(fact) and is_same_resource(one, fact) for one in versions)

    def take(self, places: Iterable[int], gone: str) -> None:
        """A resource takes facts back; what another states stays."""
        for place in tuple(places):
            left = origin.without(self.kept[place].origin, gone)
            if left:
                self.kept[place] = replace(self.kept[place], origin=left)
            else:
                del self.kept[place]

    def drop(self, places: Iterable[int]) -> None:
        for place in tuple(places):
            del self.kept[place]

    def _meant(self, gone: Dated) -> list[int]:
        """What a withdrawal means by its words alone: of two accounts neither, unless one says the very same."""
        found = self.alike(gone)
        if len(found) < 2 or _kind(gone) is Observation:  # one value of one moment is one, however often it is said
            return found
        same = [place for place in found if without(self.kept[place], *STATES) == without(gone, *STATES)]
        return same if len(same) == 1 else []

    def _may_be_of(self, place: int, gone: str) -> bool:
        own: str = self.kept[place].origin
        return not origin.differ(own, gone) and len(own.splitlines()) < 2

    def _named(self, gone: str) -> list[int]:
        found = {place for name in origin.keys(gone) for place, _ in self._by_name.get(name, ())}
        return sorted(place for place in found if place in self.kept)


def _by_name(facts: Iterable[tuple[int, Any]]) -> dict[str, list[tuple[int, Any]]]:
    found: dict[str, list[tuple[int, Any]]] = {}
    for place, fact in facts:
        for name in origin.keys(fact.origin):
            found.setdefault(name, []).append((place, fact))
    return found


def _kind(fact: Dated) -> type:
    return Observation if isinstance(fact, TextResult) else type(fact)


def _subjects(fact: Dated) -> set[str]:
    """What the fact is of: its code; of what has a state its words too."""
    if isinstance(fact, Observation | TextResult):
        return {fact.code or fact.display}
    return {fact.code, plain(fact.text)} - {""}


def _moment(fact: Dated) -> Hashable:
    if isinstance(fact, Observation):
        return "day" if is_whole_day(fact.time) else "time", with_zone(fact.time)
    if isinstance(fact, TextResult):
        parsed = parse_moment(fact.time)
        return (parsed[1], with_zone(parsed[0])) if parsed is not None else fact.time
    return fact.onset if isinstance(fact, Condition) else fact.started if isinstance(fact, Medication) else ""


def _what(fact: Allergy | Condition | Medication) -> Hashable:
    return fact.code, plain(fact.text), _moment(fact)


def _measured(result: Observation | TextResult) -> Hashable:
    """What was measured, and when; never the same of a number and of words."""
    return isinstance(result, Observation), result.code or result.display, _moment(result)


def _value(result: Observation | TextResult) -> Hashable:
    found = plain(result.text) if isinstance(result, TextResult) else (result.value, result.unit)
    return _measured(result), found


def without(fact: Any, *names: str) -> Hashable:
    """What a fact says, but for some of its fields and for who says it."""
    return tuple(getattr(fact, field.name) for field in fields(fact) if field.compare and field.name not in names)
