# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a task can be, and when a thread that slept has been woken: what no kernel can have written of either.

A task runs on one CPU at a time. While it serves a softirq or queues a packet it stays there, and but for PREEMPT_RT nothing else
than interrupts runs there: bottom halves are off, and with them preemption. A task with one CPU in its mask runs on that one.

ksoftirqd and backlog_napi are threads of kernel/smpboot.c, and sleep in one place. sched_waking is told of a thread that is not
running, before its state is set to running; so it must have run, and gone to sleep, before the next. ksoftirqd is woken by its own
CPU; backlog_napi by who sets NAPI_STATE_SCHED_THREADED, which its poll gives back. On PREEMPT_RT both also wait for locks, and who
gives up the lock wakes them, so there only the switches tell.

Source: kernel/softirq.c, wakeup_softirqd(); kernel/smpboot.c, smpboot_thread_fn(); kernel/sched/core.c, try_to_wake_up();
net/core/dev.c, netif_rx(), ____napi_schedule(), napi_threaded_poll_loop() (6.1, 6.12, 6.18).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from softnet.lab.tracing.probes import NET_RX_SOFTIRQ
from softnet.lab.tracing.records import SOFTIRQ, TASK, LabRecord
from softnet.lab.validate.knowledge import Task, task_of

# Threads of kernel/smpboot.c, bound when their CPU comes up. A worker is bound after it has begun to run, wherever that was.
_BOUND = ("ksoftirqd/", "backlog_napi/", "ktimers/", "migration/", "cpuhp/", "rcuc/", "irq_work/", "idle_inject/")
_THREADS = ("ksoftirqd/", "backlog_napi/")
_SLEEPS = 0xFF
"""Bits of sched_switch's prev_state that say that the task does not want to run; without them it was preempted."""


def bound(tasks: Mapping[int, str], gone: Collection[int] = ()) -> dict[int, int]:
    """Task -> the one CPU that a thread of the kernel runs on, but for CPUs that go down in the trace."""
    homes = {}
    for pid, name in tasks.items():
        cpu = name.partition("/")[2]
        if name.startswith(_BOUND) and cpu.isdecimal() and int(cpu) not in gone:
            homes[pid] = int(cpu)
    return homes


@dataclass(slots=True)
class _Thread:
    """ksoftirqd or backlog_napi of a CPU: what has happened since it last did something that the trace shows.

    ``woken``: and since then neither switched out nor, of backlog_napi, done with a poll. ``wakers`` are other CPUs that may still
    be in try_to_wake_up(), and have not set the thread's state yet.
    """

    name: str
    cpu: int
    sleeps: int = 0
    wakings: int = 0
    woken: bool = False
    wakers: list[int] = field(default_factory=list)


