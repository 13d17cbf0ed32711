"""Our ``dataclass`` is the standard one, made later: the same classes, the same methods, the same errors."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, field

import pytest

from medviewer.domain.frozen import _Later, dataclass
from tests import samples

DESCRIBE_ALL = """
import dataclasses, importlib, inspect, json, pkgutil, sys, warnings
warnings.simplefilter("ignore")
import medviewer.domain.frozen as frozen
if sys.argv[1] == "standard":
    frozen.dataclass = dataclasses.dataclass
import medviewer

MADE = ("__repr__", "__eq__", "__hash__", "__getstate__", "__setstate__")

def code(function):
    inner = inspect.unwrap(function) if callable(function) else None
    if not hasattr(inner, "__code__"):
        return repr(function)
    c = inner.__code__
    consts = [one.co_code.hex() if hasattr(one, "co_code") else repr(one) for one in c.co_consts]
    said = [c.co_code.hex(), consts, c.co_names, c.co_varnames, c.co_freevars, function.__qualname__]
    return [*said, str(inspect.signature(function)), {k: str(v) for k, v in inner.__annotations__.items()}]

def filled(cls):
    # What a new object holds, given what it must be given, and all that it may be given; a word where it refuses.
    seen = []
    parameters = inspect.signature(cls).parameters.values()
    for wanted in (lambda p: p.default is p.empty, lambda p: True):
        given = {p.name: f"given {p.name}" for p in parameters if wanted(p)}
        one = object.__new__(cls)
        try:
            cls.__init__(one, **given)
        except Exception as error:  # of __post_init__
            seen.append(type(error).__name__)
        seen.append({f.name: told(f, getattr(one, f.name, "nothing")) for f in dataclasses.fields(cls)})
    return seen

def told(field, value):
    # A factory may give the time.
    return repr(value) if field.default_factory is dataclasses.MISSING else [type(value).__name__, value == f"given {field.name}"]

def described(cls):
    init = cls.__init__
    return {
        "init": [init.__qualname__, init.__name__, {k: str(v) for k, v in init.__annotations__.items()}, filled(cls)],
        "fields": [repr(field) for field in dataclasses.fields(cls)],
        "names": sorted(vars(cls)),
        "slots": cls.__slots__ if "__slots__" in vars(cls) else None,
        "match": cls.__match_args__,
        "params": repr(cls.__dataclass_params__),
        "doc": "" if cls.__doc__ == cls.__name__ or cls.__doc__.startswith(cls.__name__ + "(") else cls.__doc__,
        "signature": str(inspect.signature(cls)),
        "methods": {name: code(getattr(cls, name, None)) for name in MADE},
        "own hash": vars(cls).get("__hash__", "inherited") is None,
    }

found = {}
for module in pkgutil.walk_packages(medviewer.__path__, "medviewer."):
    if module.name.endswith("__main__") or module.name == frozen.__name__:
        continue
    try:
        here = importlib.import_module(module.name)
    except ImportError:
        continue
    for name, thing in vars(here).items():
        if isinstance(thing, type) and dataclasses.is_dataclass(thing) and thing.__module__ == module.name:
            found[f"{module.name}.{name}"] = described(thing)
