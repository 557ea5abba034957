# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel function as the compiler sees it: each source line with its instructions, suspend points and costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass

from softnet.errors import SoftnetError, printable
from softnet.lang import ir
from softnet.lang.check.diagnostic import closest
from softnet.lang.passes.dataflow import LINE_PRICES
from softnet.lang.passes.redundant import find_redundant
from softnet.lang.program.source import source_file


@dataclass(frozen=True)
class Summary:
    """Counts of one function; ``suspends`` are the places where the CPU may be lost for good, ``points`` all of them."""

    instructions: int
    blocks: int
    points: int
    suspends: int
    accesses: int


def summarise(function: ir.Function) -> Summary:
    """Count what a function is made of."""
    body = [i for block in function.blocks for i in block.body]
    return Summary(
        instructions=len(body) + len(function.blocks),
        blocks=len(function.blocks),
        points=sum(isinstance(i, ir.Point | ir.Suspend) for i in body),
        suspends=sum(isinstance(i, ir.Suspend) for i in body),
        accesses=sum(isinstance(i, ir.Load | ir.Store | ir.Atomic) for i in body),
    )


def explain(module: ir.Module, name: str, costs: Mapping[str, str]) -> str:
    """The text of ``softnet explain NAME``.

    ``costs`` says in words what each row of the cost table costs, by its number as text. Raises SoftnetError for a
    function that the program does not have.
    """
    function = module.functions.get(name)
    if function is None:
        near = closest(name, list(module.functions))
        raise SoftnetError(
            "no such kernel function",
            found=name,
            expected=near or "a function of the linked modules",
            hint="softnet explain --list shows all of them",
        )
    counts = summarise(function)
    redundant = find_redundant(module)[name]
    arguments = ", ".join(function.params)
    suspends = f"{counts.points - len(redundant.points)} places where the CPU may be lost (marked >>)"
    if counts.suspends:
        suspends += f", at {counts.suspends} of them it always is"
    needless = len(redundant.points) + len(redundant.lines)
    if needless:
        suspends += f"; native code drops {needless} that can do nothing (marked --)"
    size = f"{counts.instructions} instructions in {counts.blocks} blocks, {counts.accesses} accesses to memory"
    lines = [
        f"{function.kind} {name}({arguments}), {function.file}:{function.line}",
        f"{size}, {suspends}",
        LEGEND,
        "",
    ]
    observers = {f.name for f in module.functions.values() if f.kind == "observer"}
    lines += _body(function, costs, observers, redundant.points | redundant.lines)
    return "\n".join(lines)


LEGEND = "under each line of the source what it becomes: %N is a value, a bare name a local, [kind] what the field is declared as"


def _body(function: ir.Function, costs: Mapping[str, str], observers: Set[str], needless: Set[tuple[str, int]]) -> Iterator[str]:
    source = source_file(function.file).lines
    description = Description(costs)
    shown = 0
    for block in function.blocks:
        yield f"{block.label}:"
        assert block.end is not None
        for index, instr in enumerate([*block.body, block.end]):
            if instr.at.line != shown:
                shown = instr.at.line
                text = printable(source[shown - 1].rstrip(), keep="\t")
                yield f"{shown:>6} | {text}"
            mark = ">>" if isinstance(instr, ir.Point | ir.Suspend) else "  "
            mark = "--" if (block.label, index) in needless else mark
            looks = "observer " if isinstance(instr, ir.Call) and instr.function in observers else ""
            yield f"       {mark} {looks}{description.visit(instr)}"


class Description(ir.Visitor[str]):
    """Each instruction as text; ``costs`` as for explain()."""

    def __init__(self, costs: Mapping[str, str]) -> None:
        self.costs = costs

    # -- values

    def on_binary(self, i: ir.Binary) -> str:
        return f"{i.to} = {i.left} {i.op} {i.right}"

    def on_bit_length(self, i: ir.BitLength) -> str:
        return f"{i.to} = bit length of {i.value}"

    def on_get(self, i: ir.Get) -> str:
        return f"{i.to} = {i.local}"

    def on_set(self, i: ir.Set) -> str:
        return f"{i.local} = {i.value}"

    # -- memory

    def on_load(self, i: ir.Load) -> str:
        return f"{i.to} = load {_place(i.place)}{_order(i.order)}"

    def on_store(self, i: ir.Store) -> str:
        return f"store {_place(i.place)} <- {i.value}{_order(i.order)}"

    def on_atomic(self, i: ir.Atomic) -> str:
        return f"{i.to} = atomic {i.op} {_place(i.place)} {', '.join(map(str, i.args))}"

    def on_barrier(self, i: ir.Barrier) -> str:
        return i.kind

    def on_offset(self, i: ir.Offset) -> str:
        return f"{i.to} = {i.base} + {i.words} (&{i.what}{_stops(i.base, i.checked)})"

    def on_element(self, i: ir.Element) -> str:
        return f"{i.to} = {i.base} + {i.index} * {i.stride} (index below {i.count})"

    def on_table(self, i: ir.Table) -> str:
        return f"{i.to} = {i.struct}[{i.index}]{' (index checked)' if i.checked else ''}"

    def on_table_length(self, i: ir.TableLength) -> str:
        return f"{i.to} = number of {i.struct}"

    def on_index_of(self, i: ir.IndexOf) -> str:
        return f"{i.to} = index of {i.address} in {i.struct}{_stops(i.address, i.checked)}"

    # -- calls and control

    def on_call(self, i: ir.Call) -> str:
        if i.function == "cost_ns" and len(i.args) == 1:
            return f"{i.to} = cost {self.costs.get(str(i.args[0]), i.args[0])}"
        if i.function in LINE_PRICES and i.to is None and len(i.args) == 1:
            return f"{i.function.replace('_', ' ')} of {i.args[0]} (a transfer if another CPU has it)"
        return f"{_result(i.to)}{i.function}({', '.join(map(str, i.args))})"

    def on_call_pointer(self, i: ir.CallPointer) -> str:
        return f"{_result(i.to)}(*{i.pointer})({', '.join(map(str, i.args))})"

    def on_point(self, i: ir.Point) -> str:
        return f"interaction: {i.why}"

    def on_suspend(self, i: ir.Suspend) -> str:
        return "suspend until resumed"

    def on_trace(self, i: ir.Trace) -> str:
        return f"trace {i.event} {', '.join(map(str, i.args))}"

    def on_check(self, i: ir.Check) -> str:
        return f"stop unless {i.value} ({i.what or i.code})"

    def on_fuel(self, i: ir.Fuel) -> str:
        return "one turn of a loop"

    def on_jump(self, i: ir.Jump) -> str:
        return f"go to {i.target}"

    def on_branch(self, i: ir.Branch) -> str:
        return f"if {i.value} go to {i.yes} else to {i.no}"

    def on_return(self, i: ir.Return) -> str:
        return "return" if i.value is None else f"return {i.value}"


def _result(to: ir.Temp | None) -> str:
    """The left side of a call whose result may not be wanted."""
    return "" if to is None else f"{to} = "


def _stops(reference: ir.Operand, checked: bool) -> str:
    """What is said of a reference that may be NULL here."""
    return f"; stops if {reference} is NULL" if checked else ""


def _place(place: ir.Place) -> str:
    guard = f" by {place.guard}" if place.guard else ""
    return f"{place.field} at {place.address} [{place.kind}{guard}]"


def _order(order: str) -> str:
    return "" if order == "plain" else f" ({order})"
