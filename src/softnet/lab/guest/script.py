# SPDX-License-Identifier: GPL-2.0-or-later
"""A single task that carries out a list of steps: the experiments with an exact answer.

Steps: ["connect", N] N loopback TCP connections; ["move", CPU]; ["send_each", BYTES] one segment on each
connection; ["read", N] receive on the next N connections, one after the other; ["set", PATH, VALUE];
["settle", MS] let the machine come to rest; ["trace", "on"|"off"]; ["mark", TEXT]; ["datagrams", N, BYTES] as many UDP
datagrams of one flow to a socket of ours that nobody reads.
"""

from __future__ import annotations

import os
import socket
import time
from typing import Any, NoReturn

from softnet.lab.guest.channel import Channel
from softnet.lab.guest.files import write_setting
from softnet.lab.guest.plans import Found, Step
from softnet.lab.guest.tracefs import Tracer


class Task:
    """The state that steps work on, and a method for each step."""

    def __init__(self, trace: Tracer) -> None:
        self._trace = trace
        self._senders: list[socket.socket] = []
        self._receivers: list[socket.socket] = []
        self._next_read = 0
        self._size = 0

    def connect(self, count: int) -> None:
        """Open ``count`` connections to ourselves."""
        with socket.create_server(("127.0.0.1", 0), backlog=count) as server:
            for _ in range(count):
                # Not create_connection(): its getaddrinfo() needs the idna codec, which the image leaves out.
                sender = socket.socket()
                sender.connect(server.getsockname())
                sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                receiver, _ = server.accept()
                self._senders.append(sender)
                self._receivers.append(receiver)

    def move(self, cpu: int) -> None:
        """Run on ``cpu`` from here on."""
        self._trace.moves(os.getpid())
        os.sched_setaffinity(0, {cpu})

    def send_each(self, size: int) -> None:
        """One segment on each connection."""
        for sender in self._senders:
            sender.sendall(b"x" * size)
        self._size = size

    def read(self, count: int) -> None:
        """Receive on the next ``count`` connections."""
        for receiver in self._receivers[self._next_read : self._next_read + count]:
            got = 0
            while got < self._size:
                got += len(receiver.recv(65536))
        self._next_read += count

    def datagrams(self, count: int, size: int) -> None:
        """Send ``count`` UDP datagrams on one connected socket, one after the other."""
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        ):
            receiver.bind(("127.0.0.1", 0))
            sender.connect(receiver.getsockname())
            for _ in range(count):
                sender.send(b"x" * size)

    def settle(self, ms: int) -> None:
        """Let the machine come to rest."""
        time.sleep(ms / 1000)

    def trace(self, state: str) -> None:
        """Begin or end what is measured."""
        if state == "on":
            self._trace.watch([os.getpid()])
            self._trace.start()
        else:
            self._trace.stop()

    def mark(self, text: str) -> None:
        """A line of our own among the events."""
        self._trace.mark(text)


def run(steps: list[Step], trace: Tracer) -> Found:
    """Carry out ``steps``; the result says how many there were."""
    task = Task(trace)
    actions = {
        "connect": task.connect,
        "move": task.move,
        "send_each": task.send_each,
        "read": task.read,
        "set": write_setting,
        "settle": task.settle,
        "trace": task.trace,
        "mark": task.mark,
        "datagrams": task.datagrams,
    }
    for name, *arguments in steps:
        action: Any = actions[name]
        action(*arguments)
    return {"steps": len(steps)}


def misbehave(how: str, channel: Channel) -> NoReturn:
    """For the lab's own tests: hang, panic, die, vanish, or fail."""
    if how == "hang":
        time.sleep(3600)
    elif how == "say and hang":
        channel.say("hanging")
        time.sleep(3600)
    elif how == "panic":
        write_setting("/proc/sys/kernel/sysrq", "1")
        write_setting("/proc/sysrq-trigger", "c")
    elif how == "die":
        os._exit(3)
    elif how == "vanish":
        write_setting("/proc/sysrq-trigger", "o")
        time.sleep(3600)
    elif how == "garbage":
        os.write(channel.fd, b"?" * 64)
        time.sleep(3600)
    raise ValueError(f"asked to fail: {how}")
