# SPDX-License-Identifier: GPL-2.0-or-later
"""The events of a recorded trace, each as what it asks of the states that explain the trace so far.

Every method returns the states after the event, none if no state allows it, or None for an event that is not
followed here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from softnet.lab.tracing.records import HARDIRQ, SOFTIRQ, TASK, LabRecord
from softnet.lab.validate import softirq
from softnet.lab.validate.backlog import Poll, enqueue_seen, flow_of
from softnet.lab.validate.explore import TAKING, Explorer
from softnet.lab.validate.knowledge import Task, raised_at_end, task_of
from softnet.lab.validate.settings import ONLINE, RPS_CPUS
from softnet.lab.validate.states import UNKNOWN, Attempt, Run, Seen, State, without

_MUST = "must"


class Follower(Explorer):
    """Follows a trace event by event."""

    def closed(self, states: Sequence[State], task: Task) -> list[State]:
        """The states in which ``task`` has left the function that it was in."""
        if not any(task in state.attempts or task in state.enqueues for state in states):
            return list(states)
        reached = self.reachable(states)
        return self.earliest([state for state in reached if task not in state.attempts and task not in state.enqueues])

    def attempt(self, at: int) -> list[State]:
        """An skb_attempt_defer_free() is entered: the count that the kernel read must be one of the model's."""
        record = self.records[at]
        task = task_of(record)
        seen = self.seen_in_attempt(at)
        states = self.closed(self.states, task)
        if record.b == record.cpu:
            self._cover("freed at once: allocated on this CPU")
            return states
        lists = [state for state in states if not state.has(record.a)]
        if states and not lists:
            self._refuse(f"skb {record.a} is deferred, which is on a list of the model's already")
        states = lists
        # The count is read when the event is recorded or later, when the kernel tests it at the latest.
        opened = Attempt(record.a, record.b, record.c if record.c >= 0 else None, seen)
        out = [state.with_attempt(task, opened) for state in states if task not in state.attempts]
        if out:
            self._cover_attempt(seen, record)
        return out

    def _cover_attempt(self, seen: Seen, record: LabRecord) -> None:
        if seen.ipi:
            self._cover("deferred and kicked: IPI sent")
        elif seen.work:
            self._cover("deferred and kicked: work item queued")
        elif seen.kick and seen.wake:
            self._cover("deferred and kicked: backlog thread woken")
        elif seen.kick:
            self._cover("deferred and kicked: one was under way, or the thread had not slept yet")
        else:
            self._cover("deferred, or freed at once at the limit; no kick")

    def trigger(self, at: int) -> list[State]:
        """trigger_rx_softirq() runs: an IPI for it must be in flight, and NET_RX is raised."""
        if self.driver.kicks_by_work:
            return self._work_item(at)
        record = self.records[at]
        told, raised = self._raised_by(at)
        out = []
        for state in self.reachable(self.states):
            after, done = self.did(state, "trigger begins", self.driver.trigger_begins, record.cpu)
            if done is None:
                self._refuse(f"trigger_rx_softirq ran on CPU {record.cpu}; in the model no such call is in flight")
            elif told and done[0] != raised:
                self._refuse(f"NET_RX {'raised' if raised else 'not raised'} by the kernel; the model does the opposite")
            else:
                # It raises before it clears defer_ipi_scheduled: until it has returned another CPU may find that set.
                out.append(after._replace(clearing=state.clearing | {record.cpu}) if done[1] else after)
        if out:
            self._cover("trigger_rx_softirq: NET_RX raised")
        return out

    def _raised_by(self, at: int) -> tuple[bool, bool]:
        """Whether the trace tells if an IPI's function raised NET_RX, and if it did.

        Its interrupt is over where the CPU is next seen outside of it; where it is not, the trace may have ended before.
        """
        record = self.records[at]
        following = self.next_of(task_of(record), at)
        if following is not None:
            return True, following.event == "softirq_raise"
        return record.context == HARDIRQ and self.next_on(record.cpu, at) is not None, False

    def trigger_over(self, at: int) -> None:
        """The CPU's trigger_rx_softirq() has returned at its next event after the raise: its flag is cleared."""
        record = self.records[at]
        if record.event == "softirq_raise" or not any(record.cpu in s.clearing for s in self.states):
            return
        self.states = self.earliest([s for s in self.reachable(self.states) if record.cpu not in s.clearing])

    def _work_item(self, at: int) -> list[State]:
        """The same in a kworker: the item must be queued, and the list is flushed here."""
        cpu = self.records[at].cpu
        out = []
        for state in self.reachable(self.states):
            after, came = self.did(state, "work_item", self.driver.work_item, cpu)
            if came is None:
                self._refuse(f"trigger_rx_softirq ran on CPU {cpu}; in the model no such work is queued")
            else:
                out.append(after.with_flush(cpu, _MUST))
        if out:
            self._cover("trigger_rx_softirq: the work item flushes")
        return out

    # The IPIs of RPS.

    def rps_ipi_sent(self, at: int) -> list[State] | None:
        """smp_call_function_single_async() for rps_trigger_softirq(): the next that the model sends from here."""
        record = self.records[at]
        cpu, target = record.cpu, record.a
        if not self.knows(target):
            return None
        if not self.knows_softirq(cpu):
            for number, state in enumerate(self.states):
                self.load(state)
                self.driver.softirq_over(cpu)
                self.driver.ipi_sent(target)
                self.states[number] = self.moved(state)
            return None
        out = []
        for state in self.reachable(self.states):
            waiting = self._to_be_seen(state, cpu)
            if waiting[:1] == (target,):
                out.append(state)
            else:
                what = f"the next that the model sends goes to CPU {waiting[0]}" if waiting else "the model sends none"
                self._refuse(f"CPU {cpu} sent CPU {target} an IPI of RPS; {what}")
        if out:
            self._cover("RPS: IPI sent")
        return [state._replace(sent={**state.sent, cpu: self._to_be_seen(state, cpu)[1:]}) for state in self.earliest(out)]

    def _to_be_seen(self, state: State, cpu: int) -> tuple[int, ...]:
        """Whom the model has sent IPIs of RPS that the trace has not shown, but for CPUs of which nothing is known."""
        return tuple(target for target in state.sent.get(cpu, ()) if self.knows(target))

    def rps_ipi(self, at: int) -> list[State] | None:
        """rps_trigger_softirq() runs: an IPI must be in flight; whether NET_RX is raised, and ksoftirqd woken."""
        record = self.records[at]
        cpu = record.cpu
        if not self.knows_softirq(cpu):
            return None
        told, raised = self._raised_by(at)
        hard = record.context == HARDIRQ
        out = []
        for state in self.reachable(self.states):
            after, done = self.did(state, "rps_ipi", softirq.rps_ipi, self.driver, cpu, hard)
            if done is None:
                self._refuse(f"rps_trigger_softirq ran on CPU {cpu}; in the model no IPI is on its way there")
            elif told and done[0] != raised:
                did, other = ("raised", "does not") if raised else ("did not raise", "does")
                self._refuse(f"the kernel {did} NET_RX in rps_trigger_softirq on CPU {cpu}; the model {other}")
            else:
                out.append(after)
        if out:
            self._cover("RPS: IPI received, " + ("NET_RX raised" if raised else "net_rx_action was running"))
        return out

    def steered(self, at: int) -> str:
        """Why the model would not have steered this packet of lo to where the kernel did; "" if it would."""
        record = self.records[at]
        flow = flow_of(record)
        if flow is None:
            return ""
        target = -1
        # Where a CPU goes down, it has in some of the states and in others not yet.
        for number, state in enumerate(self.states):
            after, target = self.did(state, "steered_to", self.driver.steered_to, record.cpu, flow)
            self.states[number] = state._replace(news=after.news)
            if target == record.b:
                return ""
        for place, setting in self.settings.items():
            if setting.name in (RPS_CPUS, ONLINE) and setting.since <= at < place:
                self.load(self.states[0])
                setting.write(self.driver)
                if self.driver.steered_to(record.cpu, flow) == record.b:
                    return ""
        return f"the kernel steered a packet of hash {flow} to CPU {record.b}; the model's get_rps_cpu() says {target}"

    # net_rx_action().

    def run_begins(self, at: int) -> list[State]:
        """net_rx_action() is entered on a CPU whose softirq is known: the poll list is taken over."""
        cpu = self.records[at].cpu
        self.runners[cpu] = self.records[at].pid
        out = []
        for state in self.reachable(self.states):
            if cpu in state.runs:
                self._refuse(f"net_rx_action began on CPU {cpu}, where the model has not left it")
            else:
                out.append(state)
        begun = []
        for state in self.earliest(out):
            after, turn = self.did(state, "begins", softirq.net_rx_begins, self.driver, cpu)
            _, budget = self.did(after, "budget", softirq.budget_of, self.driver)
            begun.append(after.with_run(cpu, Run(turn.where, budget=budget)))
        return begun

    def run_ends(self, at: int) -> list[State]:
        """net_rx_action() has returned: so must the model's, having raised NET_RX again or not as the kernel did."""
        record = self.records[at]
        cpu = record.cpu
        raised = raised_at_end(self.records, at)
        out = []
        for state in self.reachable(self.states):
            run = state.runs.get(cpu)
            if run is None or run.where != "left":
                where = {"polls": "polls its backlog", "head": "flushes first"}.get(run.where if run else "", "goes on")
                self._refuse(f"net_rx_action returned on CPU {cpu}; the model {where}")
            elif state.owed.get(cpu):
                self._refuse(f"CPU {cpu}'s flush took skbs {state.owed[cpu][:4]} that the kernel did not free")
            elif self._to_be_seen(state, cpu):
                target = self._to_be_seen(state, cpu)[0]
                self._refuse(f"net_rx_action returned on CPU {cpu}; the model also sends CPU {target} an IPI of RPS")
            elif run.raised != raised:
                did, other = ("raised", "does not") if raised else ("did not raise", "does")
                self._refuse(f"net_rx_action on CPU {cpu} {did} NET_RX again at its end; the model {other}")
            else:
                out.append(state)
        # Where the time may have been up and nothing shows whether it was, it was not.
        out = sorted(self.earliest(out), key=lambda state: state.runs[cpu].squeezed)
        if out:
            run = out[0].runs[cpu]
            self.squeezes += run.squeezed
            end = "squeezed" if run.squeezed else "not squeezed"
            self._cover(f"net_rx_action ended: {end}" + (", NET_RX raised again" if run.raised else ""))
        over = [state.without_run(cpu)._replace(sent=without(state.sent, cpu)) for state in out]
        self.emptied.add(cpu)
        return list({self._key(state): state for state in reversed(over)}.values())[::-1]

    def softirq_now_known(self, cpu: int) -> None:
        """The CPU's net_rx_action() ended, for the first time in the trace."""
        for number, state in enumerate(self.states):
            self.load(state)
            self.driver.softirq_over(cpu)
            self.states[number] = self.moved(state, sent={**state.sent, cpu: ()})

    def polled(self, at: int) -> list[State] | None:
        """The tracepoint napi_poll, after the backlog's poll: the work and the budget that it says."""
        record = self.records[at]
        runs = [state.runs[record.cpu] for state in self.states if record.cpu in state.runs]
        if not runs:
            return None
        if any((run.work, run.quota) == (record.b, record.c) for run in runs):
            return self.states
        self._refuse(f"napi_poll says {record.b} of {record.c}; the model's poll did {runs[0].work} of {runs[0].quota}")
        return []

    def flush_due(self, cpu: int, how: str) -> list[State]:
        """From here on the kernel must, or may, flush the CPU's list."""
        states = [self._act_flush(s, cpu).without_flush(cpu) if s.flushes.get(cpu) == TAKING else s for s in self.states]
        return [state.with_flush(cpu, _MUST if _MUST in (how, state.flushes.get(cpu)) else how) for state in states]

    def flush_over(self, cpu: int) -> list[State]:
        """The kernel has left the code that flushes: a flush that had to come has come, and freed all that it took."""
        out = []
        for state in self.reachable(self.states):
            if state.flushes.get(cpu) in (_MUST, TAKING):
                self._refuse(f"the model must flush CPU {cpu}'s list here; the kernel went on without")
            elif state.owed.get(cpu):
                self._refuse(f"CPU {cpu}'s flush took skbs {state.owed[cpu][:4]} that the kernel did not free")
            else:
                out.append(state)
        if out and any(state.flushes.get(cpu) == _MUST for state in self.states):
            self.emptied.add(cpu)
        return [state.without_flush(cpu).without_owed(cpu) for state in self.earliest(out)]

    def consume(self, at: int) -> list[State] | None:
        """A consume_skb: the next skb that a flush owes; None if it is none of those that are deferred."""
        record = self.records[at]
        if not self._concerns_lists(record.a):
            return self._consume_unknown(at, record)
        out = []
        for state in self.reachable(self.states):
            owed = state.owed.get(record.cpu, ())
            if owed and owed[0] == record.a:
                out.append(state)
            else:
                self._refuse(
                    f"skb {record.a} was freed on CPU {record.cpu}; "
                    + (f"the model's flush frees skb {owed[0]} next" if owed else "the model has flushed nothing there")
                )
        if out:
            self._cover("flushed and freed on the CPU that allocated it")
            self.freeing[record.cpu] = task_of(record)
        return [state.freed(record.cpu) for state in self.earliest(out)]

    def _consume_unknown(self, at: int, record: LabRecord) -> list[State] | None:
        """An skb that is on no list: one that a flush took and whose name is not known, or none of those deferred.

        Which of the two makes no difference to anything that follows, so the first is taken where it is possible. One that the
        trace has shown before was on no list when it began.
        """
        cpu, seen = record.cpu, self.lives[record.a] < at
        owed = [state.owed.get(cpu, ()) for state in self.states]
        if not seen and any(skbs[:1] == (UNKNOWN,) for skbs in owed):
            self.freeing[cpu] = task_of(record)
            return [state.freed(cpu) if skbs[:1] == (UNKNOWN,) else state for state, skbs in zip(self.states, owed, strict=True)]
        if self.freeing.get(cpu) == task_of(record) and all(owed):
            following = f"skb {owed[0][0]}" if owed[0][0] != UNKNOWN else "one that was there when the trace began"
            self._refuse(f"CPU {cpu}'s flush freed skb {record.a}; next on the list that it took is {following}")
            return []
        unknown = not seen and any(s.owed.get(cpu, ())[:1] == (UNKNOWN,) for s in self.reachable(self.states))
        if unknown or not self._only_flushes(record):
            return None
        self._refuse(f"CPU {cpu}'s flush freed skb {record.a}, which is on no list of the model's")
        return []

    def _only_flushes(self, record: LabRecord) -> bool:
        """Whether all that can free an skb here is a flush, of a list that has been empty since the trace began."""
        cpu = record.cpu
        if cpu not in self.emptied or any(cpu in state.polls for state in self.states):
            return False
        if record.pid in self.threads:
            return record.context == TASK
        in_run = record.context == SOFTIRQ and all(cpu in state.runs for state in self.states)
        return in_run and self.runners.get(cpu) == record.pid

    def _concerns_lists(self, skb: int) -> bool:
        return any(state.has(skb) or any(attempt.skb == skb for attempt in state.attempts.values()) for state in self.states)

    # The backlog.

    def enqueue(self, at: int) -> list[State] | None:
        """A packet for a CPU's backlog: the length that the kernel read must be one of the model's."""
        record = self.records[at]
        if not self.knows(record.b):
            return None
        task = task_of(record)
        opened, places = enqueue_seen(self.records, at)
        self._seen_events.update(places)
        out = []
        for state in self.closed(self.states, task):
            if state.has(record.a):
                self._refuse(f"skb {record.a} is queued, which is on a list of the model's")
            elif task not in state.enqueues and task not in state.attempts:
                out.append(state.with_enqueue(task, opened))
        if out:
            self._cover("packet dropped at the backlog" if opened.dropped else "packet queued on the backlog")
        return out

    def enqueue_returns(self, at: int) -> list[State] | None:
        """enqueue_to_backlog() has returned: it has acted."""
        task = task_of(self.records[at])
        if not any(task in state.enqueues or any(task == t for t, _ in state.leaving) for state in self.states):
            return None
        out = [state for state in self.reachable(self.states) if task not in state.enqueues]
        # Whether another enqueue has read its length yet makes a difference: it could be the one from before this.
        groups: dict[object, list[State]] = {}
        for state in out:
            groups.setdefault(frozenset(state.enqueues.items()), []).append(state)
        out = [state for group in groups.values() for state in self.earliest(group)]
        return [state._replace(leaving=frozenset(entry for entry in state.leaving if entry[0] != task)) for state in out]

    def poll_begins(self, at: int, *, thread: bool) -> list[State] | None:
        """The backlog is polled, by the ``thread`` or the softirq: in the model it must be scheduled, and for whom."""
        record = self.records[at]
        cpu = record.cpu
        if not self.knows(cpu):
            return None
        out = []
        for state in self.reachable(self.states):
            if not self.driver.states(state.memory)[cpu].backlog_sched:
                self._refuse(f"CPU {cpu}'s backlog is polled; in the model nobody scheduled it")
            elif not thread and cpu in state.runs and state.runs[cpu].where != "polls":
                self._refuse(f"CPU {cpu}'s softirq polls the backlog; in the model it is not on its list")
            elif thread and not self._thread_scheduled(state, cpu):
                self._refuse(f"the thread polls CPU {cpu}'s backlog; in the model the softirq is to")
            else:
                out.append(state)
        if out:
            self._cover("backlog polled")
        return [self._poll_entered(state, cpu, record.a) for state in self.earliest(out)]

    def _thread_scheduled(self, state: State, cpu: int) -> bool:
        self.load(state)
        return self.driver.thread_scheduled(cpu)

    def _poll_entered(self, state: State, cpu: int, quota: int) -> State:
        state, _ = self.did(state, "poll_entered", self.driver.poll_entered, cpu)
        if cpu in state.runs:
            state = state.with_run(cpu, state.runs[cpu]._replace(where="polling", quota=quota))
        return state.with_poll(cpu, Poll(0, quota, False))

    def poll_ends(self, at: int) -> list[State] | None:
        """The poll is over: it has done what the kernel says, and at less than its quota has given SCHED back."""
        record = self.records[at]
        cpu, full = record.cpu, False
        if not any(cpu in state.polls for state in self.states):
            return None
        out = []
        for state in self.reachable(self.states):
            poll = state.polls[cpu]
            if not poll.done or poll.work != record.a:
                self._refuse(f"the kernel's poll of CPU {cpu} did {record.a} packets; the model's does {poll.work}")
            else:
                out.append(state)
                full = poll.work >= poll.quota
        if out:
            self._cover("backlog poll ended: quota reached" if full else "backlog poll ended: queue empty")
        return [self._poll_left(state, cpu, record.a) for state in self.earliest(out)]

    def _poll_left(self, state: State, cpu: int, work: int) -> State:
        if cpu in state.runs:
            run = state.runs[cpu]
            state = state.with_run(cpu, run._replace(where="polled", work=work, spent=run.spent + work))
        return state.without_poll(cpu)

    def now_known(self, cpu: int) -> list[State]:
        """The first moment at which the CPU's backlog is known: empty and not scheduled."""
        out = []
        for state in self.states:
            self.load(state)
            self.driver.forget_schedule(cpu)
            out.append(self.moved(state))
        return out

    def forget(self, cpus: Collection[int]) -> None:
        """Something of these CPUs' backlogs or softirqs is not in the trace: what was open there is given up."""
        for number, state in enumerate(self.states):
            self.load(state)
            for cpu in sorted(cpus):
                self.driver.softirq_over(cpu)
            rest = {
                name: {key: value for key, value in getattr(state, name).items() if key not in cpus}
                for name in ("polls", "runs", "sent", "owed", "flushes")
            }
            enqueues = {task: e for task, e in state.enqueues.items() if e.cpu not in cpus and task[0] not in cpus}
            leaving = frozenset(entry for entry in state.leaving if entry[1] not in cpus)
            arriving = frozenset(entry for entry in state.arriving if entry[0] not in cpus)
            self.states[number] = self.moved(state, enqueues=enqueues, leaving=leaving, arriving=arriving, **rest)

    def arrives_unseen(self, at: int) -> None:
        """The arrival of the IPI at ``at`` is not in the trace: it may come at any time from here on."""
        record = self.records[at]
        if at in self.knowledge.holes.unseen and self.knows(record.a):
            entry = (record.a, record.b)
            self.states = [state._replace(arriving=state.arriving | {entry}) for state in self.states]

    def writing(self, at: int) -> None:
        """A setting whose mark comes later may be written from here on."""
        due = [place for place, setting in self.settings.items() if setting.since == at and setting.name != RPS_CPUS]
        if due:
            self.states = [state._replace(changes=state.changes | set(due)) for state in self.states]

    def written(self, at: int) -> list[State]:
        """The mark of a setting: it has been written. What had been entered before may act after: both are kept."""
        if self.settings[at].name == RPS_CPUS:
            for number, state in enumerate(self.states):
                self.load(state)
                self.settings[at].write(self.driver)
                self.states[number] = self.moved(state)
            self._cover(f"{RPS_CPUS} changed")
            return self.states
        out = [state for state in self.reachable(self.states) if at not in state.changes]
        groups: dict[object, list[State]] = {}
        for state in out:
            groups.setdefault((frozenset(state.enqueues.items()), frozenset(state.attempts.items())), []).append(state)
        self._cover(f"{self.settings[at].name} changed")
        return [state for group in groups.values() for state in group]
