# SPDX-License-Identifier: GPL-2.0-or-later
"""Follow a recorded trace with the model, keeping every state that still explains it.

A trace tells when a function was entered, not when, inside it, a list was changed; two CPUs' functions that
overlap may have acted in either order. So an entered function is *open* until its task's next event, and acts
somewhere in between; a flush of the defer list, which the compiler inlines, is open from where the kernel must do
it. At each event that shows something of the state, all orders of the open actions are tried, and the states in
which the event could not have happened are dropped. When none is left, the trace is no behaviour of the model.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

from softnet.lab.tracing.records import CSD_FUNCTIONS, MARK, LabRecord
from softnet.lab.validate import softirq
from softnet.lab.validate.backlog import disagreement, poll_step
from softnet.lab.validate.driver import Driver
from softnet.lab.validate.knowledge import LIVES, Knowledge, Task, task_of
from softnet.lab.validate.settings import Setting, hotplugs, settings_of
from softnet.lab.validate.states import UNKNOWN, Attempt, Run, Seen, State

STATES_MAX = 8192
"""Bound of the states that are tried at one event; reaching it is said in the verdict."""
STATES_TOTAL, STATES_PER_RECORD = 3_000_000, 40
"""Bound of the states that are tried for a trace: the larger of the first and so many for each of its records.

