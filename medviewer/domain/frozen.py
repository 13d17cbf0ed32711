"""``dataclass`` as the standard library's, whose methods are made when they are first used.

The program has some hundreds of frozen dataclasses, and the standard library compiles six methods of each while it is
imported: a sixth of the time to the first image went into methods of which most are never called
(``docs/decisions/0026-a-window-that-opens-soon.md``). ``dataclass`` of this module leaves the fields, the slots and all
that :mod:`dataclasses` knows of a class to the standard library, and puts a placeholder where each method would be,
which makes the very method when it is first looked up. Type checkers are shown the standard one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

_WANTED = {"__repr__": "repr", "__eq__": "eq", "__hash__": "unsafe_hash"}
"""The methods that the standard makes later, and its parameter that asks for each."""

_TAKEN = frozenset({"self", "__set__", "__factory__"})  # names that ``__init__`` has for itself


class _Factory:
    """The default of a field that has a factory, as signatures show it."""

    def __repr__(self) -> str:
        return "<factory>"


_FACTORY = _Factory()


@dataclasses.dataclass(frozen=True, slots=True)
class _Compared:
    """What all classes share: how their copies travel, and what is known of how they were made."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Identical:
    """The same for classes of which two are equal only if they are one."""


class _Later:
    """Stands for a method until it is looked up; then that takes its place."""

    __slots__ = ("_name", "_owner")

    def __init__(self, owner: type, name: str) -> None:
        self._owner = owner
        self._name = name

    def __get__(self, instance: object, asked: type | None = None) -> Any:
        method = _init(self._owner) if self._name == "__init__" else _made_by_standard(self._owner, self._name)
        setattr(self._owner, self._name, method)  # two threads may both do so: either method will do
        return method.__get__(instance, asked)


def _init(owner: Any) -> Any:
    """``__init__``, as the standard makes it of a frozen class; not by it, for it compiles two more methods with it."""
    outside: dict[str, Any] = {"__name__": owner.__module__, "__set__": object.__setattr__, "__factory__": _FACTORY}
    given, body = ["self"], []
    for field in dataclasses.fields(owner):
        name, value, default = field.name, field.name, f"__of_{field.name}__"
        if field.default_factory is not dataclasses.MISSING:
            outside[default] = field.default_factory
            value = f"{default}() if {name} is __factory__ else {name}" if field.init else f"{default}()"
            default = "__factory__"
        elif field.default is not dataclasses.MISSING:
            outside[default] = field.default
            value = name if field.init else default
        elif not field.init:
            continue  # the class itself sets it
        else:
            default = ""
        if field.init:
            given.append(f"{name}={default}" if default else name)
        body.append(f" __set__(self, {name!r}, {value})")
    if hasattr(owner, "__post_init__"):
        body.append(" self.__post_init__()")
    made: dict[str, Any] = {}
    exec(f"def __init__({', '.join(given)}):\n" + "\n".join(body or [" pass"]), outside, made)  # noqa: S102 - of names alone
    init = made["__init__"]
    init.__qualname__ = f"{owner.__qualname__}.__init__"
    init.__annotations__ = {field.name: field.type for field in dataclasses.fields(owner) if field.init} | {
        "return": None
    }
    return init


def _made_by_standard(owner: Any, name: str) -> Any:
    """Another method, as the standard makes it for a class with the same fields that is then forgotten."""
    fields = dataclasses.fields(owner)
    namespace: dict[str, Any] = {
        "__module__": owner.__module__,
        "__qualname__": owner.__qualname__,
        "__doc__": owner.__doc__,
        "__annotations__": {field.name: field.type for field in fields},
        **{field.name: field for field in fields},
    }
    wanted = {"init": False, "repr": False, "eq": False, "match_args": False, _WANTED[name]: True}
    made: type = dataclasses.dataclass(**wanted)(type(owner.__name__, (), namespace))
    return vars(made)[name]


def _refuse_to_set(_self: object, name: str, _value: object) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(_self: object, name: str) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _frozen(cls: type, *, eq: bool) -> type:
    """The class with its fields and slots, and its methods still to be made."""
    cls.__doc__ = cls.__doc__ or cls.__name__  # else the standard would work out a signature for it
    has_hash = "__hash__" in cls.__dict__ and not (cls.__dict__["__hash__"] is None and "__eq__" in cls.__dict__)
    made: Any = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True)(cls)
    like: Any = _Compared if eq else _Identical
    made.__dataclass_params__ = like.__dataclass_params__
    for name in ("__getstate__", "__setstate__"):
        if name not in made.__dict__:
            setattr(made, name, like.__dict__[name])
    made.__setattr__, made.__delattr__ = _refuse_to_set, _refuse_to_delete
    if set(made.__dataclass_fields__) != {field.name for field in dataclasses.fields(made) if not field.kw_only}:
        raise TypeError("Fields for __init__ alone, of the class or by keyword only are not made here.")
    if not _TAKEN.isdisjoint(made.__dataclass_fields__):
        raise TypeError(f"No field may be called {' or '.join(sorted(_TAKEN))} here.")
    for name in ("__init__", *_WANTED) if eq else ("__init__", "__repr__"):
        if not (has_hash if name == "__hash__" else name in made.__dict__):
            setattr(made, name, _Later(made, name))
    return made  # type: ignore[no-any-return]


def _dataclass(*, frozen: bool = False, slots: bool = False, eq: bool = True) -> Callable[[type], type]:
    """As :func:`dataclasses.dataclass`; other classes than frozen ones with slots, and heirs, are left to that."""

    def made(cls: type) -> type:
        if not (frozen and slots) or any(map(dataclasses.is_dataclass, cls.__mro__)):
            return dataclasses.dataclass(frozen=frozen, slots=slots, eq=eq)(cls)
        return _frozen(cls, eq=eq)

    return made


if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    dataclass = _dataclass

__all__ = ["dataclass"]
