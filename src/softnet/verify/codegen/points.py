# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a context may stop, which functions are reached, and which fields change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from softnet.lang import ir
from softnet.lang.declare import NOTHING_SAID, FunctionFacts
from softnet.lang.program.program import Program
from softnet.machine.state import SOFTIRQ_OFFSET

# What a machine function says of itself (@hwfunc(visible=...)) is why a call of it is a stop, or none, in terms of what every other
# context can do between two stops:
#   an interrupt of the same CPU, which strikes where interrupts are on; it returns to whom it struck, unless it switches tasks;
#   a softirq, at the end of such an interrupt where preempt_count() has no softirq or hardirq bits;
#   a task of the same CPU, after such an interrupt where preempt_count() is 0, or where the context itself calls schedule();
#   the contexts of other CPUs, and what comes from outside (devices, drivers' starts, settings), at any time;
#   a store buffer's oldest store reaches memory at any time (softnet.verify.codegen.store_order).

KIND_OF: Final = {
    "own context": "", "search": "", "own interrupts": "own", "preempt_count": "count", "irq disable": "disable",
    "irq restore": "enable", "acquire": "acquire", "release": "release", "stop machine": "non", "start machine": "commit",
    "own cpu": "non", "lock": "non", "try": "non", "all": "non",
}  # fmt: skip
"""Who can tell when a machine function acts -> what a call of it is, as point_kind() says."""

PREEMPT_MASK: Final = SOFTIRQ_OFFSET - 1
"""The bits of preempt_count() that count sections without preemption."""


@dataclass(frozen=True)
class Facts:
    """What a whole program and its machine say of every stop."""

    movable: bool = True
    """A task may be moved to another CPU: one is bound to several, or a CPU goes."""
    tries: bool = True
    """Some function tries a lock, after which a step is committed with a lock that it took itself."""
    classes: bool = False
    """Nobody asks more of preempt_count() than counts_are_classes()."""
    functions: Mapping[str, FunctionFacts] = field(default_factory=dict)
    """What the functions' declarations say."""


def facts_of(module: ir.Module, functions: Iterable[str], *, movable: bool) -> Facts:
    """The facts of a program."""
    used = sorted(functions)
    body = [i for name in used for block in module.functions[name].blocks for i in block.body]
    tries = any(isinstance(i, ir.Call) and module.functions[i.function].facts.visible == "try" for i in body)
    said = {name: f.facts for name, f in module.functions.items() if f.facts is not NOTHING_SAID}
    return Facts(movable, tries, counts_are_classes(module, used), said)


def point_kind(why: str, fields: Mapping[str, str], changing: frozenset[str], reduce: bool, facts: Facts) -> str:
    """What an interaction point is: "" none, ``non`` (non-mover), ``own`` (own CPU's interrupts only), ``count`` (the same, if
    preempt_count() changes for them), ``acquire``, ``disable``, ``enable`` (interrupts), ``release`` (of a lock), ``commit`` (a
    left mover: no stop, but one before the next that is none), ``hard`` (always a stop).

    ``fields`` gives the kind of "structure.field", ``changing`` the fields that any function stores to.

    - disable: nothing of the same CPU comes after it, and other CPUs do not look, so it is a right mover; interrupts that come
      before it have their stop.
    - enable: nothing of the same CPU comes before it: a left mover. Where interrupts are on already it may be a disabling
      (irq_local_restore() of a flag that says so), and has the stop of one.
    - acquire: a right mover for other CPUs, which cannot act on the lock while it is held.
    - release: a left mover for them. For an interrupt of the same CPU it is none: one that takes the lock, too, waits for ever
      above its holder. So a lock that was taken in this very step, with interrupts on, has a stop before it is released.
    """
    if why.startswith("trace "):
        return ""
    if "." in why:
        if why not in changing:
            return ""
        if not reduce:
            return "hard"
        return "own" if fields.get(why) == "percpu" else "non"
    said = facts.functions.get(why, NOTHING_SAID)
    if said.visible == "search":
        return ""
    if not reduce:
        return "hard-acquire" if said.visible == "acquire" else "hard"
    if said.visible == "own context" and said.reads in changing:
        return "non"
    if said.visible == "migration":
        return "own" if facts.movable else ""
    return KIND_OF.get(said.visible, "non")


def counts_are_classes(module: ir.Module, functions: Iterable[str]) -> bool:
    """Whether all that kernel functions ask of preempt_count() is whether it is 0, and its bits above those of preemption.

    The machine's own functions ask no more: in_hardirq(), softirq_count(), resched_on_return(), preempt_enable_due(),
    schedule_now(), rt_spin_lock_checks(); switch_to() keeps the count and gives it back.
    """
    for name in functions:
        function = module.functions[name]
        if function.kind != "kfunc":
            continue
        body = [i for block in function.blocks for i in block.body]
        counts = {i.to for i in body if isinstance(i, ir.Call) and i.function == "preempt_count"}
        ends = [block.end for block in function.blocks]
        for i in [*body, *ends]:
            if i is None or not counts & set(i.uses()):
                continue
            if not isinstance(i, ir.Binary) or not isinstance(i.right, int):
                return False
            masked = i.op == "&" and i.right & PREEMPT_MASK == 0
            if not masked and (i.op not in ("==", "!=") or i.right != 0):
                return False
    return True


def reachable(module: ir.Module, roots: Iterable[str], program: Program) -> set[str]:
    """The functions that the roots lead to, by call or by a pointer that some of them store."""
    names = {number: name for name, number in module.function_ids.items()}
    fnptr = {f"{s.name}.{f.name}" for s in program.structs.values() for f in s.fields.values() if f.type == "fnptr"}
    seen: set[str] = set()
    pending = list(roots)
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        for block in module.functions[name].blocks:
            for i in block.body:
                if isinstance(i, ir.Call):
                    if not module.functions[i.function].facts.price_only:
                        pending.append(i.function)
                elif isinstance(i, ir.Store) and i.place.field in fnptr and isinstance(i.value, int) and i.value:
                    pending.append(names[i.value])
    return seen


def stored_fields(module: ir.Module, functions: Iterable[str]) -> frozenset[str]:
    """The fields that some of the functions store to; everything else is constant once booted."""
    found: set[str] = set()
    for name in functions:
        for block in module.functions[name].blocks:
            found |= {i.place.field for i in block.body if isinstance(i, ir.Store | ir.Atomic)}
    return frozenset(found)
