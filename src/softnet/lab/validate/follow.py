# SPDX-License-Identifier: GPL-2.0-or-later
"""Follow a recorded trace with the model, keeping every state that still explains it.

A trace tells when a function was entered, not when, inside it, a list was changed; two CPUs' functions that
overlap may have acted in either order. So an entered function is *open* until its task's next event, and acts
somewhere in between; a flush of the defer list, which the compiler inlines, is open from where the kernel must do
it. At each event that shows something of the state, all orders of the open actions are tried, and the states in
which the event could not have happened are dropped. When none is left, the trace is no behaviour of the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from softnet.lab.records import CSD_FUNCTIONS, MARK, Record
from softnet.lab.validate.driver import Driver, Memory

Task = tuple[int, int, int]
"""CPU, context and pid: one thread of execution."""

STATES_MAX = 256
UNKNOWN = 0
"""The name of an skb that was on a list before the trace began."""
_MUST, _MAY = "must", "may"
# Events at which a task has left the function that it was in.
_ENTRIES = frozenset(
    (
        "skb_attempt_defer_free",
        "netif_rx",
        "enqueue_to_backlog",
        "net_rx_action_entry",
        "process_backlog_entry",
        MARK,
    )
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the kernel was seen to do within one skb_attempt_defer_free()."""

    kick: bool
    ipi: bool
    wake: bool
    work: bool


@dataclass(frozen=True, slots=True)
class Attempt:
    """An skb_attempt_defer_free() that was entered: the skb's number, its CPU, what the kernel did."""

    skb: int
    alloc_cpu: int
    seen: Seen


@dataclass(frozen=True, slots=True)
class State:
    """One explanation of the trace so far.

    ``attempts`` and ``retires`` are open; ``flushes`` says for a CPU whether a flush must or may still come;
    ``owed`` are skbs that a flush took and whose freeing has not been seen yet; ``names`` gives the model's
    numbers of skbs on lists their numbers in the trace.
    """

    memory: Memory = field(repr=False)
    attempts: dict[Task, Attempt] = field(default_factory=dict)
    retires: frozenset[int] = frozenset()
    flushes: dict[int, str] = field(default_factory=dict)
    owed: dict[int, tuple[int, ...]] = field(default_factory=dict)
    names: dict[int, int] = field(default_factory=dict)

    def held(self, driver: Driver, cpu: int) -> tuple[int, ...]:
        """The trace's numbers of the skbs on a CPU's list, the next to be freed first. The state must be loaded."""
        return tuple(self.names.get(number, UNKNOWN) for number in driver.state(cpu).held)


