# SPDX-License-Identifier: GPL-2.0-or-later
"""What the numbers in a record stand for: softirqs, vectors, tasks, drop reasons; and numbers as people read them."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from softnet.errors import SoftnetError
from softnet.simulate.result import Trace
from softnet.trace import EVENTS, Record
from softnet.units import format_ns

TRACKS = ("task", "softirq", "hardirq")
"""A CPU's three tracks, by the number that stands in a record's ``context``."""

# softirq_to_name[], kernel/softirq.c (6.1).
SOFTIRQS = (
    "HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU",
)  # fmt: skip

# The machine's vectors, machine/state.py.
VECTORS = {1: "LOCAL_TIMER", 2: "CALL_FUNCTION_SINGLE", 3: "RESCHEDULE", 4: "DEVICE"}
VECTOR_DEVICE = 4

# net/core/dev.c: what dev_gro_receive() did with the skb, enum gro_result.
GRO_RESULTS = {0: "MERGED", 1: "MERGED_FREE", 2: "HELD", 3: "NORMAL", 4: "CONSUMED"}
NODEFER_REASONS = {0: "own, offline or foreign CPU", 1: "the list was full"}
LOCK_KINDS = {0: "spinning", 1: "sleeping (rt_mutex)"}
TASK_STATES = {
    0: "runnable",
    1: "interruptible",
    2: "uninterruptible",
    0x40: "parked",
    0x1000: "waits for a lock",
}

PID_ARGUMENTS = frozenset({"pid", "prev", "next"})


@functools.cache
def drop_reasons() -> dict[int, str]:
    """The kernel's drop reasons by number, without their prefix (include/net/dropreason-core.h, 6.12)."""
    from softnet.linux.include.linux import skbuff

    prefix = "SKB_DROP_REASON_"
    return {
        value: name.removeprefix(prefix)
        for name, value in vars(skbuff).items()
        if name.startswith(prefix) and not name.endswith("_MAX")
    }


@functools.cache
def enumerations() -> dict[str, dict[int, str]]:
    """Argument name, or "event.argument" where the event matters -> number -> name."""
    return {
        "vec": dict(enumerate(SOFTIRQS)),
        "vector": VECTORS,
        "prev_state": TASK_STATES,
        "gro_receive.result": GRO_RESULTS,
        "skb_defer_nodefer.reason": NODEFER_REASONS,
        "reason": drop_reasons(),
        "lock_contended.kind": LOCK_KINDS,
    }


def task_names(trace: Trace) -> dict[int, str]:
    """pid -> comm; pid 0 is the idle task of a real kernel."""
    return {0: "swapper", **dict(trace.tasks)}


def is_idle(comm: str) -> bool:
    """Whether a task of that name is a CPU's idle task."""
    return comm == "swapper" or comm.startswith("swapper/")


def arguments(record: Record, tasks: dict[int, str]) -> list[tuple[str, int, str]]:
    """(argument's name, number, text) of each argument that the event has."""
    event = EVENTS[record.event]
    out = []
    for name, value in zip(event.args, (record.a, record.b, record.c), strict=False):
        text = ""
        if name in PID_ARGUMENTS:
            text = tasks.get(value, "")
        elif name.endswith("_ns"):
            text = duration(value)
        else:
            known = enumerations()
            text = known.get(f"{event.name}.{name}", known.get(name, {})).get(value, "")
        out.append((name, value, text))
    return out


def slice_name(track: int, number: int, data: int, tasks: dict[int, str]) -> str:
    """The name of a slice: the task's, the softirq's, or the interrupt's."""
    if track == 0:
        return tasks.get(number, f"pid {number}")
    if track == 1:
        return SOFTIRQS[number] if 0 <= number < len(SOFTIRQS) else f"softirq {number}"
    if number == VECTOR_DEVICE:
        return f"DEVICE queue {data}"
    return VECTORS.get(number, f"vector {number}")


CLASSES = ("idle", "hardirq", "softirq", "ksoftirqd", "backlog_napi", "irq_thread", "napi_thread", "task")


def task_class(comm: str) -> str:
    """Which class of CLASSES a task belongs to, by the names that the kernel gives its threads."""
    if is_idle(comm):
        return "idle"
    for prefix, name in (
        ("ksoftirqd/", "ksoftirqd"),
        ("backlog_napi/", "backlog_napi"),
        ("irq/", "irq_thread"),
        ("napi/", "napi_thread"),
    ):
        if comm.startswith(prefix):
            return name
    return "task"


NO_SAMPLE = "–"
"""Stands where a figure would, in a run that took no sample of it."""


def duration(value_ns: float | None) -> str:
    """A duration with its unit: ``812 ns``, ``34.57 µs``; a dash where there is none."""
    if value_ns is None:
        return NO_SAMPLE
    return format_ns(round(value_ns)).replace(" us", " µs")


COUNTER = "counter"
"""The clock of a trace whose records have places in an order and no times (``Trace.clock``)."""


def clock_of(traces: Iterable[Trace]) -> str:
    """The one clock of traces that are shown together. Raises SoftnetError where some have times and some an order only."""
    clocks = sorted({trace.clock for trace in traces})
    if len(clocks) > 1:
        raise SoftnetError(
            "traces with times and traces without cannot share an axis",
            found=f"clocks {' and '.join(clocks)}",
            hint="record the kernel's with softnet lab run --clock mono, or show them one by one",
        )
    return clocks[0] if clocks else "mono"


def stretch(length: int, clock: str) -> str:
    """How far two records are apart: a duration, or how many places where there are no times."""
    if clock != COUNTER:
        return duration(length)
    return f"{number(length)} record{'' if length == 1 else 's'}"


def number(value: float) -> str:
    """A count: ``1,234,567``; a mean that is no whole number keeps one decimal below a thousand."""
    rounded = round(value)
    if abs(value) < 1000 and abs(value - rounded) >= 0.05:
        return f"{value:.1f}".replace("-", "−")
    return f"{rounded:,}".replace("-", "−")


def quantity(value: float | None, unit: str) -> str:
    """A figure in its unit ("ns" or none); a dash where there is none."""
    if value is None:
        return NO_SAMPLE
    return duration(value).replace("-", "−") if unit == "ns" else number(value)


def signed(value: float, unit: str) -> str:
    """A difference, with its sign."""
    text = quantity(value, unit)
    return text if value < 0 or text == quantity(0, unit) else f"+{text}"


def percent(ratio: float | None) -> str:
    """A ratio of two figures as a change: ``−70 %``, ``+4.2 %``, ``×12``; empty when there is none."""
    if ratio is None:
        return ""
    if ratio >= 10:
        return f"×{number(round(ratio))}"
    change = (ratio - 1) * 100
    if abs(change) < 0.05:
        return "0 %"
    if change < -99.5 and ratio > 0:
        return f"−{min(abs(change), 99.9):.1f} %"
    text = f"{abs(change):.0f}" if abs(change) >= 10 else f"{abs(change):.1f}"
    return f"{'−' if change < 0 else '+'}{text} %"
