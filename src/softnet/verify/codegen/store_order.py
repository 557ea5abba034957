# SPDX-License-Identifier: GPL-2.0-or-later
"""x86-TSO: which stores go into a CPU's store buffer, what waits until it is empty, and where a context may stop for that.

After Sewell, Sarkar, Owens, Zappa Nardelli and Myreen, "x86-TSO: a rigorous and usable programmer's model for x86
multiprocessors", CACM 53(7), 2010: one queue of stores for each CPU, read by that CPU alone; its oldest store reaches memory at
any time; locked instructions and mfence wait until it is empty. smp_wmb(), smp_rmb(), acquire and release only bind the compiler.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from softnet.lang import ir
from softnet.verify.codegen.points import COUNTS, EXITS, LOCAL, MOVES, PLAIN

STORE, LOCKED, FENCE, FULL = "store ", "locked ", "fence ", "unmarked store "
"""How the reason of an interaction point begins that is of the memory model."""

# What is wrong here in one direction only loses behaviours (a machine call that waits for the buffer where x86 does not), in the
# other it only adds some (a call that does not wait where x86 does): so a call is listed as one that waits only with its reason.

FENCES: Final = frozenset(("smp_mb",))
"""smp_mb__before_atomic() and smp_mb__after_atomic() are barrier() on x86: the atomic itself is a locked instruction. So are
smp_wmb(), smp_rmb(), acquire and release."""

UNORDERED: Final = (
    LOCAL
    | COUNTS
    | EXITS
    | MOVES
    | frozenset(
        (
            "irq_local_disable",
            "irq_local_restore",
            "need_resched",
            "task_state",
            "jiffies",
            "lock_is_held",
            "set_task_state",
            "user_return_due",
            "is_idle_polling",
            "spin_release",
            "irq_ack",
            "hrtimer_active",
            "nic_rx_pop",
            "nic_rx_pending",
            "nic_irq_disable",
        )
    )
)
"""Machine functions that are no locked or serialising instructions on x86, with what they are there:

- cli and sti; this_cpu_add() of preempt_count() and of migration_disabled, without a lock prefix; plain loads of other words;
- a queued spinlock's unlock, a byte that is stored, and WRITE_ONCE(current->__state): plain stores, which go into the buffer;
- a descriptor that the card has written: loads from ordinary memory (nic_rx_pop(), rx_*()). The card's interrupt is masked by
  the card itself when it sends one, without an access of the CPU (nic_irq_disable());
- irq_ack(): the end-of-interrupt's write to the APIC, which no other CPU sees.

All others wait for the buffer: locks' cmpxchg (spin_acquire(), spin_try(), rt_*()), the run queue's lock in schedule_now(),
schedule_preempt() and try_to_wake_up(), the timer base's lock in hrtimer_*(), the atomic flags set_polling(), clear_polling()
and set_nr_if_polling(), the fence before the APIC's wrmsr (weak_wrmsr_fence()), iret in irq_return(), uncached writes to a card
in nic_refill() and nic_irq_enable(), and the locks of what waits for a CPU to go. Too strong, and so a loss of behaviours, are
three that are known: spin_try() of a lock that is seen held (a load on x86), try_to_wake_up() of the current task (which takes
no lock), and idle_enter(), which other CPUs cannot tell from one that comes later."""

OWN_STORES: Final = {"set_task_state": "task_struct.state", "spin_release": "spinlock_t.owner"}
"""Machine functions whose store is a plain one: WRITE_ONCE(current->__state), and a queued spinlock's unlock. What the other
functions of UNORDERED store to no other CPU reads, but for nic_rx_pop()'s index, which is its driver's own, and irq_ack()'s."""
OWN_LOADS: Final = frozenset(("spin_release", "lock_is_held", "task_state", "vx_rx_pending"))
"""Machine functions that read what their own CPU may have in its buffer. All that wait for it find it empty."""


def is_unordered(function: ir.Function) -> bool:
    """Whether a call of the machine's function leaves the store buffer as it is."""
    return function.kind != "hwfunc" or function.name in UNORDERED or function.name.startswith("vx_")


def buffered_fields(
    module: ir.Module, used: Iterable[str], fields: Mapping[str, str], state: frozenset[str], *, reduce: bool
) -> frozenset[str]:
    """The fields whose stores go through the buffer.

    All of the kernel's, or with ``reduce`` those that another CPU can look at between the store and its turn: ``shared`` ones,
    and guarded ones that somebody reads without the lock. What only the holder of a lock reads, he reads after the unlock has
    reached memory, which is behind it in the queue; a private object is handed over by a store that is behind it, too; a
    per-CPU field is read by its own CPU.
    """
    kernel = {name for name in state if fields.get(name, "raw") not in ("hw", "raw")}
    if not reduce:
        return frozenset(kernel)
    lockless: set[str] = set()
    for name in used:
        function = module.functions[name]
        for block in function.blocks if function.kind == "kfunc" else ():
            for i in block.body:
                if isinstance(i, ir.Atomic) or (isinstance(i, ir.Load) and i.order != "plain"):
                    lockless.add(i.place.field)
    return frozenset(f for f in kernel if fields[f] == "shared" or (fields[f] == "guarded" and f in lockless))


def with_points(module: ir.Module, used: Iterable[str], buffered: frozenset[str]) -> ir.Module:
    """The module with interaction points that say what the memory model makes of them."""
    functions = dict(module.functions)
    for name in used:
        function = functions[name]
        if function.kind == "kfunc":
            functions[name] = replace(function, blocks=[_block(block, buffered) for block in function.blocks])
    return replace(module, functions=functions)


def _block(block: ir.Block, buffered: frozenset[str]) -> ir.Block:
    body: list[ir.Instr] = []
    open_point = -1
    for i in block.body:
        if isinstance(i, ir.Point):
            open_point = len(body)
        elif isinstance(i, ir.Store) and i.place.field in buffered:
            open_point = _marked(body, open_point, i.place.field, STORE, FULL, i.at)
        elif isinstance(i, ir.Atomic):
            open_point = _marked(body, open_point, i.place.field, LOCKED, LOCKED, i.at)
        elif isinstance(i, ir.Barrier) and i.kind in FENCES:
            body.append(ir.Point(i.at, FENCE + i.kind))
        body.append(i)
    return replace(block, body=body)


def _marked(body: list[ir.Instr], at: int, field: str, mark: str, without: str, where: ir.At) -> int:
    """The point before an access says what it is; one that has none gets one."""
    point = body[at] if at >= 0 else None
    if isinstance(point, ir.Point) and point.why in (field, PLAIN + field):
        body[at] = ir.Point(point.at, mark + field)
    else:
        body.append(ir.Point(where, without + field))
    return -1


def point_kind(why: str, reduce: bool) -> str | None:
    """What a point is that the memory model speaks of, for softnet.verify.codegen.frames; None: what it is anyway.

    A store into the buffer is a left mover: others see it when it leaves. Its step ends before the next load, so that it can
    reach memory before that. ``full`` stops only where the buffer is; ``fence`` only where there is something to wait for.
    """
    if why.startswith(FULL):
        return "full"
    if why.startswith(FENCE):
        return "fence"
    if why.startswith(LOCKED):
        return "non" if reduce else "hard"
    if why.startswith(STORE) or why == "set_task_state":
        return "store" if reduce else "hard"
    if why == "spin_release":
        return "full release" if reduce else "hard"
    return None
