# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel with one of its findings mended, also below a user's patches: what such a kernel still breaks is something else.

A mend is edits of the functions that the finding is in, as the kernel in use has them. They are compared as statements, so that
layout and comments do not matter; where a patch has changed the statements that an edit is about, it does not fit. Mends are
there to tell findings apart. They are no proposals for the kernel.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

from softnet.lang.program.source import forget
from softnet.linux.diffs import Changed, definitions_of
from softnet.linux.source import Source, linked_source

ANY: Final = "..."
"""The one statement in an old text that stands for whatever is there; in the new text it is that statement."""


@dataclass(frozen=True)
class Edit:
    """These statements of a function become those; where they stand several times, the last ones do."""

    function: str
    old: str
    new: str


_FLUSH_AFTER_THE_LOOP = Edit(
    "net_rx_action",
    """
local_irq_disable()
list_splice_tail_init(sd.poll_list, list)
""",
    """
skb_defer_free_flush(sd)
local_irq_disable()
list_splice_tail_init(sd.poll_list, list)
""",
)
_OFFLINE_GIVES_SCHED_UP = Edit(
    "net_rps_send_ipi",
    """
if cpu_online(remsd.cpu):
    trace_net_rps_send_ipi(remsd.cpu)
    smp_call_function_single_async(remsd.cpu, remsd.csd)
""",
    """
if cpu_online(remsd.cpu):
    trace_net_rps_send_ipi(remsd.cpu)
    smp_call_function_single_async(remsd.cpu, remsd.csd)
else:
    clear_bit(NAPI_STATE_SCHED, remsd.backlog.state)
""",
)

# What 06e3f54e8b22 does in 7.3, for the three shapes that the defer list has before it.
_FAILED_KICK = """
if smp_call_function_single_async(cpu, sd.defer_csd):
    WRITE_ONCE(sd.defer_ipi_scheduled, 0)
"""
_FREE_THE_LIST = """
    atomic_set(sdn.defer_count, 0)
    entry = llist_del_all(sdn.defer_list)
    while entry:
        skb = container_of(entry, sk_buff, "ll_node")
        entry = entry.next
        napi_consume_skb(skb, 0)
"""
_KICK = Edit("kick_defer_list_purge", "smp_call_function_single_async(cpu, sd.defer_csd)", _FAILED_KICK)
_KICK_INSIDE = Edit("skb_attempt_defer_free", _KICK.old, _KICK.new)
_DEAD = Edit(
    "dev_cpu_dead",
    "dev_cpu_dead_send_ipi(oldsd)",
    """
local_bh_disable()
skb_defer_free_flush(oldsd)
local_bh_enable()
dev_cpu_dead_send_ipi(oldsd)
""",
)
_DEAD_NODES = Edit(
    "dev_cpu_dead",
    "dev_cpu_dead_send_ipi(oldsd)",
    f"""
for node in range(nr_node_ids()):
    sdn = skb_defer_nodes(oldcpu, node)
{_FREE_THE_LIST}
dev_cpu_dead_send_ipi(oldsd)
""",
)
_GONE = """
if not cpu_online(cpu):
    local_bh_disable()
    skb_defer_free_flush(sd)
    local_bh_enable()
    return
"""


def _attempt(old: str, look: str) -> Edit:
    """Behind this statement of skb_attempt_defer_free(), a look whether the CPU has gone."""
    return Edit("skb_attempt_defer_free", old, f"{old}\n{look}")


_FLUSHED_WHEN_DEAD = (
    (_attempt("llist_add(skb.ll_node, sdn.defer_list)", f"if not cpu_online(cpu):{_FREE_THE_LIST}    return"), _KICK, _DEAD_NODES),
    (_attempt("spin_unlock_bh(sd.defer_lock)", _GONE), _KICK, _DEAD),
    (_attempt("spin_unlock_bh(sd.defer_lock)", _GONE), _KICK_INSIDE, _DEAD),
    (_attempt("spin_unlock_irqrestore(sd.defer_lock, flags)", _GONE), _KICK_INSIDE, _DEAD),
    # PREEMPT_RT before 6.10, which kicks by a work item.
    (_attempt("spin_unlock_bh(sd.defer_lock)", _GONE), _DEAD),
    (_attempt("spin_unlock_irqrestore(sd.defer_lock, flags)", _GONE), _DEAD),
)

