# SPDX-License-Identifier: GPL-2.0-or-later
"""Hold a recorded trace against the model: accepted, or the first event that the model cannot explain.

One pass over a trace: what each event asks of the model, and what is said of the events that ask nothing.

Followed are the deferred frees: skb_attempt_defer_free() with the count that it read, its limit and its kick; the IPI,
the thread or the work item that the kick chose; trigger_rx_softirq() and the raise; where the list must be flushed;
which skbs are freed, in which order, on which CPU. The backlog: where get_rps_cpu() steers; every packet queued, with
the length that the kernel read, or dropped by the bound or the flow limit; the raise; who may poll; what a poll does.
The IPIs of RPS: from whom, to whom, in which order, and what they raise. net_rx_action(): its turns, its end, the
budget, the raise for what is left. What an interrupt's exit does with NET_RX. The settings that change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from softnet.files import readable
from softnet.lab.errors import LabError
from softnet.lab.tracing.probes import NET_RX_SOFTIRQ
from softnet.lab.tracing.records import CSD_FUNCTIONS, HARDIRQ, MARK, SOFTIRQ, LabRecord, LabTrace
from softnet.lab.validate.driver import Driver
from softnet.lab.validate.exits import Exits
from softnet.lab.validate.explore import STATES_MAX, STATES_PER_RECORD, STATES_TOTAL
from softnet.lab.validate.follow import Follower
from softnet.lab.validate.grammar import ungrammatical
from softnet.lab.validate.knowledge import Task, task_of
from softnet.lab.validate.settings import SYSCTLS
from softnet.lab.validate.states import State
from softnet.lab.validate.verdict import TraceVerdict, flow_limit_cpus, flow_limit_unknown, release_of, rests
from softnet.lang.python.stop import KernelStop
from softnet.scenario import RELEASES
from softnet.units import whole_number

_CONTEXT = {
    "netif_rx": "followed by its enqueue_to_backlog",
    "sched_switch": "says that ksoftirqd or a backlog thread sleeps",
    MARK: "what the experiment says of itself",
}
_WHY_NOT = {
    "consume_skb": "of an skb that was never deferred",
    "kfree_skb": "what becomes of a packet above the backlog, or of one dropped there, is not softnet's",
    "sched_waking": "a wakeup that handed over a lock or a softirq of another kind: their state is not in the trace",
    "napi_poll": "of a poll before the CPU's state was known",
    "softirq_raise": "by code that is not followed, or before the CPU's state was known",
    "softirq_entry": "before NET_RX was first seen on the CPU",
    "softirq_exit": "before NET_RX was first seen on the CPU",
    "queue_work_on": "not of the deferred free",
    "csd_queue_cpu": "before the CPU's state was known",
}
_UNKNOWN = "before the CPU's state was known"
_BOUNDS_TOLD = 6
_KEEP_EVERY = 64
"""Records after which the states that no explanation needs any more are let go."""


@dataclass(slots=True)
class Raises:
    """A CPU's raises of NET_RX that no run of it has answered.

    handle_softirqs() clears the bits of all softirqs and lets interrupts in before it tells of the first one's entry. What
    raises NET_RX in that gap, or while a softirq before it runs, asks for one more run; the trace has no record of the clearing, so
    a second raise is given the benefit of the doubt.
    """

    before: bool = False
    """Raised where nothing had asked for the run yet."""
    inside: bool = False
    """Raised while NET_RX ran."""
    gap: int = 0
    """Raised between an answered clearing and the entry: at most once for each of the two clearings around it."""
    runs: bool = False

    def raised(self, context: int) -> None:
        if self.runs:
            self.inside = True
        elif context == SOFTIRQ or (context == HARDIRQ and self.before):
            self.gap = min(self.gap + 1, 2)
        else:
            self.before = True

    def entered(self) -> bool:
        """NET_RX runs: whether something asked for it."""
        self.runs = True
        if self.before:
            self.before = False
        elif self.inside:
            self.inside = False
        elif self.gap:
            self.gap -= 1
        else:
            return False
        return True

    def left(self) -> None:
        """NET_RX has run."""
        self.runs = False


class Checker:
    """Follows one trace."""

    def __init__(self, trace: LabTrace, driver: Driver) -> None:
        self.trace = trace
        self.driver = driver
        self.tasks = {int(pid): name for pid, name in trace.header.get("tasks", {}).items()}
        self.exits = Exits(driver, trace.records)
        self.follower = Follower(
            driver,
            trace.records,
            kick_is_function=trace.kick_is_function,
            idle_at_start=rests(trace.header),
            threads=[pid for pid, name in self.tasks.items() if name.startswith("backlog_napi/")],
            flow_limit_unknown=flow_limit_unknown(trace.header),
        )
        self.states_total = max(STATES_TOTAL, STATES_PER_RECORD * len(trace.records))
        self.wrong = ungrammatical(trace)
        self.steers = "lo_rps_cpus" in trace.header
        self.pending: dict[int, Raises] = {}
        # CPU -> what the last poll by its thread did, which the tracepoint napi_poll says again.
        self.polled: dict[int, int] = {}
        self.context: dict[str, int] = {}
        self.not_checked: dict[str, int] = {}
        self.checked = 0
        self.holes = 0
        self._handlers: dict[str, Callable[[int], list[State] | None]] = {
            "skb_attempt_defer_free": self.follower.attempt,
            "trigger_rx_softirq": self.follower.trigger,
            "consume_skb": self.follower.consume,
            "net_rx_action_entry": self._run_begins,
            "net_rx_action": self._run_ends,
            "napi_poll": self._napi_poll,
            "enqueue_to_backlog": self._enqueue,
            "enqueue_to_backlog_ret": self.follower.enqueue_returns,
            "process_backlog_entry": self._poll_begins,
            "process_backlog": self._poll_ends,
            "rps_trigger_softirq": self.follower.rps_ipi,
            "csd_queue_cpu": self._called,
            "softirq_raise": self._raised,
            "softirq_entry": self._softirq,
            "softirq_exit": self._softirq,
            "sched_waking": self._woken,
            MARK: self._mark,
        }

    def _thread(self, record: LabRecord) -> bool:
        return self.driver.threads and self.tasks.get(record.pid, "").startswith("backlog_napi/")

    def event(self, at: int) -> list[State] | None:
        """The states after the event; None if it is not one that is followed."""
        if at in self.wrong:
            self.follower.refused.append(self.wrong[at])
            return []
        handler = self._handlers.get(self.trace.records[at].event)
        return handler(at) if handler is not None else self._decision(at)

    def _run_begins(self, at: int) -> list[State] | None:
        cpu, follower = self.trace.records[at].cpu, self.follower
        if follower.knows_softirq(cpu):
            return follower.run_begins(at)
        return follower.flush_due(cpu, "must")

    def _run_ends(self, at: int) -> list[State] | None:
        cpu, follower = self.trace.records[at].cpu, self.follower
        if any(cpu in state.runs for state in follower.states):
            return follower.run_ends(at)
        states = follower.flush_over(cpu)
        follower.states = states or follower.states
        if states and cpu in follower.knowledge.backlog_known.get(at, ()):
            follower.states = follower.now_known(cpu)
        if states and cpu in follower.knowledge.softirq_known.get(at, ()):
            follower.softirq_now_known(cpu)
        return follower.states if states else states

    def _napi_poll(self, at: int) -> list[State] | None:
        record, follower = self.trace.records[at], self.follower
        if self._thread(record):
            work = self.polled.pop(record.cpu, None)
            if work is not None and work != record.b:
                follower.refused.append(f"napi_poll says {record.b}; the model's poll did {work}")
                return []
            return follower.states if work is not None else None
        if any(record.cpu in state.runs for state in follower.states):
            return follower.polled(at)
        # Each turn of the loop flushes first; after the last poll there is a turn or there is none.
        follower.states = follower.flush_due(record.cpu, "may")
        return None

    def _enqueue(self, at: int) -> list[State] | None:
        if self.steers:
            reason = self.follower.steered(at)
            if reason:
                self.follower.refused.append(reason)
                return []
        return self.follower.enqueue(at)

    def _poll_begins(self, at: int) -> list[State] | None:
        """A poll by the thread comes after the flush of the poll before."""
        record, follower = self.trace.records[at], self.follower
        thread = self._thread(record)
        if thread:
            follower.states = follower.flush_over(record.cpu)
            if not follower.states:
                return []
        return follower.poll_begins(at, thread=thread)

    def _poll_ends(self, at: int) -> list[State] | None:
        """After a poll by the thread the list must be flushed; in net_rx_action() the next turn does it."""
        record, follower = self.trace.records[at], self.follower
        states = follower.poll_ends(at)
        if not self._thread(record) or states == []:
            return states
        follower.states = states if states is not None else follower.states
        if states is not None:
            self.polled[record.cpu] = record.a
        if states is None and record.cpu in follower.knowledge.backlog_known.get(at, ()):
            follower.states = follower.now_known(record.cpu)
        return follower.flush_due(record.cpu, "must")

    def _called(self, at: int) -> list[State] | None:
        if self.trace.records[at].b == CSD_FUNCTIONS["rps_trigger_softirq"]:
            return self.follower.rps_ipi_sent(at)
        return self._decision(at)

    def _raised(self, at: int) -> list[State] | None:
        record, follower = self.trace.records[at], self.follower
        if record.a != NET_RX_SOFTIRQ:
            return None
        self.pending.setdefault(record.cpu, Raises()).raised(record.context)
        reason = self.exits.disagreement(at) if record.context == HARDIRQ else ""
        if reason:
            follower.refused.append(reason)
            return []
        known = follower.knows_softirq(record.cpu) or record.context == HARDIRQ
        return follower.states if known else None

    def _softirq(self, at: int) -> list[State] | None:
        """NET_RX runs only where it was raised."""
        record, follower = self.trace.records[at], self.follower
        cpu = record.cpu
        if cpu not in self.pending:
            return None
        if record.event == "softirq_exit":
            self.pending[cpu].left()
            return follower.states
        if not self.pending[cpu].entered():
            follower.refused.append(f"NET_RX runs on CPU {cpu}; in the model its bit is not pending")
            return []
        return follower.states

    def _woken(self, at: int) -> list[State] | None:
        return self.follower.states if self.exits.explains(at) else self._decision(at)

    def _mark(self, at: int) -> list[State] | None:
        """What the experiment says of itself: the model cannot know it, and takes what it says of a setting."""
        if at in self.follower.settings:
            states = self.follower.written(at)
            if not states:
                return states
            self.follower.states = states
        return None

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

    def _settle(self, states: list[State]) -> None:
        """Keep the states; the branches that led to the first of them count."""
        follower = self.follower
        for branch in states[0].news:
            follower.branches[branch] = follower.branches.get(branch, 0) + 1
        follower.states = [state.told() for state in states]

    def run(self, kernel: str, model: str, reached: list[int] | None = None) -> TraceVerdict:
        """Follow the trace to its end or to the first event that is not explained; ``reached`` says at which it is."""
        follower = self.follower
        for at, record in enumerate(self.trace.records):
            if reached is not None:
                reached[:] = [at]
            follower.at = at
            follower.refused.clear()
            follower.writing(at)
            follower.trigger_over(at)
            if at in follower.knowledge.holes.cpus:
                follower.forget(follower.knowledge.holes.cpus[at])
                self.holes += 1
            before = follower.states
            states = self.event(at)
            if record.event == "csd_queue_cpu" and states != []:
                follower.states = states or follower.states
                follower.arrives_unseen(at)
                states = follower.states if states else states
            if states is None:
                table = self.context if record.event in _CONTEXT else self.not_checked
                table[record.event] = table.get(record.event, 0) + 1
                continue
            self.checked += 1
            if follower.tried > self.states_total:
                return self._given_up(at, before, kernel, model)
            if not states:
                return self._rejected(at, before, kernel, model)
            self._settle(states)
            if at % _KEEP_EVERY == 0:
                self.driver.forget_all_but([state.memory for state in follower.states])
        # What is still open at the end must be able to act as the kernel was seen to.
        follower.refused.clear()
        reached_states = follower.reachable(follower.states)
        ends = [s for s in reached_states if not s.attempts and not s.enqueues]
        if not ends:
            cut = self._cut_off()
            ends = [s for s in reached_states if s.attempts.keys() | s.enqueues.keys() <= cut]
        if not ends:
            return self._rejected(len(self.trace.records) - 1, follower.states, kernel, model)
        self._settle(ends[:1])
        return self._verdict(True, kernel, model)

    def _cut_off(self) -> set[Task]:
        """The tasks in whose function the trace may end: the entry is the last record of its CPU; what it did may be missing."""
        last = {record.cpu: record for record in self.trace.records}
        return {task_of(record) for record in last.values()}

    def _verdict(self, accepted: bool, kernel: str, model: str) -> TraceVerdict:
        covered = {**self.follower.covered}
        for name, count in self.exits.covered.items():
            covered[name] = covered.get(name, 0) + count
        return TraceVerdict(
            accepted,
            kernel,
            model,
            self.checked,
            len(self.trace.records),
            dict(sorted(covered.items())),
            dict(sorted(self.context.items())),
            dict(sorted(self.not_checked.items())),
            {event: self._why_not(event) for event in sorted(self.not_checked)},
            self.driver.branches.table(self.follower.branches),
            missed={"IPI arrivals": len(self.follower.knowledge.holes.unseen), "others": self.holes},
            squeezes=self.follower.squeezes,
            bounded=bool(self.follower.bounded),
            bounds=[f"line {at + 2}: more than {STATES_MAX} states" for at in self.follower.bounded[:_BOUNDS_TOLD]],
            states=self.follower.tried,
        )

    def _given_up(self, at: int, before: list[State], kernel: str, model: str) -> TraceVerdict:
        verdict = self._rejected(at, before, kernel, model)
        verdict.bounded = True
        tried, events = self.follower.tried, len(self.trace.records)
        verdict.reasons = [
            f"inconclusive: the bound of {self.states_total} states was met at event {at + 1} of {events}, with {tried} tried"
        ]
        verdict.bounds.append(f"line {at + 2}: more than {self.states_total} states in all")
        return verdict

    def _why_not(self, event: str) -> str:
        cards = self.follower.knowledge.card_cpus
        where = f", or of CPU {', '.join(map(str, sorted(cards)))}, where a card is polled" if cards else ""
        reason = _WHY_NOT.get(event, _UNKNOWN)
        return reason + where if _UNKNOWN in reason else reason

    def _rejected(self, at: int, before: list[State], kernel: str, model: str) -> TraceVerdict:
        record = self.trace.records[at]
        verdict = self._verdict(False, kernel, model)
        verdict.line = at + 2
        verdict.record = record.line()
        verdict.reasons = self.follower.refused[:6] or ["no order of the open functions explains it"]
        verdict.model_state = self._describe(before[0]) if before else []
        function = {
            "consume_skb": "skb_defer_free_flush",
            "enqueue_to_backlog_ret": "enqueue_to_backlog",
            "process_backlog_entry": "process_backlog",
            "net_rx_action_entry": "net_rx_action",
            "napi_poll": "net_rx_action",
            "csd_queue_cpu": "net_rps_send_ipi",
            "softirq_raise": "irq_exit_rcu",
            "softirq_entry": "handle_softirqs",
        }.get(record.event, record.event)
        if record.event == "enqueue_to_backlog" and any("steered" in reason for reason in verdict.reasons):
            function = "get_rps_cpu"
        known = function in self.driver.kernel
        verdict.source = self.driver.source(function if known else "skb_attempt_defer_free")
        return verdict

    def _describe(self, state: State) -> list[str]:
        self.driver.load(state.memory)
        lines = []
        for cpu in range(self.driver.cpus):
            told = self.driver.state(cpu)
            run = state.runs.get(cpu)
            where = f"net_rx_action: {run.where}" if run else f"flush {state.flushes.get(cpu, 'not due')}"
            waits = "" if told.softirq[2] < 0 else f", an IPI of RPS to send to CPU {told.softirq[2]}"
            lines.append(
                f"CPU {cpu}: defer_count {told.defer_count}, defer_ipi_scheduled {told.defer_ipi_scheduled}, "
                f"backlog {self.driver.backlog_len(cpu)}, SCHED {int(told.backlog_sched)}, {where}{waits}, "
                f"taken and not yet freed {len(state.owed.get(cpu, ()))}"
            )
        lines += [
            f"CPU {task[0]}: in skb_attempt_defer_free(), skb {attempt.skb} of CPU {attempt.alloc_cpu}"
            for task, attempt in state.attempts.items()
        ]
        return lines


def driver_of(trace: LabTrace, patches: Sequence[str] = ()) -> Driver:
    """The model of the trace's kernel, as it is where the trace begins."""
    return _driver(trace, patches)[0]


