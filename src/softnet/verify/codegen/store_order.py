# SPDX-License-Identifier: GPL-2.0-or-later
"""x86-TSO: which stores go into a CPU's store buffer, what waits until it is empty, and where a context may stop for that.

After Sewell, Sarkar, Owens, Zappa Nardelli and Myreen, "x86-TSO: a rigorous and usable programmer's model for x86
multiprocessors", CACM 53(7), 2010: one queue of stores for each CPU, read by that CPU alone; its oldest store reaches memory at
any time; locked instructions and mfence wait until it is empty. smp_wmb(), smp_rmb(), acquire and release only bind the compiler.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from softnet.lang import ir
from softnet.lang.declare import FunctionFacts
from softnet.lang.python.hooks import PLAIN
from softnet.lang.types import SIGNATURES

STORE, LOCKED, FENCE, FULL = "store ", "locked ", "fence ", "unmarked store "
"""How the reason of an interaction point begins that is of the memory model."""

# What is wrong in a declaration's x86= in one direction only loses behaviours (a call that waits for the buffer where x86 does
# not), in the other it only adds some. So a function that says nothing may not be called by the kernel, and each that waits has
# its reason. Too strong, and so a loss of behaviours, are three that are known: spin_try() of a lock that is seen held (a load on
# x86), try_to_wake_up() of the current task (which takes no lock), and idle_enter(), which other CPUs cannot tell from one that
# comes later.


def is_fence(barrier: str) -> bool:
    """Whether a barrier is one on x86: smp_wmb(), smp_rmb(), acquire and release bind the compiler alone, and the two beside an
    atomic are barrier(), since the atomic is a locked instruction.
    """
    return SIGNATURES[barrier].fence


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
        elif isinstance(i, ir.Barrier) and is_fence(i.kind):
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


def point_kind(why: str, said: FunctionFacts, reduce: bool) -> str | None:
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
    if why.startswith(STORE) or (said.stores and said.visible != "release"):
        return "store" if reduce else "hard"
    if said.stores:
        return "full release" if reduce else "hard"
    return None
