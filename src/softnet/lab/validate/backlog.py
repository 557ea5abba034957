# SPDX-License-Identifier: GPL-2.0-or-later
"""The backlog in a trace: packets queued with the length that the kernel read, drops, who schedules, what a poll does.

A poll moves packets from the input queue in batches, at moments that the trace does not show; each batch is an
open action of its own, done by the model's process_backlog() with as much quota as there are packets, and so is
the end, at which it finds the queue empty and gives SCHED back.

A CPU's backlog is followed from a moment at which its state is known: from the start if the trace opens with a
packet for an empty queue, else from the end of the first poll during which nothing was queued.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from softnet.lab.records import Record
from softnet.lab.validate.driver import Driver

Task = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Enqueue:
    """An enqueue_to_backlog() that was entered, for ``cpu``.

    ``qlen`` is the length that the kernel read, None once the model has had it too; ``dropped`` is None if the
    function's return was not seen.
    """

    cpu: int
    qlen: int | None
    dropped: bool | None
    woke: bool


@dataclass(frozen=True, slots=True)
class Poll:
    """A process_backlog() that was entered: the packets that it has done, its quota, whether it is at its end."""

    work: int
    quota: int
    done: bool


def task_of(record: Record) -> Task:
    """The thread of execution that a record belongs to."""
    return record.cpu, record.context, record.pid


def known_from(records: Sequence[Record]) -> dict[int, int]:
    """CPU -> index of the record from which its backlog is known; a CPU without backlog events is known from 0."""
    known: dict[int, int] = {}
    first: dict[int, Record] = {}
    quiet: dict[int, bool] = {}
    for at, record in enumerate(records):
        cpu = record.b if record.event == "enqueue_to_backlog" else record.cpu
        if record.event not in ("enqueue_to_backlog", "process_backlog_entry", "process_backlog"):
            if record.event == "kick_defer_list_purge":
                quiet[record.a] = False
            continue
        if cpu not in first:
            first[cpu] = record
            if record.event == "enqueue_to_backlog" and record.c == 0:
                known[cpu] = 0
        if cpu in known:
            continue
        if record.event == "process_backlog_entry":
            quiet[cpu] = not _enqueue_open(records, at, cpu)
        elif record.event == "enqueue_to_backlog":
            quiet[cpu] = False
        elif quiet.get(cpu) and record.a < 64:
            known[cpu] = at + 1
    never = len(records)
    return {cpu: known.get(cpu, never) for cpu in first}


def _enqueue_open(records: Sequence[Record], at: int, cpu: int) -> bool:
    """Whether some task was in an enqueue_to_backlog() for ``cpu`` when record ``at`` was made."""
    inside: dict[Task, int] = {}
    for record in records[max(0, at - 200) : at]:
        if record.event == "enqueue_to_backlog":
            inside[task_of(record)] = record.b
        elif record.event == "enqueue_to_backlog_ret":
            inside.pop(task_of(record), None)
    return cpu in inside.values()


def enqueue_seen(records: Sequence[Record], at: int) -> Enqueue:
    """What the kernel did in the enqueue_to_backlog() entered at ``at``."""
    me, woke = records[at], False
    qlen = me.c if me.c >= 0 else None
    task = task_of(me)
    for place in range(at + 1, len(records)):
        record = records[place]
        if task_of(record) != task:
            continue
        if record.event == "enqueue_to_backlog_ret":
            return Enqueue(me.b, qlen, record.a != 0, woke)
        if record.event == "enqueue_to_backlog":
            break
        if record.event == "sched_waking" and record.text == f"backlog_napi/{me.b}":
            woke = True
    return Enqueue(me.b, qlen, None, woke)


def disagreement(enqueue: Enqueue, *, dropped: bool, scheduled: bool, wakes_tell: bool) -> str:
    """Why the model's decision is not the kernel's; "" if it is.

    ``wakes_tell`` is false on PREEMPT_RT, where a task also wakes the thread by giving up a lock that it waits for.
    """
    if enqueue.dropped is not None and enqueue.dropped != dropped:
        done, other = ("dropped", "queues") if enqueue.dropped else ("queued", "drops")
        return f"the kernel {done} a packet for CPU {enqueue.cpu}; the model {other} it"
    if enqueue.woke and not scheduled and wakes_tell:
        return f"the kernel woke backlog_napi/{enqueue.cpu}; in the model its NAPI is scheduled already"
    return ""


def poll_steps(driver: Driver, cpu: int, poll: Poll) -> Iterator[Poll]:
    """What the poll may do next in the loaded state; the driver's state is changed by it."""
    if poll.done:
        return
    waiting = driver.backlog_len(cpu)
    left = poll.quota - poll.work
    worked = driver.poll(cpu, min(waiting, left) if waiting else left)
    yield Poll(poll.work + worked, poll.quota, not waiting or poll.work + worked >= poll.quota)