def _driver(trace: LabTrace, patches: Sequence[str]) -> tuple[Driver, str]:
    header = trace.header
    release = ".".join(map(str, release_of(header)))
    if release not in RELEASES:
        raise LabError(f"there is no model of Linux {release}", expected="one of " + ", ".join(RELEASES))
    flavour = "rt" if "-rt" in str(header["release"]) else "plain"
    threads = bool(header.get("threads_backlog"))
    given = {"netdev_max_backlog": header.get("netdev_max_backlog", 1000), **header.get("sysctl", {})}
    settings = {
        name: int(value)
        for name, value in given.items()
        if name in SYSCTLS | {"flow_limit_table_len"} and name != "skb_defer_max" and value is not None
    }
    driver = Driver(
        release,
        flavour,
        threads=threads,
        cpus=int(header["cpus"]),
        skb_defer_max=int(header.get("skb_defer_max", 64)),
        settings=settings,
        rps_cpus=header.get("lo_rps_cpus") or (),
        flow_limit_cpus=flow_limit_cpus(header) if rests(header) else (),
        patches=patches,
    )
    name = f"{release}{'-rt' if flavour == 'rt' else ''}{' with backlog threads' if threads else ''}"
    return driver, name


CPUS_MAX = 1024
DEFERRED_MAX = 100_000
"""Of a trace's machine, and of one of its defer lists: what the model is given."""