class Tasks:
    """Place -> why no kernel can have written this record there."""

    def __init__(
        self,
        records: Sequence[LabRecord],
        *,
        tasks: Mapping[int, str],
        pinned: Mapping[int, int],
        gone: Collection[int],
        rt: bool,
    ) -> None:
        self.wrong: dict[int, str] = {}
        self._rt = rt
        self._names = tasks
        self._threads_of = bound(tasks, gone)
        self._pinned = {pid: cpu for pid, cpu in pinned.items() if cpu not in gone}
        self._sections: dict[int, list[tuple[str, Task]]] = {}
        self._threads = {pid: _Thread(tasks[pid], cpu) for pid, cpu in self._threads_of.items() if tasks[pid].startswith(_THREADS)}
        told = {record.event for record in records}
        self._switches, self._polls = "sched_switch" in told, "napi_poll" in told
        for at, record in enumerate(records):
            reason = self._place(record) or self._section(record) or self._wakeup(record)
            if reason:
                self.wrong[at] = reason

    def _name(self, pid: int) -> str:
        return self._names.get(pid, f"task {pid}")

    def _place(self, record: LabRecord) -> str:
        """A task that has one CPU is on it, whatever interrupts it there."""
        pid, cpu = record.pid, record.cpu
        home = self._threads_of.get(pid, cpu)
        if home != cpu:
            return f"a thread of CPU {home} runs on CPU {cpu}"
        home = self._pinned.get(pid, cpu)
        return f"{self._name(pid)} runs on CPU {cpu}, and is pinned to CPU {home}" if home != cpu else ""

    def _section(self, record: LabRecord) -> str:
        """What is served and queued on a CPU is not interrupted by tasks, and its task is nowhere else meanwhile."""
        reason = ""
        for cpu, sections in self._sections.items():
            for what, (_, context, pid) in sections:
                if cpu != record.cpu and pid and pid == record.pid:
                    reason = f"{self._name(pid)} is on CPU {record.cpu}, and on CPU {cpu} in {what}"
                elif cpu == record.cpu and not self._rt and self._intrudes(record, what, context, pid):
                    reason = f"{self._name(record.pid)} runs on CPU {cpu}, where {self._name(pid)} is in {what}"
        task, what = task_of(record), "NET_RX" if record.event.startswith("softirq_") else "enqueue_to_backlog()"
        if record.event == "enqueue_to_backlog" or (record.event == "softirq_entry" and record.a == NET_RX_SOFTIRQ):
            self._sections.setdefault(record.cpu, []).append((what, task))
        elif record.event in ("enqueue_to_backlog_ret", "softirq_exit") and (what, task) in self._sections.get(record.cpu, ()):
            self._sections[record.cpu].remove((what, task))
        return reason

    @staticmethod
    def _intrudes(record: LabRecord, what: str, context: int, pid: int) -> bool:
        """Whether a record on the CPU of an open section is of what cannot run there."""
        if record.pid != pid or record.context < context or record.event == "sched_switch":
            return True
        # With bottom halves off no softirq runs at an interrupt's exit.
        return what != "NET_RX" and context == TASK and record.context == SOFTIRQ

    def _wakeup(self, record: LabRecord) -> str:
        for one in self._threads.values():
            if record.cpu in one.wakers:
                one.wakers.remove(record.cpu)
        if record.event in ("sched_waking", "sched_switch"):
            other = self._threads.get(record.a)
            if other is None:
                return ""
            return self._woken(other, record) if record.event == "sched_waking" else self._switched(other, record)
        thread = self._threads.get(record.pid)
        if thread is None:
            return ""
        asleep = thread.sleeps > thread.wakings
        thread.sleeps, thread.wakings = 0, len(thread.wakers)
        if record.event == "napi_poll" and not self._rt:
            thread.woken = False
        return f"{thread.name} runs, which went to sleep and was not woken" if asleep else ""

    def _woken(self, thread: _Thread, record: LabRecord) -> str:
        thread.wakings += 1
        if record.cpu != thread.cpu:
            thread.wakers.append(record.cpu)
        twice, thread.woken = thread.woken, True
        if self._rt:
            # Whoever gives up a lock wakes; only on the thread's own CPU it is known to have left that since.
            twice = twice and self._switches and record.cpu == thread.cpu
        elif thread.name.startswith("ksoftirqd/"):
            if record.cpu != thread.cpu:
                return f"{thread.name} is woken on CPU {record.cpu}; each CPU wakes its own"
            twice = twice and self._switches
        else:
            twice = twice and self._polls
        if twice and record.pid != record.a:
            return f"{thread.name} is woken, which has not slept since it was woken before"
        return ""

    def _switched(self, thread: _Thread, record: LabRecord) -> str:
        asleep = thread.sleeps > thread.wakings
        thread.sleeps += bool(record.c & _SLEEPS)
        if self._rt or thread.name.startswith("ksoftirqd/"):
            thread.woken = False
        return f"{thread.name} is switched out, which went to sleep and was not woken" if asleep else ""
