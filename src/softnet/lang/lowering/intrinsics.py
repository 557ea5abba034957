# SPDX-License-Identifier: GPL-2.0-or-later
"""Lowering of intrinsics: what each does, step by step, as lang.python.runtime does it under CPython."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Final, Protocol

from softnet.lang import ir
from softnet.lang.intrinsics import BARRIERS
from softnet.lang.lowering.builder import Builder
from softnet.lang.program.program import warn_site
from softnet.lang.types import SIGNATURES

_LOADS: Final = {
    "READ_ONCE": "once",
    "data_race": "race",
    "smp_load_acquire": "acquire",
    "atomic_read": "atomic",
}
_STORES: Final = {"WRITE_ONCE": "once", "smp_store_release": "release", "atomic_set": "atomic"}
_COUNTERS: Final = {"atomic_inc": 1, "atomic_dec": -1, "atomic_inc_return": 1, "atomic_dec_and_test": -1}


class Arguments(Protocol):
    """How arguments are evaluated: lowering.expressions."""

    def value(self, node: ast.expr) -> ir.Operand:
        """The value of an expression."""

    def truth(self, node: ast.expr) -> ir.Operand:
        """A condition as 0 or 1."""

    def operands(self, nodes: list[ast.expr]) -> list[ir.Operand]:
        """The values of expressions, evaluated from left to right."""

    def keep(self, operand: ir.Operand, *others: ast.expr) -> Callable[[], ir.Operand]:
        """The operand after ``others`` have been evaluated."""

    def place(self, node: ast.expr) -> ir.Place:
        """The place that an argument names."""


class Intrinsics:
    """Lowers the calls of intrinsics in one function."""

    def __init__(self, out: Builder, arguments: Arguments) -> None:
        self.out = out
        self.arguments = arguments

    def lower(self, name: str, node: ast.Call) -> ir.Operand:
        """The result of a call of the intrinsic, 0 if it gives none."""
        return _LOWERED[name](self, node)

    # -- places

    def place_and(self, place: ast.expr, others: list[ast.expr]) -> tuple[ir.Place, list[ir.Operand]]:
        """A place and the values after it, evaluated in this order."""
        found = self.arguments.place(place)
        address = self.arguments.keep(found.address, *others)
        values = self.arguments.operands(others)
        return ir.Place(address(), found.field, found.kind, found.guard), values

    def marked_load(self, node: ast.Call) -> ir.Operand:
        assert isinstance(node.func, ast.Name)
        place = self.arguments.place(node.args[0])
        self.out.locate(node)
        return self.out.load(place, _LOADS[node.func.id], marked=True)

    def marked_store(self, node: ast.Call) -> ir.Operand:
        assert isinstance(node.func, ast.Name)
        place, (value,) = self.place_and(node.args[0], node.args[1:])
        self.out.locate(node)
        self.out.store(place, value, _STORES[node.func.id], marked=True)
        return 0

    def barrier(self, node: ast.Call) -> ir.Operand:
        # A barrier has the place of what comes before it.
        assert isinstance(node.func, ast.Name)
        self.out.emit(ir.Barrier(self.out.at, node.func.id))
        return 0

    def counter(self, node: ast.Call) -> ir.Operand:
        assert isinstance(node.func, ast.Name)
        name = node.func.id
        place = self.arguments.place(node.args[0])
        self.out.locate(node)
        old = self.out.atomic("add", place, _COUNTERS[name])
        if name == "atomic_inc_return":
            return self.out.binary("+", old, 1)
        return self.out.binary("==", old, 1) if name == "atomic_dec_and_test" else 0

    def cmpxchg(self, node: ast.Call) -> ir.Operand:
        place, (old, new) = self.place_and(node.args[0], node.args[1:])
        self.out.locate(node)
        return self.out.atomic("cmpxchg", place, old, new)

    def xchg(self, node: ast.Call) -> ir.Operand:
        place, (new,) = self.place_and(node.args[0], node.args[1:])
        self.out.locate(node)
        return self.out.atomic("xchg", place, new)

    # -- bits: the number comes first, as in C

    def number_and_place(self, node: ast.Call) -> tuple[ir.Operand, ir.Place]:
        """``(nr, p.f)`` and ``(n, p.f)``."""
        number = self.arguments.keep(self.arguments.value(node.args[0]), node.args[1])
        place = self.arguments.place(node.args[1])
        self.out.locate(node)
        return number(), place

    def atomic_add(self, node: ast.Call) -> ir.Operand:
        number, place = self.number_and_place(node)
        self.out.atomic("add", place, number)
        return 0

    def mask(self, nr: ir.Operand) -> ir.Operand:
        """The word in which only bit ``nr`` is set."""
        return self.out.binary("<<", 1, nr)

    def bit(self, value: ir.Operand, nr: ir.Operand) -> ir.Operand:
        """Bit ``nr`` of a value, 0 or 1."""
        return self.out.binary("&", self.out.binary(">>", value, nr), 1)

    def test_bit(self, node: ast.Call) -> ir.Operand:
        nr, place = self.number_and_place(node)
        return self.bit(self.out.load(place, "once", marked=True), nr)

    def set_bit(self, node: ast.Call) -> ir.Operand:
        self.test_and_set_bit(node)
        return 0

    def clear_bit(self, node: ast.Call) -> ir.Operand:
        self.test_and_clear_bit(node)
        return 0

    def test_and_set_bit(self, node: ast.Call) -> ir.Operand:
        nr, place = self.number_and_place(node)
        old = self.out.atomic("or", place, self.mask(nr))
        return self.bit(old, nr)

    def test_and_clear_bit(self, node: ast.Call) -> ir.Operand:
        nr, place = self.number_and_place(node)
        old = self.out.atomic("and", place, self.out.binary("^", self.mask(nr), -1))
        return self.bit(old, nr)

    # The forms with two underscores are a load and a store, as in the kernel.

    def plain_set_bit(self, node: ast.Call) -> ir.Operand:
        nr, place = self.number_and_place(node)
        old = self.out.load(place, marked=True)
        self.out.store(place, self.out.binary("|", old, self.mask(nr)), marked=True)
        return 0

    def plain_clear_bit(self, node: ast.Call) -> ir.Operand:
        nr, place = self.number_and_place(node)
        old = self.out.load(place, marked=True)
        mask = self.out.binary("^", self.mask(nr), -1)
        self.out.store(place, self.out.binary("&", old, mask), marked=True)
        return 0

    def plain_test_and_set_bit(self, node: ast.Call) -> ir.Operand:
        nr, place = self.number_and_place(node)
        old = self.out.load(place, marked=True)
        self.out.store(place, self.out.binary("|", old, self.mask(nr)), marked=True)
        return self.bit(old, nr)

    # -- references and tables

    def struct_name(self, node: ast.expr) -> str:
        """The structure that an argument names."""
        assert isinstance(node, ast.Name)
        return node.id

    def container_of(self, node: ast.Call) -> ir.Operand:
        base = self.arguments.value(node.args[0])
        struct = self.struct_name(node.args[1])
        member = node.args[2]
        assert isinstance(member, ast.Constant)
        self.out.locate(node)
        to = self.out.temp()
        offset = self.out.structs[struct].fields[str(member.value)].offset
        self.out.emit(ir.Offset(self.out.at, to, base, -offset, f"{struct}.{member.value!s}"))
        return to

    def table(self, node: ast.Call) -> ir.Operand:
        struct = self.struct_name(node.args[0])
        index = self.arguments.value(node.args[1])
        self.out.locate(node)
        return self.instance(struct, index, checked=not (struct == "cpu_hw" and self.is_this_cpu(node.args[1])))

    def this_cpu_ptr(self, node: ast.Call) -> ir.Operand:
        self.out.locate(node)
        return self.instance(self.struct_name(node.args[0]), self.out.engine_load("cpu"), checked=False)

    def instance(self, struct: str, index: ir.Operand, *, checked: bool) -> ir.Temp:
        """The address of a table's instance."""
        to = self.out.temp()
        self.out.emit(ir.Table(self.out.at, to, struct, index, checked))
        return to

    def is_this_cpu(self, node: ast.expr) -> bool:
        """Whether an expression is the field ``cpu`` of the singleton: then ``table(cpu_hw, hw.cpu)`` is this CPU's own."""
        if not isinstance(node, ast.Attribute):
            return False
        owner = self.out.typed.types.get(node.value)
        return owner is not None and f"{owner.struct}.{node.attr}" == ir.CPU_FIELD

    def table_len(self, node: ast.Call) -> ir.Operand:
        to = self.out.temp()
        self.out.emit(ir.TableLength(self.out.at, to, self.struct_name(node.args[0])))
        return to

    def index_of(self, node: ast.Call) -> ir.Operand:
        address = self.arguments.value(node.args[0])
        self.out.locate(node)
        to = self.out.temp()
        self.out.emit(ir.IndexOf(self.out.at, to, self.out.typed.types[node.args[0]].struct, address))
        return to

    def address_of(self, node: ast.Call) -> ir.Operand:
        return self.arguments.value(node.args[0])

    def ref_at(self, node: ast.Call) -> ir.Operand:
        return self.arguments.value(node.args[1])

    def smp_processor_id(self, node: ast.Call) -> ir.Operand:
        self.out.locate(node)
        return self.out.engine_load("cpu")

    def mem(self, node: ast.Call) -> ir.Operand:
        address = self.arguments.value(node.args[0])
        self.out.locate(node)
        to = self.out.temp()
        self.out.emit(ir.Load(self.out.at, to, ir.Place(address, "memory", ir.RAW)))
        return to

    def mem_set(self, node: ast.Call) -> ir.Operand:
        # The value first, as in the assignment that this is under CPython.
        value, address = self.arguments.operands([node.args[1], node.args[0]])
        self.out.locate(node)
        self.out.emit(ir.Store(self.out.at, ir.Place(address, "memory", ir.RAW), value))
        return 0

    # -- conditions and arithmetic

    def truth(self, node: ast.Call) -> ir.Operand:
        return self.arguments.truth(node.args[0])

    def min(self, node: ast.Call) -> ir.Operand:
        left, right = self.arguments.operands(node.args)
        self.out.locate(node)
        return self.out.binary("min", left, right)

    def max(self, node: ast.Call) -> ir.Operand:
        left, right = self.arguments.operands(node.args)
        self.out.locate(node)
        return self.out.binary("max", left, right)

    def draw(self, node: ast.Call) -> ir.Operand:
        key, number = self.arguments.operands(node.args)
        self.out.locate(node)
        return self.out.binary("draw", key, number)

    def fls(self, node: ast.Call) -> ir.Operand:
        value = self.arguments.value(node.args[0])
        self.out.locate(node)
        to = self.out.temp()
        self.out.emit(ir.BitLength(self.out.at, to, value))
        return to

    # -- time, records, checks

    def cost(self, node: ast.expr) -> ir.Operand:
        """The named cost in ns, drawn by the machine."""
        assert isinstance(node, ast.Constant)
        return self.out.call("cost_ns", self.out.context.costs[str(node.value)])

    def work(self, node: ast.Call) -> ir.Operand:
        self.out.locate(node)
        now = self.out.engine_load("now")
        self.out.set_now(now, self.cost(node.args[0]))
        return 0

    def work_bytes(self, node: ast.Call) -> ir.Operand:
        count = self.arguments.value(node.args[1])
        self.out.locate(node)
        now = self.out.engine_load("now")
        ns = self.out.binary("//", self.out.binary("*", self.cost(node.args[0]), count), 1000)
        self.out.set_now(now, ns)
        return 0

    def work_ns(self, node: ast.Call) -> ir.Operand:
        ns = self.arguments.value(node.args[0])
        self.out.locate(node)
        self.out.advance(ns)
        return 0

    def suspend(self, node: ast.Call) -> ir.Operand:
        self.out.locate(node)
        self.out.emit(ir.Suspend(self.out.at))
        return 0

    def trace(self, node: ast.Call) -> ir.Operand:
        event = node.args[0]
        assert isinstance(event, ast.Constant)
        args = self.arguments.operands(node.args[1:])
        self.out.locate(node)
        self.out.trace(str(event.value), *args)
        return 0

    def hist_add(self, node: ast.Call) -> ir.Operand:
        index, ns = self.arguments.operands(node.args)
        self.out.locate(node)
        self.out.emit(ir.Call(self.out.at, None, "hist_record", (index, ns)))
        return 0

    def bug_on(self, node: ast.Call) -> ir.Operand:
        condition = self.arguments.truth(node.args[0])
        self.out.locate(node)
        self.out.emit(ir.Check(self.out.at, self.out.binary("==", condition, 0), "bug-on"))
        return 0

    def warn_on_once(self, node: ast.Call) -> ir.Operand:
        condition = self.arguments.truth(node.args[0])
        self.out.locate(node)
        kept = self.out.hidden_local("warn")
        self.out.set(kept, condition)
        site = warn_site(self.out.header.name, node.lineno)
        self.out.when(condition, lambda: self.out.trace("warn_on_once", node.lineno, site))
        return self.out.get(kept)

    def lockdep_assert_held(self, node: ast.Call) -> ir.Operand:
        lock = self.arguments.value(node.args[0])
        self.out.locate(node)
        self.out.check_held(lock, self.out.typed.types[node.args[0]].struct, "lockdep")
        return 0


