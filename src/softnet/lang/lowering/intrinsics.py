# SPDX-License-Identifier: GPL-2.0-or-later
"""Lowering of intrinsics: what each does, step by step, as lang.pyruntime does it under CPython."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Final

from softnet.errors import SoftnetError
from softnet.lang import ir
from softnet.lang.intrinsics import BARRIERS
from softnet.lang.lowering.values import Values
from softnet.lang.program.program import warn_site

_LOADS: Final = {
    "READ_ONCE": "once",
    "data_race": "race",
    "smp_load_acquire": "acquire",
    "atomic_read": "atomic",
}
_STORES: Final = {"WRITE_ONCE": "once", "smp_store_release": "release", "atomic_set": "atomic"}
TRANSPARENT: Final = ("likely", "unlikely", "bool", "IS_ENABLED")
"""Intrinsics that give their condition."""
_COUNTERS: Final = {"atomic_inc": 1, "atomic_dec": -1, "atomic_inc_return": 1, "atomic_dec_and_test": -1}


class Intrinsics(Values):
    """Lowers the calls of intrinsics."""

    def _intrinsic(self, node: ast.Call, name: str) -> ir.Operand:
        args = node.args
        if name in _LOADS:
            place = self.place(args[0])
            self.place_of(node)
            return self.load(place, _LOADS[name], forced=True)
        if name in _STORES:
            place, (value,) = self.place_and(args[0], args[1:])
            self.place_of(node)
            self.store(place, value, _STORES[name], forced=True)
            return 0
        if name in TRANSPARENT:
            return self.truth(args[0])
        if name in BARRIERS:
            self.emit(ir.Barrier(self.at, name))
            return 0
        if name in _COUNTERS:
            place = self.place(args[0])
            self.place_of(node)
            old = self.atomic("add", place, _COUNTERS[name])
            if name == "atomic_inc_return":
                return self.binary("+", old, 1)
            return self.binary("==", old, 1) if name == "atomic_dec_and_test" else 0
        handler: Callable[[ast.Call], ir.Operand] | None = getattr(self, "_do_" + name.lstrip("_"), None)
        if handler is None:
            where = f"{self.header.source.path}:{node.lineno}"
            raise SoftnetError(f"the compiler does not know the intrinsic {name}()", where=where)
        return handler(node)

    # -- places

    def place(self, node: ast.expr) -> ir.Place:
        """The place that an argument names."""
        if isinstance(node, ast.Subscript):
            return self.element_place(node)[0]
        assert isinstance(node, ast.Attribute)
        return self.field_place(node)[0]

    def place_and(self, place: ast.expr, others: list[ast.expr]) -> tuple[ir.Place, list[ir.Operand]]:
        """A place and the values after it, evaluated in this order."""
        found = self.place(place)
        address = self.keep(found.address, *others)
        values = self.operands(others)
        return ir.Place(address(), found.field, found.kind, found.guard), values

    def atomic(self, op: str, place: ir.Place, *args: ir.Operand) -> ir.Temp:
        """A read-modify-write: it owns the line, and costs more than a store."""
        self.access(place, "line_write", forced=True)
        self.advance(self.engine_load("cost_atomic"))
        to = self.temp()
        self.emit(ir.Atomic(self.at, to, op, place, args))
        self.stored(place)
        return to

    def engine_place(self, name: str) -> ir.Place:
        """A field of the singleton engine_state."""
        return ir.Place(self.module.engine[name], f"engine_state.{name}", "hw")

    def engine_load(self, name: str) -> ir.Temp:
        """Read a field of the singleton."""
        to = self.temp()
        self.emit(ir.Load(self.at, to, self.engine_place(name)))
        return to

    def advance(self, ns: ir.Operand) -> None:
        """Let the running context compute for ``ns``."""
        now = self.engine_load("now")
        self.emit(ir.Store(self.at, self.engine_place("now"), self.binary("+", now, ns)))

    def _do_cmpxchg(self, node: ast.Call) -> ir.Operand:
        place, (old, new) = self.place_and(node.args[0], node.args[1:])
        self.place_of(node)
        return self.atomic("cmpxchg", place, old, new)

    def _do_xchg(self, node: ast.Call) -> ir.Operand:
        place, (new,) = self.place_and(node.args[0], node.args[1:])
        self.place_of(node)
        return self.atomic("xchg", place, new)

    # -- bits: the number comes first, as in C

    def number_and_place(self, node: ast.Call) -> tuple[ir.Operand, ir.Place]:
        """``(nr, p.f)`` and ``(n, p.f)``."""
        number = self.keep(self.value(node.args[0]), node.args[1])
        place = self.place(node.args[1])
        self.place_of(node)
        return number(), place

    def _do_atomic_add(self, node: ast.Call) -> ir.Operand:
        number, place = self.number_and_place(node)
        self.atomic("add", place, number)
        return 0

    def bit(self, value: ir.Operand, nr: ir.Operand) -> ir.Operand:
        """Bit ``nr`` of a value, 0 or 1."""
        return self.binary("&", self.binary(">>", value, nr), 1)

    def _do_test_bit(self, node: ast.Call) -> ir.Operand:
        nr, place = self.number_and_place(node)
        return self.bit(self.load(place, "once", forced=True), nr)

    def _do_set_bit(self, node: ast.Call) -> ir.Operand:
        if self.plain(node):
            nr, place = self.number_and_place(node)
            old = self.load(place, forced=True)
            self.store(place, self.binary("|", old, self.binary("<<", 1, nr)), forced=True)
            return 0
        self._do_test_and_set_bit(node)
        return 0

    def _do_clear_bit(self, node: ast.Call) -> ir.Operand:
        if self.plain(node):
            nr, place = self.number_and_place(node)
            old = self.load(place, forced=True)
            mask = self.binary("^", self.binary("<<", 1, nr), -1)
            self.store(place, self.binary("&", old, mask), forced=True)
            return 0
        self._do_test_and_clear_bit(node)
        return 0

    def _do_test_and_set_bit(self, node: ast.Call) -> ir.Operand:
        nr, place = self.number_and_place(node)
        if self.plain(node):
            old: ir.Operand = self.load(place, forced=True)
            self.store(place, self.binary("|", old, self.binary("<<", 1, nr)), forced=True)
        else:
            old = self.atomic("or", place, self.binary("<<", 1, nr))
        return self.bit(old, nr)

    def _do_test_and_clear_bit(self, node: ast.Call) -> ir.Operand:
        nr, place = self.number_and_place(node)
        old = self.atomic("and", place, self.binary("^", self.binary("<<", 1, nr), -1))
        return self.bit(old, nr)

    def plain(self, node: ast.Call) -> bool:
        """The forms with two underscores are a load and a store, as in the kernel."""
        return isinstance(node.func, ast.Name) and node.func.id.startswith("__")

    # -- references and tables

    def struct_name(self, node: ast.expr) -> str:
        """The structure that an argument names."""
        assert isinstance(node, ast.Name)
        return node.id

    def _do_container_of(self, node: ast.Call) -> ir.Operand:
        base = self.value(node.args[0])
        struct = self.struct_name(node.args[1])
        member = node.args[2]
        assert isinstance(member, ast.Constant)
        self.place_of(node)
        to = self.temp()
        offset = self.structs[struct].fields[member.value].offset  # type: ignore[index]
        self.emit(ir.Offset(self.at, to, base, -offset, f"{struct}.{member.value!s}"))
        return to

    def _do_table(self, node: ast.Call) -> ir.Operand:
        struct = self.struct_name(node.args[0])
        index = self.value(node.args[1])
        self.place_of(node)
        to = self.temp()
        checked = not (struct == "cpu_hw" and ast.unparse(node.args[1]) == "hw.cpu")
        self.emit(ir.Table(self.at, to, struct, index, checked))
        return to

    _do_per_cpu = _do_table

    def _do_this_cpu_ptr(self, node: ast.Call) -> ir.Operand:
        self.place_of(node)
        cpu = self.engine_load("cpu")
        to = self.temp()
        self.emit(ir.Table(self.at, to, self.struct_name(node.args[0]), cpu, checked=False))
        return to

    def _do_table_len(self, node: ast.Call) -> ir.Operand:
        to = self.temp()
        self.emit(ir.TableLength(self.at, to, self.struct_name(node.args[0])))
        return to

    def _do_index_of(self, node: ast.Call) -> ir.Operand:
        address = self.value(node.args[0])
        self.place_of(node)
        to = self.temp()
        self.emit(ir.IndexOf(self.at, to, self.typed.types[node.args[0]].struct, address))
        return to

    def _do_address_of(self, node: ast.Call) -> ir.Operand:
        return self.value(node.args[0])

    def _do_ref_at(self, node: ast.Call) -> ir.Operand:
        return self.value(node.args[1])

    def _do_smp_processor_id(self, node: ast.Call) -> ir.Operand:
        self.place_of(node)
        return self.engine_load("cpu")

    _do_raw_smp_processor_id = _do_smp_processor_id

    def _do_mem(self, node: ast.Call) -> ir.Operand:
        address = self.value(node.args[0])
        self.place_of(node)
        to = self.temp()
        self.emit(ir.Load(self.at, to, ir.Place(address, "memory", "raw")))
        return to

    def _do_mem_set(self, node: ast.Call) -> ir.Operand:
        # The value first, as in the assignment that this is under CPython.
        value, address = self.operands([node.args[1], node.args[0]])
        self.place_of(node)
        self.emit(ir.Store(self.at, ir.Place(address, "memory", "raw"), value))
        return 0

    # -- arithmetic

    def _do_min(self, node: ast.Call) -> ir.Operand:
        left, right = self.operands(node.args)
        self.place_of(node)
        return self.binary("min", left, right)

    def _do_max(self, node: ast.Call) -> ir.Operand:
        left, right = self.operands(node.args)
        self.place_of(node)
        return self.binary("max", left, right)

    def _do_fls(self, node: ast.Call) -> ir.Operand:
        value = self.value(node.args[0])
        self.place_of(node)
        to = self.temp()
        self.emit(ir.BitLength(self.at, to, value))
        return to

    # -- time, records, checks

    def cost(self, node: ast.expr) -> ir.Operand:
        """The named cost in ns, drawn by the machine."""
        assert isinstance(node, ast.Constant)
        return self.call("cost_ns", self.context.costs[str(node.value)])

    def _do_work(self, node: ast.Call) -> ir.Operand:
        self.place_of(node)
        now = self.engine_load("now")
        self.emit(ir.Store(self.at, self.engine_place("now"), self.binary("+", now, self.cost(node.args[0]))))
        return 0

    def _do_work_bytes(self, node: ast.Call) -> ir.Operand:
        count = self.value(node.args[1])
        self.place_of(node)
        now = self.engine_load("now")
        ns = self.binary("//", self.binary("*", self.cost(node.args[0]), count), 1000)
        self.emit(ir.Store(self.at, self.engine_place("now"), self.binary("+", now, ns)))
        return 0

    def _do_work_ns(self, node: ast.Call) -> ir.Operand:
        ns = self.value(node.args[0])
        self.place_of(node)
        self.advance(ns)
        return 0

    def _do_suspend(self, node: ast.Call) -> ir.Operand:
        self.place_of(node)
        self.emit(ir.Suspend(self.at))
        return 0

    def _do_trace(self, node: ast.Call) -> ir.Operand:
        event = node.args[0]
        assert isinstance(event, ast.Constant)
        args = self.operands(node.args[1:])
        self.place_of(node)
        self.trace(str(event.value), *args)
        return 0

    def trace(self, event: str, *args: ir.Operand) -> None:
        """Record an event; for a kfunc an interaction point, so that records are in the order of time."""
        if self.kernel:
            self.point(f"trace {event}")
        padded = (*args, 0, 0, 0)[:3]
        self.emit(ir.Trace(self.at, event, padded))
        observer = self.context.observers.event.get(event, "")
        if observer:
            self.emit(ir.Call(self.at, None, observer, padded))

    def _do_hist_add(self, node: ast.Call) -> ir.Operand:
        index, ns = self.operands(node.args)
        self.place_of(node)
        self.emit(ir.Call(self.at, None, "hist_record", (index, ns)))
        return 0

    def _do_BUG_ON(self, node: ast.Call) -> ir.Operand:
        condition = self.truth(node.args[0])
        self.place_of(node)
        self.emit(ir.Check(self.at, self.binary("==", condition, 0), "bug-on"))
        return 0

    def _do_WARN_ON_ONCE(self, node: ast.Call) -> ir.Operand:
        condition = self.truth(node.args[0])
        self.place_of(node)
        kept = self.hidden_local("warn")
        self.emit(ir.Set(self.at, kept, condition))
        self.when(
            condition,
            lambda: self.trace("warn_on_once", node.lineno, warn_site(self.header.name, node.lineno)),
        )
        return self.get(kept)

    def _do_lockdep_assert_held(self, node: ast.Call) -> ir.Operand:
        lock = self.value(node.args[0])
        self.place_of(node)
        self.check_held(lock, self.typed.types[node.args[0]].struct, "lockdep")
        return 0

    def check_held(self, lock: ir.Operand, struct: str, code: str, what: str = "") -> None:
        """Stop unless this context holds the lock; while the image is built nobody does."""
        inner = self.structs[struct].fields.get("lock")
        kept = self.hidden_local("lock")
        self.emit(ir.Set(self.at, kept, lock if inner is None else self.binary("+", lock, inner.offset)))

        def check() -> None:
            self.emit(ir.Check(self.at, self.call("lock_is_held", self.get(kept)), code, what))

        self.when(self.engine_load("running"), check)

    def check_guard(self, place: ir.Place) -> None:
        struct, _, name = place.field.partition(".")
        fields = self.structs[struct].fields
        lock = fields[place.guard]
        if fields[name].count == 1:
            distance = lock.offset - fields[name].offset
            what = f"{place.field} touched without {place.guard}"
            self.check_held(self.binary("+", place.address, distance), lock.type, "guard", what)

    def when(self, condition: ir.Operand, then: Callable[[], None]) -> None:
        """Emit ``then`` under a condition."""
        raise NotImplementedError
