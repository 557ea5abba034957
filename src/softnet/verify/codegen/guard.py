# SPDX-License-Identifier: GPL-2.0-or-later
"""What of a patch the explorer would not run as written is refused, or becomes state; nothing is left out silently."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import ModuleType

from softnet.errors import SoftnetError
from softnet.lang import ir
from softnet.lang.declare import NOTHING_SAID
from softnet.lang.program.program import Program


def check_patches(program: Program, patches: Iterable[ModuleType], harness: Iterable[str]) -> None:
    """Raises SoftnetError if a patch defines a function that the harness replaces, or one that the explorer leaves out."""
    own = set(harness)
    for patch in patches:
        for name, value in vars(patch).items():
            if not hasattr(value, "__softnet_kind__") or getattr(value, "__module__", "") != patch.__name__:
                continue
            where = f"{value.__code__.co_filename}:{value.__code__.co_firstlineno}"
            if program.functions[name].module in own:
                raise SoftnetError(
                    "softnet verify replaces this function: your change of it would not be explored",
                    where=where,
                    found=f"{name}()",
                    expected="a patch that leaves it alone",
                    hint="softnet run --patch runs it as you wrote it; docs/verify.md lists what is replaced",
                )
            if _is_special(program, name):
                raise SoftnetError(
                    "softnet verify treats this function of the machine specially: your change of it would not be explored",
                    where=where,
                    found=f"{name}()",
                    expected="a patch that leaves it alone",
                )


def _is_special(program: Program, name: str) -> bool:
    """Whether a definition below the patch says that no other context sees the function act, or that it keeps prices only."""
    for module in program.overridden.get(name, ()):
        below = getattr(sys.modules.get(module), name, None)
        facts = getattr(below, "__softnet_facts__", NOTHING_SAID)
        if facts.price_only or facts.visible == "own context":
            return True
    return False


def depended_on(module: ir.Module, patches: Iterable[ModuleType], ignored: frozenset[str]) -> frozenset[str]:
    """Fields among ``ignored`` that a function of a patch reads for more than counting them up: they are state then."""
    files = {str(patch.__file__) for patch in patches}
    found: set[str] = set()
    for function in module.functions.values():
        if function.file in files:
            for block in function.blocks:
                found |= _read_for_more(block, ignored)
    return frozenset(found)


def _read_for_more(block: ir.Block, ignored: frozenset[str]) -> set[str]:
    """A counter's value may flow through arithmetic back into the counter; any other use counts."""
    holds: dict[ir.Temp, str] = {}
    found: set[str] = set()
    for i in block.body:
        if isinstance(i, ir.Load) and i.place.field in ignored:
            holds[i.to] = i.place.field
            continue
        used = [holds[temp] for temp in i.uses() if temp in holds]
        if not used:
            continue
        if isinstance(i, ir.Trace):
            continue
        if isinstance(i, ir.Binary) and i.op in ("+", "-") and isinstance(i.right, int):
            holds[i.to] = used[0]
        elif not (isinstance(i, ir.Store) and i.place.field == used[0]):
            found |= set(used)
    if block.end is not None:
        found.update(holds[temp] for temp in block.end.uses() if temp in holds)
    return found
