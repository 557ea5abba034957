# SPDX-License-Identifier: GPL-2.0-or-later
"""What any user can measure: system calls, copies, atomics, cache lines, switches, wakeups and interrupts between two CPUs.

Each measurement gives rows of a cost table, or says why it cannot be made. Two CPUs take part at most, each with one thread or
process of ours, for a fraction of a second.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import platform
import random
import resource
import select
import signal
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from softnet.errors import HostError
from softnet.host.calibrate.estimate import Estimate, difference, estimate, interrupted, one_way, per_turn, switch_cost
from softnet.host.calibrate.loops import LINE_BYTES, MEMBARRIER, SPINS_MAX, loops

CHAIN_LINES: Final = 256
SMALL, LARGE = 64, 4096
"""Bytes: both are one page of a file in memory, so that the difference is the copy alone."""
GAP_NS: Final = 250
"""A clock is read in less; an interrupt takes more."""
_REGISTER: Final = 16
_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True)
class Places:
    """The CPUs that take part: ``home``, ``other`` on the same node, ``far`` on another one; None where there is none."""

    home: int
    other: int | None
    far: int | None


@dataclass(slots=True)
class Taken:
    """What was measured: row -> (cost, how). ``failed``: row -> why not. Rows of bytes are in ps a byte times 1000."""

    rows: dict[str, tuple[Estimate, str]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    figures: dict[str, Estimate] = field(default_factory=dict)
    """What is no row: a cost that rows are made of, or that is told."""


class Words:
    """Memory that a child process shares: 64-bit words at a page's beginning."""

    def __init__(self, words: int) -> None:
        self.map = mmap.mmap(-1, max(words * 8, mmap.PAGESIZE))
        self.array = (ctypes.c_int64 * words).from_buffer(self.map)
        self.address = ctypes.addressof(self.array)

    def pairs(self, count: int) -> list[tuple[int, int]]:
        """Words 0 and 1, 2 and 3, ..."""
        return [(self.array[2 * n], self.array[2 * n + 1]) for n in range(count)]


@contextlib.contextmanager
def pinned(cpu: int) -> Iterator[None]:
    """This thread on one CPU."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def beside(cpu: int) -> ThreadPoolExecutor:
    """A thread on one CPU, to be given work."""
    return ThreadPoolExecutor(1, initializer=lambda: os.sched_setaffinity(0, {cpu}))


@contextlib.contextmanager
def child(work: Callable[[], object], cpu: int, policy: int | None = None) -> Iterator[int]:
    """A process on one CPU that works until the block ends; it dies with this one."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            os.sched_setaffinity(0, {cpu})
            if policy is not None:
                os.sched_setscheduler(0, policy, os.sched_param(0))
            while os.getppid() == parent:
                work()
        finally:
            os._exit(0)
    try:
        yield pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


