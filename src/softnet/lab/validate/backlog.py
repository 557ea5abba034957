# SPDX-License-Identifier: GPL-2.0-or-later
"""The backlog in a trace: packets queued with the length that the kernel read, drops, who schedules, what a poll does.

A poll moves packets from the input queue in batches, at moments that the trace does not show; each batch is an
open action of its own, done by the model's process_backlog() with as much quota as there are packets, and so is
the end, at which it finds the queue empty and gives SCHED back.

A CPU's backlog is followed while its state is known: ``softnet.lab.validate.knowledge``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from softnet.lab.tracing.probes import NET_RX_SOFTIRQ
from softnet.lab.tracing.records import LabRecord
from softnet.lab.validate.driver import Driver, Queued
from softnet.lab.validate.knowledge import task_of


class Enqueue(NamedTuple):
    """An enqueue_to_backlog() that was entered, for ``cpu``.

    ``qlen`` is the length that the kernel read, None once the model has had it too; ``dropped`` is None if the
    function's return was not seen. ``raised`` is whether NET_RX was raised within it, ``woke`` whether backlog_napi was
    woken, ``softirqd`` whether ksoftirqd was. ``flow`` is the packet's hash, None if the trace does not have it.
    """

    cpu: int
    qlen: int | None
    dropped: bool | None
    woke: bool
    raised: bool = False
    softirqd: bool = False
    flow: int | None = None


class Poll(NamedTuple):
    """A process_backlog() that was entered: the packets that it has done, its quota, whether it is at its end.

    ``started``: it has sent the IPIs of RPS that waited.
    """

    work: int
    quota: int
    done: bool
    started: bool = False


def flow_of(record: LabRecord) -> int | None:
    """The hash of the packet of an enqueue_to_backlog; None if it had none yet."""
    word, _, number = record.text.partition(" ")
    return int(number) if word == "hash" and number.isdecimal() and int(number) else None


def enqueue_seen(records: Sequence[LabRecord], at: int) -> tuple[Enqueue, list[int]]:
    """What the kernel did in the enqueue_to_backlog() entered at ``at``, and the places of the events that say so."""
    me, woke, raised, softirqd = records[at], False, False, False
    qlen, flow = (me.c if me.c >= 0 else None), flow_of(me)
    task = task_of(me)
    places: list[int] = []
    for place in range(at + 1, len(records)):
        record = records[place]
        if task_of(record) != task:
            continue
        if record.event == "enqueue_to_backlog_ret":
            return Enqueue(me.b, qlen, record.a != 0, woke, raised, softirqd, flow), places
        if record.event == "enqueue_to_backlog":
            break
        if record.event == "sched_waking" and record.text == f"backlog_napi/{me.b}":
            woke = True
        elif record.event == "sched_waking" and record.text == f"ksoftirqd/{me.cpu}":
            softirqd = True
        elif record.event == "softirq_raise" and record.a == NET_RX_SOFTIRQ:
            raised = True
        else:
            continue
        places.append(place)
    return Enqueue(me.b, qlen, None, woke, raised, softirqd, flow), places


def disagreement(enqueue: Enqueue, done: Queued, *, wakes_tell: bool, raises_tell: bool) -> str:
    """Why the model's decision is not the kernel's; "" if it is.

    ``wakes_tell`` is false on PREEMPT_RT, where a task also wakes a thread by giving up a lock that it waits for;
    ``raises_tell`` is false until the CPU's net_rx_action() is known.
    """
    if enqueue.dropped is not None and enqueue.dropped != done.dropped:
        did, other = ("dropped", "queues") if enqueue.dropped else ("queued", "drops")
        return f"the kernel {did} a packet for CPU {enqueue.cpu}; the model {other} it"
    if enqueue.woke and not done.scheduled and wakes_tell:
        return f"the kernel woke backlog_napi/{enqueue.cpu}; in the model its NAPI is scheduled already"
    if enqueue.softirqd and not done.woke and wakes_tell:
        return "the kernel woke ksoftirqd for a packet that it queued; the model does not"
    if enqueue.dropped is not None and raises_tell and enqueue.raised != done.raised:
        did, other = ("raised", "does not") if enqueue.raised else ("did not raise", "does")
        return f"the kernel {did} NET_RX for a packet of CPU {enqueue.cpu}'s backlog; the model {other}"
    return ""


def poll_step(driver: Driver, cpu: int, poll: Poll) -> tuple[Poll, tuple[int, ...]]:
    """What a poll that is not at its end does next in the loaded state, with the IPIs that it sends; it changes the state."""
    if not poll.started:
        sent = driver.poll_starts(cpu)
        return poll._replace(started=True), sent
    waiting = driver.backlog_len(cpu)
    left = poll.quota - poll.work
    worked = driver.poll(cpu, min(waiting, left) if waiting else left)
    done = not waiting or poll.work + worked >= poll.quota
    return poll._replace(work=poll.work + worked, done=done), ()
