# SPDX-License-Identifier: GPL-2.0-or-later
"""Readings of the counters that move, and what two of them say: rates for each CPU, for protocols and for threads.

Only the files that hold such counters are read. softnet_stat, softirqs and interrupts are 32 bits wide and wrap
(net/core/net-procfs.c, fs/proc/softirqs.c, kernel/irq/proc.c); what goes back otherwise, or a CPU or thread that stands in one
reading alone, has no rate rather than a wrong one.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from softnet.errors import HostError
from softnet.host import text as texts
from softnet.host.facts import USER_HZ, WRAP_32
from softnet.host.model import CpuTable, CpuTime, SoftnetRow
from softnet.host.threads import RECEIVE_PATH, STIME, UTIME, thread_fields
from softnet.host.tree import Tree

Parsed = TypeVar("Parsed")

SCHEMA: Final = "softnet-host-watch/1"
SOFTNET: Final = ("processed", "dropped", "time_squeeze", "received_rps", "flow_limit")
SOFTIRQS: Final = {"NET_RX": "net_rx", "NET_TX": "net_tx"}
IPIS: Final = {"Function call interrupts": "ipi_call_function", "Rescheduling interrupts": "ipi_reschedule"}
"""What stands behind the counts of an IPI: the same words on x86 (CAL, RES), arm64 and riscv (IPI0, IPI1)."""
COUNTERS: Final = (*SOFTNET, *SOFTIRQS.values(), *IPIS.values())
"""A CPU's counters, as they are called in JSON."""
PROTOCOLS: Final = (
    "Udp.InErrors", "Udp.RcvbufErrors", "Udp.MemErrors", "Udp6.InErrors", "Udp6.RcvbufErrors", "Udp6.MemErrors",
    "TcpExt.ListenOverflows", "TcpExt.ListenDrops", "TcpExt.TCPBacklogDrop", "TcpExt.TCPRcvQDrop", "TcpExt.TCPOFODrop",
    "TcpExt.TCPZeroWindowDrop", "TcpExt.RcvPruned", "TcpExt.PruneCalled", "TcpExt.PFMemallocDrop", "TcpExt.TCPReqQFullDrop",
)  # fmt: skip
"""Drops that a protocol counts, in this network namespace: net/ipv4/proc.c, net/ipv6/proc.c."""
LOOK_NS: Final = 10_000_000_000
"""How often it looks for threads that are new."""
THREADS_MAX: Final = 20_000
STEP_MAX: Final = 1 << 31
"""No counter runs so far between two readings: what seems to, went back."""


@dataclass(frozen=True, slots=True)
class ThreadCounts:
    """A kernel thread of the receive path. ``wakeups``: its voluntary switches, after each of which it was woken."""

    pid: int
    comm: str
    cpu_ns: int
    wakeups: int | None


@dataclass(frozen=True, slots=True)
class Reading:
    """The counters at one instant, since boot. A CPU stands in ``cpus`` while it is online."""

    at_ns: int
    unix_s: float
    cpus: dict[int, dict[str, int]]
    backlog: dict[int, int]
    times: dict[int, CpuTime]
    protocols: dict[str, int]
    threads: dict[str, ThreadCounts]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ThreadSample:
    """A thread between two readings: its share of one CPU, 0 to 1, and wakeups a second. None: not known."""

    pid: int
    comm: str
    cpu_ns: int
    wakeups: int | None
    share: float | None
    wakeups_per_s: float | None


@dataclass(frozen=True, slots=True)
class CpuSample:
    """A CPU between two readings: counters since boot, and each a second. None: not known, as after it came online."""

    cpu: int
    counters: dict[str, int]
    per_s: dict[str, float | None]
    backlog: int | None
    """Packets that wait in its backlog now; None before Linux 5.10."""
    softirq_share: float | None
    """The share of its time, 0 to 1, that /proc/stat counts as softirq."""
    ksoftirqd: ThreadSample | None
    backlog_napi: ThreadSample | None


