# SPDX-License-Identifier: GPL-2.0-or-later
"""The races of ``softnet lab reproduce``, one class each; what they have in common is in race.py."""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import Any

from softnet.lab.guest import threads
from softnet.lab.guest.channel import Channel
from softnet.lab.guest.files import write_setting
from softnet.lab.guest.plans import Found, RaceWork
from softnet.lab.guest.race import (
    ARMED,
    DONE,
    GO,
    HELD,
    LOOK_SECONDS,
    POLL_SECONDS,
    QUIET_SECONDS,
    RECEIVED,
    RELEASE,
    SENT,
    SETTLE_SECONDS,
    SPACING_SECONDS,
    UP_SECONDS,
    Race,
    going_down,
    online,
    wait,
)
from softnet.lab.guest.script import Task
from softnet.lab.guest.tracefs import Tracer, put

_SKB_DEFER_MAX = "/proc/sys/net/core/skb_defer_max"
# include/linux/netdevice.h, NAPIF_STATE_SCHED; include/uapi/asm-generic/socket.h
_SCHED = 1
_SO_MAX_PACING_RATE = 47


class OfflineKick(Race):
    """A kick at a CPU that goes offline between skb_attempt_defer_free()'s look at cpu_online() and its kick."""

    def __init__(self, work: RaceWork, trace: Tracer, channel: Channel) -> None:
        super().__init__(work, trace, channel)
        self.task = Task(trace)
        self.main_cpu: int = work["main"]
        self.count: int = work["connections"]
        self.task.move(self.main_cpu)
        self.task.connect(self.count)
        self.reader = self.fork("reader", work["freer"], "other:0", self._read)
        look = self.stack_has(self.reader)
        self.fork("holder", work["freer"], "fifo:98", lambda: self.hold(look, work["hold_seconds"]))

    def _read(self) -> None:
        """Read one segment from each connection, whenever asked to."""
        shared, done = self.shared, 0
        while True:
            if shared[GO] == done:
                time.sleep(POLL_SECONDS)
                continue
            self.task._next_read = 0
            self.task._size = self.work["segment"]
            self.task.read(self.count)
            done += 1
            shared[DONE] = done

    def _send(self) -> None:
        self.task.move(self.owner)
        self.task.send_each(self.work["segment"])
        self.task.move(self.main_cpu)
        time.sleep(SETTLE_SECONDS)

    def _round(self, limit: int) -> None:
        write_setting(_SKB_DEFER_MAX, str(limit))
        self._send()
        self.shared[GO] += 1

    def _read_all(self) -> bool:
        return wait(lambda: self.shared[DONE] == self.shared[GO], 20)

    def flush(self) -> None:
        """Packets of the owner's own: its NET_RX flushes its list."""
        self.task.move(self.owner)
        self.task.datagrams(2, 100)
        self.task.move(self.main_cpu)
        time.sleep(SETTLE_SECONDS)

    def watch(self, name: str) -> dict[str, Any]:
        """Free everything on the freeing CPU at the usual limit, with the owner idle; what stays on its list."""
        self.flush()
        write_setting(_SKB_DEFER_MAX, str(self.work["limit"]))
        self._send()
        self.flush()
        self.record(name)
        self.shared[GO] += 1
        done = self._read_all()
        time.sleep(QUIET_SECONDS)
        self.rest()
        return {"name": name, "read": done, **self.data.all(self.owner)}

    def _try(self) -> bool:
        """One round: whether the holder caught the reader, so that the CPU was taken down meanwhile."""
        shared = self.shared
        shared[RELEASE] = 0
        shared[ARMED] = 1
        self._round(self.work["race_limit"])
        wait(lambda: bool(shared[HELD]) or shared[DONE] == shared[GO], 20)
        if not shared[HELD]:
            shared[ARMED] = 0
            return False
        self.record("race")
        online(self.owner, 0)
        shared[RELEASE] = 1
        self._read_all()
        self.rest()
        online(self.owner, 1)
        time.sleep(UP_SECONDS)
        return True

    def run(self) -> Found:
        """Control, tries until the flag stays set, the same again, and once more after another down and up."""
        self.trace.start()
        self.rest()
        before = self.watch("before")
        taken_down = rounds = 0
        found = False
        while taken_down < self.tries and time.monotonic() < self.end and not found:
            rounds += 1
            if self._try():
                taken_down += 1
                found = bool(self.data.read(self.owner, "defer_ipi_scheduled"))
        after = [self.watch("after")]
        if found:
            online(self.owner, 0)
            online(self.owner, 1)
            after.append(self.watch("after another down and up"))
        return self.told(found, rounds, taken_down, [before, *after])


