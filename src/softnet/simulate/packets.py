# SPDX-License-Identifier: GPL-2.0-or-later
"""Where each packet's time went, from a full trace: a row for every packet that reached an application.

A packet's latency, from the card's ring (or the sender's socket) to the reader, is cut at the events that name its skb and at the
scheduler's events of its reader. The stages are in the packet's order, and add up to the latency that the run measured:

ring       in the card's ring, until NAPI made an skb of it: moderation, the interrupt, the wait for the poll
driver     in the driver and GRO, until it went up the stack; a held segment waits for the flush. Of a local sender: its way down
backlog    in a CPU's backlog, for RPS and loopback: until process_backlog() took it
stack      in the protocols, while its reader slept: until the reader was woken
scheduler  its reader could run and waited for a CPU
reader     its reader was on the CPU, or waited for a lock: with earlier packets first, then with this one

Packets that GRO or TCP merged share the later stages of the skb that carries them.
"""

from __future__ import annotations

import bisect
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from softnet.errors import SoftnetError
from softnet.simulate.result import Result, Trace, _pandas
from softnet.trace import EVENT_ID, Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

STAGES: Final = ("ring", "driver", "backlog", "stack", "scheduler", "reader")

_WAITS_FOR_LOCK: Final = 0x1000
"""TASK_RTLOCK_WAIT (include/linux/sched.h, 6.12)."""