@dataclass(frozen=True, slots=True)
class WatchSample:
    """All between two readings."""

    unix_s: float
    """When the second reading was taken, since 1970."""
    seconds: float | None
    """Between the readings; None for the first one, which has no rates."""
    cpus: list[CpuSample]
    protocols: dict[str, tuple[int, float | None]]
    threads: list[ThreadSample]
    """NAPI and interrupt threads, ktimers and rcuc: all but ksoftirqd and backlog_napi of the CPUs above."""
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON says it: docs/host.md names the keys."""
        return {
            "schema": SCHEMA,
            "unix_s": round(self.unix_s, 3),
            "seconds": _rounded(self.seconds),
            "cpus": [
                {
                    "cpu": c.cpu, "counters": c.counters, "per_s": {name: _rounded(rate) for name, rate in c.per_s.items()},
                    "backlog": c.backlog, "softirq_share": _rounded(c.softirq_share),
                    "ksoftirqd": _thread(c.ksoftirqd), "backlog_napi": _thread(c.backlog_napi),
                }
                for c in self.cpus
            ],
            "protocols": {name: {"total": total, "per_s": _rounded(rate)} for name, (total, rate) in self.protocols.items()},
            "threads": [_thread(thread) for thread in self.threads],
            "notes": list(self.notes),
        }  # fmt: skip


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _thread(thread: ThreadSample | None) -> dict[str, Any] | None:
    if thread is None:
        return None
    return {"comm": thread.comm, "pid": thread.pid, "cpu_s": thread.cpu_ns / 1e9, "wakeups": thread.wakeups,
            "share": _rounded(thread.share), "wakeups_per_s": _rounded(thread.wakeups_per_s)}  # fmt: skip


def step(before: int | None, now: int | None) -> int | None:
    """How far a counter ran; None where that is not known. One of 32 bits may have wrapped."""
    if before is None or now is None:
        return None
    ran = (now - before) % WRAP_32 if max(before, now) < WRAP_32 else now - before
    return ran if 0 <= ran < STEP_MAX else None


def compare(before: Reading | None, now: Reading) -> WatchSample:
    """What came between two readings; without the first, totals alone."""
    seconds = (now.at_ns - before.at_ns) / 1e9 if before is not None and now.at_ns > before.at_ns else None

    def rate(first: int | None, last: int | None) -> float | None:
        ran = step(first, last)
        return None if ran is None or not seconds else ran / seconds

    old = before or Reading(now.at_ns, now.unix_s, {}, {}, {}, {}, {})
    threads = {key: _thread_sample(old.threads.get(key), thread, seconds) for key, thread in now.threads.items()}
    by_comm = {thread.comm: thread for thread in threads.values()}
    of_cpus: list[ThreadSample | None] = []
    cpus = []
    for cpu, counters in sorted(now.cpus.items()):
        old_counters = old.cpus.get(cpu, {})
        per_s = {name: rate(old_counters.get(name), value) for name, value in counters.items()}
        share = _softirq_share(old.times.get(cpu), now.times.get(cpu))
        own = by_comm.get(f"ksoftirqd/{cpu}"), by_comm.get(f"backlog_napi/{cpu}")
        cpus.append(CpuSample(cpu, counters, per_s, now.backlog.get(cpu), share, *own))
        of_cpus += own
    protocols = {name: (total, rate(old.protocols.get(name), total)) for name, total in now.protocols.items()}
    taken = {thread.pid for thread in of_cpus if thread is not None}
    return WatchSample(now.unix_s, seconds, cpus, protocols, [t for t in threads.values() if t.pid not in taken], now.notes)


def _thread_sample(before: ThreadCounts | None, now: ThreadCounts, seconds: float | None) -> ThreadSample:
    share = wakeups = None
    if before is not None and seconds:
        if now.cpu_ns >= before.cpu_ns:
            # Both readings of it come a little after the instants that they are booked at.
            share = min((now.cpu_ns - before.cpu_ns) / 1e9 / seconds, 1.0)
        ran = step(before.wakeups, now.wakeups)
        wakeups = None if ran is None else ran / seconds
    return ThreadSample(now.pid, now.comm, now.cpu_ns, now.wakeups, share, wakeups)


def _softirq_share(before: CpuTime | None, now: CpuTime | None) -> float | None:
    """Idle and iowait may go back a little (Documentation/filesystems/proc.rst): what does counts as nothing."""
    if before is None or now is None:
        return None
    ran = {name: max(getattr(now, name) - getattr(before, name), 0) for name in texts.CPU_TIMES}
    whole = sum(ran.values())
    return ran["softirq"] / whole if whole else None


class Watch:
    """Takes readings of the machine below a tree's root. Raises HostError if nothing of a machine is there."""

    def __init__(self, tree: Tree, now: Callable[[], int] = time.monotonic_ns, wall: Callable[[], float] = time.time) -> None:
        self.tree = tree
        self._wall = wall
        self.now = now
        self._threads = Threads(tree)
        self._any = False
        if not tree.names("/proc"):
            raise HostError(
                "no files of a machine", where=str(tree.root), found="no directory proc", expected="/proc, or a copy of it"
            )

    def read(self) -> Reading:
        """The counters now. A file that cannot be taken apart is an error at first, and a note in later readings."""
        notes: list[str] = []
        self.tree.unread.clear()
        at_ns, unix_s = self.now(), self._wall()
        times, softnet = self._by_cpu(notes)
        softirqs = self._parsed("/proc/softirqs", _softirqs, notes)
        ipis = self._parsed("/proc/interrupts", _ipis, notes)
        online = sorted(times) or sorted(row.cpu for row in softnet) or (ipis.cpus if ipis else [])
        if not online:
            raise HostError("no counters of any CPU", where=self.tree.place("/proc"),
                            expected="net/softnet_stat, stat or interrupts")  # fmt: skip
        cpus: dict[int, dict[str, int]] = {cpu: {} for cpu in online}
        for row in softnet:
            if row.cpu in cpus:
                found = {name: getattr(row, name) for name in SOFTNET}
                cpus[row.cpu] |= {name: value for name, value in found.items() if value is not None}
        for table, names in ((softirqs, SOFTIRQS.values()), (ipis, IPIS.values())):
            for name in names:
                for cpu, count in zip(table.cpus, table.rows.get(name, []), strict=False) if table else ():
                    if cpu in cpus:
                        cpus[cpu][name] = count
        protocols = self._protocols(notes)
        threads = self._threads.read(at_ns)
        self._any = True
        notes += [f"not read: {missing.what}: {missing.why}" for missing in self.tree.missing()]
        backlog = {row.cpu: row.backlog for row in softnet if row.backlog is not None}
        return Reading(at_ns, unix_s, cpus, backlog, times, protocols, threads, tuple(notes))

    def _by_cpu(self, notes: list[str]) -> tuple[dict[int, CpuTime], list[SoftnetRow]]:
        """/proc/stat, whose lines are the online CPUs, and softnet_stat, which says its CPUs only from 5.10 on."""
        for last in (False, True):
            times = self._parsed("/proc/stat", _times, notes) or {}
            online = sorted(times) or None
            parse = functools.partial(texts.softnet_stat, online=online)
            found = self._parsed("/proc/net/softnet_stat", parse, notes)
            rows, note = found or ([], "")
            if not note:
                return times, rows
            if last and not times:
                notes.append(note)
                return times, rows
        # A CPU came or went between the two files, and nobody knows which line is whose.
        notes.append("softnet_stat has another number of CPUs than /proc/stat: left out of this sample")
        return times, []

    def _protocols(self, notes: list[str]) -> dict[str, int]:
        found: dict[str, int] = {}
        for name, parse in (("snmp", texts.protocols), ("netstat", texts.protocols), ("snmp6", _snmp6)):
            counts = self._parsed(f"/proc/net/{name}", parse, notes, wanted=name != "snmp6") or {}
            found |= {key: counts[key] for key in PROTOCOLS if counts.get(key, -1) >= 0}
        return found

    def _parsed(self, path: str, parse: Callable[[str, str], Parsed], notes: list[str], *, wanted: bool = True) -> Parsed | None:
        """A file taken apart; read once more if it fails, because a CPU may go while the kernel prints a line for each."""
        problem: HostError | None = None
        for _ in range(2):
            text = self.tree.text(path, wanted=wanted)
            if text is None or not text.strip():
                if text is not None and wanted:
                    self.tree.missed(path, "empty")
                return None
            try:
                return parse(text, self.tree.place(path))
            except HostError as error:
                problem = error
        assert problem is not None
        if not self._any:
            raise problem
        notes.append(f"left out of this sample: {problem.where}: {problem.message}")
        return None