_LOWERED: Final[dict[str, Callable[[Intrinsics, ast.Call], ir.Operand]]] = {
    **dict.fromkeys(_LOADS, Intrinsics.marked_load),
    **dict.fromkeys(_STORES, Intrinsics.marked_store),
    **dict.fromkeys(_COUNTERS, Intrinsics.counter),
    **dict.fromkeys(BARRIERS, Intrinsics.barrier),
    **dict.fromkeys(("bool", "likely", "unlikely", "IS_ENABLED"), Intrinsics.truth),
    "cmpxchg": Intrinsics.cmpxchg,
    "xchg": Intrinsics.xchg,
    "atomic_add": Intrinsics.atomic_add,
    "test_bit": Intrinsics.test_bit,
    "set_bit": Intrinsics.set_bit,
    "clear_bit": Intrinsics.clear_bit,
    "test_and_set_bit": Intrinsics.test_and_set_bit,
    "test_and_clear_bit": Intrinsics.test_and_clear_bit,
    "__set_bit": Intrinsics.plain_set_bit,
    "__clear_bit": Intrinsics.plain_clear_bit,
    "__test_and_set_bit": Intrinsics.plain_test_and_set_bit,
    "container_of": Intrinsics.container_of,
    "table": Intrinsics.table,
    "per_cpu": Intrinsics.table,
    "this_cpu_ptr": Intrinsics.this_cpu_ptr,
    "table_len": Intrinsics.table_len,
    "index_of": Intrinsics.index_of,
    "address_of": Intrinsics.address_of,
    "ref_at": Intrinsics.ref_at,
    "smp_processor_id": Intrinsics.smp_processor_id,
    "raw_smp_processor_id": Intrinsics.smp_processor_id,
    "mem": Intrinsics.mem,
    "mem_set": Intrinsics.mem_set,
    "min": Intrinsics.min,
    "max": Intrinsics.max,
    "fls": Intrinsics.fls,
    "draw": Intrinsics.draw,
    "work": Intrinsics.work,
    "work_bytes": Intrinsics.work_bytes,
    "work_ns": Intrinsics.work_ns,
    "suspend": Intrinsics.suspend,
    "trace": Intrinsics.trace,
    "hist_add": Intrinsics.hist_add,
    "BUG_ON": Intrinsics.bug_on,
    "WARN_ON_ONCE": Intrinsics.warn_on_once,
    "lockdep_assert_held": Intrinsics.lockdep_assert_held,
}
if _LOWERED.keys() != SIGNATURES.keys():
    raise TypeError(f"signature or lowering of an intrinsic is missing: {sorted(_LOWERED.keys() ^ SIGNATURES.keys())}")
