# SPDX-License-Identifier: GPL-2.0-or-later
"""What the invariants remember, in structures of their own, and the numbers by which they say what does not hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, array, hw

if TYPE_CHECKING:
    from softnet.linux.include.linux.netdevice import napi_struct

CK_BOUND_NS = 100_000
"""How long something may look as if nobody owed it before I3, I6 and I8 say so. Every way to owe it is looked at, so
this only covers what stands between two observations of a CPU."""

CK_SAMPLE_SWITCHES = 4
"""State is looked at before every switch to a context for the CPU that is about to act, and at each fourth one for one
more CPU and one device in turn. What may be wrong for an instant only is checked where it changes, each time."""

# What a row of ck_found counts: the invariant of that number; from CK_KNOWN on, a known finding of the real kernel.
CK_KNOWN = 14
CK_C1 = 14
CK_C4 = 15
CK_C5 = 16
CK_C6 = 17
CK_C6_FLAG = 18
CK_I13 = 19
CK_C10 = 20
CK_C11 = 21
CK_ROWS = 22

# Ways to say it: simulate/invariants.py has the words.
CK_SKB_OUT_TWICE = 1
CK_SKB_FREED_TWICE = 2
CK_SKB_AWAY = 3
CK_SKB_PUT_TWICE = 4
CK_OWNERS = 5
CK_TWO_POLL = 6
CK_ASLEEP = 7
CK_NO_IPI = 8
CK_POLLED_AWAY = 9
CK_ENDED_AWAY = 10
CK_NO_SCHED = 11
CK_NOT_OWED = 12
CK_TOO_LONG = 13
CK_FLAG = 14
CK_CALL_TWICE = 15
CK_COUNT = 16
CK_LOCK_TWICE = 17
CK_LOCK_ORDER = 18
CK_LOCK_SLEEPS = 19
CK_LOCK_IRQ = 20
CK_LOCK_BH = 21
CK_BACKLOG = 22
CK_RAISED = 23
CK_LOST = 24
CK_PACKETS = 25
CK_LENGTH = 26
CK_STOPPED = 27

CK_QUEUES = ("input_pkt_queue", "process_queue")
"""A backlog's queues, in the order in which CK_LENGTH numbers them."""

CK_CARRIERS = 8
CK_HELD = 24
CK_CLASSES = 64
CK_PATH = 11
CK_MEMBERS = 512
"""Members of one row of ck_set."""


class ck_env(Struct):
    """One row: where the kernel's tables stand, and what is counted for all of them."""

    strict: int = hw()
    rt: int = hw()
    """CONFIG_PREEMPT_RT."""
    threads: int = hw()
    """Whether this kernel has backlog threads (6.10)."""
    switches: int = hw()
    sending: int = hw()
    """Contexts inside net_rps_send_ipi()."""
    backlogs: int = hw()
    """Address of the first CPU's backlog NAPI."""
    backlogs_end: int = hw()
    sd_stride: int = hw()
    vectors: int = hw()
    """Address of the first receive queue's NAPI."""
    vectors_end: int = hw()
    vector_stride: int = hw()
    napi_state: int = hw()
    napi_node: int = hw()
    """Offsets of a NAPI's state and of its node on a poll list."""
    skb_state: int = hw()
    input_queues: int = hw()
    """Address of the first CPU's input_pkt_queue."""
    process_queues: int = hw()
    switched_on: int = hw()
    """skb_defer_max was so low that nothing was deferred, and was raised: finding C10."""
    max_was: int = hw()
    sequence: int = hw()
    ranges: int = hw()
    classes: int = hw()
    """Rows of ck_class in use."""
    contexts: int = hw()


class ck_found(Struct):
    """What did not hold: how often, and the first time."""

    count: int = hw()
    time_ns: int = hw()
    cpu: int = hw()
    text: int = hw()
    args: int = array(16, hw())


class ck_cpu(Struct):
    """What is remembered of a CPU: who is inside which function, its defer list and its backlog."""

    enqueueing: int = hw()
    """Contexts inside enqueue_to_backlog() for it."""
    queue_busy: int = hw()
    """Contexts that take packets off its backlog's queues, or move them."""
    deferring: int = hw()
    """Contexts inside skb_attempt_defer_free() with one of its skbs."""
    calling: int = hw()
    """Contexts inside __flush_smp_call_function_queue() or a work item on it."""
    works: int = hw()
    """Work items that are queued for its worker."""
    flushing: int = hw()
    """Contexts on it inside a function that flushes its defer list on the way."""
    producers: int = hw()
    """Contexts that ever deferred to it."""
    unowed_since: int = hw(init=-1)
    flag_since: int = hw(init=-1)
    lowered: int = hw()
    """skb_defer_max was lowered past what the list held, and it was not flushed since: finding C4."""
    on_softirq: int = hw()
    """The last kick met a backlog that the softirq owned: finding C1."""
    died: int = hw()
    """It went offline, and its list was not flushed since: finding C6."""
    said_owed: int = hw()
    said_flag: int = hw()
    said_count: int = hw()
    accepted: int = hw()
    """Packets that went into its backlog."""
    dequeued: int = hw()
    said_backlog: int = hw()


class ck_ctx(Struct):
    """What is remembered of a context."""

    claiming: int = hw()
    """How deep it is inside functions that may take SCHED."""
    carries: int = hw()
    """How many NAPIs it carries."""
    calling: int = hw()
    entry_max: int = hw()
    """skb_defer_max as it was when the context entered skb_attempt_defer_free()."""
    deferred: int = hw()
    """Address of the skb that it frees there."""
    nr_held: int = hw()
    held: int = array(CK_HELD, hw())
    """Addresses of the locks that it holds or waits for, in order, and their classes."""
    held_class: int = array(CK_HELD, hw())


class ck_napi(Struct):
    """One NAPI, the backlogs first, and who owns it by what was observed."""

    napi: napi_struct = hw()
    cpu: int = hw(init=-1)
    """The backlog's CPU, -1 for a device's NAPI."""
    was: int = hw()
    nr_carriers: int = hw()
    carriers: int = array(CK_CARRIERS, hw())
    """Contexts that have taken SCHED or the NAPI itself off a list and not yet passed it on."""
    polled_by: int = hw(init=-1)
    with_thread: int = hw()
    on_ipi: int = hw()
    ipi_from: int = hw()
    """The CPU on whose list for RPS IPIs it was put."""
    broken: int = hw()
    suspect_since: int = hw(init=-1)


class ck_skb(Struct):
    """What is remembered of an skb."""

    out: int = hw()
    """In which order it was handed out, from 1; 0 while it is free."""
    since: int = hw()
    place: int = hw()
    home: int = hw()
    """1 + the CPU on whose defer list it is."""


class ck_set(Struct):
    """A piece of a set of numbers, 32 of them a word."""

    bits: int = array(CK_MEMBERS // 32, hw())


class ck_class(Struct):
    """A class of locks; row 0 stands for locks of no table."""

    raw: int = hw()
    usage: int = hw()
    said: int = hw()
    via: int = hw()
    """While a path is looked for: 1 + the class from which this one was reached."""
    after: int = array(CK_CLASSES, hw())
    """1 + the context that first took a lock of that class while it held one of this."""


class ck_range(Struct):
    """Some of the locks in the rows of a table."""

    base: int = hw()
    end: int = hw()
    stride: int = hw()
    count: int = hw()
    offset: int = array(16, hw())
    cls: int = array(16, hw())
