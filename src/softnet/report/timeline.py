# SPDX-License-Identifier: GPL-2.0-or-later
"""From a trace to what ran where and when: slices per CPU and context, arrows, queue lengths. Pure functions.

Every CPU has three tracks. *task*: who ran, from sched_switch. *softirq*: from softirq_entry to softirq_exit, without the
stretches in which its task was off the CPU (on PREEMPT_RT a softirq is preemptible). *hardirq*: from irq_handler_entry to
irq_handler_exit. Slices on one track of one CPU never overlap; tracks do: the lower one waits while the upper one runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from softnet.simulate.result import Trace
from softnet.trace import EVENT_ID, Record

TASK, SOFTIRQ, HARDIRQ = 0, 1, 2
GOES_BACK, GOES_ON = 1, 2

_IRQ_ENTRY, _IRQ_EXIT = EVENT_ID["irq_handler_entry"], EVENT_ID["irq_handler_exit"]
_SOFTIRQ_ENTRY, _SOFTIRQ_EXIT = EVENT_ID["softirq_entry"], EVENT_ID["softirq_exit"]
_SWITCH, _WAKING = EVENT_ID["sched_switch"], EVENT_ID["sched_waking"]
_IPI = EVENT_ID["ipi_send_cpu"]
_CALL, _CALLED = EVENT_ID["csd_queue_cpu"], EVENT_ID["csd_function_entry"]


class Slice(NamedTuple):
    """One uninterrupted stretch of one context on one track; ``end_ns`` exclusive, never equal to ``start_ns``."""

    cpu: int
    track: int
    start_ns: int
    end_ns: int
    number: int
    """pid, softirq or vector, by track."""
    data: int
    """The interrupt's data; 0 elsewhere."""
    cut: int
    """GOES_BACK: it began before (preempted, or before the trace); GOES_ON: it continues later."""


class Arrow(NamedTuple):
    """A cause on one CPU and its effect: an IPI and its handler, a waking and the task on its CPU."""

    kind: str
    """"ipi", "call" (a function call that needed no IPI of its own) or "wakeup"."""
    number: int
    """The vector, or the pid; 0 for a call."""
    from_ns: int
    from_cpu: int
    from_track: int
    to_ns: int
    to_cpu: int
    to_track: int


class Sample(NamedTuple):
    """The length of a queue of ``cpu`` from ``time_ns`` on, as an event said it."""

    time_ns: int
    cpu: int
    queue: str
    value: int


@dataclass(frozen=True)
class Timeline:
    """A trace, told by context. Slices by (cpu, track, start), arrows and samples by time."""

    cpus: int
    start_ns: int
    end_ns: int
    slices: tuple[Slice, ...]
    arrows: tuple[Arrow, ...]
    records: tuple[tuple[Record, int], ...]
    """Every record in the order of time, with the track on which it happened."""
    samples: tuple[Sample, ...]

    def track(self, cpu: int, track: int) -> list[Slice]:
        """The slices of one track of one CPU in the order of time."""
        return [s for s in self.slices if s.cpu == cpu and s.track == track]


class _Open(NamedTuple):
    number: int
    data: int


