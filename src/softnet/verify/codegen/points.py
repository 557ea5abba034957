# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a context may stop, which functions are reached, and which fields change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from softnet.lang import ir
from softnet.lang.declare import NOTHING_SAID, FunctionFacts
from softnet.lang.program.program import Program
from softnet.lang.python.hooks import PLAIN, THIS_CPU
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

# Why the declarations that are not plain to see are sound:
# - price_only: the clock stands still at 0 (the back end drops every store to it) and all prices are 0, so that update_curr()
#   finds nothing to charge, nobody reads a timer's program or the tree of who acts next, and the rest writes only tables that are
#   no state. softnet.verify.codegen.guard refuses a patch that gives one of them another meaning.
# - preempt_count(), softirq_count(), in_hardirq(), "own context": only the CPU's own contexts write the count, and an interrupt
#   leaves it as it found it; a task that is switched out has it kept in its task_struct.
# - current(), "own context": whoever asks is the current task, on whichever CPU it is.
# - rx_*(), "own context": words of a descriptor that was popped. The card writes it before that; all frames of a card are one.
# - preempt_enable_due(), "own context": reads NEED_RESCHED right after preempt_count_sub(), which is a stop. An interrupt of this
#   CPU between the two switches tasks itself at its exit, now that the count is 0, and comes back with NEED_RESCHED clear: it does
#   what schedule_preempt() would. With the flag still set that is the order interrupt, preempt_count_sub(), schedule_preempt(),
#   which has its stops. Another CPU that sets the flag sends an interrupt with it, which preempts before the next stop's access;
#   that order and the flag seen here differ in nothing but where the task stands while it is switched out. (Without an interrupt
#   it is set for an idle CPU that polls; there the answer is no.)
# - "preempt_count": writes what decides what an interrupt of this CPU does at its exit: softirqs, another task. Other CPUs do not
#   read it (stop_machine() does: whether a CPU is preemptible, which changes only where interrupts are on, too). So the call is an
#   access of a per-CPU word, with a stop before it and one before what follows, but where nobody can tell the count before from
#   the count after (counts_are_classes()): inside a section that keeps tasks and softirqs away a further one changes nothing.
# - "own interrupts" of vtime_user_*(): whether the task is in user mode, where an interrupt's exit may always switch tasks.
# - "migration": who looks whether the running task may be moved does so when it is switched out. Where every task is bound to one
#   CPU and no CPU goes, the answer changes nothing. For the same reason which CPU a function runs on (THIS_CPU) is a constant
#   there, and wherever the task cannot be switched out or moved.
# - "own cpu", "lock": stops, but not where softnet.verify.ownership knows that nobody else looks at that machine (vx_calm()): no
#   interrupt is pending or can come then, and every access of another CPU to these words would be seen.

PREEMPT_MASK: Final = SOFTIRQ_OFFSET - 1
"""The bits of preempt_count() that count sections without preemption."""


FREES: Final = "vx_forget"
"""The function with which an skb ends: it clears what is free already."""


@dataclass(frozen=True)
class Facts:
    """What a whole program and its machine say of every stop."""

    movable: bool = True
    """A task may be moved to another CPU: one is bound to several, or a CPU goes."""
    tries: bool = True
    """Some function tries a lock: so others can tell whether it is held (point_kind())."""
    classes: bool = False
    """Nobody asks more of preempt_count() than counts_are_classes()."""
    functions: Mapping[str, FunctionFacts] = field(default_factory=dict)
    """What the functions' declarations say."""
    looked: frozenset[str] = frozenset()
    """Guarded fields that somebody reads without the lock, with READ_ONCE() or the like."""


def facts_of(module: ir.Module, functions: Iterable[str], *, movable: bool) -> Facts:
    """The facts of a program."""
    used = sorted(functions)
    body = [i for name in used for block in module.functions[name].blocks for i in block.body]
    tries = any(isinstance(i, ir.Call) and module.functions[i.function].facts.visible == "try" for i in body)
    said = {name: f.facts for name, f in module.functions.items() if f.facts is not NOTHING_SAID}
    looked = frozenset(i.place.field for i in body if isinstance(i, ir.Load) and i.place.guard and i.order != "plain")
    return Facts(movable, tries, counts_are_classes(module, used), said, looked)


