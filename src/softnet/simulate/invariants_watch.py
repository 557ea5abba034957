# SPDX-License-Identifier: GPL-2.0-or-later
"""How the run-time checks see a run without changing it: around kernel functions, behind stores, at every event.

Observers read words of memory as they stand. They never read a field through a reference, which would cost the model's
time and be an interaction point; so a checked run is the same run, nanosecond for nanosecond.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from softnet.errors import InvariantError
from softnet.lang.intrinsics import PLACE_INTRINSICS, PLACE_SECOND
from softnet.machine import state
from softnet.simulate import readout
from softnet.simulate.image import Image

STATEMENTS: dict[str, str] = {
    "I1": "every skb is handed out, freed and put back exactly once, and none is lost",
    "I2": "a deferred skb is freed on the CPU that allocated it",
    "I3": "a NAPI has SCHED set if and only if it has exactly one owner",
    "I4": "a backlog is polled on its own CPU only",
    "I5": "the backlog of an online CPU with packets in its input queue has SCHED set",
    "I6": "a defer list above skb_defer_max / 2 will be flushed: a kick is under way or NET_RX is due",
    "I7": "a defer list is never longer than skb_defer_max and one more for each other task that defers to it",
    "I8": "defer_ipi_scheduled is set only while its function call is under way",
    "I9": "a function call is queued at most once at a time",
    "I10": "defer_count and defer_list agree while defer_lock is free: a list that counts but is empty stops deferral",
    "I11": "locks are taken in one order, interrupts cannot deadlock on them, and nothing sleeps in atomic context",
    "I12": "packets that came in are delivered, dropped, used up or queued, and a backlog holds what went in and not out",
    "I13": "on PREEMPT_RT with backlog threads no function call from another CPU raises NET_RX",
}
"""What each invariant says (numbers as in the research notes of the project)."""

KNOWN: dict[str, str] = {
    "C1": "a kick that meets a backlog which the softirq polls is lost when that run of net_rx_action ends without a flush",
    "C4": "skb_defer_max was lowered below what the list held already: the test for equality never sees the watermark",
    "C5": "net_rps_send_ipi() skips an offline CPU, whose backlog keeps SCHED for ever",
    "C6": "dev_cpu_dead() leaves a dead CPU's defer list, and a kick on its way there, as they are (06e3f54e8b22 flushes it)",
    "I13": "before the backlog threads (6.10) a kick or an RPS IPI raises NET_RX from the interrupt, which wakes ksoftirqd",
}
"""Findings that the real kernel has as well: they are counted and named, and are no error of the model or of a patch."""

BOUND_NS = 100_000
"""How long something may look as if nobody owed it before I3, I6 and I8 say so. Every way to owe it is looked at, so
this only covers what stands between two observations of a CPU."""


@dataclass(frozen=True)
class Violation:
    """An invariant that did not hold at ``time_ns``, seen on ``cpu``; ``known`` names a finding of the real kernel."""

    invariant: str
    time_ns: int
    cpu: int
    what: str
    known: str = ""


class Report:
    """What the checks found: the first of each kind, and how many there were."""

    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self.first: dict[tuple[str, str], Violation] = {}
        self.counts: dict[tuple[str, str], int] = {}

    def add(self, violation: Violation) -> None:
        """Note it. Raises InvariantError when the checks are strict and this is no known finding."""
        key = (violation.invariant, violation.known)
        self.first.setdefault(key, violation)
        self.counts[key] = self.counts.get(key, 0) + 1
        if self.strict and not violation.known:
            raise InvariantError(
                f"invariant {violation.invariant} does not hold",
                where=f"at {violation.time_ns} ns on CPU {violation.cpu}",
                found=violation.what,
                expected=STATEMENTS[violation.invariant],
                hint="a patch that breaks it is wrong; without a patch this is a defect of the model: please report it",
            )

    def warnings(self) -> list[str]:
        """One sentence for each kind of violation."""
        out = []
        for key in sorted(self.first, key=lambda k: (bool(k[1]), int(k[0][1:]), k[1])):
            v, count = self.first[key], self.counts[key]
            times = "once" if count == 1 else f"{count} times, first"
            text = f"{times} at {v.time_ns} ns on CPU {v.cpu}: {v.what}"
            if v.known:
                out.append(f"known finding {v.known} ({v.invariant}), {KNOWN[v.known]}; {text}")
            else:
                out.append(f"invariant {v.invariant} does not hold ({STATEMENTS[v.invariant]}); {text}")
        return out


class Inside:
    """Which contexts are inside a kernel function: (context, CPU on which it entered, what it was called for)."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, int, int]] = []

    def on_cpu(self, cpu: int) -> bool:
        """Whether somebody entered it on that CPU."""
        return any(entry[1] == cpu for entry in self.entries)

    def about(self, key: int) -> bool:
        """Whether somebody is in it for ``key``."""
        return any(entry[2] == key for entry in self.entries)

    def by(self, ctx: int) -> bool:
        """Whether that context is in it."""
        return any(entry[0] == ctx for entry in self.entries)


Before = Callable[[tuple[Any, ...]], None]
After = Callable[[tuple[Any, ...], Any], None]
EventObserver = Callable[[int, int, int], None]