@dataclass
class _Cpu:
    """What is known of one CPU at the current record."""

    cpu: int
    start_ns: int
    out: list[Slice]
    pid: int | None = None
    task_since: int = 0
    irqs: list[_Open] = field(default_factory=list)
    irq_since: int = 0
    irq_seen: bool = False
    softirqs: list[_Open] = field(default_factory=list)
    """Open softirqs of the running task, innermost last."""
    softirq_since: int = 0
    softirq_cut: int = 0
    parked: dict[int, list[_Open]] = field(default_factory=dict)
    """Open softirqs of tasks that were preempted inside one."""

    def add(self, track: int, start_ns: int, end_ns: int, what: _Open, cut: int) -> None:
        """Keep a slice, unless it is empty."""
        if end_ns > start_ns:
            self.out.append(Slice(self.cpu, track, start_ns, end_ns, what.number, what.data, cut))

    def switch(self, at: int, prev: int, nxt: int) -> None:
        first = self.pid is None
        self.add(TASK, self.task_since, at, _Open(prev, 0), GOES_BACK if first else 0)
        if self.softirqs:
            self.add(SOFTIRQ, self.softirq_since, at, self.softirqs[-1], self.softirq_cut | GOES_ON)
            self.parked[prev] = self.softirqs
        self.softirqs = self.parked.pop(nxt, [])
        self.softirq_since, self.softirq_cut = at, GOES_BACK if self.softirqs else 0
        self.pid, self.task_since = nxt, at

    def softirq_entry(self, at: int, vec: int) -> None:
        if self.softirqs:
            self.add(SOFTIRQ, self.softirq_since, at, self.softirqs[-1], self.softirq_cut | GOES_ON)
        self.softirqs.append(_Open(vec, 0))
        self.softirq_since, self.softirq_cut = at, 0

    def softirq_exit(self, at: int, vec: int) -> None:
        while self.softirqs and self.softirqs[-1].number != vec and any(o.number == vec for o in self.softirqs):
            self.softirqs.pop()  # its exit was lost
        if self.softirqs and self.softirqs[-1].number == vec:
            self.add(SOFTIRQ, self.softirq_since, at, self.softirqs.pop(), self.softirq_cut)
        elif not self.softirqs:
            # Entered before the trace began: it has run since then, or since its task came back.
            self.add(SOFTIRQ, max(self.softirq_since, self.task_since), at, _Open(vec, 0), GOES_BACK)
        else:
            return
        self.softirq_since, self.softirq_cut = at, GOES_BACK if self.softirqs else 0

    def irq_entry(self, at: int, vector: int, data: int) -> None:
        if self.irqs:
            self.add(HARDIRQ, self.irq_since, at, self.irqs[-1], GOES_ON)
        self.irqs.append(_Open(vector, data))
        self.irq_since, self.irq_seen = at, True

    def irq_exit(self, at: int, vector: int, data: int) -> None:
        while self.irqs and self.irqs[-1].number != vector and any(o.number == vector for o in self.irqs):
            self.irqs.pop()
        if self.irqs and self.irqs[-1].number == vector:
            self.add(HARDIRQ, self.irq_since, at, self.irqs.pop(), 0)
            self.irq_since = at
        elif not self.irq_seen:
            self.add(HARDIRQ, self.start_ns, at, _Open(vector, data), GOES_BACK)
        self.irq_seen = True

    def close(self, at: int) -> None:
        """The trace ends here: what is open goes on beyond it."""
        if self.pid is not None:
            self.add(TASK, self.task_since, at, _Open(self.pid, 0), GOES_ON)
        if self.softirqs:
            self.add(SOFTIRQ, self.softirq_since, at, self.softirqs[-1], self.softirq_cut | GOES_ON)
        if self.irqs:
            self.add(HARDIRQ, self.irq_since, at, self.irqs[-1], GOES_ON)

    def track(self, context: int) -> int:
        """Where a record belongs: the innermost open context, or what the record itself says."""
        return max(HARDIRQ if self.irqs else SOFTIRQ if self.softirqs else TASK, context)


