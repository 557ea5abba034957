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
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from softnet.lab.records import CSD_FUNCTIONS, MARK, Record
from softnet.lab.validate import softirq
from softnet.lab.validate.backlog import disagreement, poll_steps
from softnet.lab.validate.driver import Driver
from softnet.lab.validate.knowledge import Knowledge, Task, task_of
from softnet.lab.validate.settings import Setting, settings_of
from softnet.lab.validate.states import UNKNOWN, Attempt, Run, Seen, State

STATES_MAX = 1024
"""Bound of the states that are tried at one event; reaching it is said in the verdict."""
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


class Explorer:
    """States that explain a trace so far, and every order in which their open functions can act."""

    def __init__(
        self,
        driver: Driver,
        records: Sequence[Record],
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
        self.bounded = False
        self.squeezes = 0
        # Of the last reachable(): which states led to a state, and the key of each.
        self._before: dict[tuple[object, ...], set[tuple[object, ...]]] = {}
        self._keys: dict[int, tuple[object, ...]] = {}
        self.knowledge = Knowledge(records, driver.cpus, threads=threads, known_at_first=idle_at_start)
        self.settings: dict[int, Setting] = settings_of(records)
        self.at = 0
        self._seen_events: set[int] = set()

    def knows(self, cpu: int) -> bool:
        """Whether the state of a CPU's backlog is known at this event."""
        return self.knowledge.backlog(cpu, self.at)

    def knows_softirq(self, cpu: int) -> bool:
        """Whether it is known what the CPU's net_rx_action() has at hand."""
        return self.knowledge.softirq(cpu, self.at)

    def next_of(self, task: Task, at: int) -> Record | None:
        """The task's next record after ``at``, however much the other CPUs do before it."""
        places = self._places[task]
        index = bisect_right(places, at)
        return self.records[places[index]] if index < len(places) else None

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
        return replace(state, memory=self.driver.save(), news=news, **changes)

    def load(self, state: State) -> None:
        """Take the state up in the driver."""
        self.driver.load(state.memory)
        self.driver.branches.taken.clear()

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
        states = [State(self.driver.save())]
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
        if attempt.count is not None:
            count = driver.state(attempt.alloc_cpu).defer_count
            if count == attempt.count:
                yield replace(state, attempts={**state.attempts, task: replace(attempt, count=None)})
            else:
                self._refuse(
                    f"the kernel read defer_count {attempt.count} of CPU {attempt.alloc_cpu}; the model has {count}"
                )
            return
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
        yield self.moved(state, attempts=rest, names=names)

    def _told_state(self, state: State, cpu: int) -> str:
        self.driver.load(state.memory)
        told = self.driver.state(cpu)
        sched = "" if not self.driver.threads else f", backlog SCHED {int(told.backlog_sched)}"
        return f"defer_count {told.defer_count}, defer_ipi_scheduled {told.defer_ipi_scheduled}{sched}"

    def _disagreement(self, attempt: Attempt, place: str, kick: str, by: str) -> str:
        """Why the model's decision is not the kernel's; "" if it is."""
        seen = attempt.seen
        kicked = seen.kick if self.kick_is_function else seen.ipi or seen.work
        if seen.work and by != "work" and not kick:
            return "the kernel queued a work item; the model does not kick"
        if seen.work and by != "work":
            return (
                f"the kernel queued a work item; the model kicks by {'an IPI' if by == 'ipi' else 'a thread'}"
            )
        if kicked and not kick:
            return f"the kernel kicked; the model does not ({place})"
        if kick == "sent" and not kicked:
            return "the model kicks; the kernel did not"
        if kick == "coalesced" and self.kick_is_function and not kicked:
            return "the model comes to the kick and finds one under way; the kernel did not come to it"
        if seen.ipi != (kick == "sent" and by == "ipi") and attempt.alloc_cpu not in self._sched_doubt():
            return f"the kernel {'sent an' if seen.ipi else 'sent no'} IPI; the model: kick {kick or 'none'}, by {by or 'nothing'}"
        if (
            seen.wake
            and kick != "sent"
            and not self.driver.rt
            and attempt.alloc_cpu not in self._sched_doubt()
        ):
            return "the kernel woke the backlog thread; in the model its NAPI is scheduled already"
        return ""

    def _sched_doubt(self) -> set[int]:
        """CPUs whose SCHED bit a kick tests and nobody knows."""
        return (
            {cpu for cpu in range(self.driver.cpus) if not self.knows(cpu)} if self.driver.threads else set()
        )

    def _act_flush(self, state: State, cpu: int, **changes: Any) -> State:
        """The CPU's list is flushed: its skbs are to be freed in the order in which the model frees them."""
        numbers = self.driver.flush(cpu)
        freed = tuple(state.names.get(number, UNKNOWN) for number in numbers)
        owed = {**state.owed, cpu: state.owed.get(cpu, ()) + freed}
        names = {number: name for number, name in state.names.items() if number not in numbers}
        return self.moved(state, owed=owed, names=names, **changes)

    def _act_enqueue(self, state: State, task: Task) -> Iterator[State]:
        """The open enqueue of ``task`` acts; nothing if the model decides otherwise than the kernel did."""
        enqueue = state.enqueues[task]
        if enqueue.qlen is not None:
            qlen = self.driver.input_qlen(enqueue.cpu)
            # An enqueue schedules before it appends: who is still in it may not have appended yet.
            behind = sum(cpu == enqueue.cpu for _, cpu in state.leaving)
            if qlen - behind <= enqueue.qlen <= qlen:
                yield replace(state, enqueues={**state.enqueues, task: replace(enqueue, qlen=None)})
            else:
                self._refuse(
                    f"the kernel read length {enqueue.qlen} of CPU {enqueue.cpu}'s input queue; the model has {qlen}"
                )
            return
        done = self.driver.enqueue(task[0], enqueue.cpu, enqueue.flow)
        tells = self.knows_softirq(task[0])
        reason = disagreement(enqueue, done, wakes_tell=not self.driver.rt, raises_tell=tells)
        rest = {key: value for key, value in state.enqueues.items() if key != task}
        leaving = state.leaving | {(task, enqueue.cpu)}
        if reason and enqueue.dropped and self.flow_limit_unknown:
            yield replace(state, enqueues=rest, leaving=leaving)
        elif reason:
            self._refuse(reason)
        else:
            yield self.moved(state, enqueues=rest, leaving=leaving)

    def _act_run(self, state: State, cpu: int) -> Iterator[State]:
        """The net_rx_action() of a CPU goes on to its next place, if it is the model's to go on."""
        run = state.runs[cpu]
        if run.where == "head":
            yield self._act_flush(state, cpu, runs={**state.runs, cpu: replace(run, where="flushed")})
        elif run.where == "flushed":
            yield self._turned(state, cpu, run, softirq.net_rx_goes_on(self.driver, cpu))
        elif run.where == "polled":
            for late in (False, True):
                self.load(state)
                turn = softirq.net_rx_polled(
                    self.driver, cpu, spent=run.spent - run.work, work=run.work, quota=run.quota, late=late
                )
                yield self._turned(state, cpu, run, turn)
                if turn.squeezed:
                    break

    def _turned(self, state: State, cpu: int, run: Run, turn: softirq.Turn) -> State:
        after = replace(run, where=turn.where, raised=turn.raised, squeezed=turn.squeezed)
        sent = {**state.sent, cpu: state.sent.get(cpu, ()) + turn.sent} if turn.sent else state.sent
        return self.moved(state, runs={**state.runs, cpu: after}, sent=sent)

    def _steps(self, state: State) -> Iterator[State]:
        """Every state that one open action leads to."""
        for task in state.attempts:
            self.load(state)
            yield from self._act_attempt(state, task)
        for task in state.enqueues:
            self.load(state)
            yield from self._act_enqueue(state, task)
        for cpu in sorted(state.polls):
            self.load(state)
            for poll, to in poll_steps(self.driver, cpu, state.polls[cpu]):
                sent = {**state.sent, cpu: state.sent.get(cpu, ()) + to} if to else state.sent
                yield self.moved(state, polls={**state.polls, cpu: poll}, sent=sent)
        for cpu in sorted(state.runs):
            self.load(state)
            yield from self._act_run(state, cpu)
        for cpu in sorted(state.flushes):
            self.load(state)
            flushes = {key: value for key, value in state.flushes.items() if key != cpu}
            yield self._act_flush(state, cpu, flushes=flushes)
        for cpu, function in sorted(state.arriving):
            self.load(state)
            came: object = (
                softirq.rps_ipi(self.driver, cpu, in_interrupt=True)
                if function == CSD_FUNCTIONS["rps_trigger_softirq"]
                else self.driver.trigger(cpu)
            )
            if came is not None:
                yield self.moved(state, arriving=state.arriving - {(cpu, function)})
        for place in sorted(state.changes):
            self.load(state)
            self.settings[place].write(self.driver)
            yield self.moved(state, changes=state.changes - {place})

    def _key(self, state: State) -> tuple[object, ...]:
        self.driver.load(state.memory)
        cpus = range(self.driver.cpus)
        told = tuple(self.driver.state(cpu) for cpu in cpus)
        lists = tuple(state.held(self.driver, cpu) for cpu in cpus)
        shown = tuple((t.defer_count, t.defer_ipi_scheduled, t.backlog_sched, t.softirq) for t in told)
        waiting = tuple((self.driver.input_qlen(cpu), self.driver.backlog_len(cpu)) for cpu in cpus)
        tables = (state.attempts, state.enqueues, state.polls, state.runs, state.sent, state.flushes)
        tasks = tuple(frozenset((key, value) for key, value in d.items() if value != ()) for d in tables)
        open_now = (waiting, tasks, state.leaving, state.changes, state.arriving)
        return shown, lists, open_now, frozenset((cpu, owed) for cpu, owed in state.owed.items() if owed)

    def reachable(self, states: Sequence[State]) -> list[State]:
        """``states`` and every state that their open actions lead to, each once."""
        found: dict[tuple[object, ...], State] = {}
        self._before = {}
        self._keys = {}
        waiting: list[tuple[State, tuple[object, ...] | None]] = [(state, None) for state in states]
        while waiting:
            state, before = waiting.pop(0)
            key = self._key(state)
            self._before.setdefault(key, set())
            if before is not None:
                self._before[key].add(before)
            if key in found:
                continue
            if len(found) >= STATES_MAX:
                self.bounded = True
                break
            found[key] = state
            self._keys[id(state)] = key
            waiting.extend((after, key) for after in self._steps(state))
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

    def _follows(self, key: tuple[object, ...], keys: set[tuple[object, ...]]) -> bool:
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