_FRAMES_TRIED: Final = 16
"""Frames before a packet's delivery that may be its own, if the skb's first one is not."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet that reached an application. Times in ns since the start of the run."""

    arrival: int
    """Its number among the arrivals of all cards; -1 for one of a local sender."""
    queue: int
    """The card's queue, over all cards; -1 for one of a local sender."""
    arrived_ns: int
    delivered_ns: int
    cpu: int
    """Where its reader read it."""
    app: str
    sock: int
    merged: bool
    """It reached the socket in another packet's skb."""
    stages_ns: tuple[int, ...]
    """As STAGES; the sum is the latency."""

    @property
    def latency_ns(self) -> int:
        return self.delivered_ns - self.arrived_ns

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the fields, latency_ns, and each stage under its name with ``_ns``."""
        values = (
            self.arrival, self.queue, self.arrived_ns, self.delivered_ns, self.cpu, self.app, self.sock, self.merged,
            self.latency_ns, *self.stages_ns,
        )  # fmt: skip
        return dict(zip(COLUMNS, values, strict=True))


COLUMNS: Final = [
    "arrival", "queue", "arrived_ns", "delivered_ns", "cpu", "app", "sock", "merged", "latency_ns",
    *(f"{stage}_ns" for stage in STAGES),
]  # fmt: skip
"""The keys of Packet.to_dict(), in its order."""


def packets(trace: Trace, result: Result) -> list[Packet]:
    """Every packet that an application received in the measured part, in the order of delivery.

    Raises SoftnetError for a trace that is not full, which lacks what is needed, and for one of a real kernel.
    """
    walk = _Walk(trace)
    walk.through(trace.records)
    apps = [name for name, histogram in result.latency.items() if histogram.kind == "packet"]
    rows = [row for batch in walk.batches for row in walk.rows(batch, apps) if row.delivered_ns >= result.warmup_ns]
    if not rows and any(result.latency[name].count for name in apps):
        raise SoftnetError("this trace does not follow packets", found="no deliveries in it", expected="a full trace of a run",
                           hint='trace="full", or softnet run --trace full')  # fmt: skip
    return rows


def packets_frame(rows: Sequence[Packet]) -> pd.DataFrame:
    """A data frame: a row for each packet, the columns of ``Packet.to_dict()``. Raises SoftnetError without pandas."""
    frame: pd.DataFrame = _pandas().DataFrame([row.to_dict() for row in rows], columns=COLUMNS)
    return frame


@dataclass(slots=True, eq=False)
class _Skb:
    """What happened to the packet for which an skb was made."""

    made_ns: int
    arrival: int = -1
    queue: int = -1
    arrived_ns: int = -1
    up_ns: int = -1
    """It left the driver and GRO, upwards."""
    queued_ns: int = -1
    """Onto a backlog."""
    received_ns: int = -1
    """__netif_receive_skb()."""
    taken: bool = False
    """Its packet was delivered."""


@dataclass(slots=True)
class _Batch:
    """Packets that a reader took out of one skb."""

    time_ns: int
    cpu: int
    pid: int
    app: int
    sock: int
    latencies_ns: list[int]
    carrier: _Skb | None = None


class _Task:
    """For how long a task was on a CPU, and could run without being on one, up to any time."""

    def __init__(self) -> None:
        self.times = [0]
        self.on_cpu = [0]
        self.runnable = [0]
        self.state = "asleep"

    def turn(self, now: int, state: str) -> None:
        passed = now - self.times[-1]
        self.times.append(now)
        self.on_cpu.append(self.on_cpu[-1] + (passed if self.state == "on cpu" else 0))
        self.runnable.append(self.runnable[-1] + (passed if self.state == "runnable" else 0))
        self.state = state

    def until(self, when: int) -> tuple[int, int]:
        """(on a CPU, runnable) in ns from the start to ``when``, which is not after the last turn."""
        at = bisect.bisect_right(self.times, when) - 1
        if at + 1 == len(self.times):
            return self.on_cpu[at], self.runnable[at]
        passed, length = when - self.times[at], self.times[at + 1] - self.times[at]
        on_cpu, runnable = self.on_cpu[at + 1] - self.on_cpu[at], self.runnable[at + 1] - self.runnable[at]
        return self.on_cpu[at] + (passed if on_cpu == length else 0), self.runnable[at] + (passed if runnable == length else 0)


class _Walk:
    """One pass over the records."""

    def __init__(self, trace: Trace) -> None:
        if trace.clock != "mono":
            raise SoftnetError("this trace has no times", found=f"clock {trace.clock}", expected="the trace of a run of the model")
        self.batches: list[_Batch] = []
        self._skbs: dict[int, _Skb] = {}
        self._rings: dict[int, deque[tuple[int, int]]] = {}
        self._polled: dict[tuple[int, int], list[_Skb]] = {}
        self._at: dict[tuple[int, int], list[_Skb]] = {}
        self._frames: list[_Skb] = []
        self._tasks = {pid: _Task() for pid, _ in trace.tasks}
        self._current: dict[int, int] = {}
        self._open: dict[int, _Batch] = {}
        self._steps = {
            EVENT_ID[name]: step
            for name, step in (
                ("nic_rx", self._nic_rx), ("alloc_skb", self._alloc_skb), ("gro_receive", self._gro_receive),
                ("napi_poll", self._napi_poll), ("get_rps_cpu", self._up), ("enqueue_to_backlog", self._enqueue),
                ("netif_receive_skb", self._receive), ("deliver", self._deliver),
                ("skb_attempt_defer_free", self._freed), ("skb_defer_nodefer", self._freed), ("consume_skb", self._freed),
                ("sched_switch", self._switch), ("sched_waking", self._waking),
            )
        }  # fmt: skip

    def through(self, records: Sequence[Record]) -> None:
        last = 0
        for record in records:
            step = self._steps.get(record[3])
            last = record[0]
            if step is not None:
                step(record)
        for task in self._tasks.values():
            task.turn(last, task.state)
        self._frames.sort(key=lambda skb: skb.arrived_ns)

    def _running(self, record: Record) -> tuple[int, int]:
        return record.cpu, self._current.get(record.cpu, 0)

    def _nic_rx(self, record: Record) -> None:
        self._rings.setdefault(record.a, deque()).append((record.b, record.time_ns))

    def _alloc_skb(self, record: Record) -> None:
        self._skbs[record.a] = _Skb(record.time_ns)

    def _gro_receive(self, record: Record) -> None:
        if skb := self._skbs.get(record.a):
            self._polled.setdefault(self._running(record), []).append(skb)

    def _napi_poll(self, record: Record) -> None:
        """The end of a poll: the skbs made in it are the oldest frames of its queue, in order."""
        made = self._polled.pop(self._running(record), [])
        ring = self._rings.get(record.a - 1, deque())
        frames = [ring.popleft() for _ in range(min(record.b, len(ring)))] if record.a else []
        if len(frames) > len(made):  # without memory for an skb a frame is dropped: the latest that can be each skb's own
            frames = _latest_before(frames, made)
        for skb, (arrival, arrived_ns) in zip(made, frames, strict=False):
            skb.arrival, skb.arrived_ns, skb.queue = arrival, arrived_ns, record.a - 1
            self._at.setdefault((arrived_ns, skb.queue), []).append(skb)
            self._frames.append(skb)

    def _up(self, record: Record) -> None:
        if (skb := self._skbs.get(record.a)) and skb.up_ns < 0:
            skb.up_ns = record.time_ns

    def _enqueue(self, record: Record) -> None:
        self._up(record)
        if skb := self._skbs.get(record.a):
            skb.queued_ns = record.time_ns

    def _receive(self, record: Record) -> None:
        self._up(record)
        if skb := self._skbs.get(record.a):
            skb.received_ns = record.time_ns

    def _deliver(self, record: Record) -> None:
        cpu, pid = self._running(record)
        batch = self._open.get(pid)
        if batch is None or batch.sock != record.b:
            batch = self._open[pid] = _Batch(record.time_ns, cpu, pid, record.a, record.b, [])
            self.batches.append(batch)
        batch.latencies_ns.append(record.c)

    def _freed(self, record: Record) -> None:
        """A reader lets go of the skb that it has read."""
        _, pid = self._running(record)
        if record.context == 0 and (batch := self._open.pop(pid, None)):
            batch.carrier = self._skbs.get(record.a)

    def _switch(self, record: Record) -> None:
        self._current[record.cpu] = record.b
        before, after = self._tasks.get(record.a), self._tasks.get(record.b)
        if before is not None:
            # A task that waits for a lock has begun what it does: it is its own time, not the scheduler's.
            waits = {0: "runnable", _WAITS_FOR_LOCK: "on cpu"}
            before.turn(record.time_ns, waits.get(record.c, "asleep"))
        if after is not None:
            after.turn(record.time_ns, "on cpu")

    def _waking(self, record: Record) -> None:
        task = self._tasks.get(record.a)
        if task is not None and task.state == "asleep":
            task.turn(record.time_ns, "runnable")

    def rows(self, batch: _Batch, apps: Sequence[str]) -> list[Packet]:
        """The packets of a batch, each with its stages."""
        now, carrier = self._clock(batch)
        out = []
        for number, latency_ns in enumerate(batch.latencies_ns):
            arrived_ns = now - latency_ns
            own = self._own(arrived_ns, carrier)
            if own is not None:
                own.taken = True
            stages_ns = self._stages(batch.pid, arrived_ns, now, own or carrier, carrier)
            out.append(
                Packet(
                    arrival=own.arrival if own else -1, queue=own.queue if own else -1, arrived_ns=arrived_ns, delivered_ns=now,
                    cpu=batch.cpu, app=apps[batch.app], sock=batch.sock, merged=number > 0, stages_ns=stages_ns,
                )
            )  # fmt: skip
        return out

    def _clock(self, batch: _Batch) -> tuple[int, _Skb | None]:
        """What the reader's clock said, and the skb that it read from.

        The reader looks at its clock before it touches the skb, whose cache line may come from afar, and is traced after that.
        So the clock's time is the one at which every packet of a card has a frame that came then: first asked is the frame for
        which the skb was made (unless that was an acknowledgement, its packet is the first), then those before the trace's time.
        """
        carrier, first = batch.carrier, batch.time_ns - batch.latencies_ns[0]
        if carrier is not None and carrier.arrived_ns < 0:  # a local sender's
            return batch.time_ns, carrier
        at = bisect.bisect_right(self._frames, first, key=lambda skb: skb.arrived_ns)
        for made in [carrier, *self._frames[max(at - _FRAMES_TRIED, 0) : at][::-1]]:
            if made is not None and made.arrived_ns <= first and (carrier is None or made.queue == carrier.queue):
                now = made.arrived_ns + batch.latencies_ns[0]
                if all((now - latency_ns, made.queue) in self._at for latency_ns in batch.latencies_ns):
                    return now, carrier or made
        return batch.time_ns, carrier

    def _own(self, arrived_ns: int, carrier: _Skb | None) -> _Skb | None:
        """The skb that was made for a card's packet; for one of a local sender that came in another's, it cannot be told."""
        if carrier is None:
            return None
        near = self._at.get((arrived_ns, carrier.queue), [])
        return next((skb for skb in [carrier, *near] if skb in near and not skb.taken), None)

    def _stages(self, pid: int, arrived_ns: int, now: int, own: _Skb | None, carrier: _Skb | None) -> tuple[int, ...]:
        if own is None or carrier is None:
            return (0,) * (len(STAGES) - 1) + (now - arrived_ns,)
        way = own if own.received_ns >= 0 else carrier
        cuts = [arrived_ns]
        for cut in (own.made_ns, way.up_ns, way.received_ns):
            cuts.append(min(max(cut, cuts[-1]), now))
        task = self._tasks[pid]
        (on_cpu, runnable), (on_cpu_end, runnable_end) = task.until(cuts[3]), task.until(now)
        reader, scheduler = on_cpu_end - on_cpu, runnable_end - runnable
        driver, backlog = cuts[2] - cuts[1], cuts[3] - cuts[2]
        if way.queued_ns < 0:  # straight up, without a backlog
            driver, backlog = driver + backlog, 0
        return cuts[1] - cuts[0], driver, backlog, now - cuts[3] - reader - scheduler, scheduler, reader


def _latest_before(frames: list[tuple[int, int]], made: list[_Skb]) -> list[tuple[int, int]]:
    """As many of the frames as there are skbs, in order, none younger than its skb."""
    out: list[tuple[int, int]] = []
    left = list(frames)
    for skb in reversed(made):
        while left and left[-1][1] > skb.made_ns:
            left.pop()
        if left:
            out.append(left.pop())
    return out[::-1]