def _times(text: str, where: str) -> dict[int, CpuTime]:
    """The CPUs' lines of /proc/stat, which stand first; the long line of all interrupts is passed over."""
    kept = "\n".join(line if line.startswith("cpu") else "" for line in text.split("\n"))
    return {int(name): times for name, times in texts.proc_stat(kept, where).items() if name != "all"}


def _softirqs(text: str, where: str) -> CpuTable:
    """The rows of NET_RX and NET_TX."""
    table, _ = _rows(text, where, lambda line: line.partition(":")[0].strip() in SOFTIRQS)
    return CpuTable(cpus=table.cpus, rows={SOFTIRQS[name]: row for name, row in table.rows.items()})


def _ipis(text: str, where: str) -> CpuTable:
    """The rows of IPIs, by what they are called; of a card's interrupt its chip stands before the name."""
    words = tuple(IPIS)
    table, behind = _rows(text, where, lambda line: line.rstrip().endswith(words))
    return CpuTable(cpus=table.cpus, rows={IPIS[behind[name]]: row for name, row in table.rows.items() if behind[name] in IPIS})


def _rows(text: str, where: str, wanted: Callable[[str], bool]) -> tuple[CpuTable, dict[str, str]]:
    """Some rows of a table of CPUs; the others, of which there may be thousands, are not taken apart."""
    header, _, rest = text.partition("\n")
    kept = (line if wanted(line) else "" for line in rest.split("\n"))
    return texts.cpu_table("\n".join([header, *kept]), where)


