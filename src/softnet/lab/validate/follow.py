# SPDX-License-Identifier: GPL-2.0-or-later
"""The events of a recorded trace, each as what it asks of the states that explain the trace so far.

Every method returns the states after the event, none if no state allows it, or None for an event that is not
followed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from softnet.lab.records import Record
from softnet.lab.validate.backlog import Poll, Task, enqueue_seen, task_of
from softnet.lab.validate.explore import Explorer
from softnet.lab.validate.states import UNKNOWN, Attempt, Seen, State

_MUST = "must"


class Follower(Explorer):
    """Follows a trace event by event."""

    def closed(self, states: Sequence[State], task: Task) -> list[State]:
        """The states in which ``task`` has left the function that it was in."""
        if not any(task in state.attempts or task in state.enqueues for state in states):
            return list(states)
        reached = self.reachable(states)
        return self.earliest(
            [state for state in reached if task not in state.attempts and task not in state.enqueues]
        )

    def attempt(self, at: int) -> list[State]:
        """An skb_attempt_defer_free() is entered: the count that the kernel read must be one of the model's."""
        record = self.records[at]
        task = task_of(record)
        seen = self.seen_in_attempt(at)
        states = self.closed(self.states, task)
        if record.b == record.cpu:
            self._cover("freed at once: allocated on this CPU")
            return states
        # The count is read when the event is recorded or later, when the kernel tests it at the latest.
        opened = Attempt(record.a, record.b, record.c if record.c >= 0 else None, seen)
        out = [
            replace(state, attempts={**state.attempts, task: opened})
            for state in states
            if task not in state.attempts
        ]
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
        task, places = task_of(record), range(at + 1, len(self.records))
        following = next(
            (self.records[place] for place in places if task_of(self.records[place]) == task), None
        )
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
                out.append(state)
        return [
            replace(
                state,
                flushes={key: value for key, value in state.flushes.items() if key != cpu},
                owed={key: value for key, value in state.owed.items() if key != cpu},
            )
            for state in self.earliest(out)
        ]

    def consume(self, at: int) -> list[State] | None:
        """A consume_skb: the next skb that a flush owes; None if it is none of those that are deferred."""
        record = self.records[at]
        if not self._concerns_lists(record.a):
            return self._consume_unknown(record)
        out = []
        for state in self.reachable(self.states):
            owed = state.owed.get(record.cpu, ())
            if owed and owed[0] == record.a:
                out.append(state)
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
        return [
            replace(state, owed={**state.owed, record.cpu: state.owed[record.cpu][1:]})
            for state in self.earliest(out)
        ]

    def _consume_unknown(self, record: Record) -> list[State] | None:
        """An skb that is on no list: one that a flush took and whose name is not known, or none of those deferred.

        Which of the two makes no difference to anything that follows, so the first is taken where it is possible.
        """
        cpu = record.cpu
        if not any(state.owed.get(cpu, ())[:1] == (UNKNOWN,) for state in self.states):
            return None
        return [
            replace(state, owed={**state.owed, cpu: state.owed[cpu][1:]})
            if state.owed.get(cpu, ())[:1] == (UNKNOWN,)
            else state
            for state in self.states
        ]

    def _concerns_lists(self, skb: int) -> bool:
        return any(
            skb in state.names.values()
            or any(skb in owed for owed in state.owed.values())
            or any(attempt.skb == skb for attempt in state.attempts.values())
            for state in self.states
        )

    # The backlog.

    def knows(self, cpu: int) -> bool:
        """Whether the state of a CPU's backlog is known at this event."""
        return self.at >= self.known_from.get(cpu, 0)

    def enqueue(self, at: int) -> list[State] | None:
        """A packet for a CPU's backlog: the length that the kernel read must be one of the model's."""
        record = self.records[at]
        if not self.knows(record.b):
            return None
        task, opened = task_of(record), enqueue_seen(self.records, at)
        out = []
        for state in self.closed(self.states, task):
            if task not in state.enqueues and task not in state.attempts:
                out.append(replace(state, enqueues={**state.enqueues, task: opened}))
        if out:
            self._cover("packet dropped at the backlog" if opened.dropped else "packet queued on the backlog")
        return out

    def enqueue_returns(self, at: int) -> list[State] | None:
        """enqueue_to_backlog() has returned: it has acted."""
        task = task_of(self.records[at])
        if not any(
            task in state.enqueues or any(task == t for t, _ in state.leaving) for state in self.states
        ):
            return None
        out = [state for state in self.reachable(self.states) if task not in state.enqueues]
        # Whether another enqueue has read its length yet makes a difference: it could be the one from before this.
        groups: dict[object, list[State]] = {}
        for state in out:
            groups.setdefault(frozenset(state.enqueues.items()), []).append(state)
        out = [state for group in groups.values() for state in self.earliest(group)]
        return [
            replace(state, leaving=frozenset(entry for entry in state.leaving if entry[0] != task))
            for state in out
        ]

    def poll_begins(self, at: int) -> list[State] | None:
        """The backlog is polled: in the model it must be scheduled."""
        record = self.records[at]
        cpu = record.cpu
        if not self.knows(cpu):
            return None
        out = []
        for state in self.reachable(self.states):
            self.driver.load(state.memory)
            if not self.driver.state(cpu).backlog_sched:
                self._refuse(f"CPU {cpu}'s backlog is polled; in the model nobody scheduled it")
                continue
            out.append(state)
        if out:
            self._cover("backlog polled")
        return [self._poll_entered(state, cpu, record.a) for state in self.earliest(out)]

    def _poll_entered(self, state: State, cpu: int, quota: int) -> State:
        self.driver.load(state.memory)
        self.driver.poll_entered(cpu)
        return replace(state, memory=self.driver.save(), polls={**state.polls, cpu: Poll(0, quota, False)})

    def poll_ends(self, at: int) -> list[State] | None:
        """The poll is over: it has done what the kernel says, and at less than its quota has given SCHED back."""
        record = self.records[at]
        cpu = record.cpu
        if self.known_from.get(cpu, 0) == at + 1:
            return self._now_known(cpu)
        if not any(cpu in state.polls for state in self.states):
            return None
        out = []
        for state in self.reachable(self.states):
            poll = state.polls[cpu]
            if not poll.done or poll.work != record.a:
                self._refuse(
                    f"the kernel's poll of CPU {cpu} did {record.a} packets; the model's does {poll.work}"
                )
                continue
            out.append(replace(state, polls={key: value for key, value in state.polls.items() if key != cpu}))
        if out:
            self._cover(
                "backlog poll ended: quota reached" if record.a >= 64 else "backlog poll ended: queue empty"
            )
        return out

    def _now_known(self, cpu: int) -> list[State]:
        """The first moment at which the CPU's backlog is known: empty and not scheduled."""
        out = []
        for state in self.states:
            self.driver.load(state.memory)
            self.driver.forget_schedule(cpu)
            out.append(replace(state, memory=self.driver.save()))
        return out

    def set_limit(self, value: int) -> list[State]:
        """skb_defer_max was written. What had been entered before has acted, or acts after: both are kept."""
        out = []
        for state in self.reachable(self.states):
            self.driver.load(state.memory)
            self.driver.set_skb_defer_max(value)
            out.append(replace(state, memory=self.driver.save()))
        self._cover("skb_defer_max changed")
        return out