def _sound(header: dict[str, Any]) -> None:
    """Raises ``LabError`` for the first thing in a header that is not what the lab writes there."""
    cpus = header.get("cpus")
    many = cpus if type(cpus) is int and 0 < cpus <= CPUS_MAX else 0

    def number(value: Any) -> bool:
        return type(value) is int and 0 <= value < 1 << 31

    def of_cpus(value: Any) -> bool:
        return value is None or (isinstance(value, list) and all(type(cpu) is int and 0 <= cpu < many for cpu in value))

    def tasks(value: Any) -> bool:
        return isinstance(value, dict) and all(
            whole_number(pid) is not None and isinstance(comm, str) for pid, comm in value.items()
        )

    def sysctls(value: Any) -> bool:
        return isinstance(value, dict) and all(
            of_cpus(v) if name == "flow_limit_cpu_bitmap" else v is None or number(v) for name, v in value.items()
        )

    def homes(value: Any) -> bool:
        return isinstance(value, dict) and all(
            whole_number(pid) is not None and type(cpu) is int and 0 <= cpu < many for pid, cpu in value.items()
        )

    wanted: dict[str, tuple[bool, Callable[[Any], bool], str]] = {
        "clock": (True, lambda value: isinstance(value, str), "a text"),
        "release": (True, lambda value: isinstance(value, str), "a text"),
        "cpus": (True, lambda value: bool(many), f"1 to {CPUS_MAX}"),
        "tasks": (False, tasks, "names by the numbers of tasks"),
        "pinned": (False, homes, "CPUs by the numbers of tasks"),
        "sysctl": (False, sysctls, "numbers below 2**31; of flow_limit_cpu_bitmap a list of CPUs"),
        "skb_defer_max": (False, number, "a number below 2**31"),
        "netdev_max_backlog": (False, number, "a number below 2**31"),
        "lo_rps_cpus": (False, of_cpus, "a list of CPUs"),
    }
    for key, (needed, fits, expected) in wanted.items():
        if (key in header or needed) and not fits(header.get(key)):
            raise LabError(f"{key} is not what it should be", where="line 1 of the trace", found=str(header.get(key))[:80],
                           expected=expected)  # fmt: skip


