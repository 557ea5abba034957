# SPDX-License-Identifier: GPL-2.0-or-later
"""Hold a recorded trace against the model: accepted, or the first event that the model cannot explain.

Followed are the deferred frees: skb_attempt_defer_free() with the count that it read, its limit and its kick; the
IPI or the thread that the kick chose; trigger_rx_softirq() and the raise; where the list must be flushed; which
skbs are freed, in which order, on which CPU. And the backlog: every packet queued, with the length that the kernel
read, or dropped; who may poll it; what each poll does. The IPIs of RPS and the softirq's own decisions are not
followed; their events are counted as not checked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from softnet.lab.errors import LabError
from softnet.lab.records import CSD_FUNCTIONS, MARK, Record, Trace
from softnet.lab.validate.driver import Driver
from softnet.lab.validate.follow import Follower
from softnet.lab.validate.states import State

_LIMIT = re.compile(r"skb_defer_max(?: =)? (\d+)$")
# The kick is a function of its own since v6.10; so are the backlog threads.
_SERIES = (6, 10)


@dataclass(slots=True)
class Verdict:
    """What came of following one trace.

    ``line`` is the line of the first event that the model cannot explain in the trace's file (2 is the first
    record), with ``reasons`` why no state of the model allows it; 0 and none for an accepted trace. ``bounded`` says
    that more orders of overlapping functions were possible than were tried: a refusal is no proof then.
    """

    accepted: bool
    kernel: str
    model: str
    events_checked: int
    events: int
    covered: dict[str, int]
    not_checked: dict[str, int]
    line: int = 0
    record: list[Any] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    model_state: list[str] = field(default_factory=list)
    source: str = ""
    bounded: bool = False

    def as_json(self) -> dict[str, Any]:
        """All of it as a dictionary."""
        return {name: getattr(self, name) for name in self.__slots__}


def _release(header: dict[str, Any]) -> tuple[int, int]:
    match = re.match(r"(\d+)\.(\d+)", str(header.get("release", "")))
    if match is None:
        raise LabError("the trace does not say which kernel it is of", found=str(header.get("release")))
    return int(match.group(1)), int(match.group(2))


def _driver(trace: Trace, patches: Sequence[str]) -> tuple[Driver, str]:
    from softnet.scenario import RELEASES

    header = trace.header
    release = ".".join(map(str, _release(header)))
    if release not in RELEASES:
        raise LabError(f"there is no model of Linux {release}", expected="one of " + ", ".join(RELEASES))
    flavour = "rt" if "-rt" in str(header["release"]) else "plain"
    threads = bool(header.get("threads_backlog"))
    limit = int(header.get("skb_defer_max", 64))
    cpus = int(header["cpus"])
    driver = Driver(
        release,
        flavour,
        threads=threads,
        cpus=cpus,
        skb_defer_max=limit,
        netdev_max_backlog=int(header.get("netdev_max_backlog", 1000)),
        patches=patches,
    )
    name = f"{release}{'-rt' if flavour == 'rt' else ''}{' with backlog threads' if threads else ''}"
    return driver, name


class _Checker:
    """One pass over a trace."""

    def __init__(self, trace: Trace, driver: Driver) -> None:
        self.trace = trace
        self.driver = driver
        kick_is_function = _release(trace.header) >= _SERIES
        # The experiments of our own let the machine come to rest before the trace begins.
        idle = "experiment" in trace.header and not trace.header.get("cut")
        self.follower = Follower(driver, trace.records, kick_is_function=kick_is_function, idle_at_start=idle)
        self.tasks = {int(pid): name for pid, name in trace.header.get("tasks", {}).items()}
        self.not_checked: dict[str, int] = {}
        self.checked = 0

    def _thread_poll(self, record: Record) -> bool:
        return self.driver.threads and self.tasks.get(record.pid, "").startswith("backlog_napi/")

    def event(self, at: int) -> list[State] | None:
        """The states after the event; None if it is not one that is followed."""
        record, follower = self.trace.records[at], self.follower
        event, cpu = record.event, record.cpu
        if event == "skb_attempt_defer_free":
            return follower.attempt(at)
        if event == "trigger_rx_softirq":
            return follower.trigger(at)
        if event == "consume_skb":
            return follower.consume(at)
        if event == "net_rx_action_entry":
            return follower.flush_due(cpu, "must")
        if event == "net_rx_action":
            return follower.flush_over(cpu)
        if event == "napi_poll" and not self._thread_poll(record):
            # Each turn of the loop flushes first; after the last poll there is a turn or there is none.
            return follower.flush_due(cpu, "may")
        if event == "enqueue_to_backlog":
            return follower.enqueue(at)
        if event == "enqueue_to_backlog_ret":
            return follower.enqueue_returns(at)
        if event == "process_backlog_entry":
            return self._poll_begins(at)
        if event == "process_backlog":
            return self._poll_ends(at)
        if event == MARK and _LIMIT.search(record.text):
            match = _LIMIT.search(record.text)
            assert match is not None
            return follower.set_limit(int(match.group(1)))
        return self._decision(at)

    def _poll_begins(self, at: int) -> list[State] | None:
        """A poll by the thread comes after the flush of the poll before."""
        record, follower = self.trace.records[at], self.follower
        if self._thread_poll(record):
            follower.states = follower.flush_over(record.cpu)
            if not follower.states:
                return []
        return follower.poll_begins(at)

    def _poll_ends(self, at: int) -> list[State] | None:
        """After a poll by the thread the list must be flushed; in net_rx_action() the next turn does it."""
        record, follower = self.trace.records[at], self.follower
        states = follower.poll_ends(at)
        if not self._thread_poll(record) or states == []:
            return states
        follower.states = states if states is not None else follower.states
        return follower.flush_due(record.cpu, "must")

    def _decision(self, at: int) -> list[State] | None:
        """An event that is a decision within an attempt: checked with it, and impossible without."""
        record, follower = self.trace.records[at], self.follower
        ours = record.event in ("kick_defer_list_purge", "queue_work_on") or (
            record.event == "csd_queue_cpu" and record.b == CSD_FUNCTIONS["trigger_rx_softirq"]
        )
        if follower.explained(at):
            return follower.states
        if not ours:
            return None
        follower.refused.append(f"{record.event} outside of any skb_attempt_defer_free()")
        return []

    def run(self, kernel: str, model: str) -> Verdict:
        """Follow the trace to its end or to the first event that is not explained."""
        follower = self.follower
        for at, record in enumerate(self.trace.records):
            before = follower.states
            follower.at = at
            follower.refused.clear()
            states = self.event(at)
            if states is None:
                self.not_checked[record.event] = self.not_checked.get(record.event, 0) + 1
                continue
            self.checked += 1
            if not states:
                return self._rejected(at, before, kernel, model)
            follower.states = states
        # What is still open at the end must be able to act as the kernel was seen to.
        follower.refused.clear()
        if not any(
            not state.attempts and not state.enqueues for state in follower.reachable(follower.states)
        ):
            return self._rejected(len(self.trace.records) - 1, follower.states, kernel, model)
        return self._verdict(True, kernel, model)

    def _verdict(self, accepted: bool, kernel: str, model: str) -> Verdict:
        return Verdict(
            accepted,
            kernel,
            model,
            self.checked,
            len(self.trace.records),
            dict(sorted(self.follower.covered.items())),
            dict(sorted(self.not_checked.items())),
        )

    def _rejected(self, at: int, before: list[State], kernel: str, model: str) -> Verdict:
        record = self.trace.records[at]
        verdict = self._verdict(False, kernel, model)
        verdict.line = at + 2
        verdict.bounded = self.follower.bounded
        verdict.record = record.line()
        verdict.reasons = self.follower.refused[:6] or ["no order of the open functions explains it"]
        verdict.model_state = self._describe(before[0]) if before else []
        function = {
            "consume_skb": "skb_defer_free_flush",
            "trigger_rx_softirq": "trigger_rx_softirq",
            "enqueue_to_backlog": "enqueue_to_backlog",
            "enqueue_to_backlog_ret": "enqueue_to_backlog",
            "process_backlog_entry": "process_backlog",
            "process_backlog": "process_backlog",
        }
        verdict.source = self.driver.source(function.get(record.event, "skb_attempt_defer_free"))
        return verdict

    def _describe(self, state: State) -> list[str]:
        self.driver.load(state.memory)
        lines = []
        for cpu in range(self.driver.cpus):
            told = self.driver.state(cpu)
            flush, owed = state.flushes.get(cpu, "not due"), len(state.owed.get(cpu, ()))
            lines.append(
                f"CPU {cpu}: defer_count {told.defer_count}, defer_ipi_scheduled {told.defer_ipi_scheduled}, "
                f"backlog {self.driver.backlog_len(cpu)}, SCHED {int(told.backlog_sched)}, flush {flush}, "
                f"taken and not yet freed {owed}"
            )
        lines += [
            f"CPU {task[0]}: in skb_attempt_defer_free(), skb {attempt.skb} of CPU {attempt.alloc_cpu}"
            for task, attempt in state.attempts.items()
        ]
        return lines


def check(trace: Trace, *, patches: Sequence[str] = ()) -> Verdict:
    """Follow ``trace`` with the model of its kernel, with the user's patch files on top.

    Raises ``LabError`` when there is no such model, or no total order in the trace.
    """
    if trace.clock != "counter":
        raise LabError(
            "this trace has times and no total order", found=f"clock {trace.clock}", expected="clock counter",
            hint="record it with --clock counter",
        )  # fmt: skip
    driver, model = _driver(trace, patches)
    kernel = f"{trace.header['release']}" + (
        " (backlog threads)" if trace.header.get("threads_backlog") else ""
    )
    return _Checker(trace, driver).run(kernel, model)