def build(trace: Trace) -> Timeline:
    """The whole trace as a timeline. Records of CPUs beyond ``trace.cpus`` do not occur."""
    records = sorted(trace.records, key=lambda r: r.time_ns)
    start_ns = records[0].time_ns if records else 0
    end_ns = records[-1].time_ns if records else 0
    slices: list[Slice] = []
    cpus = [_Cpu(c, start_ns, slices, task_since=start_ns, softirq_since=start_ns) for c in range(trace.cpus)]
    placed: list[tuple[Record, int]] = []
    for r in records:
        cpu = cpus[r.cpu]
        if r.event == _IRQ_ENTRY:
            cpu.irq_entry(r.time_ns, r.a, r.b)
        elif r.event == _SOFTIRQ_ENTRY:
            cpu.softirq_entry(r.time_ns, r.a)
        placed.append((r, cpu.track(r.context)))
        if r.event == _IRQ_EXIT:
            cpu.irq_exit(r.time_ns, r.a, r.b)
        elif r.event == _SOFTIRQ_EXIT:
            cpu.softirq_exit(r.time_ns, r.a)
        elif r.event == _SWITCH:
            cpu.switch(r.time_ns, r.a, r.b)
    for cpu in cpus:
        cpu.close(end_ns)
    slices.sort()
    return Timeline(
        trace.cpus,
        start_ns,
        end_ns,
        tuple(slices),
        tuple(arrows(placed)),
        tuple(placed),
        tuple(samples(records)),
    )


def arrows(placed: Iterable[tuple[Record, int]]) -> list[Arrow]:
    """IPIs to their handlers and wakings to the switch that brought the task on a CPU, by the time of the effect.

    A function call without an IPI leads from its queueing to its execution: the CPU was idle and polled, or the interrupt was
    on its way already. Interrupts that were sent while the same one was pending share one handler; wakings of a task that
    is awake already start no second arrow.
    """
    ipis: dict[tuple[int, int], list[tuple[Record, int]]] = {}
    calls: dict[int, list[tuple[Record, int]]] = {}
    wakings: dict[int, tuple[Record, int]] = {}
    out: list[Arrow] = []
    for r, track in placed:
        if r.event == _IPI:
            ipis.setdefault((r.a, r.b), []).append((r, track))
            calls[r.a] = [call for call in calls.get(r.a, []) if call[0].cpu != r.cpu]
        elif r.event == _CALL:
            calls.setdefault(r.a, []).append((r, track))
        elif r.event == _CALLED:
            for queued, from_track in calls.pop(r.cpu, []):
                out.append(Arrow("call", 0, queued.time_ns, queued.cpu, from_track, r.time_ns, r.cpu, track))
        elif r.event == _IRQ_ENTRY:
            for sent, from_track in ipis.pop((r.cpu, r.a), []):
                out.append(Arrow("ipi", r.a, sent.time_ns, sent.cpu, from_track, r.time_ns, r.cpu, HARDIRQ))
        elif r.event == _WAKING:
            wakings.setdefault(r.a, (r, track))
        elif r.event == _SWITCH:
            woken = wakings.pop(r.b, None)
            if woken is not None:
                by, from_track = woken
                out.append(Arrow("wakeup", r.b, by.time_ns, by.cpu, from_track, r.time_ns, r.cpu, TASK))
    return out


def samples(records: Iterable[Record]) -> list[Sample]:
    """Queue lengths where an event says one: the backlog after enqueue_to_backlog and when process_backlog ends below its
    quota (both queues were empty), the defer list after skb_attempt_defer_free and after skb_defer_free_flush.
    """
    enqueue, process = EVENT_ID["enqueue_to_backlog"], EVENT_ID["process_backlog"]
    defer, flush = EVENT_ID["skb_attempt_defer_free"], EVENT_ID["skb_defer_free_flush"]
    last: dict[tuple[int, str], int] = {}
    out: list[Sample] = []
    for r in records:
        if r.event == enqueue:
            sample = Sample(r.time_ns, r.b, "backlog", r.c)
        elif r.event == process and r.a < r.b:
            sample = Sample(r.time_ns, r.cpu, "backlog", 0)
        elif r.event == defer:
            sample = Sample(r.time_ns, r.b, "defer_list", r.c)
        elif r.event == flush:
            sample = Sample(r.time_ns, r.cpu, "defer_list", 0)
        else:
            continue
        if last.get((sample.cpu, sample.queue)) != sample.value:
            last[sample.cpu, sample.queue] = sample.value
            out.append(sample)
    return out