class Watch:
    """The observation points of one image, and the report that checks write to."""

    def __init__(self, image: Image, report: Report) -> None:
        self.image = image
        self.report = report
        self.memory = image.memory
        self.nr_cpus = image.nr_cpus
        self._now, self._cpu, self._ctx = (image.engine_word(n) for n in ("now", "cpu", "ctx"))
        self._preempt = self.offset("cpu_hw", "preempt_count")
        self._cpu_hw = image.layout.tables["cpu_hw"]
        self._context = image.layout.tables["context"]
        self._irqs_off = self.offset("context", "irqs_off")
        self.events: dict[str, list[EventObserver]] = {}
        self.words: dict[int, Callable[[int], None]] = {}
        self._watched_fields: set[tuple[str, str]] = set()
        self._watch_places()

    def now(self) -> int:
        """The time of the running context, ns."""
        return self.memory[self._now]

    def cpu(self) -> int:
        """The CPU that runs."""
        return self.memory[self._cpu]

    def ctx(self) -> int:
        """The number of the context that runs."""
        return self.memory[self._ctx]

    def preempt_count(self) -> int:
        """The preemption counter of the CPU that runs."""
        return self.memory[self._cpu_hw.base + self.cpu() * self._cpu_hw.stride + self._preempt]

    def in_hardirq(self) -> bool:
        """Whether the CPU that runs serves a hard interrupt."""
        return self.preempt_count() & state.HARDIRQ_MASK != 0

    def irqs_off(self) -> bool:
        """Whether the running context has interrupts off."""
        return self.memory[self._context.base + self.ctx() * self._context.stride + self._irqs_off] != 0

    def describe(self, ctx: int) -> str:
        """A context's name."""
        task = ctx - 2 * self.nr_cpus
        if task < 0:
            return f"hard interrupt on CPU {ctx // 2}"
        return self.image.tasks[task].comm if task < len(self.image.tasks) else f"task {task + 1}"

    def online(self, cpu: int) -> bool:
        """Whether a CPU is online."""
        return self.image.word("cpu_hw", cpu, "online") != 0

    def offset(self, struct: str, path: str) -> int:
        """The offset of a dotted path in a structure."""
        return readout.offset(self.image, struct, path)

    def address(self, struct: str, index: int, path: str) -> int:
        """The address of a dotted path in a table's row."""
        return readout.address(self.image, struct, index, path)

    def has(self, function: str) -> bool:
        """Whether this kernel has that function."""
        return function in self.image.linked.kernel

    def violation(
        self,
        invariant: str,
        what: str,
        *,
        cpu: int | None = None,
        time_ns: int | None = None,
        known: str = "",
    ) -> None:
        """Report that an invariant does not hold here and now."""
        at = self.now() if time_ns is None else time_ns
        self.report.add(Violation(invariant, at, self.cpu() if cpu is None else cpu, what, known))

    def around(self, name: str, before: Before | None = None, after: After | None = None) -> None:
        """Call ``before(arguments)`` and ``after(arguments, result)`` around a function, if this kernel has it."""
        kernel = self.image.linked.kernel
        inner = kernel.get(name)
        if inner is None:
            return

        def observed(*args: Any) -> Any:
            if before is not None:
                before(args)
            result = inner(*args)
            if after is not None:
                after(args, result)
            return result

        observed.__name__ = name
        observed.__doc__ = inner.__doc__
        kernel[name] = observed
        number = self.image.linked.function_ids.get(name)
        if number is not None:
            self.image.linked.functions[number] = observed

    def inside(self, name: str, key: Callable[[tuple[Any, ...]], int] = lambda args: 0) -> Inside:
        """Follow who is inside a function; ``key(arguments)`` says what for."""
        out = Inside()

        def enter(args: tuple[Any, ...]) -> None:
            out.entries.append((self.ctx(), self.cpu(), key(args)))

        def leave(args: tuple[Any, ...], result: Any) -> None:
            ctx = self.ctx()
            for i in range(len(out.entries) - 1, -1, -1):
                if out.entries[i][0] == ctx:
                    del out.entries[i]
                    return

        self.around(name, enter, leave)
        return out

    def on_event(self, name: str, observer: EventObserver) -> None:
        """Call ``observer(a, b, c)`` at every such event."""
        self.events.setdefault(name, []).append(observer)

    def on_store(
        self, struct: str, field: str, addresses: Iterable[int], observer: Callable[[int], None]
    ) -> None:
        """Call ``observer(address)`` right after every store to one of these words, each a ``struct.field``."""
        for address in addresses:
            self.words[address] = observer
        if (struct, field) not in self._watched_fields:
            self._watched_fields.add((struct, field))
            self._watch_field(self.image.linked.structs[struct], field)

    def _watch_field(self, cls: Any, field: str) -> None:
        plain = cls.__dict__[field]
        offset, words = cls._off[field], self.words

        def store(ref: Any, value: Any) -> None:
            plain.fset(ref, value)
            observer = words.get(ref._a + offset)
            if observer is not None:
                observer(ref._a + offset)

        setattr(cls, field, property(plain.fget, store))

    def _watch_places(self) -> None:
        """The stores that intrinsics make: ``cmpxchg(p.f, …)`` reaches them as object and field."""
        kernel, words = self.image.linked.kernel, self.words

        def watched(inner: Callable[..., Any], first: int) -> Callable[..., Any]:
            def intrinsic(*args: Any) -> Any:
                result = inner(*args)
                p, f = args[first], args[first + 1]
                address = p._a + (f if isinstance(f, int) else p._off[f])
                observer = words.get(address)
                if observer is not None:
                    observer(address)
                return result

            return intrinsic

        loads = ("READ_ONCE", "data_race", "smp_load_acquire", "atomic_read", "test_bit")
        for names, first in ((PLACE_INTRINSICS, 0), (PLACE_SECOND, 1)):
            for name in names:
                if name in kernel and name not in loads:
                    kernel[name] = watched(kernel[name], first)