class OwedIpi(Race):
    """A CPU that goes offline while another CPU owes it an IPI of RPS (C5): SCHED stays set on its backlog."""

    def __init__(self, work: RaceWork, trace: Tracer, channel: Channel) -> None:
        super().__init__(work, trace, channel)
        self.steers: int = work["steers"]
        os.sched_setaffinity(0, {work["main"]})
        threads.set_policy(0, "fifo:97")
        server = socket.create_server(("127.0.0.1", 0))
        client = socket.socket()
        # The kernel's own pacing: a timer's softirq sends, so that packets are steered outside of any task.
        client.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, work["pacing"])
        client.connect(server.getsockname())
        self.client, self.server = client, server.accept()[0]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.udp.setblocking(False)
        self.probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.probe.connect(self.udp.getsockname())
        self.fork("sender", self.steers, "other:0", self._send)
        self.fork("receiver", work["freer"], "other:0", self._receive)
        data, steers = self.data, self.steers

        def owes() -> bool:
            return data.read(steers, "rps_ipi_list") != 0

        self.fork("holder", self.steers, "fifo:98", lambda: self.hold(owes, work["hold_seconds"]))

    def _send(self) -> None:
        while True:
            self.client.sendall(b"x" * 4096)

    def _receive(self) -> None:
        while True:
            self.shared[RECEIVED] += len(self.server.recv(65536))

    def watch(self, name: str) -> dict[str, Any]:
        """Datagrams that are steered to the owner: how many arrive, how many stay in its queue."""
        os.sched_setaffinity(0, {self.steers})
        self.record(name)
        for _ in range(self.work["datagrams"]):
            self.probe.send(b"x" * 100)
            time.sleep(SPACING_SECONDS)
        time.sleep(QUIET_SECONDS)
        self.rest()
        os.sched_setaffinity(0, {self.work["main"]})
        arrived = 0
        try:
            while self.udp.recv(2048):
                arrived += 1
        except BlockingIOError:
            pass
        return {"name": name, "arrived": arrived, **self.data.all(self.owner)}

    def _stuck(self) -> bool:
        """Whether the owner's backlog is SCHED and is not polled, for a while."""
        for _ in range(20):
            if not self.data.read(self.owner, "backlog.state") & _SCHED:
                return False
            time.sleep(LOOK_SECONDS)
        return True

    def run(self) -> Found:
        """Control, tries until SCHED stays set, and the same again."""
        shared = self.shared
        self.trace.start()
        self.rest()
        before = self.watch("before")
        taken_down = 0
        found = False
        while taken_down < self.tries and time.monotonic() < self.end and not found:
            shared[RELEASE], shared[ARMED] = 0, 1
            if not wait(lambda: bool(shared[HELD]), 10):
                break
            self.record("race")
            online(self.owner, 0)
            shared[RELEASE] = 1
            time.sleep(SETTLE_SECONDS)
            self.rest()
            online(self.owner, 1)
            taken_down += 1
            found = self._stuck()
        shared[ARMED] = 0
        os.kill(self.pids[0], signal.SIGSTOP)
        time.sleep(QUIET_SECONDS)
        after = self.watch("after")
        told = self.told(found, taken_down, taken_down, [before, after])
        told["received"] = shared[RECEIVED]
        return told


class DeadQueue(Race):
    """On PREEMPT_RT: a task that steers a packet is preempted between its look at cpu_online() and its enqueue."""

    def __init__(self, work: RaceWork, trace: Tracer, channel: Channel) -> None:
        super().__init__(work, trace, channel)
        os.sched_setaffinity(0, {work["main"]})
        threads.set_policy(0, "fifo:97")
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.probe.connect(self.udp.getsockname())
        self.sender = self.fork("sender", work["steers"], "other:0", self._send)
        self.fork("receiver", work["freer"], "other:0", self._receive)
        # A kworker of the first CPU takes the CPU down: what keeps it waiting makes the way down long enough.
        self.fork("busy", work["freer"], "fifo:90", self._keep_busy)
        look, going = self.stack_has(self.sender), going_down(self.owner)
        self.fork("holder", work["steers"], "fifo:98", lambda: self.hold(lambda: going() and look(), work["hold_seconds"]))

    def _send(self) -> None:
        shared = self.shared
        while True:
            if shared[GO]:
                self.probe.send(b"x" * 100)
                shared[SENT] += 1
            else:
                time.sleep(POLL_SECONDS)

    def _keep_busy(self) -> None:
        while True:
            end = time.monotonic() + self.work["busy_ms"] / 1000
            while self.shared[ARMED] and not self.shared[HELD] and time.monotonic() < end:
                pass
            time.sleep(POLL_SECONDS)

    def _receive(self) -> None:
        while True:
            self.udp.recv(2048)
            self.shared[RECEIVED] += 1

    def _state(self, name: str) -> dict[str, Any]:
        shared = self.shared
        return {"name": name, "sent": shared[SENT], "received": shared[RECEIVED], **self.data.all(self.owner)}

    def run(self) -> Found:
        """Take the owner down while the sender sends, until a packet lies in its queue when it is dead."""
        shared = self.shared
        self.trace.start()
        self.rest()
        taken_down = 0
        found = False
        watched: list[dict[str, Any]] = []
        while taken_down < self.tries and time.monotonic() < self.end and not found:
            shared[RELEASE], shared[HELD], shared[ARMED], shared[GO] = 0, 0, 1, 1
            time.sleep(SETTLE_SECONDS)
            online(self.owner, 0)
            shared[RELEASE] = 1
            time.sleep(SETTLE_SECONDS)
            shared[GO] = 0
            shared[ARMED] = 0
            time.sleep(QUIET_SECONDS)
            self.rest()
            taken_down += 1
            found = self.data.read(self.owner, "input_pkt_queue.qlen") > 0
            if found:
                watched.append(self._state("dead"))
                time.sleep(1)
                watched.append(self._state("dead, a second later"))
            online(self.owner, 1)
            time.sleep(UP_SECONDS)
            if found:
                watched.append(self._state("back"))
        return self.told(found, taken_down, taken_down, watched)


