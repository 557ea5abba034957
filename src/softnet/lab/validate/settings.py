# SPDX-License-Identifier: GPL-2.0-or-later
"""Settings that change under load: a mark in the trace says which file of the guest was written, and with what.

The mark comes after the write. So the write is an open action for some records before its mark, and as many more as
interrupted the writer. Writing rps_cpus takes
longer, it waits for readers to be done; but it decides nothing but where a packet goes, so there the old map and the new
are both right until the mark. Taking a CPU down or bringing it back takes longest; a mark of its own says where it began.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from softnet.lab.tracing.records import MARK, TASK, LabRecord
from softnet.lab.validate.driver import Driver

# A write and its mark are two system calls of one task at the highest priority: this many records are more than enough.
WRITE_RECORDS = 40
# Unless the writer's CPU stood still between them, as a guest's may on a busy host: then it has no record for so long at most.
STILL_RECORDS = 400
_SYSCTL = re.compile(r"(?:/proc/sys/net/core/)?(\w+)(?: =)? (\d{1,10})$")
_RPS_CPUS = re.compile(r"\S*/lo/queues/rx-0/rps_cpus = ([0-9a-fA-F,]+)$")
_ONLINE = re.compile(r"\S*/cpu(\d{1,4})/online (<|=) ([01])$")
RPS_CPUS = "rps_cpus"
ONLINE = "online"
SYSCTLS = frozenset(("skb_defer_max", "netdev_max_backlog", "netdev_budget", "netdev_budget_usecs", "dev_weight"))


@dataclass(frozen=True, slots=True)
class Setting:
    """A write of ``name``; ``cpus`` are of rps_cpus, or the one that goes down or comes back; ``value`` of all others.

    ``since`` is where it may happen first.
    """

    name: str
    value: int
    cpus: tuple[int, ...]
    since: int

    def write(self, driver: Driver) -> None:
        """Write it in the model."""
        if self.name == RPS_CPUS:
            driver.set_rps_cpus(self.cpus)
        elif self.name == ONLINE:
            driver.set_online(self.cpus[0], self.value)
        else:
            driver.set_sysctl(self.name, self.value)


def cpus_of_mask(mask: str) -> tuple[int, ...]:
    """The CPUs of a mask as sysfs has it: hexadecimal, in groups of 32 bits."""
    bits = int(mask.replace(",", ""), 16)
    return tuple(cpu for cpu in range(bits.bit_length()) if bits >> cpu & 1)


def _written_since(records: Sequence[LabRecord], at: int, last: int) -> int:
    """The first place at which what the mark at ``at`` tells of may have been written; ``last`` is the mark before.

    Interrupts of the writer, and the softirqs at their exits, come between a write and its mark however long they take. What
    another task did on its CPU was before the write: nobody takes the CPU from it. Where the CPU has no record at all among those
    that are enough, it may have stood still, and the write may be older.
    """
    mark = records[at]
    since = at - WRITE_RECORDS
    place = at - 1
    while place > last and place >= since:
        record = records[place]
        if record.cpu == mark.cpu and record.pid != mark.pid:
            since = max(since, place + 1)
            break
        if record.cpu == mark.cpu and record.context != TASK:
            since = min(since, place - WRITE_RECORDS)
        place -= 1
    since = max(last + 1, min(since, at - WRITE_RECORDS))
    if any(record.cpu == mark.cpu for record in records[since:at]):
        return since
    while since > max(last + 1, at - STILL_RECORDS) and records[since - 1].cpu != mark.cpu:
        since -= 1
    return since


def settings_of(records: Sequence[LabRecord]) -> dict[int, Setting]:
    """Place of a mark -> the write that it tells of."""
    found: dict[int, Setting] = {}
    last = -1
    begun: dict[int, int] = {}
    for at, record in enumerate(records):
        if record.event != MARK:
            continue
        since = _written_since(records, at, last)
        online = _ONLINE.match(record.text)
        if online is not None:
            cpu, how, state = int(online.group(1)), online.group(2), int(online.group(3))
            if how == "<":
                begun[cpu] = at
            else:
                found[at] = Setting(ONLINE, state, (cpu,), begun.pop(cpu, last) + 1)
            last = at
            continue
        rps, sysctl = _RPS_CPUS.match(record.text), _SYSCTL.match(record.text)
        if rps is not None:
            found[at] = Setting(RPS_CPUS, 0, cpus_of_mask(rps.group(1)), last + 1)
        elif sysctl is not None and sysctl.group(1) in SYSCTLS:
            found[at] = Setting(sysctl.group(1), int(sysctl.group(2)), (), since)
        last = at
    return found


def hotplugs(settings: dict[int, Setting]) -> list[tuple[int, int, int]]:
    """(CPU, first place, last place) of every way of a CPU down or back up."""
    return [(s.cpus[0], max(s.since - 1, 0), at) for at, s in settings.items() if s.name == ONLINE]
