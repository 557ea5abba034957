# SPDX-License-Identifier: GPL-2.0-or-later
"""What a record of a task's functions must look like, whatever the state: each returns once, within what called it.

A tracepoint is never missed. A kprobe is, and its function's return with it, if it is hit while another kprobe's handler runs
on the CPU: then an interrupt has come into that handler, and every kprobe of the interrupt, and of the softirqs at its exit, is
missed. So a function of which there is one end and not the other, a poll whose tracepoint is not there, a softirq whose
net_rx_action() ran elsewhere is no gap of the record and no behaviour of a kernel. What was open at the trace's beginning may end
in it.

Source: kernel/kprobes.c, kprobe_ftrace_handler() and aggr_pre_handler(); a function's entry and return are two probes of one
address (6.1, 6.12, 6.18).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from softnet.lab.tracing.probes import NET_RX_SOFTIRQ
from softnet.lab.tracing.records import CSD_FUNCTIONS, HARDIRQ, SOFTIRQ, TASK, LabRecord, LabTrace
from softnet.lab.validate.knowledge import LIVES, Task, cards_of, task_of
from softnet.lab.validate.settings import ONLINE, settings_of
from softnet.lab.validate.tasks import Tasks
from softnet.lab.validate.verdict import rests
from softnet.release import nearest

# What may be open in a task, the outer with the higher number: each within the one above it, or alone.
_ENQUEUE, _POLL, _RUN, _SOFTIRQ = range(4)
_OPENS = {"softirq_entry": _SOFTIRQ, "net_rx_action_entry": _RUN, "process_backlog_entry": _POLL, "enqueue_to_backlog": _ENQUEUE}
_CLOSES = {"softirq_exit": _SOFTIRQ, "net_rx_action": _RUN, "process_backlog": _POLL, "enqueue_to_backlog_ret": _ENQUEUE}
_NAMES = ("enqueue_to_backlog()", "process_backlog()", "net_rx_action()", "NET_RX")
_KPROBES = frozenset((
    "skb_attempt_defer_free", "kick_defer_list_purge", "csd_queue_cpu", "queue_work_on", "net_rx_action_entry", "net_rx_action",
    "process_backlog_entry", "process_backlog", "enqueue_to_backlog", "enqueue_to_backlog_ret", *CSD_FUNCTIONS,
))  # fmt: skip
_START, _LONG = 50, 400
"""Records after which an IPI from before the trace has arrived: on a CPU that has done something since, and on any."""


@dataclass(slots=True)
class _Open:
    """A task: what is open, what may be open from before the trace, and what must come next."""

    levels: list[int] = field(default_factory=list)
    before: set[int] = field(default_factory=lambda: {_ENQUEUE, _POLL, _RUN, _SOFTIRQ})
    ran: bool = False
    """net_rx_action() has run in this softirq."""
    polled: bool = False
    """A poll of the backlog is over, and the tracepoint is to say so."""
    received: bool = False
    """netif_rx() is about to queue its packet."""
    raised: int = 0
    """Raises by what is open innermost."""
    last: str = ""
    decided: str = ""
    """The same, but for wakeups and switches, which a lock may bring in anywhere."""


class Grammar:
    """Place -> why no kernel can have written this record there, of one trace."""

    def __init__(
        self,
        records: Sequence[LabRecord],
        *,
        threads: Collection[int],
        by_tasks: bool,
        cards: Collection[int],
        hotplugs: bool,
        at_rest: bool,
        rt: bool,
        bh_locked: bool,
    ) -> None:
        self.records = records
        self.wrong: dict[int, str] = {}
        self._cards, self._at_rest, self._rt, self._bh_locked = cards, at_rest, rt, bh_locked
        # Of each CPU: in which contexts, over which tasks it has been seen.
        self._before: dict[int, set[tuple[int, int]]] = {}
        # A card's packets come to the backlog without netif_rx(), and whoever has one may raise NET_RX for it.
        self._loops_only = not cards and any(record.event == "netif_rx" for record in records)
        # dev_cpu_dead() schedules a dead CPU's cards on another.
        self._raises_tell = not (cards and hotplugs)
        self._polled_on: dict[int, set[int]] = {}
        for record in records:
            if record.event == "napi_poll" and record.a in cards:
                self._polled_on.setdefault(record.cpu, set()).add(record.a)
        # Raises since the CPU's last run that are a card's.
        self._of_cards: dict[int, int] = {}
        self._kicks = {record.event for record in records} & {"kick_defer_list_purge"}
        self._tells_polls = any(record.event == "napi_poll" for record in records)
        self._threads, self._by_tasks = threads, by_tasks
        self._lives: dict[int, str] = {}
        self._open: dict[Task, _Open] = {}
        self._of_cpu: dict[int, list[int]] = {}
        for at, record in enumerate(records):
            self._of_cpu.setdefault(record.cpu, []).append(at)
        self._last_exit = {record.cpu: at for at, record in enumerate(records) if record.event == "softirq_exit"}
        self._last_entry = {
            record.cpu: at
            for at, record in enumerate(records)
            if record.event == "softirq_entry" and at < self._last_exit.get(record.cpu, -1)
        }
        self._sent: dict[tuple[int, int], bool] = {}
        # A softirq at the exit of an interrupt that came into a kprobe's handler has run, and what it sent is not in the trace.
        self._blind = False
        for at, record in enumerate(records):
            reason = self._step(at, record)
            if reason:
                self.wrong.setdefault(at, reason)

    def _step(self, at: int, record: LabRecord) -> str:
        reason = self._calls(at, record)
        if record.event.startswith("softirq_") and record.a != NET_RX_SOFTIRQ:
            return reason
        task = self._task(record)
        if record.event == "sched_switch" and self._rt:
            # Between any two of a task's instructions another may take its CPU.
            return reason
        reason = reason or self._expected(task, record) or self._decides(task, record)
        reason = reason or self._frees(task, record)
        task.polled = task.received = False
        if record.event in _OPENS:
            reason = reason or self._opens(task, record, _OPENS[record.event])
        elif record.event in _CLOSES:
            reason = reason or self._closes(task, record, _CLOSES[record.event])
        elif record.event == "softirq_raise":
            reason = reason or self._raises(task, at, record)
        elif record.event == "netif_rx":
            task.received = True
        if record.event == "softirq_entry":
            self._of_cards[record.cpu] = 0
        task.last = record.event
        if not record.event.startswith("sched_"):
            task.decided = record.event
        return reason

    def _task(self, record: LabRecord) -> _Open:
        """The record's task; and whether something of it may have been open when the trace began, if this is its first.

        All that can be is with bottom halves off. No other task runs on the CPU meanwhile, nor a softirq but one that is open; on
        PREEMPT_RT other tasks do, but none of those serves a softirq, as long as local_bh_disable() takes a lock there.
        """
        key = cpu, context, pid = task_of(record)
        seen = self._before.setdefault(cpu, set())
        if key not in self._open:
            others = {(level, other) for level, other in seen if other != pid or level != HARDIRQ}
            if self._rt:
                others = {(level, other) for level, other in others if other != pid and level == SOFTIRQ and self._bh_locked}
            self._open[key] = _Open(before=set()) if others or self._at_rest else _Open()
        seen.add((context, pid))
        return self._open[key]

    def _decides(self, task: _Open, record: LabRecord) -> str:
        """A free kicks once, and a kick sends one IPI; the IPIs of RPS are sent by net_rx_action()."""
        event = record.event
        if event == "kick_defer_list_purge" and task.decided not in ("", "skb_attempt_defer_free"):
            return f"a kick on CPU {record.cpu} of no free"
        if event == "queue_work_on" and task.decided not in ("", "skb_attempt_defer_free"):
            return f"the work item of a kick on CPU {record.cpu} of no free"
        if event != "csd_queue_cpu":
            return ""
        if record.b == CSD_FUNCTIONS["trigger_rx_softirq"]:
            caller = "kick_defer_list_purge" if self._kicks else "skb_attempt_defer_free"
            return "" if task.decided in ("", caller) else f"the IPI of a kick on CPU {record.cpu}, where none is under way"
        runs = _RUN in task.levels or (not task.levels and _RUN in task.before)
        if record.context == SOFTIRQ and not runs:
            return f"an IPI of RPS from CPU {record.cpu}, which is not in net_rx_action()"
        return ""

    def _expected(self, task: _Open, record: LabRecord) -> str:
        """Whether the event is the one that a task's last one asks for."""
        event = record.event
        if task.polled and self._tells_polls and event != "napi_poll":
            return f"the tracepoint napi_poll does not follow the poll on CPU {record.cpu}"
        if event == "napi_poll" and record.a not in self._cards and not task.polled:
            # Where the softirq's own kprobes are missed, the poll's are, too.
            known = task.levels[-1:] in ([_RUN], [_POLL]) or (not task.levels and _RUN not in task.before)
            # A thread's never are: nothing runs within a handler but interrupts, and the softirqs at their exit.
            if known or (record.context == TASK and task.last):
                return f"the tracepoint napi_poll on CPU {record.cpu} follows no poll"
            task.before -= {_ENQUEUE, _POLL}
        # Where an interrupt, or a softirq other than NET_RX, came into a kprobe's handler, its kprobes are missed.
        tells = not record.context or _RUN in task.levels
        if task.received and event != "enqueue_to_backlog" and tells and self._loops_only:
            return f"netif_rx() on CPU {record.cpu} queues nothing"
        if event == "enqueue_to_backlog" and not task.received and self._loops_only and task.last:
            return f"a packet is queued on CPU {record.cpu} that netif_rx() did not get"
        return ""

    def _frees(self, task: _Open, record: LabRecord) -> str:
        """What net_rx_action() or a backlog's thread frees between polls, a flush frees: it has been deferred since it lived."""
        event, skb = record.event, record.a
        before = self._lives.get(skb, "")
        if event in LIVES:
            self._lives[skb] = event
        if event != "consume_skb" or before not in ("consume_skb", "kfree_skb") or not self._by_tasks:
            return ""
        flushes = task.levels[-1:] == [_RUN] and record.cpu not in self._polled_on
        thread = record.pid in self._threads and record.context == TASK and not task.levels and _POLL not in task.before
        if not (flushes or thread):
            return ""
        return f"a flush on CPU {record.cpu} frees skb {skb}, which was freed and has not been deferred since"

    def _opens(self, task: _Open, record: LabRecord, level: int) -> str:
        levels, cpu = task.levels, record.cpu
        inner = levels[-1] if levels else None
        reason = ""
        if inner is not None and inner <= level:
            reason = f"{_NAMES[level]} begins on CPU {cpu} within {_NAMES[inner]}"
            levels.clear()
        elif level == _RUN and (task.ran or (inner is None and _SOFTIRQ not in task.before)):
            reason = f"net_rx_action() begins on CPU {cpu} outside of its softirq"
        elif level == _POLL and record.context and inner != _RUN and (inner is not None or _RUN not in task.before):
            reason = f"the backlog of CPU {cpu} is polled outside of net_rx_action()"
        if not levels:
            task.before = {outer for outer in task.before if outer > level}
        levels.append(level)
        task.ran, task.raised = (task.ran or level == _RUN) and level != _SOFTIRQ, 0
        return reason

    def _closes(self, task: _Open, record: LabRecord, level: int) -> str:
        levels = task.levels
        task.polled = level == _POLL
        self._blind = self._blind or (level == _SOFTIRQ and levels == [_SOFTIRQ] and not task.ran)
        task.raised = 0
        if levels and levels[-1] == level:
            levels.pop()
            return ""
        if not levels and level in task.before:
            task.before = {outer for outer in task.before if outer > level}
            task.ran = level == _RUN
            return ""
        if level in levels:
            what = _NAMES[levels[-1]]
            del levels[levels.index(level) :]
            return f"{_NAMES[level]} ends on CPU {record.cpu} within {what}"
        return f"{_NAMES[level]} ends on CPU {record.cpu}, where it has not begun"

    # Who raises NET_RX, and whose interrupt it is.

    def _raises(self, task: _Open, at: int, record: LabRecord) -> str:
        """Whether something raised it: a packet that is queued, net_rx_action() for what is left, an IPI's function."""
        inner = task.levels[-1] if task.levels else None
        task.raised += 1
        own = inner == _ENQUEUE or (inner == _RUN and task.last != "net_rx_action_entry")
        # Of what was open when the trace began.
        own = own or (inner is None and bool(task.before) and at < _START)
        if (own and task.raised == 1) or task.last in CSD_FUNCTIONS or not self._raises_tell:
            return ""
        if at > self._last_exit.get(record.cpu, -1):
            # Who it was a later record would tell.
            return ""
        if record.cpu in self._polled_on:
            return self._of_a_card(at, record)
        if record.context == HARDIRQ and self._on_its_way(at, record.cpu) and self._into_handler(at, record):
            return ""
        # A timer's softirq that came into a kprobe's handler sends over loopback: its netif_rx() is told, its enqueue is missed.
        if record.context == SOFTIRQ and task.last == "netif_rx" and self._into_handler(at, record):
            return ""
        return f"NET_RX is raised on CPU {record.cpu} by nothing that is in the trace"

    def _on_its_way(self, at: int, cpu: int) -> bool:
        """Whether an IPI may be, whose function was missed: then it was sent, and nothing has shown since that it arrived."""
        return self._blind or any(
            self._sent.get((cpu, function), not self._at_rest and at < _LONG) for function in CSD_FUNCTIONS.values()
        )

    def _of_a_card(self, at: int, record: LabRecord) -> str:
        """A card that is scheduled raises once until it is polled, and so do not more of them than the CPU polls."""
        cpu = record.cpu
        self._of_cards[cpu] = self._of_cards.get(cpu, 0) + 1
        if self._of_cards[cpu] <= len(self._polled_on[cpu]) or at > self._last_entry.get(cpu, -1):
            return ""
        return f"NET_RX is raised on CPU {cpu} once more than the CPU has cards to poll"

    def _into_handler(self, at: int, record: LabRecord) -> bool:
        """Whether an interrupt may have come into a kprobe's handler: the record below it, before or after, is that kprobe's."""
        places = self._of_cpu[record.cpu]
        here = bisect_left(places, at)
        before, after = range(here - 1, -1, -1), range(here + 1, len(places))
        return any(self._is_kprobe(record, (places[n] for n in side)) for side in (before, after))

    def _is_kprobe(self, inner: LabRecord, places: Iterable[int]) -> bool:
        """Whether the first of the places that is below the interrupt, and is of the task that it came into, is a kprobe."""
        for place in places:
            record = self.records[place]
            if record.context < inner.context and record.pid == inner.pid:
                return record.event in _KPROBES
            if record.context == TASK:
                return False
        return False

    def _calls(self, at: int, record: LabRecord) -> str:
        """An IPI's function runs where an IPI was sent to."""
        if record.event == "csd_queue_cpu":
            self._sent[record.a, record.b] = True
        if record.event not in CSD_FUNCTIONS or (record.event == "trigger_rx_softirq" and not self._kicks_by_ipi()):
            return ""
        call = (record.cpu, CSD_FUNCTIONS[record.event])
        on_its_way = self._sent.get(call)
        self._sent[call] = False
        busy = self._of_cpu[record.cpu][0] < at
        if on_its_way is None and not self._at_rest:
            on_its_way = at < (_START if busy else _LONG)
        return "" if on_its_way or self._blind else f"{record.event}() runs on CPU {record.cpu}, to which no IPI is on its way"

    def _kicks_by_ipi(self) -> bool:
        return not any(record.event == "queue_work_on" for record in self.records)


def ungrammatical(trace: LabTrace) -> dict[int, str]:
    """Place -> why no kernel can have written the record there. Nothing where the ring buffers were full: records are missing."""
    if trace.header.get("lost"):
        return {}
    header, records = trace.header, trace.records
    tasks = {int(pid): name for pid, name in header.get("tasks", {}).items()}
    release = nearest(str(header.get("release", "")))
    gone = {cpu for setting in settings_of(records).values() if setting.name == ONLINE for cpu in setting.cpus}
    rt = "PREEMPT_RT" in str(header.get("kernel_version", "PREEMPT_RT"))
    pinned = {int(pid): cpu for pid, cpu in header.get("pinned", {}).items()}
    grammar = Grammar(
        records,
        threads=[pid for pid, name in tasks.items() if name.startswith("backlog_napi/")],
        by_tasks=not release.has("consume_defers"),
        cards=cards_of(records),
        hotplugs=bool(gone),
        at_rest=rests(header),
        rt=rt,
        bh_locked=not release.has("bh_unlocked", rt=True),
    )
    return Tasks(records, tasks=tasks, pinned=pinned, gone=gone, rt=rt).wrong | grammar.wrong
