# SPDX-License-Identifier: GPL-2.0-or-later
"""``softnet explain``: a kernel's functions in their intermediate form."""

from __future__ import annotations

from collections.abc import Sequence

from softnet.lang import ir
from softnet.lang.explain import explain, summarise
from softnet.lang.lower import lower_program
from softnet.lang.subset import typed_program
from softnet.machine.costtable import load_cost_table
from softnet.scenario import apply_kernel, scenario_from_dict
from softnet.simulate.costnames import cost_names
from softnet.simulate.simulation import load_program
from softnet.trace import EVENT_ID


def lowered(kernel: str, patches: Sequence[str]) -> tuple[ir.Module, list[str]]:
    """The lowered functions of a kernel with patches, and the names of the cost table's rows that they use."""
    scenario = scenario_from_dict(apply_kernel({"name": "explain", "measure": {"duration_ms": 1}}, kernel))
    program = load_program(scenario, patches)
    names = cost_names(program)
    return lower_program(typed_program(program), {name: i for i, name in enumerate(names)}, EVENT_ID), names


def explain_function(kernel: str, patches: Sequence[str], function: str) -> str:
    """One function with its source lines, suspend points and costs in the default cost table."""
    module, names = lowered(kernel, patches)
    table = load_cost_table("default")
    rows = {str(i): f"{name} ({table.row(name).base} ns)" for i, name in enumerate(names)}
    return explain(module, function, rows)


def list_functions(kernel: str, patches: Sequence[str]) -> str:
    """Every function with its kind and size."""
    module, _ = lowered(kernel, patches)
    lines = [f"{'function':<40} {'kind':<7} {'instructions':>12} {'interactions':>12}"]
    for name in sorted(module.functions):
        counts = summarise(module.functions[name])
        kind = module.functions[name].kind
        lines.append(f"{name:<40} {kind:<7} {counts.instructions:>12} {counts.points:>12}")
    return "\n".join(lines)