class Measure:
    """The measurements, one after the other. ``share`` of 1000: how many of the readings, for a test that has no time."""

    def __init__(self, places: Places, share: int = 1000) -> None:
        self.places = places
        self.share = share
        self.loops = loops()
        self.out = Taken()

    def times(self, wanted: int) -> int:
        return max(wanted * self.share // 1000, 12)

    def steps(self) -> list[tuple[str, Callable[[], None], tuple[str, ...]]]:
        """Name, what does it, and the rows that it is for."""
        return [
            ("system calls", self.syscall, ("syscall", "ep_poll")),
            ("atomics", self.atomic, ("atomic",)),
            ("pauses", self.pause, ("cpu_relax",)),
            ("copies", self.copy, ("copy_to_user", "copy_from_user")),
            ("cache lines", self.lines, ("line_transfer_local", "line_transfer_remote")),
            ("lock handover", self.handoff, ("lock_handoff",)),
            ("switches", self.switch, ("context_switch",)),
            ("wakeups", self.wakeup, ("wakeup",)),
            ("interrupts", self.interrupts, ("ipi", "irq_entry", "irq_exit")),
            ("idling", self.idle, ("idle_exit",)),
            ("timers", self.timers, ()),
        ]

    def step(self, work: Callable[[], None], rows: tuple[str, ...]) -> None:
        """One measurement; where it fails, its rows say why."""
        try:
            with pinned(self.places.home):
                work()
        except (OSError, HostError) as error:
            text = error.message if isinstance(error, HostError) else error.strerror or str(error)
            if isinstance(error, HostError) and error.found:
                text += f": {error.found}"
            for row in rows:
                self.out.failed.setdefault(row, text)

    def other(self) -> int:
        """The other CPU. Raises HostError without one."""
        if self.places.other is None:
            raise HostError("there is one CPU only")
        return self.places.other

    def totals(self, name: str, turns: int, *given: int, batches: int = 40) -> list[int]:
        run = self.loops[name]
        run(*given, turns)
        return [run(*given, turns) for _ in range(self.times(batches))]

    def syscall(self) -> None:
        self.out.figures["loop"] = empty = per_turn(self.totals("nothing", 5000), 5000)
        self.out.figures["clock"] = per_turn(self.totals("clocks", 2000), 2000, empty)
        cost = per_turn(self.totals("getppids", 1000), 1000, empty)
        self.out.rows["syscall"] = cost, "getppid(), 1,000 a reading, less the loop"
        ready = os.eventfd(1)
        into = Words(8)
        try:
            with select.epoll() as waiting:
                waiting.register(ready, select.EPOLLIN)
                found = per_turn(self.totals("epolls", 500, waiting.fileno(), into.address), 500, empty)
        finally:
            os.close(ready)
        self.out.rows["ep_poll"] = (
            difference(found, cost),
            "epoll_wait() that finds one that is ready, 500 a reading, less a system call",
        )

    def atomic(self) -> None:
        word = Words(8)
        cost = per_turn(self.totals("atomics", 10_000, word.address), 10_000, self.out.figures["loop"])
        self.out.rows["atomic"] = cost, "an atomic add to a line of this CPU's own, 10,000 a reading, less the loop"

    def pause(self) -> None:
        cost = per_turn(self.totals("pauses", 2000), 2000, self.out.figures["loop"])
        self.out.rows["cpu_relax"] = cost, "the processor's hint in a loop that waits (PAUSE), 2,000 a reading, less the loop"

    def copy(self) -> None:
        fd = os.memfd_create("softnet-calibrate")
        try:
            os.write(fd, bytes(LARGE))
            buffer, turns = Words(LARGE // 8), 100
            for row, name in (("copy_to_user", "preads"), ("copy_from_user", "pwrites")):
                what = (
                    f"{name[:-1]}() of a file in memory, {LARGE:,} bytes less one of {SMALL}, both in the cache, {turns} a reading"
                )
                self.totals(name, turns, fd, buffer.address, SMALL, batches=2)
                more = []
                for _ in range(self.times(150)):  # one after the other: what changes with time is in both
                    small, large = (self.loops[name](fd, buffer.address, size, turns) for size in (SMALL, LARGE))
                    more.append((large - small) * 1000 // turns)
                self.out.rows[row] = estimate(each * 1000 // (LARGE - SMALL) for each in more), what
        finally:
            os.close(fd)

    def chain(self) -> Words:
        """Lines in an order that no prefetcher guesses, each with the address of the next."""
        memory = Words(CHAIN_LINES * LINE_BYTES // 8)
        order = list(range(CHAIN_LINES))
        random.Random(1).shuffle(order)
        for here, following in zip(order, order[1:] + order[:1], strict=True):
            memory.array[here * LINE_BYTES // 8] = memory.address + following * LINE_BYTES
        return memory

    def lines(self) -> None:
        for row, cpu in (("line_transfer_local", self.places.other), ("line_transfer_remote", self.places.far)):
            if cpu is None:
                self.out.failed[row] = "there is one CPU only" if row.endswith("local") else "there is one NUMA node only"
                continue
            memory = self.chain()
            fetched, own = [], []
            with beside(cpu) as thread:
                for _ in range(self.times(200)):
                    thread.submit(self.loops["dirty"], memory.address, CHAIN_LINES).result()
                    fetched.append(self.loops["chase"](memory.address, CHAIN_LINES))
                    own.append(self.loops["chase"](memory.address, CHAIN_LINES))
            cost = difference(per_turn(fetched, CHAIN_LINES), per_turn(own, CHAIN_LINES))
            what = f"a chain of {CHAIN_LINES} lines that CPU {cpu} wrote, read on CPU {self.places.home}, less reading it again"
            self.out.rows[row] = cost, what

    def handoff(self) -> None:
        word, turns, totals = Words(8), 20, []
        with beside(self.other()) as thread:
            for _ in range(self.times(300)):
                word.array[0] = 0
                theirs = thread.submit(self.loops["handover"], word.address, 1, 0, turns, SPINS_MAX)
                took = self.loops["handover"](word.address, 0, 1, turns, SPINS_MAX)
                if theirs.result() >= 0 and took >= 0:
                    totals.append(took)
        cost = per_turn(totals, 2 * turns)
        self.out.rows["lock_handoff"] = cost, f"two CPUs that spin hand a word to and fro {turns} times a reading; half a round"

    def switch(self) -> None:
        shared, turns = Words(8), 50
        alone = per_turn(self.totals("yields", turns), turns)

        def work() -> None:
            self.loops["yields"](1)
            shared.array[0] += 1

        # The child yields once a turn, in Python: a turn is timed from this side, and its yields are counted.
        batches = []
        with child(work, self.places.home):
            time.sleep(0.01)
            for _ in range(self.times(60)):
                theirs, mine = shared.array[0], _switches()
                took = self.loops["yields"](turns)
                batches.append((took, turns + shared.array[0] - theirs, 2 * (_switches() - mine)))
        self.out.figures["yield"] = alone
        cost = switch_cost(batches, alone)
        self.out.rows["context_switch"] = cost, f"two processes that yield to each other, less the yields; {turns} a reading"

    def wakeup(self) -> None:
        turns = self.times(300)
        times, bare = Words(2 * turns), Words(2 * turns)
        buffer = Words(8)
        buffer.array[0] = 1
        fd, quiet = os.eventfd(0), os.eventfd(0)
        into = Words(8)
        try:
            with child(lambda: self.loops["reads"](fd, into.address, 8, 1, 0, into.address + 16), self.places.home, os.SCHED_BATCH):
                time.sleep(0.01)
                self.loops["writes"](fd, buffer.address, 8, turns, 200, times.address)
            self.loops["writes"](quiet, buffer.address, 8, turns, 200, bare.address)
        finally:
            os.close(fd)
            os.close(quiet)
        with_one, without = (estimate((b - a) * 1000 for a, b in words.pairs(turns)) for words in (times, bare))
        what = "write() to an eventfd on which a task of this CPU sleeps (SCHED_BATCH: it does not preempt), less one without"
        self.out.rows["wakeup"] = difference(with_one, without), what

    def interrupts(self) -> None:
        number = MEMBARRIER.get(platform.machine())
        libc = ctypes.CDLL(None, use_errno=True)
        if number is None or libc.syscall(number, _REGISTER, 0, 0) < 0:
            raise HostError("no membarrier() here")
        other, turns, room = self.other(), self.times(1500), 1 << 14
        calls, gaps, stop = Words(2 * turns), Words(2 * room), Words(8)
        until = time.monotonic_ns() + 2 * 10**9
        with beside(other) as thread:
            found = thread.submit(self.loops["gaps"], gaps.address, room, GAP_NS, until, stop.address)
            time.sleep(0.005)
            try:
                self.loops["barriers"](number, turns, 30_000, calls.address)
            finally:
                stop.array[0] = 1
            count = found.result()
        delivery, taken = interrupted(calls.pairs(turns), gaps.pairs(count), self.out.figures["clock"].ps)
        kept, late = estimate(taken), estimate(delivery)
        half = self.out.rows["syscall"][0].ps // 2
        what = f"membarrier() on CPU {self.places.home} interrupts CPU {other}, which reads its clock"
        self.out.rows["ipi"] = (
            late.part(1, 1, half),
            f"{what}: from the call, less half a system call, to the last reading before the gap",
        )
        self.out.figures["interrupt"] = kept
        for row, part in (("irq_entry", 5), ("irq_exit", 3)):
            how = f"{what}: {part}/8 of the gap, as the default table shares it out between entry and exit"
            self.out.rows[row] = kept.part(part, 8), how

    def woken(self, gap_us: int, turns: int) -> Estimate:
        """From a write() on this CPU to the end of the read() that slept on the other one."""
        sent, got = Words(2 * turns), Words(2 * (turns + 1))
        buffer, into = Words(8), Words(8)
        buffer.array[0] = 1
        fd = os.eventfd(0)
        try:
            with beside(self.other()) as thread:
                reading = thread.submit(self.loops["reads"], fd, into.address, 8, turns + 1, 0, got.address)
                time.sleep(0.01)
                self.loops["writes"](fd, buffer.address, 8, turns, gap_us, sent.address)
                while not reading.done():  # wakeups that came together
                    os.write(fd, struct.pack("=Q", 1))
                    time.sleep(0.0005)
                count = reading.result()
        finally:
            os.close(fd)
        return estimate(one_way(sent.pairs(turns), got.pairs(min(count, turns + 1))))

    def idle(self) -> None:
        turns = self.times(400)

        def spin() -> None:
            self.loops["nothing"](1_000_000)

        with child(spin, self.other(), os.SCHED_IDLE):
            busy = self.woken(500, turns)
        before = idle_ticks(self.other())
        idle = self.woken(500, turns)
        after = idle_ticks(self.other())
        self.out.figures["woken, the CPU busy"], self.out.figures["woken, the CPU idle"] = busy, idle
        if before is not None and after is not None:
            rested, passed = (late - early for early, late in zip(before, after, strict=True))
            if passed and rested * 2 < passed:
                raise HostError("CPU did not idle: other programs had it", found=f"{rested * 100 // passed} % of the time idle")
        what = "write() to an eventfd to read()'s end on a CPU that idled for 0.5 ms, less the same beside a SCHED_IDLE task"
        self.out.rows["idle_exit"] = difference(idle, busy), what

    def timers(self) -> None:
        late = []
        for _ in range(self.times(100)):
            before = time.monotonic_ns()
            time.sleep(0.0002)
            late.append((time.monotonic_ns() - before - 200_000) * 1000)
        self.out.figures["a sleep's end, late"] = estimate(late)


def idle_ticks(cpu: int) -> tuple[int, int] | None:
    """How long a CPU was idle since boot, and in all, in ticks; None where nothing says it."""
    with contextlib.suppress(OSError, ValueError), open("/proc/stat", encoding="ascii") as lines:
        for line in lines:
            name, *words = line.split()
            if name == f"cpu{cpu}":
                fields = [int(word) for word in words[:8]]
                return fields[3] + fields[4], sum(fields)
    return None


def _switches() -> int:
    used = resource.getrusage(resource.RUSAGE_THREAD)
    return used.ru_nvcsw + used.ru_nivcsw
