# SPDX-License-Identifier: GPL-2.0-or-later
"""What the exit of a hard interrupt does with the NET_RX that it raised: run it, wake ksoftirqd, or leave it.

The model's irq_exit_rcu() decides, from what the trace says of the moment: whether the interrupt came into a softirq
or a section with bottom halves off, and whether ksoftirqd was running. What the kernel did shows in the CPU's next
event outside of hard interrupts.
"""

from __future__ import annotations

from collections.abc import Sequence

from softnet.lab.tracing.records import HARDIRQ, SOFTIRQ, TASK, LabRecord
from softnet.lab.validate import softirq
from softnet.lab.validate.driver import Driver

_AHEAD = 400
"""Records to look ahead for a CPU's next one; beyond, nothing is concluded."""
_ENDS_SLEEP = 1
ASLEEP, AWAKE = "asleep", "awake"


class Exits:
    """The interrupt exits of one trace."""

    def __init__(self, driver: Driver, records: Sequence[LabRecord]) -> None:
        self.driver = driver
        self.records = records
        self.covered: dict[str, int] = {}
        self._explained: set[int] = set()
        self._pids: dict[int, int] = {}
        self._decided: dict[tuple[bool, bool], str] = {}
        self._sleep = self._ksoftirqd(records, self._pids)

    @staticmethod
    def _ksoftirqd(records: Sequence[LabRecord], pids: dict[int, int]) -> dict[int, list[tuple[int, str]]]:
        """CPU -> (place, what its ksoftirqd is from there on): asleep, awake, or not known (""). ``pids`` gets who they are."""
        told: dict[int, list[tuple[int, str]]] = {}
        for at, record in enumerate(records):
            if not record.text.startswith("ksoftirqd/"):
                if record.event == "softirq_exit" and pids.get(record.pid) == record.cpu:
                    # It may be about to sleep.
                    told.setdefault(record.cpu, []).append((at, ""))
                continue
            cpu = int(record.text.partition("/")[2])
            if record.event == "sched_waking":
                pids[record.a] = cpu
                told.setdefault(cpu, []).append((at + 1, AWAKE))
            elif record.event == "sched_switch":
                pids[record.a] = cpu
                told.setdefault(cpu, []).append((at, ASLEEP if record.c == _ENDS_SLEEP else ""))
        return told

    def ksoftirqd(self, cpu: int, at: int) -> str:
        """What the CPU's ksoftirqd is at ``at``: asleep, awake, or "" if the trace does not say."""
        now = ""
        for place, what in self._sleep.get(cpu, ()):
            if place > at:
                break
            now = what
        return now

    def _model(self, bh_off: bool, runs: bool) -> str:
        key = bh_off, runs
        if key not in self._decided:
            before = self.driver.save()
            self._decided[key] = softirq.irq_exit(self.driver, 0, bh_off=bh_off, ksoftirqd_runs=runs)
            self.driver.load(before)
            self.driver.branches.taken.clear()
        return self._decided[key]

    def _next(self, at: int) -> int | None:
        cpu = self.records[at].cpu
        for place in range(at + 1, min(len(self.records), at + _AHEAD)):
            record = self.records[place]
            if record.cpu == cpu and record.context != HARDIRQ and record.event != "sched_switch":
                return place
        return None

    def disagreement(self, at: int) -> str:
        """Why the model's exit of the interrupt that raised NET_RX at ``at`` is not the kernel's; "" if it is."""
        record, place = self.records[at], self._next(at)
        if place is None:
            return ""
        following = self.records[place]
        bh_off = bool(record.text)
        state = self.ksoftirqd(record.cpu, at)
        possible = {AWAKE: (True,), ASLEEP: (False,)}.get(state, (False, True))
        allowed = {self._model(bh_off, runs) for runs in possible}
        thread = f"ksoftirqd/{record.cpu}"
        woke = following.event == "sched_waking" and following.text == thread and following.context == TASK
        woke = woke and following.pid == record.pid
        if woke:
            self._explained.add(place)
            if "wakes" in allowed:
                return self._cover("interrupt exit: ksoftirqd woken")
            if self.driver.rt and bh_off:
                # The end of the section that was interrupted hands its lock over to a waiting ksoftirqd.
                return ""
            return f"the interrupt's exit woke {thread}; the model {self._words(allowed)}"
        ran = following.context == SOFTIRQ and following.pid == record.pid
        if ran and not bh_off and allowed == {""} and self._pids.get(record.pid) == record.cpu:
            # It came into ksoftirqd on its way to __do_softirq(): what ran next, ksoftirqd ran.
            return self._cover("interrupt exit: left to a running ksoftirqd")
        if ran and not bh_off and "runs" not in allowed and not self.driver.rt:
            return f"softirqs ran at the interrupt's exit on CPU {record.cpu}; the model {self._words(allowed)}"
        if allowed == {"runs"} and following.context == TASK and following.pid == record.pid:
            return f"CPU {record.cpu} went on with its task after the interrupt; the model {self._words(allowed)}"
        if bh_off:
            return self._cover("interrupt exit: inside a softirq or with bottom halves off")
        if ran:
            return self._cover("interrupt exit: softirqs run")
        if "" in allowed and not self.driver.rt:
            return self._cover("interrupt exit: left to a running ksoftirqd")
        return ""

    @staticmethod
    def _words(allowed: set[str]) -> str:
        words = {"runs": "runs softirqs there", "wakes": "wakes ksoftirqd", "": "leaves NET_RX pending"}
        return " or ".join(words[what] for what in sorted(allowed))

    def _cover(self, name: str) -> str:
        self.covered[name] = self.covered.get(name, 0) + 1
        return ""

    def explains(self, at: int) -> bool:
        """Whether the wakeup at ``at`` is one that an interrupt's exit was held to."""
        return at in self._explained
