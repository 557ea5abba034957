# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel function as the compiler sees it: each source line with its instructions, suspend points and costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass

from softnet.errors import SoftnetError
from softnet.lang import ir
from softnet.lang.check.diagnostic import closest
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
    shown = 0
    for block in function.blocks:
        yield f"{block.label}:"
        assert block.end is not None
        for index, instr in enumerate([*block.body, block.end]):
            if instr.at.line != shown:
                shown = instr.at.line
                yield f"{shown:>6} | {source[shown - 1].rstrip()}"
            mark = ">>" if isinstance(instr, ir.Point | ir.Suspend) else "  "
            mark = "--" if (block.label, index) in needless else mark
            looks = "observer " if isinstance(instr, ir.Call) and instr.function in observers else ""
            yield f"       {mark} {looks}{describe(instr, costs)}"


def describe(instr: ir.Instr, costs: Mapping[str, str]) -> str:
    """One instruction as text."""
    match instr:
        case ir.Binary(_, to, op, left, right):
            return f"{to} = {left} {op} {right}"
        case ir.BitLength(_, to, value):
            return f"{to} = bit length of {value}"
        case ir.Get(_, to, local):
            return f"{to} = {local}"
        case ir.Set(_, local, value):
            return f"{local} = {value}"
        case ir.Load(_, to, place, order):
            return f"{to} = load {_place(place)}{_order(order)}"
        case ir.Store(_, place, value, order):
            return f"store {_place(place)} <- {value}{_order(order)}"
        case ir.Atomic(_, to, op, place, args):
            return f"{to} = atomic {op} {_place(place)} {', '.join(map(str, args))}"
        case ir.Offset(_, to, base, words, what, checked):
            return f"{to} = {base} + {words} (&{what}{_stops(base, checked)})"
        case ir.Element(_, to, base, index, count, stride):
            return f"{to} = {base} + {index} * {stride} (index below {count})"
        case ir.Table(_, to, struct, index, checked):
            return f"{to} = {struct}[{index}]{' (index checked)' if checked else ''}"
        case ir.TableLength(_, to, struct):
            return f"{to} = number of {struct}"
        case ir.IndexOf(_, to, struct, address, checked):
            return f"{to} = index of {address} in {struct}{_stops(address, checked)}"
        case _:
            return _describe_control(instr, costs)


def _describe_control(instr: ir.Instr, costs: Mapping[str, str]) -> str:
    match instr:
        case ir.Call(_, to, "cost_ns", (row,)):
            return f"{to} = cost {costs.get(str(row), row)}"
        case ir.Call(_, None, "line_read" | "line_write" as name, (address,)):
            return f"{name.replace('_', ' ')} of {address} (a transfer if another CPU has it)"
        case ir.Call(_, to, function, args):
            return f"{f'{to} = ' if to is not None else ''}{function}({', '.join(map(str, args))})"
        case ir.CallPointer(_, to, pointer, args):
            return f"{f'{to} = ' if to is not None else ''}(*{pointer})({', '.join(map(str, args))})"
        case ir.Point(_, why):
            return f"interaction: {why}"
        case ir.Suspend():
            return "suspend until resumed"
        case ir.Trace(_, event, args):
            return f"trace {event} {', '.join(map(str, args))}"
        case ir.Check(_, value, code, what):
            return f"stop unless {value} ({what or code})"
        case ir.Fuel():
            return "one turn of a loop"
        case ir.Barrier(_, kind):
            return kind
        case ir.Jump(_, target):
            return f"go to {target}"
        case ir.Branch(_, value, yes, no):
            return f"if {value} go to {yes} else to {no}"
        case ir.Return(_, value):
            return "return" if value is None else f"return {value}"
        case _:
            raise AssertionError(f"unknown instruction {instr}")


def _stops(reference: ir.Operand, checked: bool) -> str:
    """What is said of a reference that may be NULL here."""
    return f"; stops if {reference} is NULL" if checked else ""


def _place(place: ir.Place) -> str:
    guard = f" by {place.guard}" if place.guard else ""
    return f"{place.field} at {place.address} [{place.kind}{guard}]"


def _order(order: str) -> str:
    return "" if order == "plain" else f" ({order})"
