# SPDX-License-Identifier: GPL-2.0-or-later
"""Observers in the reference engine: around functions, behind stores, at events (lang.program.observe says when each runs).

In native code the calls are part of the functions. Here the linked functions are wrapped, so an unobserved run pays nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from softnet.image.image import Image
from softnet.lang.intrinsics import PLACE_INTRINSICS, PLACE_SECOND
from softnet.lang.program.observe import Around, Observers, observers_of

LOADS = ("READ_ONCE", "data_race", "smp_load_acquire", "atomic_read", "test_bit")


def observe(image: Image, polls: Sequence[str] = ()) -> Callable[[], None] | None:
    """Make the linked functions of an image call its observers; what to call before each switch to a context."""
    linked, hooks = image.linked, observers_of(image.program, polls)
    for name, around in hooks.around.items():
        if image.program.functions[name].kind == "hwfunc":
            linked.machine[name] = _wrapped(image, linked.machine[name], around)
            linked.kernel[name] = linked.interaction(linked.machine[name])
        else:
            linked.kernel[name] = _wrapped(image, linked.kernel[name], around)
        linked.functions[linked.function_ids[name]] = linked.kernel[name]
    for space in (linked.kernel, linked.machine):
        space["trace"] = _traced(space["trace"], {e: linked.observers[o] for e, o in hooks.event.items()})
    _watch_stores(image, hooks)
    return linked.observers.get(hooks.before_switch)


def _plain(image: Image, value: Any) -> Any:
    """A kernel function's argument as observers see it."""
    return value if value is None or isinstance(value, int) else image.linked.plain[value._name](value._a)


def _wrapped(image: Image, inner: Callable[..., Any], around: Around) -> Callable[..., Any]:
    observers = image.linked.observers
    enter, leave = observers.get(around.enter), observers.get(around.leave)

    def observed(*args: Any) -> Any:
        seen = [_plain(image, value) for value in args]
        token = 0
        if enter is not None:
            token = enter(*seen[: around.enter_arguments])
        result = inner(*args)
        if leave is not None:
            told = ([token or 0] if around.token else []) + ([_plain(image, result)] if around.result else [])
            leave(*told, *seen[: around.leave_arguments])
        return result

    observed.__name__ = inner.__name__
    observed.__doc__ = inner.__doc__
    return observed


def _traced(inner: Callable[..., Any], observers: dict[str, Callable[..., Any]]) -> Callable[..., Any]:
    def trace(name: str, *args: Any) -> None:
        inner(name, *args)
        observer = observers.get(name)
        if observer is not None:
            told = [value if isinstance(value, int) else 0 if value is None else value._a for value in args]
            observer(*(*told, 0, 0, 0)[:3])

    return trace


def _watch_stores(image: Image, hooks: Observers) -> None:
    """Properties of the structures' classes, and the intrinsics that reach a field as object and name."""
    linked = image.linked
    observers = {field: linked.observers[name] for field, name in hooks.stored.items()}
    if not observers:
        return
    for field, observer in observers.items():
        struct, _, name = field.partition(".")
        _watch_field(linked.structs[struct], name, observer)

    def watched(inner: Callable[..., Any], first: int) -> Callable[..., Any]:
        def intrinsic(*args: Any) -> Any:
            result = inner(*args)
            p, f = args[first], args[first + 1]
            if not isinstance(f, int):
                observer = observers.get(f"{p._name}.{f}")
                if observer is not None:
                    observer(p._a + p._off[f])
            return result

        return intrinsic

    for names, first in ((PLACE_INTRINSICS, 0), (PLACE_SECOND, 1)):
        for name in names:
            if name not in LOADS:
                for space in (linked.kernel, linked.machine):
                    space[name] = watched(space[name], first)


def _watch_field(cls: Any, field: str, observer: Callable[[int], None]) -> None:
    plain, offset = cls.__dict__[field], cls._off[field]

    def store(ref: Any, value: Any) -> None:
        plain.fset(ref, value)
        observer(ref._a + offset)

    setattr(cls, field, property(plain.fget, store))
