# SPDX-License-Identifier: GPL-2.0-or-later
"""The receive path in SimPy, as somebody would write it by hand: for the comparison of bench/engines.py only.

Card, interrupt, softirq with its budget, RPS to another CPU's backlog by IPI, sockets, applications, deferred frees with
their kick. It is simpler than softnet's model in everything (no scheduler, preemption, GRO, timers, cache lines, or
histograms; costs are constants), so it does less work per packet, and the comparison flatters it.

``parts`` cuts each stretch of work into that many waits, so that a packet meets as many events as it meets interactions in
softnet: what SimPy needs to look at the machine as finely, though it still models nothing in between.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import simpy

WEIGHT = 64
DEFER_MAX = 64


@dataclass
class Cpu:
    """One CPU: its queues, the locks of those that others touch, and what wakes its softirq."""

    ring: list[int] = field(default_factory=list)
    backlog: list[int] = field(default_factory=list)
    deferred: list[int] = field(default_factory=list)
    socket: list[int] = field(default_factory=list)
    softirq: Any = None
    reader: Any = None
    backlog_lock: Any = None
    defer_lock: Any = None
    socket_lock: Any = None


class Path:
    """The machine: ``cpus`` CPUs, each with a queue of the card, a softirq and a reading application."""

    def __init__(self, cpus: int, parts: int = 1) -> None:
        self.env = simpy.Environment()
        self.parts = parts
        self.stretches = 0
        self.cpus = [Cpu() for _ in range(cpus)]
        self.delivered = 0
        for cpu in self.cpus:
            cpu.softirq, cpu.reader = self.env.event(), self.env.event()
            cpu.backlog_lock, cpu.defer_lock, cpu.socket_lock = (simpy.Resource(self.env) for _ in range(3))
            self.env.process(self.softirq(cpu))
            self.env.process(self.application(cpu))

    def spend(self, ns: int) -> Generator[Any, Any, None]:
        """Work for so long."""
        self.stretches += 1
        for part in range(self.parts):
            yield self.env.timeout(ns * (part + 1) // self.parts - ns * part // self.parts)

    def wake(self, event: Any) -> None:
        """Trigger an event that somebody waits for, once."""
        if not event.triggered:
            event.succeed()

    def arrivals(self, times: list[int], queues: list[int], flows: list[int]) -> Generator[Any, Any, None]:
        """The card: a frame into a ring, an interrupt."""
        for at, queue, flow in zip(times, queues, flows, strict=True):
            yield self.env.timeout(max(at - self.env.now, 0))
            cpu = self.cpus[queue]
            if len(cpu.ring) < 256:
                cpu.ring.append(flow)
                self.wake(cpu.softirq)

    def softirq(self, cpu: Cpu) -> Generator[Any, Any, None]:
        """Sleep until raised; then flush, poll the card, poll the backlog."""
        while True:
            yield cpu.softirq
            cpu.softirq = self.env.event()
            yield from self.spend(600)
            while cpu.ring or cpu.backlog or cpu.deferred:
                yield from self.flush(cpu)
                yield from self.poll_card(cpu)
                yield from self.poll_backlog(cpu)

    def flush(self, cpu: Cpu) -> Generator[Any, Any, None]:
        """skb_defer_free_flush."""
        if cpu.deferred:
            with cpu.defer_lock.request() as taken:
                yield taken
                count = len(cpu.deferred)
                cpu.deferred.clear()
            yield from self.spend(60 * count)

    def poll_card(self, cpu: Cpu) -> Generator[Any, Any, None]:
        """The driver's poll, and RPS: each packet to the CPU of its flow."""
        targets = set()
        for _ in range(WEIGHT):
            if not cpu.ring:
                break
            flow = cpu.ring.pop(0)
            yield from self.spend(250)
            other = self.cpus[flow % len(self.cpus)]
            with other.backlog_lock.request() as taken:
                yield taken
                yield from self.spend(40)
                other.backlog.append(flow)
            targets.add(flow % len(self.cpus))
        for target in sorted(targets):
            yield from self.spend(100)
            self.wake(self.cpus[target].softirq)

    def poll_backlog(self, cpu: Cpu) -> Generator[Any, Any, None]:
        """process_backlog, the protocols, the socket."""
        with cpu.backlog_lock.request() as taken:
            yield taken
            batch, cpu.backlog = cpu.backlog[:WEIGHT], cpu.backlog[WEIGHT:]
        for flow in batch:
            yield from self.spend(500)
            with cpu.socket_lock.request() as taken:
                yield taken
                cpu.socket.append(flow)
            self.wake(cpu.reader)

    def application(self, cpu: Cpu) -> Generator[Any, Any, None]:
        """Receive, work, free on the CPU that allocated."""
        number = self.cpus.index(cpu)
        while True:
            if not cpu.socket:
                yield cpu.reader
                cpu.reader = self.env.event()
                yield from self.spend(1200)
            while cpu.socket:
                with cpu.socket_lock.request() as taken:
                    yield taken
                    flow = cpu.socket.pop(0)
                yield from self.spend(900)
                self.delivered += 1
                owner = self.cpus[(number + flow) % len(self.cpus)]
                with owner.defer_lock.request() as taken:
                    yield taken
                    owner.deferred.append(flow)
                    kick = len(owner.deferred) == DEFER_MAX // 2 + 1
                if kick:
                    self.wake(owner.softirq)


def run(cpus: int, times: list[int], queues: list[int], flows: list[int], parts: int = 1) -> tuple[int, int]:
    """Simulate until all arrivals are through; the events that SimPy processed, and the stretches of work."""
    path = Path(cpus, parts)
    path.env.process(path.arrivals(times, queues, flows))
    path.env.run(until=times[-1] + 50_000_000)
    assert path.delivered > len(times) // 2
    # SimPy numbers what it puts into its queue.
    return int(next(path.env._eid)), path.stretches