# examples/patches/defer_count_follows.py.
# What 58e2330bd455 does in 7.1.
_TIMER_BEHIND_THE_POLL = Edit(
    "busy_poll_stop",
    """
if napi.defer_hard_irqs_count and timeout:
    hrtimer_start(napi.timer, ktime_get() + timeout)
    skip_schedule = True
""",
    """
if napi.defer_hard_irqs_count and timeout:
    skip_schedule = True
""",
)
_ARMED_BY_WHO_GIVES_UP = Edit(
    "__busy_poll_stop",
    "clear_bit(NAPI_STATE_SCHED, napi.state)",
    "clear_bit(NAPI_STATE_SCHED, napi.state)\nhrtimer_start(napi.timer, ktime_get() + READ_ONCE(napi.dev.gro_flush_timeout))",
)
_REFUSED = Edit(
    "skb_attempt_defer_free",
    "trace_skb_defer_nodefer(skb, cpu, SKB_NODEFER_FULL)",
    "atomic_dec(sdn.defer_count)\ntrace_skb_defer_nodefer(skb, cpu, SKB_NODEFER_FULL)",
)
_TAKEN, _TAKEN_FIRST = "...\nentry = llist_del_all(sdn.defer_list)", "entry = llist_del_all(sdn.defer_list)\n..."

MENDS: Final[dict[str, tuple[tuple[Edit, ...], ...]]] = {
    "C1": ((_FLUSH_AFTER_THE_LOOP,),),
    "C5": ((_OFFLINE_GIVES_SCHED_UP,),),
    "C6": _FLUSHED_WHEN_DEAD,
    "C7": _FLUSHED_WHEN_DEAD,
    "C9": (
        (
            Edit(
                "trigger_rx_softirq",
                "smp_store_release(sd.defer_ipi_scheduled, 0)",
                "smp_store_release(sd.defer_ipi_scheduled, 0)\nsmp_mb()",
            ),
        ),
    ),
    "C11": (
        (_REFUSED, Edit("skb_defer_free_flush", _TAKEN, _TAKEN_FIRST)),
        (_REFUSED, Edit("__skb_defer_free_flush", _TAKEN, _TAKEN_FIRST)),
    ),
    "C12": ((_TIMER_BEHIND_THE_POLL, _ARMED_BY_WHO_GIVES_UP),),
}
"""The number of a finding -> ways to mend it, of which the first one that fits the shipped kernel is taken."""


def mended(number: str, release: str, flavour: str, patches: Sequence[str | Path]) -> list[tuple[str, ModuleType]] | None:
    """Modules that mend a finding, to be linked behind the patches; None if no way fits the kernel, or if its does not fit these.

    Raises SoftnetError for patches that cannot be linked.
    """
    shipped = linked_source(release, flavour)
    way = next((edits for edits in MENDS.get(number, ()) if _edited(shipped, edits) is not None), ())
    texts = _edited(linked_source(release, flavour, patches) if patches else shipped, way)
    if not texts:
        return None
    return [_module(f"{number} mended/{name}()", name, text, release, flavour) for name, text in texts.items()]


def _edited(source: Source, edits: Sequence[Edit]) -> dict[str, str] | None:
    """The functions' texts after the edits; None if one does not fit."""
    texts: dict[str, str] = {}
    for edit in edits:
        if edit.function not in source.definitions:
            return None
        before = texts.get(edit.function) or "\n".join(source.definition(edit.function).pieces[-1].text)
        after = edited(before, edit)
        if after is None:
            return None
        texts[edit.function] = after
    return texts


def edited(text: str, edit: Edit) -> str | None:
    """A function's text after an edit; None if the old statements do not stand in it."""
    tree = ast.parse(text)
    old, new = ast.parse(edit.old).body, ast.parse(edit.new).body
    places = [(block, at) for block in _blocks(tree) for at in _places(block, old)]
    if not places:
        return None
    block, at = places[-1]
    there = block[at : at + len(old)]
    kept = next((is_ for is_, was in zip(there, old, strict=True) if _is_any(was)), None)
    block[at : at + len(old)] = [kept if kept is not None and _is_any(statement) else statement for statement in new]
    return ast.unparse(ast.fix_missing_locations(tree))


def _blocks(tree: ast.Module) -> Iterator[list[ast.stmt]]:
    """Every sequence of statements, in the order of the text."""
    for node in sorted(ast.walk(tree), key=lambda node: getattr(node, "lineno", 0)):
        for name in ("body", "orelse"):
            block = getattr(node, name, None)
            if isinstance(block, list) and block:
                yield block


def _places(block: list[ast.stmt], old: list[ast.stmt]) -> Iterator[int]:
    """Where in a block the old statements stand."""
    for at in range(len(block) - len(old) + 1):
        if all(_is_any(was) or ast.dump(is_) == ast.dump(was) for is_, was in zip(block[at:], old, strict=False)):
            yield at


def _is_any(statement: ast.stmt) -> bool:
    return ast.unparse(statement) == ANY


def _module(path: str, name: str, text: str, release: str, flavour: str) -> tuple[str, ModuleType]:
    """A module of one function, whose text is kept where functions are looked up by position."""
    lines = text.splitlines()
    forget(path)
    linecache.cache[path] = (0, None, [line + "\n" for line in lines], path)
    return path, definitions_of(Changed("", path, lines, [name], []), release, flavour)