def _sound_records(trace: LabTrace) -> None:
    cpus = trace.header["cpus"]
    for line, record in enumerate(trace.records, start=2):
        if not (0 <= record.cpu < cpus and 0 <= record.context <= 2):
            raise LabError("a record of no CPU or no context", where=f"line {line} of the trace", found=str(record.line())[:80],
                           expected=f"CPU 0 to {cpus - 1}, context 0 to 2")  # fmt: skip
        if record.event == "skb_attempt_defer_free" and not (0 <= record.b < cpus and record.c <= DEFERRED_MAX):
            raise LabError("a free for no CPU, or to a list that no kernel has", where=f"line {line} of the trace",
                           found=str(record.line())[:80],
                           expected=f"CPU 0 to {cpus - 1}, at most {DEFERRED_MAX:,} skbs")  # fmt: skip


def check(trace: LabTrace, *, patches: Sequence[str] = ()) -> TraceVerdict:
    """Follow ``trace`` with the model of its kernel, with the user's patch files on top.

    Raises ``LabError`` when there is no such model, no total order in the trace, or a record that no kernel could have made.
    """
    _sound(trace.header)
    _sound_records(trace)
    if trace.clock != "counter":
        raise LabError(
            "this trace has times and no total order",
            found=f"clock {trace.clock}",
            expected="clock counter",
            hint="record it with --clock counter",
        )
    if trace.header.get("pauses"):
        raise LabError(
            "this trace was recorded in pieces, and what happened in between is not in it",
            found=f"experiment {trace.header.get('experiment')}",
            expected="a trace without pauses: of softnet lab run, experiment or conform, or reproduce C1",
        )
    driver, model = _driver(trace, patches)
    kernel = f"{trace.header['release']}" + (" (backlog threads)" if trace.header.get("threads_backlog") else "")
    at: list[int] = []
    with readable(
        LabError,
        "a record that the model cannot be asked about",
        where=lambda: f"line {at[0] + 2 if at else 2} of the trace",
        expected="what a kernel's functions may do",
    ):
        checker = Checker(trace, driver)
        try:
            return checker.run(kernel, model, at)
        except KernelStop as stop:
            raise LabError(
                "the model's kernel stops while it follows the trace", where=f"line {at[0] + 2 if at else 2} of the trace",
                found=str(stop), hint="a kernel that was traced went on: the trace is damaged, or a patch breaks the model",
            ) from stop  # fmt: skip
