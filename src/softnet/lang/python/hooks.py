# SPDX-License-Identifier: GPL-2.0-or-later
"""Linking for another event loop than the machine's: it decides at each interaction point, and is notified of each access.

The explorer's schedules are replayed in plain Python this way: where a context gives way is decided by what the point is and
not by time, so the linked code calls ``Hooks`` at each point, and at each access of a kernel function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from softnet.lang.declare import HW
from softnet.lang.program.program import FieldDef
from softnet.lang.python.runtime import (
    Change,
    Load,
    Runtime,
    Store,
    encode,
    out_of_range,
    place_address,
    place_value,
)

PLAIN: Final = "plain "
"""How the reason of a point begins that stands before a plain store to a guarded field."""
THIS_CPU: Final = "this CPU"
"""The reason of a point before a function asks on which CPU it runs."""


class Hooks(Protocol):
    """What the loop does instead of the machine's."""

    dropped: frozenset[str]
    """Machine functions that do nothing and give 0."""

    def point(self, why: str) -> Callable[[], None] | None:
        """What happens before an access to "structure.field"; None where nothing does."""

    def call(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A machine function as kernel functions call it."""

    def note(self, what: str, address: int, word: int) -> None:
        """An access happened: ``what`` is "read structure.field", "write …", "cmpxchg-old …" and so on."""

    def touch(self, name: str, address: int, write: bool, marked: bool) -> None:
        """An access to "structure.field" comes next, behind its stop."""

    def warn(self, line: int) -> None:
        """A WARN_ON_ONCE fires."""


class HookedRuntime(Runtime):
    """The intrinsics with hooks; no time passes and nothing is counted."""

    def __init__(self, hooks: Hooks, *machine: Any) -> None:
        super().__init__(*machine)
        self.hooks = hooks
        self.marked = True
        """Whether load() and store() of accesses() are marked accesses: not in the forms of the bit operations with underscores."""

    def interaction(self, function: Callable[..., Any]) -> Callable[..., Any]:
        call = self.hooks.call(function.__name__, function)
        call.__name__ = function.__name__
        call.__doc__ = function.__doc__
        return call

    def class_space(self) -> dict[str, Any]:
        """Names that the text of the structures' classes uses only with hooks."""
        hooks, array = self.hooks, self._array_class()
        return {"HookedArray": array, "point": hooks.point, "note": hooks.note, "touch": hooks.touch, "nothing": lambda: None}

    def _memory(self) -> dict[str, Any]:
        out = super()._memory()
        wait = self.hooks.point(THIS_CPU)
        if wait is not None:
            for name in ("smp_processor_id", "raw_smp_processor_id", "this_cpu_ptr"):
                out[name] = _after(wait, out[name])
        return out

    def _array_class(self) -> type:
        """Arrays inside structures, bounds-checked, that know their field's name."""
        S, hooks = self.S, self.hooks

        class HookedArray:
            __slots__ = ("_a", "back", "field", "n", "noted", "wait", "wait_set")

            def __init__(
                self, a: int, n: int, field: str, wait: Any, wait_set: Any, back: Callable[[int], Any], noted: bool
            ) -> None:
                self._a, self.n, self.field, self.back, self.noted = a, n, field, back, noted
                self.wait, self.wait_set = wait, wait_set

            def __getitem__(self, i: int) -> Any:
                if not 0 <= i < self.n:
                    out_of_range(i, self.n)
                if self.wait is not None:
                    self.wait()
                if self.noted:
                    hooks.touch(self.field, self._a + i, False, False)
                word = S[self._a + i]
                if self.noted:
                    hooks.note(f"read {self.field}", self._a + i, word)
                return self.back(word)

            def __setitem__(self, i: int, value: Any) -> None:
                if not 0 <= i < self.n:
                    out_of_range(i, self.n)
                if self.wait_set is not None:
                    self.wait_set()
                if self.noted:
                    hooks.touch(self.field, self._a + i, True, False)
                S[self._a + i] = encode(value)
                if self.noted:
                    hooks.note(f"write {self.field}", self._a + i, S[self._a + i])

        return HookedArray

    def accesses(self) -> tuple[Load, Store, Change]:
        S, hooks = self.S, self.hooks
        points: dict[str, Callable[[], None] | None] = {}

        def place(p: Any, f: Any) -> tuple[int, str, bool]:
            at = place_address(p, f)
            name, noted = (p.field, p.noted) if isinstance(f, int) else (f"{type(p)._name}.{f}", f not in type(p)._hw)
            if name not in points:
                points[name] = hooks.point(name)
            wait = points[name]
            if wait is not None:
                wait()
            return at, name, noted

        def guarded(p: Any, f: Any) -> None:
            lock = None if isinstance(f, int) else type(p)._guards.get(f)
            if lock is not None:
                self.guard(p, lock, f)

        def load(p: Any, f: Any) -> Any:
            at, name, noted = place(p, f)
            if noted:
                hooks.touch(name, at, False, self.marked)
                hooks.note(f"read {name}", at, S[at])
            return place_value(p, f, S[at])

        def store(p: Any, f: Any, value: Any) -> None:
            at, name, noted = place(p, f)
            if noted:
                guarded(p, f)
                hooks.touch(name, at, True, self.marked)
            S[at] = encode(value)
            if noted:
                hooks.note(f"write {name}", at, S[at])

        def rmw(op: str, p: Any, f: Any, change: Callable[[int], int]) -> int:
            at, name, noted = place(p, f)
            if noted:
                guarded(p, f)
                hooks.touch(name, at, True, True)
            old = int(S[at])
            S[at] = change(old)
            if noted:
                hooks.note(f"{op}-old {name}", at, old)
                hooks.note(f"{op}-new {name}", at, S[at])
            return old

        return load, store, rmw

    def _places(self) -> dict[str, Any]:
        out = super()._places()
        for name in ("__set_bit", "__clear_bit", "__test_and_set_bit"):
            out[name] = self._unmarked(out[name])
        return out

    def _unmarked(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A bit operation whose accesses are plain ones."""

        def call(*args: Any) -> Any:
            self.marked = False
            try:
                return function(*args)
            finally:
                self.marked = True

        return call

    def _time(self, machine: bool) -> dict[str, Any]:
        def nothing(*args: Any) -> None:
            pass

        def warn_on_once(condition: Any, line: int, site: int) -> bool:
            if condition:
                self.hooks.warn(line)
            return bool(condition)

        names = ("work", "work_bytes", "work_ns", "trace", "hist_add")
        return super()._time(machine) | dict.fromkeys(names, nothing) | {"WARN_ON_ONCE": warn_on_once}


def _after(wait: Callable[[], None], function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with something to happen before it."""

    def call(*args: Any) -> Any:
        wait()
        return function(*args)

    return call


def accessors(struct: str, f: FieldDef, checks: bool, guarded: bool, interacts: bool) -> list[str]:
    """The source of a scalar field's or array's property: as softnet.lang.python.text's, with the hooks."""
    name = f"{struct}.{f.name}"
    wait = f"point({name!r})" if interacts else "None"
    wait_set = f"point({PLAIN + name!r})" if guarded else wait
    if f.count != 1:
        back = f"at_{f.type if f.is_ref else 'int'}"
        words = f"HookedArray(self._a + {f.offset}, {f.count}, {name!r}, {wait}, {wait_set}, {back}, {f.kind != HW})"
        return [f"    {f.name} = property(lambda self: {words})"]
    if f.is_ref:
        back, enc = f"at_{f.type}(w)", "0 if v is None else v._a"
    elif f.type == "fnptr":
        back, enc = "functions[w]", "0 if v is None else function_ids[v.__name__]"
    else:
        back, enc = "w", "int(v)"
    before = [f"        wait_{f.name}()"] if interacts else []
    before += [f"        guard(self, {f.guard!r}, {f.name!r})"] if checks and guarded else []
    note = [f"        note('{{}} {name}', self._a + {f.offset}, w)"] if f.kind != HW else []
    touch = [f"        touch({name!r}, self._a + {f.offset}, {{}}, False)"] if f.kind != HW else []
    return [
        *([f"    wait_{f.name} = {wait_set} or nothing"] if interacts or guarded else []),
        f"    def _get(self{f', wait_{f.name}=wait_{f.name}' if interacts else ''}):", *before,
        *(line.format(False) for line in touch), f"        w = S[self._a + {f.offset}]", *(line.format("read") for line in note),
        f"        return {back}",
        f"    def _set(self, v{f', wait_{f.name}=wait_{f.name}' if interacts or guarded else ''}):", *before,
        *([f"        wait_{f.name}()"] if guarded else []), *(line.format(True) for line in touch),
        f"        w = S[self._a + {f.offset}] = {enc}", *(line.format("write") for line in note),
        f"    {f.name} = property(_get, _set)",
    ]  # fmt: skip