The most that any of a hundred traces of the suite took is 531,000, for 25,050 records, in half a minute.
"""
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


_NOTHING: frozenset[object] = frozenset()
TAKING = "taking"
"""Of a flush of a list without a lock: it is counted as empty, and is still to be taken off."""


class Explorer:
    """States that explain a trace so far, and every order in which their open functions can act."""

    def __init__(
        self,
        driver: Driver,
        records: Sequence[LabRecord],
        *,
        kick_is_function: bool,
        idle_at_start: bool,
        threads: Collection[int] = (),
        flow_limit_unknown: bool = False,
    ) -> None:
        self.driver = driver
        self.records = records
        self.kick_is_function = kick_is_function
        self.flow_limit_unknown = flow_limit_unknown
        self.states = self._first_states()
        self.covered: dict[str, int] = {}
        self.branches: dict[int, int] = {}
        self.refused: list[str] = []
        # The places at which STATES_MAX was met, and how many states have been tried so far.
        self.bounded: list[int] = []
        self.tried = 0
        self.squeezes = 0
        # Of the last reachable(): which states led to a state, and the key of each.
        self._before: dict[int, set[int]] = {}
        self._keys: dict[int, int] = {}
        self._numbers: dict[tuple[object, ...], int] = {}
        self.settings: dict[int, Setting] = settings_of(records)
        self.knowledge = Knowledge(
            records,
            driver.cpus,
            threads=threads,
            known_at_first=idle_at_start,
            hotplugs=hotplugs(self.settings),
        )
        # CPUs that have flushed their list in this trace, and which task is in the CPU's net_rx_action().
        self.threads = frozenset(threads)
        self.emptied: set[int] = set()
        # The task that a CPU's flush was last seen to free in, and where the trace first shows each skb.
        self.freeing: dict[int, Task] = {}
        self.lives: dict[int, int] = {}
        for at, record in enumerate(records):
            if record.event in LIVES:
                self.lives.setdefault(record.a, at)
        self.runners: dict[int, int] = {}
        self.at = 0
        self._seen_events: set[int] = set()

    def knows(self, cpu: int) -> bool:
        """Whether the state of a CPU's backlog is known at this event."""
        return self.knowledge.backlog(cpu, self.at)

    def knows_softirq(self, cpu: int) -> bool:
        """Whether it is known what the CPU's net_rx_action() has at hand."""
        return self.knowledge.softirq(cpu, self.at)

    def next_of(self, task: Task, at: int) -> LabRecord | None:
        """The task's next record after ``at``, however much the other CPUs do before it."""
        places = self._places[task]
        index = bisect_right(places, at)
        return self.records[places[index]] if index < len(places) else None

    def next_on(self, cpu: int, at: int) -> LabRecord | None:
        """The CPU's next record after ``at``, whatever it is of."""
        return next((record for record in islice(self.records, at + 1, None) if record.cpu == cpu), None)

    @cached_property
    def _places(self) -> dict[Task, list[int]]:
        """Where each task's records are."""
        places: dict[Task, list[int]] = {}
        for at, record in enumerate(self.records):
            places.setdefault(task_of(record), []).append(at)
        return places

    def moved(self, state: State, **changes: Any) -> State:
        """The state with the driver's memory, the branches that led to it and these changes."""
        news = state.news + self.driver.branches.take()
        return state._replace(memory=self.driver.save(), news=news, **changes)

    def load(self, state: State) -> None:
        """Take the state up in the driver."""
        self.driver.load(state.memory)
        self.driver.branches.taken.clear()

    def did(self, state: State, name: str, function: Callable[..., Any], *arguments: Any) -> tuple[State, Any]:
        """The state with the memory that ``function(*arguments)`` leaves, and what it returns; it runs once for a memory.

        What it does must follow from the memory and the arguments alone.
        """
        after = state.memory.after
        key = (name, *arguments)
        if key not in after:
            self.load(state)
            result = function(*arguments)
            saved = self.driver.save()
            # Now, while the driver stands there: later it would have to go back.
            self.driver.states(saved)
            after[key] = saved, result, self.driver.branches.take()
        memory, result, news = after[key]
        return state._replace(memory=memory, news=state.news + news if news else state.news), result

    def _first_states(self) -> list[State]:
        """The states in which the trace may begin: with the lists as the first attempts found them.

        Whose skbs they are is not known (their name is 0), nor whether their kick is still under way. Each task's first attempt
        counts: one that is recorded before the others may read its count after them, and after the flush.
        """
        counts: dict[int, list[int]] = {}
        flushed: set[int] = set()
        told: set[tuple[int, Task]] = set()
        for record in self.records:
            if record.event in ("net_rx_action_entry", "process_backlog_entry"):
                flushed.add(record.cpu)
            if record.event != "skb_attempt_defer_free" or record.b == record.cpu:
                continue
            found = counts.setdefault(record.b, [])
            if (record.b, task_of(record)) in told or (record.b in flushed and found):
                continue
            told.add((record.b, task_of(record)))
            count = 0 if record.b in flushed else max(record.c, 0)
            if count not in found:
                found.append(count)
        states = [State.first(self.driver.save())]
        for cpu, found in sorted(counts.items()):
            states = [
                self._prefilled(state, cpu, count, under_way)
                for state in states
                for count in found
                for under_way in ((False, True) if count else (False,))
            ]
        return states

    def _prefilled(self, state: State, cpu: int, count: int, under_way: bool) -> State:
        self.load(state)
        numbers = self.driver.prefill(cpu, count, kick_under_way=under_way)
        return state._replace(memory=self.driver.save(), names={**state.names, **dict.fromkeys(numbers, UNKNOWN)})

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
        if attempt.found is not None:
            count = driver.states(state.memory)[attempt.alloc_cpu].defer_count
            if count == attempt.found:
                yield state.with_attempt(task, attempt._replace(found=None))
            else:
                self._refuse(f"the kernel read defer_count {attempt.found} of CPU {attempt.alloc_cpu}; the model has {count}")
            return
        number, whole = 0, not (attempt.seen.kick and self.kick_is_function)
        if attempt.kicks:
            after, decision = self.did(state, "kick", driver.kick, attempt.alloc_cpu, cpu)
        elif driver.lock_free and attempt.counted is None:
            after, (counted, decision) = self.did(state, "count", driver.attempt_counts, cpu, attempt.alloc_cpu)
            if decision.kick == "due":
                yield after.with_attempt(task, attempt._replace(counted=counted))
                return
        else:
            if attempt.counted is not None:
                asked = cpu, attempt.alloc_cpu, attempt.counted, whole
                after, (number, decision) = self.did(state, "push", driver.attempt_pushes, *asked)
            else:
                after, (number, decision) = self.did(state, "attempt", driver.attempt, cpu, attempt.alloc_cpu, whole)
            if decision.kick == "due":
                over = after.with_attempt(task, attempt._replace(kicks=True, counted=None))
                yield over.with_name(number, attempt.skb)
                return
        reason = self._disagreement(attempt, decision.place, decision.kick, decision.by)
        if reason:
            self._refuse(f"{reason} (CPU {attempt.alloc_cpu}'s list: {self._told_state(state, attempt.alloc_cpu)})")
            return
        over = after.without_attempt(task)
        yield over.with_name(number, attempt.skb) if number and decision.place == "list" else over

    def _told_state(self, state: State, cpu: int) -> str:
        told = self.driver.states(state.memory)[cpu]
        sched = "" if not self.driver.threads else f", backlog SCHED {int(told.backlog_sched)}"
        return f"defer_count {told.defer_count}, defer_ipi_scheduled {told.defer_ipi_scheduled}{sched}"

    def _disagreement(self, attempt: Attempt, place: str, kick: str, by: str) -> str:
        """Why the model's decision is not the kernel's; "" if it is."""
        seen = attempt.seen
        kicked = seen.kick if self.kick_is_function else seen.ipi or seen.work
        if seen.work and by != "work" and not kick:
            return "the kernel queued a work item; the model does not kick"
        if seen.work and by != "work":
            return f"the kernel queued a work item; the model kicks by {'an IPI' if by == 'ipi' else 'a thread'}"
        if kicked and not kick:
            return f"the kernel kicked; the model does not ({place})"
        if kick == "sent" and not kicked:
            return "the model kicks; the kernel did not"
        if kick == "coalesced" and self.kick_is_function and not kicked:
            return "the model comes to the kick and finds one under way; the kernel did not come to it"
        if seen.ipi != (kick == "sent" and by == "ipi") and attempt.alloc_cpu not in self._sched_doubt():
            return f"the kernel {'sent an' if seen.ipi else 'sent no'} IPI; the model: kick {kick or 'none'}, by {by or 'nothing'}"
        if seen.wake and kick != "sent" and not self.driver.rt and attempt.alloc_cpu not in self._sched_doubt():
            return "the kernel woke the backlog thread; in the model its NAPI is scheduled already"
        return ""

    def _sched_doubt(self) -> set[int]:
        """CPUs whose SCHED bit a kick tests and nobody knows."""
        return {cpu for cpu in range(self.driver.cpus) if not self.knows(cpu)} if self.driver.threads else set()

    def _flush_begins(self, state: State, cpu: int) -> tuple[State, bool]:
        """A list without a lock is counted as empty before it is taken off; whether that is still to come."""
        after, takes = self.did(state, "flush begins", self.driver.flush_begins, cpu)
        return after, bool(takes)

    def _act_flush(self, state: State, cpu: int) -> State:
        """The CPU's list is flushed: its skbs are to be freed in the order in which the model frees them."""
        after, numbers = self.did(state, "flush", self.driver.flush, cpu, self.driver.lock_free)
        if not numbers:
            return after
        freed = tuple(state.names.get(number, UNKNOWN) for number in numbers)
        names = {number: name for number, name in state.names.items() if number not in numbers}
        return after.owes(cpu, freed)._replace(names=names)

    def _act_enqueue(self, state: State, task: Task) -> Iterator[State]:
        """The open enqueue of ``task`` acts; nothing if the model decides otherwise than the kernel did."""
        enqueue = state.enqueues[task]
        if enqueue.qlen is not None:
            qlen = self.driver.states(state.memory)[enqueue.cpu].input_qlen
            # An enqueue schedules before it appends: who is still in it may not have appended yet.
            behind = sum(cpu == enqueue.cpu for _, cpu in state.leaving)
            if qlen - behind <= enqueue.qlen <= qlen:
                yield state.with_enqueue(task, enqueue._replace(qlen=None))
            else:
                self._refuse(f"the kernel read length {enqueue.qlen} of CPU {enqueue.cpu}'s input queue; the model has {qlen}")
            return
        after, done = self.did(state, "enqueue", self.driver.enqueue, task[0], enqueue.cpu, enqueue.flow)
        tells = self.knows_softirq(task[0])
        reason = disagreement(enqueue, done, wakes_tell=not self.driver.rt, raises_tell=tells)
        if reason and enqueue.dropped and self.flow_limit_unknown:
            yield state.enqueue_acted(task)
        elif reason:
            self._refuse(reason)
        else:
            yield after.enqueue_acted(task)

    def _act_run(self, state: State, cpu: int) -> Iterator[State]:
        """The net_rx_action() of a CPU goes on to its next place, if it is the model's to go on."""
        run = state.runs[cpu]
        if run.where == "head" and self.driver.lock_free:
            after, takes = self._flush_begins(state, cpu)
            yield after.with_run(cpu, run._replace(where="flushing" if takes else "flushed"))
        elif run.where in ("head", "flushing"):
            yield self._act_flush(state, cpu).with_run(cpu, run._replace(where="flushed"))
        elif run.where == "flushed":
            yield self._turned(state, cpu, run, "goes on", softirq.net_rx_goes_on)[0]
        elif run.where == "polled":
            poll = run.spent - run.work, run.work, run.quota, run.budget
            for late in (False, True):
                after, turn = self._turned(state, cpu, run, "polled", softirq.net_rx_polled, *poll, late)
                yield after
                if turn.squeezed:
                    break

    def _turned(
        self, state: State, cpu: int, run: Run, name: str, piece: Callable[..., softirq.Turn], *arguments: int
    ) -> tuple[State, softirq.Turn]:
        done, turn = self.did(state, name, piece, self.driver, cpu, *arguments)
        after = run._replace(where=turn.where, raised=turn.raised, squeezed=turn.squeezed)
        return done.with_run(cpu, after).sends(cpu, turn.sent), turn

    def _steps(self, state: State) -> Iterator[State]:
        """Every state that one open action leads to."""
        for task in state.attempts:
            yield from self._act_attempt(state, task)
        for task in state.enqueues:
            yield from self._act_enqueue(state, task)
        for cpu in sorted(state.polls):
            if not state.polls[cpu].done:
                after, (poll, to) = self.did(state, "poll", poll_step, self.driver, cpu, state.polls[cpu])
                yield after.with_poll(cpu, poll).sends(cpu, to)
        for cpu in sorted(state.runs):
            yield from self._act_run(state, cpu)
        for cpu in sorted(state.flushes):
            if self.driver.lock_free and state.flushes[cpu] != TAKING:
                after, takes = self._flush_begins(state, cpu)
                yield after.with_flush(cpu, TAKING) if takes else after.without_flush(cpu)
            else:
                yield self._act_flush(state, cpu).without_flush(cpu)
        for cpu, function in sorted(state.arriving):
            if function == CSD_FUNCTIONS["rps_trigger_softirq"]:
                after, came = self.did(state, "rps_ipi", softirq.rps_ipi, self.driver, cpu, True)
            else:
                after, came = self.did(state, "trigger", self.driver.trigger, cpu)
            if came is not None:
                yield after._replace(arriving=state.arriving - {(cpu, function)})
        for cpu in sorted(state.clearing):
            after, _ = self.did(state, "clear", self.driver.trigger_clears, cpu)
            yield after._replace(clearing=state.clearing - {cpu})
        for place in sorted(state.changes):
            after, _ = self.did(state, f"write {place}", self.settings[place].write, self.driver)
            yield after._replace(changes=state.changes - {place})

    def _key(self, state: State) -> int:
        """A number of the state's own: another state has the same if nothing that follows can tell the two apart."""
        told = self.driver.states(state.memory)
        shown = tuple(
            [
                (t.defer_count, t.defer_ipi_scheduled, t.backlog_sched, t.softirq, state.held(t.held), t.input_qlen, t.backlog_len)
                for t in told
            ]
        )
        tables = (
            state.attempts,
            state.enqueues,
            state.polls,
            state.runs,
            state.sent,
            state.flushes,
            state.owed,
        )
        open_now = tuple(
            [frozenset([(key, value) for key, value in table.items() if value != ()]) if table else _NOTHING for table in tables]
        )
        key = (shown, open_now, state.leaving, state.changes, state.arriving, state.clearing)
        return self._numbers.setdefault(key, len(self._numbers))

    def reachable(self, states: Sequence[State]) -> list[State]:
        """``states`` and every state that their open actions lead to, each once."""
        found: dict[int, State] = {}
        self._before = {}
        self._keys = {}
        self._numbers = {}
        waiting: deque[tuple[State, int | None]] = deque((state, None) for state in states)
        while waiting:
            state, before = waiting.popleft()
            key = self._key(state)
            self._before.setdefault(key, set())
            if before is not None:
                self._before[key].add(before)
            if key in found:
                continue
            if len(found) >= STATES_MAX:
                self.bounded.append(self.at)
                break
            found[key] = state
            self._keys[id(state)] = key
            waiting.extend((after, key) for after in self._steps(state))
        self.tried += len(found)
        return list(found.values())

    def earliest(self, passing: list[State]) -> list[State]:
        """Of states from ``reachable``, those that no other of them leads to.

        What a later one explains, an earlier one explains as well: its open actions can still act. That does not hold
        for an arrival or a write, which mean something else before and after; so of those every order is kept.
        """
        groups: dict[object, list[State]] = {}
        for state in passing:
            groups.setdefault((state.arriving, state.changes), []).append(state)
        out = []
        for group in groups.values():
            keys = {self._keys[id(state)] for state in group}
            out += [state for state in group if not self._follows(self._keys[id(state)], keys)]
        return out

    def _follows(self, key: int, keys: set[int]) -> bool:
        seen = {key}
        waiting = [*self._before[key]]
        while waiting:
            before = waiting.pop()
            if before in seen:
                continue
            if before in keys:
                return True
            seen.add(before)
            waiting.extend(self._before[before])
        return False