class Follower:
    """The states that explain a trace so far, and what was decided on the way."""

    def __init__(self, driver: Driver, records: Sequence[Record], *, kick_is_function: bool) -> None:
        self.driver = driver
        self.records = records
        self.kick_is_function = kick_is_function
        self.states = self._first_states()
        self.covered: dict[str, int] = {}
        self.refused: list[str] = []
        # CPUs whose backlog also takes packets: their SCHED is not followed.
        self.sched_unknown = {record.b for record in records if record.event == "enqueue_to_backlog"}
        self._seen_events: set[int] = set()

    def _first_states(self) -> list[State]:
        """The states in which the trace may begin: with the lists as the first attempts found them.

        Whose skbs they are is not known (their name is 0), nor whether their kick is still under way.
        """
        counts: dict[int, int] = {}
        flushed: set[int] = set()
        for record in self.records:
            if record.event in ("net_rx_action_entry", "process_backlog_entry"):
                flushed.add(record.cpu)
            if record.event == "skb_attempt_defer_free" and record.b not in counts and record.b != record.cpu:
                counts[record.b] = 0 if record.b in flushed else max(record.c, 0)
        states = [State(self.driver.save())]
        for cpu, count in sorted(counts.items()):
            states = [
                self._prefilled(state, cpu, count, under_way)
                for state in states
                for under_way in ((False, True) if count else (False,))
            ]
        return states

    def _prefilled(self, state: State, cpu: int, count: int, under_way: bool) -> State:
        self.driver.load(state.memory)
        numbers = self.driver.prefill(cpu, count, kick_under_way=under_way)
        return replace(
            state, memory=self.driver.save(), names={**state.names, **dict.fromkeys(numbers, UNKNOWN)}
        )

    def _refuse(self, reason: str) -> None:
        if reason not in self.refused:
            self.refused.append(reason)

    def _cover(self, branch: str) -> None:
        self.covered[branch] = self.covered.get(branch, 0) + 1

    # What the kernel did in an attempt, read from the events that follow it in its own task.

    def seen_in_attempt(self, at: int) -> Seen:
        """The decisions of the attempt at record ``at``."""
        me = self.records[at]
        task = (me.cpu, me.context, me.pid)
        kick = ipi = wake = work = False
        for index in range(at + 1, len(self.records)):
            record = self.records[index]
            if (record.cpu, record.context, record.pid) != task:
                continue
            if record.event in _ENTRIES:
                break
            if record.event == "kick_defer_list_purge":
                kick = True
            elif record.event == "csd_queue_cpu" and record.b == CSD_FUNCTIONS["trigger_rx_softirq"]:
                ipi = True
            elif record.event == "sched_waking" and record.text.startswith("backlog_napi/"):
                wake = True
            elif record.event == "queue_work_on":
                work = True
            else:
                continue
            self._seen_events.add(index)
        return Seen(kick, ipi, wake, work)

    def explained(self, at: int) -> bool:
        """Whether the event at ``at`` belongs to an attempt that was followed."""
        return at in self._seen_events

    # The open actions.

    def _act_attempt(self, state: State, task: Task) -> Iterator[State]:
        """The open attempt of ``task`` acts; nothing if the model decides otherwise than the kernel did."""
        attempt = state.attempts[task]
        driver, cpu = self.driver, task[0]
        number, decision = driver.attempt(cpu, attempt.alloc_cpu)
        reason = self._disagreement(attempt, decision.place, decision.kick, decision.by)
        if reason:
            before = replace(state)
            self._refuse(
                f"{reason} (CPU {attempt.alloc_cpu}'s list: {self._told_state(before, attempt.alloc_cpu)})"
            )
            return
        rest = {key: value for key, value in state.attempts.items() if key != task}
        names = {**state.names, number: attempt.skb} if decision.place == "list" else state.names
        yield replace(state, memory=driver.save(), attempts=rest, names=names)

    def _told_state(self, state: State, cpu: int) -> str:
        self.driver.load(state.memory)
        told = self.driver.state(cpu)
        sched = "" if not self.driver.threads else f", backlog SCHED {int(told.backlog_sched)}"
        return f"defer_count {told.defer_count}, defer_ipi_scheduled {told.defer_ipi_scheduled}{sched}"

    def _disagreement(self, attempt: Attempt, place: str, kick: str, by: str) -> str:
        """Why the model's decision is not the kernel's; "" if it is."""
        seen = attempt.seen
        kicked = seen.kick if self.kick_is_function else seen.ipi
        if seen.work:
            return "the kernel queued a work item, which no function of the model does"
        if kicked and not kick:
            return f"the kernel kicked; the model does not ({place})"
        if kick == "sent" and not kicked:
            return "the model kicks; the kernel did not"
        if kick == "coalesced" and self.kick_is_function and not kicked:
            return "the model comes to the kick and finds one under way; the kernel did not come to it"
        if seen.ipi != (kick == "sent" and by == "ipi") and attempt.alloc_cpu not in self._sched_doubt():
            return f"the kernel {'sent an' if seen.ipi else 'sent no'} IPI; the model: kick {kick or 'none'}, by {by or 'nothing'}"
        if seen.wake and kick != "sent" and attempt.alloc_cpu not in self._sched_doubt():
            return "the kernel woke the backlog thread; in the model its NAPI is scheduled already"
        return ""

    def _sched_doubt(self) -> set[int]:
        return self.sched_unknown if self.driver.threads else set()

    def _act_flush(self, state: State, cpu: int) -> State:
        """The CPU's list is flushed: its skbs are to be freed in the order in which the model frees them."""
        numbers = self.driver.flush(cpu)
        freed = tuple(state.names.get(number, UNKNOWN) for number in numbers)
        owed = {**state.owed, cpu: state.owed.get(cpu, ()) + freed}
        names = {number: name for number, name in state.names.items() if number not in numbers}
        flushes = {key: value for key, value in state.flushes.items() if key != cpu}
        return replace(state, memory=self.driver.save(), owed=owed, names=names, flushes=flushes)

    def _steps(self, state: State) -> Iterator[State]:
        """Every state that one open action leads to."""
        for task in state.attempts:
            self.driver.load(state.memory)
            yield from self._act_attempt(state, task)
        for cpu in sorted(state.retires):
            self.driver.load(state.memory)
            self.driver.retire(cpu)
            yield replace(state, memory=self.driver.save(), retires=state.retires - {cpu})
        for cpu in sorted(state.flushes):
            self.driver.load(state.memory)
            yield self._act_flush(state, cpu)

    def _key(self, state: State) -> tuple[object, ...]:
        self.driver.load(state.memory)
        cpus = range(self.driver.cpus)
        told = tuple(self.driver.state(cpu) for cpu in cpus)
        lists = tuple(state.held(self.driver, cpu) for cpu in cpus)
        shown = tuple((t.defer_count, t.defer_ipi_scheduled, t.backlog_sched) for t in told)
        open_now = (frozenset(state.attempts), state.retires, frozenset(state.flushes.items()))
        return shown, lists, open_now, frozenset((cpu, owed) for cpu, owed in state.owed.items() if owed)

    def reachable(self, states: Sequence[State]) -> list[State]:
        """``states`` and every state that their open actions lead to, each once."""
        found: dict[tuple[object, ...], State] = {}
        waiting = list(states)
        while waiting and len(found) < STATES_MAX:
            state = waiting.pop(0)
            key = self._key(state)
            if key not in found:
                found[key] = state
                waiting.extend(self._steps(state))
        return list(found.values())

    # The events.

    def closed(self, states: Sequence[State], task: Task) -> list[State]:
        """The states in which ``task`` has left the function that it was in."""
        if not any(task in state.attempts for state in states):
            return list(states)
        return [state for state in self.reachable(states) if task not in state.attempts]

    def attempt(self, at: int) -> list[State]:
        """An skb_attempt_defer_free() is entered: the count that the kernel read must be one of the model's."""
        record = self.records[at]
        task = (record.cpu, record.context, record.pid)
        seen = self.seen_in_attempt(at)
        states = self.closed(self.states, task)
        if record.b == record.cpu:
            self._cover("freed at once: allocated on this CPU")
            return states
        opened = Attempt(record.a, record.b, seen)
        out = []
        for state in self.reachable(states) if record.c >= 0 else states:
            if task in state.attempts:
                continue
            self.driver.load(state.memory)
            count = self.driver.state(record.b).defer_count
            if record.c >= 0 and count != record.c:
                self._refuse(
                    f"the kernel read defer_count {record.c} of CPU {record.b}; the model has {count}"
                )
                continue
            out.append(replace(state, attempts={**state.attempts, task: opened}))
        if out:
            self._cover_attempt(seen, record)
        return out

    def _cover_attempt(self, seen: Seen, record: Record) -> None:
        if seen.ipi:
            self._cover("deferred and kicked: IPI sent")
        elif seen.kick and seen.wake:
            self._cover("deferred and kicked: backlog thread woken")
        elif seen.kick:
            self._cover("deferred and kicked: one was under way, or the thread had not slept yet")
        else:
            self._cover("deferred, or freed at once at the limit; no kick")

    def trigger(self, at: int) -> list[State]:
        """trigger_rx_softirq() runs: an IPI for it must be in flight, and NET_RX is raised."""
        record = self.records[at]
        rest = (
            r
            for r in self.records[at + 1 :]
            if (r.cpu, r.context, r.pid) == (record.cpu, record.context, record.pid)
        )
        following = next(rest, None)
        raised = following is not None and following.event == "softirq_raise"
        out = []
        for state in self.reachable(self.states):
            self.driver.load(state.memory)
            model_raises = self.driver.trigger(record.cpu)
            if model_raises is None:
                self._refuse(
                    f"trigger_rx_softirq ran on CPU {record.cpu}; in the model no such call is in flight"
                )
            elif model_raises != raised:
                self._refuse(
                    f"NET_RX {'raised' if raised else 'not raised'} by the kernel; the model does the opposite"
                )
            else:
                out.append(replace(state, memory=self.driver.save()))
        if out:
            self._cover("trigger_rx_softirq: NET_RX raised")
        return out

    def flush_due(self, cpu: int, how: str) -> list[State]:
        """From here on the kernel must, or may, flush the CPU's list."""
        return [
            replace(
                state,
                flushes={**state.flushes, cpu: _MUST if _MUST in (how, state.flushes.get(cpu)) else how},
            )
            for state in self.states
        ]

    def flush_over(self, cpu: int) -> list[State]:
        """The kernel has left the code that flushes: a flush that had to come has come, and freed all that it took."""
        out = []
        for state in self.reachable(self.states):
            if state.flushes.get(cpu) == _MUST:
                self._refuse(f"the model must flush CPU {cpu}'s list here; the kernel went on without")
            elif state.owed.get(cpu):
                self._refuse(
                    f"CPU {cpu}'s flush took skbs {state.owed[cpu][:4]} that the kernel did not free"
                )
            else:
                flushes = {key: value for key, value in state.flushes.items() if key != cpu}
                out.append(replace(state, flushes=flushes))
        return out

    def consume(self, at: int) -> list[State] | None:
        """A consume_skb: the next skb that a flush owes; None if it is none of those that are deferred."""
        record = self.records[at]
        if not self._concerns_lists(record.a):
            return self._consume_unknown(record)
        out = []
        for state in self.reachable(self.states):
            owed = state.owed.get(record.cpu, ())
            if owed and owed[0] == record.a:
                out.append(replace(state, owed={**state.owed, record.cpu: owed[1:]}))
            else:
                self._refuse(
                    f"skb {record.a} was freed on CPU {record.cpu}; "
                    + (
                        f"the model's flush frees skb {owed[0]} next"
                        if owed
                        else "the model has flushed nothing there"
                    )
                )
        if out:
            self._cover("flushed and freed on the CPU that allocated it")
        return out

    def _consume_unknown(self, record: Record) -> list[State] | None:
        """An skb that is on no list: one from before the trace, or none of those that are deferred."""
        out = []
        for state in self.reachable(self.states):
            owed = state.owed.get(record.cpu, ())
            if owed and owed[0] == UNKNOWN:
                out.append(replace(state, owed={**state.owed, record.cpu: owed[1:]}))
        if not out:
            return None
        return [*self.states, *out]

    def _concerns_lists(self, skb: int) -> bool:
        return any(
            skb in state.names.values()
            or any(skb in owed for owed in state.owed.values())
            or any(attempt.skb == skb for attempt in state.attempts.values())
            for state in self.states
        )

    def poll_begins(self, cpu: int) -> list[State]:
        """The backlog thread polls: in the model its NAPI must be scheduled."""
        out = []
        for state in self.reachable(self.states):
            self.driver.load(state.memory)
            if cpu not in self.sched_unknown and not self.driver.state(cpu).backlog_sched:
                self._refuse(f"backlog_napi/{cpu} polls; in the model nobody scheduled it")
                continue
            out.append(replace(state, retires=state.retires | {cpu}))
        if out:
            self._cover("backlog thread polls")
        return out

    def poll_ends(self, cpu: int, *, quota_hit: bool) -> list[State]:
        """The poll is over: SCHED was given back, unless the quota was reached."""
        if quota_hit:
            return [replace(state, retires=state.retires - {cpu}) for state in self.states]
        return [state for state in self.reachable(self.states) if cpu not in state.retires]

    def set_limit(self, value: int) -> list[State]:
        """skb_defer_max was written. What had been entered before has acted, or acts after: both are kept."""
        out = []
        for state in self.reachable(self.states):
            self.driver.load(state.memory)
            self.driver.set_skb_defer_max(value)
            out.append(replace(state, memory=self.driver.save()))
        self._cover("skb_defer_max changed")
        return out
