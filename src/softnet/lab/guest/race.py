# SPDX-License-Identifier: GPL-2.0-or-later
"""Defects that need a race, tried on a kernel as it is: nothing of it is changed, and nothing delays it but what records it.

A window of a few instructions is not waited for but held open. A task of high real-time priority, the holder, shares a
CPU with the task that is to be caught. It sleeps, wakes (which preempts the other wherever it is), looks where that is
(/proc/PID/stack, or the kernel's memory), and goes back to sleep unless it is in the window. If it is, the holder stays
on the CPU until what must come in between has come: another CPU has been taken down. A real-time task that computes for
so long is all that this takes on a real machine.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import time
from collections.abc import Callable
from typing import Any

from softnet.lab.guest import threads
from softnet.lab.guest.channel import Channel
from softnet.lab.guest.files import read_text, write_setting
from softnet.lab.guest.memory import SoftnetData
from softnet.lab.guest.plans import Found, RaceWork
from softnet.lab.guest.tracefs import Tracer, put

_CPUS = "/sys/devices/system/cpu"
_WORD = struct.Struct("<q")
# The generator of ISO C's example of rand() (C17 7.22.2.2): the same naps in every run.
_NEXT_FACTOR, _NEXT_TERM, _NEXT_MODULUS = 1103515245, 12345, 1 << 31
POLL_SECONDS = 0.0005
"""How often a task looks whether what it waits for has come: short against the milliseconds that a take-down lasts."""
SETTLE_SECONDS = 0.02
"""What an emulated guest's softirqs and threads are given to finish what was begun; far more than they take."""
QUIET_SECONDS = 0.3
"""The same before a result is read: long enough for a tick, a kworker and ksoftirqd to have had their turns."""
LOOK_SECONDS = 0.005
"""Between two looks at a backlog that may be stuck: a poll of it would have come in between."""
SPACING_SECONDS = 0.002
"""Between two packets that are not to meet in one poll."""
UP_SECONDS = 0.1
"""What a CPU that came online is given to start its threads."""
# Words that the tasks share.
GO, DONE, ARMED, HELD, RELEASE, SAMPLES, HOLDS, SENT, RECEIVED = range(9)


class Shared:
    """Integers that forked tasks share."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, 4096)

    def __getitem__(self, word: int) -> int:
        return int(_WORD.unpack_from(self._map, 8 * word)[0])

    def __setitem__(self, word: int, value: int) -> None:
        _WORD.pack_into(self._map, 8 * word, value)


def wait(until: Callable[[], bool], seconds: float, step: float = POLL_SECONDS) -> bool:
    """Whether it comes true within ``seconds``."""
    end = time.monotonic() + seconds
    while not until():
        if time.monotonic() > end:
            return False
        time.sleep(step)
    return True


def online(cpu: int, state: int) -> None:
    """Take a CPU down or bring it back."""
    write_setting(f"{_CPUS}/cpu{cpu}/online", str(state))


def going_down(cpu: int) -> Callable[[], bool]:
    """Whether the CPU's way down is past sched_cpu_deactivate(), which waits for whoever reads under RCU."""
    states = [line.split(": ", 1) for line in read_text(f"{_CPUS}/hotplug/states").splitlines()]
    active, teardown = (
        next(int(number) for number, name in states if name == wanted) for wanted in ("sched:active", "cpu:teardown")
    )
    path = f"{_CPUS}/cpu{cpu}/hotplug/state"

    def look() -> bool:
        # The state is counted down before a step is taken.
        return teardown <= int(read_text(path)) < active - 1

    return look


class Race:
    """What the races have in common: the tasks, the holder, the kernel's memory."""

    def __init__(self, work: RaceWork, trace: Tracer, channel: Channel) -> None:
        self.work = work
        self.trace = trace
        self.channel = channel
        self.shared = Shared()
        self.data = SoftnetData(
            work["fields"], work["per_cpu_symbol"], work["per_cpu_offsets"], work.get("nodes"), work.get("nodes_pointer", 0)
        )
        self.pids: list[int] = []
        self.owner: int = work["owner"]
        self.tries: int = work["tries"]
        self.end = time.monotonic() + work["seconds"]
        write_setting("/proc/sys/kernel/sched_rt_runtime_us", "-1")

    def fork(self, name: str, cpu: int, sched: str, body: Callable[[], None]) -> int:
        """A task of its own, which is killed at the end."""
        pid = os.fork()
        if pid == 0:
            try:
                threads.become(name, cpu, sched, 0)
                body()
            except Exception as error:  # What becomes of it shows in the shared words; say why on the console.
                print(f"{name}: {type(error).__name__}: {error}", flush=True)
            os._exit(0)
        self.pids.append(pid)
        return pid

    def close(self) -> None:
        """End the tasks."""
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
        for pid in self.pids:
            os.waitpid(pid, 0)

    def hold(self, inside: Callable[[], bool], bound_seconds: float) -> None:
        """The holder: sample while ARMED; hold the CPU while ``inside``, until RELEASE or the bound."""
        shared, nap = self.shared, self.work["nap_us"] / 1e6
        turn = 0
        while True:
            # Not always the same nap, lest it beats with what it samples: one to three of it.
            turn = (turn * _NEXT_FACTOR + _NEXT_TERM) % _NEXT_MODULUS
            time.sleep(nap * (1 + 2 * turn / _NEXT_MODULUS))
            if not shared[ARMED]:
                continue
            shared[SAMPLES] += 1
            if not inside():
                continue
            shared[HOLDS] += 1
            shared[HELD] = 1
            end = time.monotonic() + bound_seconds
            while not shared[RELEASE] and time.monotonic() < end:
                pass
            shared[HELD] = 0
            if shared[RELEASE]:
                shared[ARMED] = 0

    def stack_has(self, pid: int) -> Callable[[], bool]:
        """Whether the task's kernel stack has one of the functions, and none of those that are past the window."""
        path, inside, past = f"/proc/{pid}/stack", self.work["inside"], self.work["past"]

        def look() -> bool:
            text = read_text(path)
            found = any(name in text for name in inside) and not any(name in text for name in past)
            if found:
                self.say_where(text)
            return found

        return look

    def say_where(self, stack: str) -> None:
        """Put into the trace where the task was caught, innermost function first."""
        words = [line.split("] ", 1)[1].split("+")[0] for line in stack.splitlines() if "] " in line]
        put("tracing_on", "1")
        self.trace.mark(f"caught in {' < '.join(words)}"[:900])

    def record(self, what: str) -> None:
        """Record from here on, and say what."""
        put("tracing_on", "1")
        self.trace.mark(what)

    def rest(self) -> None:
        """Record no more for now."""
        put("tracing_on", "0")

    def told(self, found: bool, rounds: int, tries: int, watched: list[dict[str, Any]]) -> Found:
        """The result."""
        shared = self.shared
        return {
            "samples": shared[SAMPLES], "holds": shared[HOLDS],
            "found": found, "rounds": rounds, "tries": tries, "watched": watched,
        }  # fmt: skip
