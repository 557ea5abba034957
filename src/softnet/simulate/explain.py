# SPDX-License-Identifier: GPL-2.0-or-later
"""``softnet explain``: a kernel's functions in their intermediate form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from softnet.image.costnames import cost_names
from softnet.lang import ir
from softnet.lang.check.subset import typed_program
from softnet.lang.explain import explain, summarise
from softnet.lang.lowering.lower import lower_program
from softnet.lang.passes.null_checks import mark_sound
from softnet.lang.program.layout import ENGINE_STRUCT, LINE_SHIFT, lay_out_structs
from softnet.lang.program.program import Program
from softnet.machine.costtable import load_cost_table
from softnet.scenario import apply_kernel, scenario_from_dict
from softnet.simulate.program import load_program
from softnet.trace import EVENT_ID

PRICES: Final = ("line_read", "line_write")
"""Calls that the compiler adds for the price of an access."""


def lowered(kernel: str, patches: Sequence[str]) -> tuple[ir.Module, list[str]]:
    """The lowered functions of a kernel with patches, and the names of the cost table's rows that they use."""
    return _lower(_program(kernel, patches))


def _program(kernel: str, patches: Sequence[str]) -> Program:
    scenario = scenario_from_dict(apply_kernel({"name": "explain", "measure": {"duration_ms": 1}}, kernel))
    return load_program(scenario, patches)


def _lower(program: Program) -> tuple[ir.Module, list[str]]:
    names = cost_names(program)
    module = lower_program(typed_program(program), {name: i for i, name in enumerate(names)}, EVENT_ID)
    mark_sound(module)
    return module, names


def explain_function(kernel: str, patches: Sequence[str], function: str) -> str:
    """One function: its instructions by source line, suspend points and costs in the default cost table; the fields that it
    touches with their kinds and cache lines; the functions that it calls, and whether they may lose the CPU.
    """
    program = _program(kernel, patches)
    module, names = _lower(program)
    table = load_cost_table("default")
    rows = {str(i): f"{name} ({table.row(name).base} ns)" for i, name in enumerate(names)}
    text = explain(module, function, rows)
    shown = module.functions[function]
    stack = program.overridden.get(function)
    if stack:
        text += "\n\nThe last of these definitions is in force:\n" + "\n".join(f"  {name}" for name in stack)
    return text + _touched(program, shown) + _called(module, shown)


def _touched(program: Program, function: ir.Function) -> str:
    """The fields that a function touches itself: kind, cache line of the structure, and where."""
    structs = lay_out_structs(program)
    seen: dict[str, tuple[str, dict[str, list[int]]]] = {}
    for block in function.blocks:
        for instr in block.body:
            if isinstance(instr, ir.Load | ir.Store | ir.Atomic) and "." in instr.place.field:
                what = type(instr).__name__.lower()
                kind, lines = seen.setdefault(instr.place.field, (instr.place.kind, {}))
                lines.setdefault(what, []).append(instr.at.line)
    out = []
    for name, (kind, lines) in sorted(seen.items()):
        struct, _, field = name.partition(".")
        if struct == ENGINE_STRUCT or struct not in structs:
            continue
        at = structs[struct].fields[field].offset >> LINE_SHIFT
        where = "; ".join(f"{what} {', '.join(map(str, sorted(set(n))))}" for what, n in lines.items())
        out.append(f"  {name:<44} {kind:<8} line {at:>2}   {where}")
    return "\n\nFields, the cache line of their structure, and the source lines:\n" + "\n".join(out) if out else ""


def _called(module: ir.Module, function: ir.Function) -> str:
    """The functions that a function calls, and whether the CPU may be lost inside them."""
    losing = _may_lose(module)
    calls: dict[str, set[int]] = {}
    for block in function.blocks:
        for instr in block.body:
            if isinstance(instr, ir.Call) and instr.function not in PRICES:
                calls.setdefault(instr.function, set()).add(instr.at.line)
    out = [
        f"  {name:<44} {module.functions[name].kind:<8} {'may lose the CPU' if name in losing else 'runs through':<18}"
        f" {', '.join(map(str, sorted(lines)))}"
        for name, lines in sorted(calls.items())
    ]
    return "\n\nCalls, and the source lines:\n" + "\n".join(out) if out else ""


def _may_lose(module: ir.Module) -> set[str]:
    """Functions with an interaction point of their own or of one that they call, pointers included."""
    callers: dict[str, set[str]] = {}
    losing: set[str] = set()
    for name, function in module.functions.items():
        for block in function.blocks:
            for instr in block.body:
                if isinstance(instr, ir.Point | ir.Suspend | ir.CallPointer):
                    losing.add(name)
                elif isinstance(instr, ir.Call):
                    callers.setdefault(instr.function, set()).add(name)
    pending = sorted(losing)
    while pending:
        for caller in sorted(callers.get(pending.pop(), set()) - losing):
            losing.add(caller)
            pending.append(caller)
    return losing


def list_functions(kernel: str, patches: Sequence[str]) -> str:
    """Every function with its kind and size."""
    module, _ = lowered(kernel, patches)
    lines = [f"{'function':<40} {'kind':<7} {'instructions':>12} {'interactions':>12}"]
    for name in sorted(module.functions):
        counts = summarise(module.functions[name])
        kind = module.functions[name].kind
        lines.append(f"{name:<40} {kind:<7} {counts.instructions:>12} {counts.points:>12}")
    return "\n".join(lines)