class LostKick(OfflineKick):
    """C1: a kick that coalesces onto a softirq's last poll, which then ends on its budget with nothing on its lists."""

    def __init__(self, work: RaceWork, trace: Tracer, channel: Channel) -> None:
        Race.__init__(self, work, trace, channel)
        self.task = Task(trace)
        self.main_cpu = work["main"]
        self.count = work["connections"]
        self.task.move(self.main_cpu)
        self.task.connect(self.count)
        self.task._size = work["segment"]
        self.fork("reader", work["freer"], "fifo:50", self._free)
        self.fork("sender", self.owner, "fifo:50", self._receive)

    def _free(self) -> None:
        """At each time that is set, free ``frees`` skbs."""
        shared, at = self.shared, 0
        while True:
            if shared[GO] == at:
                time.sleep(POLL_SECONDS)
                continue
            at = shared[GO]
            threads.sleep_until(at + shared[ARMED])
            self.task.read(self.work["frees"])
            if self.task._next_read + self.work["frees"] > self.count:
                self.task._next_read = 0
            shared[DONE] = at

    def _receive(self) -> None:
        """At each time that is set, one packet through the owner's own backlog."""
        shared, at = self.shared, 0
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        ):
            receiver.bind(("127.0.0.1", 0))
            sender.connect(receiver.getsockname())
            while True:
                if shared[GO] == at:
                    time.sleep(POLL_SECONDS)
                    continue
                at = shared[GO]
                threads.sleep_until(at)
                sender.send(b"x" * 100)
                shared[SENT] = at

    def _stuck(self) -> bool:
        data, owner = self.data, self.owner
        return data.read(owner, "defer_count") > self.work["race_limit"] >> 1 and not data.read(owner, "backlog.state") & _SCHED

    def run(self) -> Found:
        """Let a packet and frees meet on the owner, a little later or earlier each time, until a kick is lost."""
        shared = self.shared
        self.trace.start()
        self.rest()
        write_setting(_SKB_DEFER_MAX, str(self.work["race_limit"]))
        left = 0
        found = False
        tries = 0
        watched: list[dict[str, Any]] = []
        while tries < self.tries and time.monotonic() < self.end and not found:
            if left < self.work["frees"]:
                self._send()
                left = self.count
                self.flush()
            put("trace", "", os.O_WRONLY | os.O_TRUNC)
            # From well before the packet to well after it, in steps that go through all of the range.
            shared[ARMED] = (tries * 7919 % 600 - 300) * 1000
            self.record("race")
            shared[GO] = time.monotonic_ns() + 4_000_000
            wait(lambda: shared[DONE] == shared[GO] == shared[SENT], 5)
            left -= self.work["frees"]
            tries += 1
            time.sleep(LOOK_SECONDS)
            found = self._stuck()
            if found:
                watched.append({"name": "just after", **self.data.all(self.owner)})
                time.sleep(1)
                found = self._stuck()
                watched.append({"name": "a second later", **self.data.all(self.owner)})
            self.rest()
            if not found:
                watched.clear()
                if self.data.read(self.owner, "defer_count"):
                    self.flush()
        return self.told(found, tries, tries, watched)


RACES: dict[str, type[OfflineKick] | type[OwedIpi] | type[DeadQueue]] = {
    "offline-kick": OfflineKick,
    "owed-ipi": OwedIpi,
    "dead-queue": DeadQueue,
    "lost-kick": LostKick,
}


def run(work: RaceWork, trace: Tracer, channel: Channel) -> Found:
    """Try one race; the result says how often, whether it was seen, and what the kernel's memory held."""
    race = RACES[work["race"]](work, trace, channel)
    try:
        return race.run()
    finally:
        race.close()
