# SPDX-License-Identifier: GPL-2.0-or-later
"""A report as the rules ask it: differences of counters, who serves whom, sets of CPUs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

from softnet.host.findings import Evidence
from softnet.host.model import Card, HostReport, Irq, Sample, SoftnetRow, Thread

WRAP_32 = 1 << 32
"""softnet_stat prints 32 bits of each counter."""
USER_HZ = 100


class Counter(NamedTuple):
    """A counter: since boot, and in the time between the two samples (None: there is one sample)."""

    total: int
    recent: int | None

    @property
    def now(self) -> int:
        """What to judge by: the recent part where it is known."""
        return self.total if self.recent is None else self.recent


class SoftnetCpu(NamedTuple):
    """A CPU's line of softnet_stat."""

    cpu: int
    processed: Counter
    dropped: Counter
    time_squeeze: Counter
    received_rps: Counter
    flow_limit: Counter


class Facts:
    """What the rules ask. Built once for a report."""

    def __init__(self, report: HostReport) -> None:
        self.report = report
        self.first: Sample = report.samples[0] if report.samples else Sample()
        self.last: Sample = report.samples[-1] if report.samples else Sample()

    @property
    def two(self) -> bool:
        """Whether counters can be compared over time."""
        return len(self.report.samples) == 2

    @cached_property
    def seconds(self) -> float | None:
        """Time between the samples; None where it is not known."""
        if self.two and self.first.at_ns is not None and self.last.at_ns is not None and self.last.at_ns > self.first.at_ns:
            return (self.last.at_ns - self.first.at_ns) / 1e9
        return None

    def rate(self, counter: Counter) -> float | None:
        """A counter's speed between the samples, a second; None where no time is known."""
        return None if self.seconds is None or counter.recent is None else counter.recent / self.seconds

    @cached_property
    def softnet(self) -> list[SoftnetCpu]:
        """softnet_stat by CPU."""
        before = {row.cpu: row for row in self.first.softnet}

        def counter(row: SoftnetRow, name: str) -> Counter:
            total = getattr(row, name) or 0
            old = before.get(row.cpu)
            if not self.two or old is None or not self.first.softnet:
                return Counter(total, None)
            before_it = getattr(old, name) or 0
            if total < before_it < WRAP_32 // 2:
                return Counter(total, None)  # not a counter that wrapped: the machine was started anew, or these are two machines
            return Counter(total, (total - before_it) % WRAP_32)

        return [
            SoftnetCpu(row.cpu, *(counter(row, name) for name in SoftnetCpu._fields[1:]))
            for row in sorted(self.last.softnet, key=lambda row: row.cpu)
        ]

    def protocol(self, name: str) -> Counter:
        """A counter of /proc/net/snmp or netstat."""
        return self._difference(self.first.protocols, self.last.protocols, name)

    def _difference(self, first: Mapping[str, int], last: Mapping[str, int], name: str) -> Counter:
        total = last.get(name, 0)
        if not self.two or name not in first or name not in last or total < first[name]:
            return Counter(total, None)
        return Counter(total, total - first[name])

    def device(self, card: str, name: str) -> Counter:
        """A counter of an interface."""
        return self._difference(self.first.devices.get(card, {}), self.last.devices.get(card, {}), name)

    def driver(self, card: str, name: str) -> Counter:
        """A counter of ``ethtool -S``."""
        return self._difference(self.first.ethtool.get(card, {}), self.last.ethtool.get(card, {}), name)

    def softirqs(self, name: str, cpu: int) -> Counter:
        """A softirq's count on a CPU."""
        total = self.last.softirqs.get(name, cpu)
        return Counter(total, max(total - self.first.softirqs.get(name, cpu), 0) if self.two and self.first.softirqs.rows else None)

    def interrupts(self, irq: str, cpu: int) -> Counter:
        """An interrupt's count on a CPU."""
        total = self.last.interrupts.get(irq, cpu)
        both = self.two and self.first.interrupts.rows
        return Counter(total, max(total - self.first.interrupts.get(irq, cpu), 0) if both else None)

    def cpu_share(self, cpu: int | str, kind: str) -> float | None:
        """The share of a CPU's time in one kind, between the samples, else since boot."""
        last = self.last.cpu_time.get(str(cpu))
        first = self.first.cpu_time.get(str(cpu)) if self.two else None
        if last is None:
            return None
        part: int = getattr(last, kind)
        whole = last.total
        if first is not None:
            part, whole = part - getattr(first, kind), whole - first.total
        return max(part, 0) / whole if whole > 0 else None

    def thread_share(self, thread: Thread) -> float | None:
        """The share of a CPU that a thread took: between the samples, else since boot."""
        name = f"{thread.pid}/{thread.comm}"
        last = self.last.thread_ticks.get(name)
        if last is None:
            return None
        if self.two:
            first = self.first.thread_ticks.get(name)
            return None if first is None or not self.seconds else max(last - first, 0) / USER_HZ / self.seconds
        return last / USER_HZ / self.report.uptime_s if self.report.uptime_s else None

    # -- sets of CPUs

    @cached_property
    def online(self) -> list[int]:
        """The online CPUs: as said, else those that softnet_stat or a table shows."""
        if self.report.cpus.online is not None:
            return self.report.cpus.online
        return sorted({row.cpu for row in self.last.softnet} | set(self.last.interrupts.cpus))

    @cached_property
    def kept_free(self) -> list[int]:
        """Isolated and nohz_full CPUs."""
        cpus = self.report.cpus
        return sorted(set(cpus.isolated or []) | set(cpus.nohz_full or []))

    def node_of(self, cpu: int) -> str | None:
        """The NUMA node of a CPU."""
        return next((node for node, cpus in self.report.cpus.nodes.items() if cpu in cpus), None)

    def housekeeping(self, near: int | None = None) -> list[int]:
        """Online CPUs that nobody isolated; those of one CPU's node where nodes are known."""
        free = [cpu for cpu in self.online if cpu not in self.kept_free]
        node = None if near is None else self.node_of(near)
        return [cpu for cpu in free if node is None or self.node_of(cpu) == node]

    # -- cards

    @cached_property
    def hardware(self) -> list[Card]:
        """The cards that are up, those with hardware; of dumps, whatever ethtool spoke of."""
        return [card for card in self.report.cards if card.kind in ("hardware", "") and card.state in ("up", "", "unknown")]

    def irqs_of(self, card: Card) -> list[Irq]:
        """The card's interrupts that say that packets arrived."""
        own = set(card.irqs)
        word = re.compile(rf"(?<![\w.]){re.escape(card.name)}(?!\w)")
        found = [irq for irq in self.report.irqs if irq.number in own or (not own and word.search(irq.name))]
        receiving = [irq for irq in found if re.search(r"rx|input|comp|-\d+$|[._]\d+$", irq.name, re.IGNORECASE)]
        receiving = [
            irq for irq in receiving if not re.search(r"(?<![a-z])tx(?!rx)|output|config|async|event|ctrl", irq.name, re.IGNORECASE)
        ]
        return receiving or found

    def irq_cpus(self, irq: Irq) -> list[int]:
        """Where an interrupt goes: as the kernel says it, else where it was counted."""
        if irq.effective:
            return irq.effective
        counted = [cpu for cpu in self.last.interrupts.cpus if self.interrupts(irq.number, cpu).now]
        return counted or irq.affinity or []

    @property
    def rps_on(self) -> bool:
        """Whether any queue has a mask for RPS."""
        return any(queue.rps_cpus for card in self.report.cards for queue in card.rx_queues)

    # -- words

    def source(self, part: str, otherwise: str) -> str:
        """The file that a part of the report is from."""
        return self.report.sources.get(part, otherwise)

    def seen(self, part: str, otherwise: str, text: str) -> Evidence:
        """Evidence from a part of the report."""
        return Evidence(self.source(part, otherwise), text)

    def setting(self, name: str) -> Evidence | None:
        """A sysctl as evidence; None where it is not known."""
        value = self.report.sysctl.get(name)
        return None if value is None else Evidence(self.source("sysctl", "sysctl"), f"{name} = {value}")

    def sysctl(self, name: str) -> int | None:
        """A sysctl that is one number."""
        value = self.report.sysctl.get(name, "")
        return int(value) if value.isascii() and value.isdecimal() and len(value) < 20 else None

    def counted(self, counter: Counter, what: str) -> str:
        """A counter in words: what came between the samples, or since boot."""
        if counter.recent is None:
            return f"{counter.total:,} {what} since boot"
        if self.seconds is not None:
            speed = counter.recent / self.seconds
            return f"{counter.recent:,} {what} in {self.seconds:.1f} s ({speed:,.0f} a second), {counter.total:,} since boot"
        return f"{counter.recent:,} {what} between the two samples, {counter.total:,} since boot"

    def since(self, counter: Counter) -> str:
        """How sure a counter makes: of one sample nobody knows when."""
        if counter.recent:
            return "it was counted while we looked"
        if counter.recent == 0:
            return "it was counted before, and not while we looked"
        return "it was counted, but one sample does not say when: it may be long ago"

    @cached_property
    def version(self) -> tuple[int, int]:
        """Major and minor number of the release; (0, 0) where it is not known."""
        found = re.match(r"(\d{1,3})\.(\d{1,4})", self.report.release)
        return (int(found[1]), int(found[2])) if found else (0, 0)

    @property
    def backlog_threads(self) -> bool:
        """Whether the backlog is polled by threads: on PREEMPT_RT from 6.10 on, or by the boot argument."""
        seen = any(thread.comm.startswith("backlog_napi/") for thread in self.report.threads)
        asked = "thread_backlog_napi" in (self.report.boot_args or [])
        return seen or (self.version >= (6, 10) and (asked or self.report.preempt == "rt"))