OWN: Final = "own "
"""How the reason of a point begins that counts while interrupts are on, and the order of the load behind it."""
READ_ONCE_IN_C: Final = {"list_empty": "list_head.next"}
"""Function -> the field that it reads by READ_ONCE() in C, and plainly here."""
INTERRUPTS_READ: Final = frozenset({"task_struct.softirq_disable_cnt"})
"""Fields of the running task that this CPU's interrupts read, too. The kernel's accesses are plain. kernel/softirq.c (6.12): the
task stores it at lines 185 and 210; an interrupt that strikes there reads it by softirq_count() (include/linux/preempt.h:111). It
is one word that interrupts never write, so they see the old count or the new one, and both are tried."""


def is_own(function: str, field: str, *, write: bool) -> bool:
    """Whether an access has a stop because of this CPU's interrupts alone."""
    return field in INTERRUPTS_READ if write else field == READ_ONCE_IN_C.get(function)


def with_stops(module: ir.Module, functions: Iterable[str]) -> ir.Module:
    """The module with points that only the explorer needs, since time is no matter here.

    - Before a plain store to a guarded field: whoever holds the lock is alone with the field, but who reads it without, by
      READ_ONCE(), sees every store to it by itself.
    - Before a plain load that C has as READ_ONCE() for the sake of this CPU's interrupts (READ_ONCE_IN_C), and before a plain store
      to what they read (INTERRUPTS_READ).
    - Before smp_processor_id() and this_cpu_ptr(): a task that may be moved may be moved just before.
    """
    changed = dict(module.functions)
    for name in functions:
        function = module.functions[name]
        if function.kind == "kfunc":
            changed[name] = replace(function, blocks=[replace(b, body=list(_with_stops(name, b.body))) for b in function.blocks])
    return replace(module, functions=changed)


def _with_stops(function: str, body: list[ir.Instr]) -> Iterable[ir.Instr]:
    for i in body:
        if isinstance(i, ir.Load | ir.Store) and is_own(function, i.place.field, write=isinstance(i, ir.Store)):
            yield ir.Point(i.at, OWN + i.place.field)
            yield replace(i, order=OWN)
            continue
        if isinstance(i, ir.Store) and i.place.guard and i.order == "plain":
            yield ir.Point(i.at, PLAIN + i.place.field)
        elif isinstance(i, ir.Load) and i.place.field == "engine_state.cpu":
            yield ir.Point(i.at, THIS_CPU)
        yield i


def point_kind(why: str, fields: Mapping[str, str], changing: frozenset[str], reduce: bool, facts: Facts) -> str:
    """What an interaction point is: "" none, ``non`` (non-mover), ``own`` (own CPU's interrupts only), ``count`` (the same, if
    preempt_count() changes for them), ``cpu`` (the same, if the task may be moved), ``acquire``, ``disable``, ``enable``
    (interrupts), ``release`` (of a lock), ``commit`` (a left mover: no stop, but one before the next that is none), ``hard``
    (always a stop).

    ``fields`` gives the kind of "structure.field", ``changing`` the fields that any function stores to.

    - disable: nothing of the same CPU comes after it, and other CPUs do not look, so it is a right mover; interrupts that come
      before it have their stop.
    - enable: nothing of the same CPU comes before it: a left mover. Where interrupts are on already it may be a disabling
      (irq_local_restore() of a flag that says so), and has the stop of one.
    - acquire: a right mover for other CPUs, which cannot act on the lock while it is held.
    - release: a left mover for them. For an interrupt of the same CPU it is none: one that takes the lock, too, waits for ever
      above its holder. So a lock that was taken in this very step, with interrupts on, has a stop before it is released.
    - Where some function tries a lock, spin_trylock() on another CPU can tell whether it is held, without waiting: then neither is
      a mover, and both are stops.
    """
    if why.startswith("trace "):
        return ""
    if why == THIS_CPU:
        return ("cpu" if reduce else "hard") if facts.movable else ""
    if why.startswith(OWN):
        if why.removeprefix(OWN) not in changing:
            return ""
        return "own" if reduce else "hard"
    if why.startswith(PLAIN):
        if why.removeprefix(PLAIN) not in facts.looked:
            return ""
        return "non" if reduce else "hard"
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
    if facts.tries and said.visible in ("acquire", "release"):
        return "hard-acquire" if said.visible == "acquire" else "hard"
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


def fields_at_stops(module: ir.Module, functions: Iterable[str]) -> frozenset[str]:
    """The fields that have a point before some access."""
    blocks = [block for name in functions for block in module.functions[name].blocks]
    whys = {i.why.removeprefix(PLAIN) for block in blocks for i in block.body if isinstance(i, ir.Point)}
    return frozenset(why for why in whys if "." in why)