print(json.dumps(found))
"""


def all_described(how: str) -> Mapping[str, object]:
    done = subprocess.run(
        [sys.executable, "-P", "-c", DESCRIBE_ALL, how],
        cwd=samples.ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},  # sets among the defaults are written in one order
        capture_output=True,
        text=True,
        check=True,
    )
    described: Mapping[str, object] = json.loads(re.sub(r" at 0x[0-9A-Fa-f]+", "", done.stdout))
    return described


@pytest.mark.slow
def test_every_class_of_the_program_is_what_the_standard_would_have_made() -> None:
    """Fields, signatures, what a new object holds, and the very byte code of the methods beside ``__init__``."""
    ours, standard = all_described("ours"), all_described("standard")
    assert len(ours) > 350
    assert ours.keys() == standard.keys()
    for name, one in ours.items():
        assert one == standard[name], name


def test_what_no_class_of_the_program_has_is_refused() -> None:
    with pytest.raises(TypeError, match="not made here"):

        @dataclass(frozen=True, slots=True)
        class _Named:
            x: int = field(kw_only=True)

    with pytest.raises(TypeError, match="not made here"):

        @dataclass(frozen=True, slots=True)
        class _Seeded:
            x: int
            seed: dataclasses.InitVar[int]


@pytest.mark.parametrize("name", ["self", "__set__", "__factory__"])
def test_a_field_may_not_have_a_name_that_methods_need(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        dataclass(frozen=True, slots=True)(type("Taken", (), {"__annotations__": {name: int}}))


def test_a_class_that_says_that_it_has_no_hash_has_none() -> None:
    @dataclass(frozen=True, slots=True)
    class Unhashable:
        value: int
        __hash__ = None  # type: ignore[assignment]

    with pytest.raises(TypeError, match="unhashable"):
        hash(Unhashable(1))


def test_the_program_knows_one_dataclass() -> None:
    modules = [path for path in (samples.ROOT / "medviewer").rglob("*.py") if path.name != "frozen.py"]
    other = re.compile(r"from dataclasses import .*\bdataclass\b|dataclasses\.dataclass")
    assert [path.name for path in modules if other.search(path.read_text(encoding="utf-8"))] == []


@dataclass(frozen=True, slots=True)
class Point:
    """Where something is."""

    x: float
    y: float = 0.0
    tags: tuple[str, ...] = field(default_factory=tuple)
    note: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Only:
    """One of its kind."""

    x: int


@dataclass(frozen=True, slots=True)
class Even:
    """Refuses what is odd, and is told by its half."""

    x: int
    half: int = field(init=False)

    def __post_init__(self) -> None:
        if self.x % 2:
            raise ValueError("odd")
        object.__setattr__(self, "half", self.x // 2)

    def __repr__(self) -> str:
        return f"2 x {self.half}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Even) and self.half == other.half

    def __hash__(self) -> int:
        return hash(self.half)


@dataclass(frozen=True, slots=True)
class Heir(Point):
    """A point with a height."""

    z: float = 1.0


class Named(Point):
    """An heir that is no dataclass of its own."""


@dataclass(slots=True)
class Changing:
    """Not frozen."""

    x: int = 1


def test_methods_are_made_when_they_are_first_used() -> None:
    @dataclass(frozen=True, slots=True)
    class Fresh:
        """Never used before."""

        x: int

    assert all(isinstance(vars(Fresh)[name], _Later) for name in ("__init__", "__repr__", "__eq__", "__hash__"))
    one = Fresh(1)
    assert inspect.isfunction(vars(Fresh)["__init__"])
    assert isinstance(vars(Fresh)["__eq__"], _Later)
    assert one == Fresh(1)
    assert inspect.isfunction(vars(Fresh)["__eq__"])


def test_an_object_is_made_compared_shown_and_counted_as_one() -> None:
    assert Point(1, tags=("a",)) == Point(1.0, 0, ("a",), "other")
    assert Point(1) != Point(2)
    assert Point(1) != (1, 0.0, (), "")
    assert len({Point(1), Point(1), Point(2)}) == 2
    assert repr(Point(1)) == "Point(x=1, y=0.0, tags=())"
    assert str(inspect.signature(Point)).startswith("(x: 'float', y: 'float' = 0.0,")
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        Point()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        Point(1, w=2)  # type: ignore[call-arg]
    match Point(3, 4):
        case Point(x, y):
            assert (x, y) == (3, 4)


def test_nothing_is_assigned_or_deleted() -> None:
    one = Point(1)
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'x'"):
        one.x = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError, match="cannot delete field 'x'"):
        del one.x
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'w'"):
        one.w = 2  # type: ignore[attr-defined]
    assert one.x == 1
    assert not hasattr(one, "__dict__")


def test_the_standard_library_knows_it() -> None:
    one = Point(1, tags=("a",))
    assert dataclasses.is_dataclass(Point)
    assert [known.name for known in dataclasses.fields(one)] == ["x", "y", "tags", "note"]
    assert dataclasses.replace(one, y=5) == Point(1, 5, ("a",))
    assert dataclasses.asdict(one) == {"x": 1, "y": 0.0, "tags": ("a",), "note": ""}
    for twin in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):  # noqa: S301 - our own bytes
        assert twin == one
        assert twin is not one


def test_what_a_class_says_itself_counts() -> None:
    assert repr(Even(4)) == "2 x 2"
    assert Even(4) == Even(4)
    assert hash(Even(4)) == hash(2)
    with pytest.raises(ValueError, match="odd"):
        Even(3)


def test_identity_where_equality_was_not_wanted() -> None:
    one = Only(1)
    assert one != Only(1)
    assert one == one  # noqa: PLR0124 - that is the point
    assert len({one, Only(1)}) == 2
    with pytest.raises(FrozenInstanceError):
        one.x = 2  # type: ignore[misc]


def test_heirs() -> None:
    assert Heir(1, z=2) == Heir(1, z=2)
    assert Heir(1) != Point(1)
    assert repr(Named(1)) == "Named(x=1, y=0.0, tags=())"
    assert Named(1) == Named(1)
    with pytest.raises(FrozenInstanceError):
        Heir(1).z = 3  # type: ignore[misc]
    changing = Changing()
    changing.x = 2
    assert changing == Changing(2)