def _snmp6(text: str, where: str) -> dict[str, int]:
    """/proc/net/snmp6: a name and a number on each line; those of UDP."""
    found = {}
    for line in texts.lines(text, where):
        words = line.text.split()
        if words[0].startswith("Udp6"):
            if len(words) != 2:
                raise line.error("not a line of counters", "NAME NUMBER")
            found[f"Udp6.{words[0][4:]}"] = texts.number(words[1], line, words[0])
    return found


@dataclass(slots=True)
class _Known:
    comm: str
    runs: int = -1
    """Times that it was given a CPU; while that stands still, so do its switches, and status need not be read."""
    wakeups: int | None = None


@dataclass(slots=True)
class Threads:
    """The kernel threads of the receive path, with little reading: others are looked at once, and idle ones in one small file."""

    tree: Tree
    known: dict[str, _Known] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)
    looked_ns: int | None = None

    def read(self, at_ns: int) -> dict[str, ThreadCounts]:
        """CPU time and wakeups of each, by ``pid/comm``."""
        if self.looked_ns is None or at_ns - self.looked_ns >= LOOK_NS:
            self.looked_ns = at_ns
            self._look()
        found = {}
        for pid, known in list(self.known.items()):
            counts = self._counts(pid, known)
            if counts is None:
                del self.known[pid]
                continue
            found[f"{pid}/{known.comm}"] = counts
        return found

    def _look(self) -> None:
        pids = [name for name in self.tree.names("/proc") if name.isascii() and name.isdecimal() and len(name) <= 10]
        self.others.intersection_update(pids)
        for pid in pids:
            if pid in self.known or pid in self.others:
                continue
            comm, fields = thread_fields(self.tree, pid)
            # Its parent is kthreadd: a program of that name is none of the kernel's threads.
            if fields and fields[1] == "2" and RECEIVE_PATH.fullmatch(comm) and len(self.known) < THREADS_MAX:
                self.known[pid] = _Known(comm)
            else:
                self.others.add(pid)

    def _counts(self, pid: str, known: _Known) -> ThreadCounts | None:
        """None for one that is gone. CPU time is schedstat's, to the ns, else that of stat in USER_HZ."""
        words = self.tree.line(f"/proc/{pid}/schedstat").split()
        if len(words) >= 3 and all(word.isascii() and word.isdecimal() and len(word) < 21 for word in words) and int(words[2]):
            cpu_ns, runs = int(words[0]), int(words[2])
        else:
            comm, fields = thread_fields(self.tree, pid)
            if comm != known.comm:
                return None
            cpu_ns, runs = max(int(fields[UTIME]) + int(fields[STIME]), 0) * (1_000_000_000 // USER_HZ), -1
        if runs < 0 or runs != known.runs:
            status = self.tree.text(f"/proc/{pid}/status") or ""
            name = re.match(r"Name:\t([^\n]*)", status)
            if name is None or _unescaped(name[1])[:100] != known.comm:
                return None
            switches = re.search(r"^voluntary_ctxt_switches:\s*([0-9]{1,20})$", status, re.MULTILINE)
            known.runs, known.wakeups = runs, int(switches[1]) if switches else None
        return ThreadCounts(int(pid), known.comm, cpu_ns, known.wakeups)


def _unescaped(name: str) -> str:
    """A name as status writes it, where a line feed and a backslash are escaped: fs/proc/array.c, proc_task_name()."""
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], name)


def samples(
    watch: Watch,
    interval_s: float,
    count: int | None = None,
    *,
    first: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[WatchSample]:
    """Samples an interval apart, ``count`` of them or without end; with ``first``, before them the totals at the start.

    The beat is kept: what reading takes is no part of the time that is slept.
    """
    before = watch.read()
    if first:
        yield compare(None, before)
    due = before.at_ns
    done = 0
    while count is None or done < count:
        due += int(interval_s * 1e9)
        late = watch.now() - due
        if late > 0:
            due += late
        else:
            sleep(-late / 1e9)
        reading = watch.read()
        yield compare(before, reading)
        before = reading
        done += 1
