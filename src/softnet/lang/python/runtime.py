# SPDX-License-Identifier: GPL-2.0-or-later
"""The intrinsics' meaning under CPython, over one flat list of words."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final, NoReturn

from softnet.lang.cell import Cell
from softnet.lang.program.layout import ENGINE_BASE
from softnet.lang.program.program import StructDef
from softnet.lang.python.stop import KernelStop
from softnet.units import draw

TURNS_MAX: Final = 1 << 22
"""Turns of loops that a context may take before it gives way, in every engine: a list that leads back into itself ends there."""

INT64_MIN: Final = -(1 << 63)
INT64_MAX: Final = (1 << 63) - 1
SHIFT_MAX: Final = 62

STRUCTURES: Final = "<softnet structures>"
"""The file name that the generated classes of structures go by."""

Load = Callable[[Any, Any], Any]
Store = Callable[[Any, Any, Any], None]
Change = Callable[[str, Any, Any, Callable[[int], int]], int]
"""Change a place atomically: what the change is called, the place, the new word of the old one; gives the old word."""


class Runtime:
    """The words of one image and what the intrinsics do with them."""

    def __init__(
        self,
        memory: Any,
        engine: StructDef,
        costs: dict[str, int],
        events: dict[str, int],
        record: Callable[[int, int, int, int], None],
        function_ids: dict[str, int],
    ) -> None:
        self.S = memory
        off = {name: ENGINE_BASE + f.offset for name, f in engine.fields.items()}
        self.off = off
        self.NOW, self.LIM, self.CPU = off["now"], off["lim"], off["cpu"]
        self.costs, self.events, self.record = costs, events, record
        self.function_ids = function_ids
        self.functions: list[Any] = []
        self.at: dict[str, Callable[[int], Any]] = {}
        self.switch: Cell[Callable[[], None]] = Cell(_no_engine)
        """What suspend() calls."""
        self.nr_events = len(events)
        self.machine: dict[str, Any] = {}
        self.turns = Cell(0)
        """Turns of loops since a context was last switched to; the engine sets it to 0 there."""

    def bind(self, machine: dict[str, Any]) -> None:
        """The machine functions that intrinsics call, known once the program is linked."""
        self.machine.update(machine)
        self.line_read, self.line_write = machine["line_read"], machine["line_write"]
        self.cost_ns, self.hist_record, self.assert_held = (
            machine["cost_ns"],
            machine["hist_record"],
            machine["assert_held"],
        )
        self.lock_is_held = machine["lock_is_held"]

    def suspend(self) -> None:
        """Give way to the event loop."""
        self.switch.value()

    def interaction(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A machine function as kernel functions call it: an interaction point first."""
        S, NOW, LIM, switch = self.S, self.NOW, self.LIM, self.switch

        def call(*args: Any) -> Any:
            if S[NOW] > S[LIM]:
                switch.value()
            return function(*args)

        call.__name__ = function.__name__
        call.__doc__ = function.__doc__
        return call

    def guard(self, ref: Any, lock: str, name: str) -> None:
        """A guarded field is touched: its lock must be held by this context."""
        if self.S[self.off["running"]] == 0:
            return
        held = getattr(ref, lock)
        held = held.lock if hasattr(type(held), "lock") else held
        if not self.lock_is_held(held):
            _stop(f"{type(ref)._name}.{name} touched without {lock}")

    def array_class(self) -> type:
        """Arrays inside structures, bounds-checked."""
        S, NOW, LIM, runtime = self.S, self.NOW, self.LIM, self

        class Array:
            __slots__ = ("_a", "back", "line", "n", "wait")

            def __init__(self, a: int, n: int, wait: bool, line: bool, back: Callable[[int], Any]) -> None:
                self._a, self.n, self.wait, self.line, self.back = a, n, wait, line, back

            def __getitem__(self, i: int) -> Any:
                if not 0 <= i < self.n:
                    out_of_range(i, self.n)
                if self.wait and S[NOW] > S[LIM]:
                    runtime.switch.value()
                if self.line:
                    runtime.line_read(self._a + i)
                return self.back(S[self._a + i])

            def __setitem__(self, i: int, value: Any) -> None:
                if not 0 <= i < self.n:
                    out_of_range(i, self.n)
                if self.wait and S[NOW] > S[LIM]:
                    runtime.switch.value()
                if self.line:
                    runtime.line_write(self._a + i)
                S[self._a + i] = encode(value)

        return Array

    def items_class(self) -> type:
        """Arrays of structures inside structures."""

        class Items:
            __slots__ = ("_a", "at", "n", "size")

            def __init__(self, at: Callable[[int], Any], a: int, n: int, size: int) -> None:
                self.at, self._a, self.n, self.size = at, a, n, size

            def __getitem__(self, i: int) -> Any:
                if not 0 <= i < self.n:
                    out_of_range(i, self.n)
                return self.at(self._a + i * self.size)

        return Items

    def intrinsics(self, *, machine: bool) -> dict[str, Any]:
        """Every intrinsic by name; in machine functions none is an interaction point."""
        out = self._memory()
        out.update(self._places())
        out.update(self._time(machine))
        return out

    def _memory(self) -> dict[str, Any]:
        S, CPU = self.S, self.CPU
        runtime = self

        def container_of(ref: Any, struct: Any, name: str) -> Any:
            return runtime.at[struct._name](ref._a - struct._off[name])

        def table(struct: Any, index: int) -> Any:
            if not 0 <= index < struct._count:
                out_of_range(index, struct._count)
            a = struct._base + index * struct._stride
            return struct._known.get(a) or struct._at(a)

        def this_cpu_ptr(struct: Any) -> Any:
            a = struct._base + S[CPU] * struct._stride
            return struct._known.get(a) or struct._at(a)

        def index_of(ref: Any) -> int:
            return int((ref._a - type(ref)._base) // type(ref)._stride)

        return {
            "container_of": container_of, "table": table, "per_cpu": table, "this_cpu_ptr": this_cpu_ptr,
            "table_len": lambda struct: struct._count, "index_of": index_of,
            "address_of": lambda ref: 0 if ref is None else ref._a,
            "ref_at": lambda struct, a: runtime.at[struct._name](a),
            "smp_processor_id": lambda: S[CPU], "raw_smp_processor_id": lambda: S[CPU],
            "min": min, "max": max, "bool": bool, "range": range, "fls": int.bit_length, "draw": draw,
            "IS_ENABLED": bool, "likely": bool, "unlikely": bool, "suspend": runtime.suspend,
        }  # fmt: skip

    def accesses(self) -> tuple[Load, Store, Change]:
        """The marked accesses: load a place, store to it, and change it atomically, which gives the old word.

        A place is an object and a field's name, or an array and an index.
        """
        S, NOW, LIM, off, switch = self.S, self.NOW, self.LIM, self.off, self.switch
        runtime = self

        def place(p: Any, f: Any) -> int:
            at = place_address(p, f)
            if S[NOW] > S[LIM]:
                switch.value()
            return at

        def load(p: Any, f: Any) -> Any:
            a = place(p, f)
            runtime.line_read(a)
            return place_value(p, f, S[a])

        def store(p: Any, f: Any, v: Any) -> None:
            a = place(p, f)
            runtime.line_write(a)
            S[a] = encode(v)

        def rmw(op: str, p: Any, f: Any, change: Callable[[int], int]) -> int:
            a = place(p, f)
            runtime.line_write(a)
            S[NOW] += S[off["cost_atomic"]]
            old = int(S[a])
            S[a] = change(old)
            return old

        return load, store, rmw

    def _places(self) -> dict[str, Any]:
        load, store, rmw = self.accesses()

        def cmpxchg(p: Any, f: Any, old: Any, new: Any) -> Any:
            was = rmw("cmpxchg", p, f, lambda v: encode(new) if v == encode(old) else v)
            return place_value(p, f, was)

        def plain_test_and_set(nr: int, p: Any, f: Any) -> bool:
            value = load(p, f)
            store(p, f, value | 1 << shift_count(nr, "<<"))
            return bool(value >> nr & 1)

        def test_and_set_bit(nr: int, p: Any, f: Any) -> bool:
            return bool(rmw("or", p, f, lambda v: v | 1 << shift_count(nr, "<<")) >> nr & 1)

        def test_and_clear_bit(nr: int, p: Any, f: Any) -> bool:
            return bool(rmw("and", p, f, lambda v: v & ~(1 << shift_count(nr, "<<"))) >> nr & 1)

        def set_bit(nr: int, p: Any, f: Any) -> None:
            test_and_set_bit(nr, p, f)

        def clear_bit(nr: int, p: Any, f: Any) -> None:
            test_and_clear_bit(nr, p, f)

        def add(n: int, p: Any, f: Any) -> int:
            return rmw("add", p, f, lambda v: v + n)

        def atomic_add(n: int, p: Any, f: Any) -> None:
            add(n, p, f)

        return {
            "READ_ONCE": load, "WRITE_ONCE": store, "data_race": load, "smp_load_acquire": load,
            "smp_store_release": store, "cmpxchg": cmpxchg,
            "xchg": lambda p, f, new: place_value(p, f, rmw("xchg", p, f, lambda v: encode(new))),
            "atomic_read": load, "atomic_set": store,
            "atomic_inc": lambda p, f: atomic_add(1, p, f), "atomic_dec": lambda p, f: atomic_add(-1, p, f),
            "atomic_add": atomic_add,
            "atomic_inc_return": lambda p, f: add(1, p, f) + 1,
            "atomic_dec_and_test": lambda p, f: add(-1, p, f) == 1,
            "test_bit": lambda nr, p, f: bool(load(p, f) >> shift_count(nr, ">>") & 1),
            "set_bit": set_bit, "clear_bit": clear_bit,
            "test_and_set_bit": test_and_set_bit, "test_and_clear_bit": test_and_clear_bit,
            "__set_bit": lambda nr, p, f: store(p, f, load(p, f) | 1 << shift_count(nr, "<<")),
            "__clear_bit": lambda nr, p, f: store(p, f, load(p, f) & ~(1 << shift_count(nr, "<<"))),
            "__test_and_set_bit": plain_test_and_set,
        }  # fmt: skip

    def _time(self, machine: bool) -> dict[str, Any]:
        S, NOW, LIM, CPU, off, switch = self.S, self.NOW, self.LIM, self.CPU, self.off, self.switch
        runtime, costs, events, nr_events, record = self, self.costs, self.events, self.nr_events, self.record
        count_base, trace_mask, running = off["count_base"], off["trace_mask"], off["running"]

        def work(name: str) -> None:
            S[NOW] += runtime.cost_ns(costs[name])

        def work_bytes(name: str, n: int) -> None:
            S[NOW] += runtime.cost_ns(costs[name]) * n // 1000

        def work_ns(ns: int) -> None:
            S[NOW] += ns

        def trace(name: str, a: Any = 0, b: Any = 0, c: Any = 0) -> None:
            if not machine and S[NOW] > S[LIM]:
                switch.value()
            event = events[name]
            S[S[count_base] + S[CPU] * nr_events + event] += 1
            if S[trace_mask] >> event & 1:
                record(event, encode(a), encode(b), encode(c))

        def hist_add(index: int, ns: int) -> None:
            runtime.hist_record(index, ns)

        def bug_on(condition: Any, line: int) -> None:
            if condition:
                _stop("BUG_ON: the condition holds")

        def warn_on_once(condition: Any, line: int, site: int) -> bool:
            if condition:
                trace("warn_on_once", line, site)
            return bool(condition)

        def lockdep_assert_held(lock: Any, line: int) -> None:
            lock = lock.lock if hasattr(type(lock), "lock") else lock
            if S[running] and not runtime.lock_is_held(lock):
                _stop("lockdep_assert_held: the lock is not held")

        return {
            "work": work, "work_bytes": work_bytes, "work_ns": work_ns, "trace": trace, "hist_add": hist_add,
            "BUG_ON": bug_on, "WARN_ON_ONCE": warn_on_once, "lockdep_assert_held": lockdep_assert_held,
        }  # fmt: skip


def place_address(p: Any, f: Any) -> int:
    """The address of field ``f`` of an object, or of element ``f`` of an array."""
    if p is None:
        _stop(f"{f} of a NULL reference")
    if isinstance(f, int):
        if not 0 <= f < p.n:
            out_of_range(f, p.n)
        return int(p._a + f)
    return int(p._a + p._off[f])


def place_value(p: Any, f: Any, word: int) -> Any:
    """What a word of that place means: a reference, or the number itself."""
    convert = p.back if isinstance(f, int) else p._conv.get(f)
    return word if convert is None else convert(word)


def encode(value: Any) -> int:
    """The word that a value is stored as."""
    if isinstance(value, int):
        return int(value)
    return 0 if value is None else int(value._a)


def _caller() -> str:
    """The place in the kernel function that runs: the nearest frame that is neither this module's nor a structure's."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename in (__file__, STRUCTURES):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}: in {frame.f_code.co_name}()"


def _stop(message: str) -> NoReturn:
    raise KernelStop(message, _caller())


def out_of_range(index: int, count: int) -> NoReturn:
    """Stop: an array has no such element."""
    _stop(f"index {index} is outside 0..{count - 1}")


def endless() -> NoReturn:
    """A loop turned too often."""
    _stop(f"a loop turned {TURNS_MAX} times without letting time pass")


def _no_engine() -> None:
    _stop("a kernel function waits, but no engine runs it")


class Checked(int):
    """The right operand of an operator in a user's function: Python asks it first, and it refuses what native code refuses."""

    def _fit(self, value: int, op: str) -> int:
        if not INT64_MIN <= value <= INT64_MAX:
            _stop(f"the result of '{op}' does not fit in 64 bits")
        return value

    def __radd__(self, left: int) -> int:
        return self._fit(left + int(self), "+")

    def __rsub__(self, left: int) -> int:
        return self._fit(left - int(self), "-")

    def __rmul__(self, left: int) -> int:
        return self._fit(left * int(self), "*")

    def __rfloordiv__(self, left: int) -> int:
        return self._fit(left // _divisor(int(self), "//"), "//")

    def __rmod__(self, left: int) -> int:
        return left % _divisor(int(self), "%")

    def __rlshift__(self, left: int) -> int:
        return self._fit(left << shift_count(int(self), "<<"), "<<")

    def __rrshift__(self, left: int) -> int:
        if int(self) < 0:
            shift_count(int(self), ">>")
        return left >> int(self)


def _divisor(value: int, op: str) -> int:
    if value == 0:
        _stop(f"'{op}' by zero")
    return value


def shift_count(value: int, op: str) -> int:
    """A count by which a word can be shifted. Raises KernelStop for others."""
    if not 0 <= value <= SHIFT_MAX:
        _stop(f"'{op}' by {value}: a shift count is from 0 to {SHIFT_MAX}")
    return value
