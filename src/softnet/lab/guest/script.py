# SPDX-License-Identifier: GPL-2.0-or-later
"""A single task that carries out a list of steps: the experiments with an exact answer.

Steps: ["connect", N] N loopback TCP connections; ["move", CPU]; ["send_each", BYTES] one segment on each
connection; ["read", N] receive on the next N connections, one after the other; ["set", PATH, VALUE];
["settle", MS] let the machine come to rest; ["trace", "on"|"off"]; ["mark", TEXT];
["udp", CPU, N, BYTES] N datagrams to a socket that nobody reads, sent from CPU.
"""

from __future__ import annotations

import os
import socket
import time

from agent import write_setting


class Task:
    """The state that steps work on."""

    def __init__(self, trace) -> None:
        self.trace = trace
        self.senders: list[socket.socket] = []
        self.receivers: list[socket.socket] = []
        self.next_read = 0
        self.done: list[list] = []

    def connect(self, count: int) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=count) as server:
            for _ in range(count):
                sender = socket.create_connection(server.getsockname())
                sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                receiver, _ = server.accept()
                self.senders.append(sender)
                self.receivers.append(receiver)

    def move(self, cpu: int) -> None:
        os.sched_setaffinity(0, {cpu})

    def send_each(self, size: int) -> None:
        for sender in self.senders:
            sender.sendall(b"x" * size)
        self.size = size

    def read(self, count: int) -> None:
        for receiver in self.receivers[self.next_read : self.next_read + count]:
            got = 0
            while got < self.size:
                got += len(receiver.recv(65536))
        self.next_read += count

    def set(self, path: str, value: str) -> None:
        write_setting(path, value)

    def settle(self, ms: int) -> None:
        time.sleep(ms / 1000)

    def trace_(self, on: str) -> None:
        if on == "on":
            self.trace.start()
        else:
            self.trace.stop()

    def mark(self, text: str) -> None:
        self.trace.mark(text)


def run(steps: list, trace, channel) -> dict:
    """Carry out ``steps``; the result says how many were."""
    task = Task(trace)
    actions = {
        "connect": task.connect,
        "move": task.move,
        "send_each": task.send_each,
        "read": task.read,
        "set": task.set,
        "settle": task.settle,
        "trace": task.trace_,
        "mark": task.mark,
    }
    for name, *arguments in steps:
        actions[name](*arguments)
    return {"steps": len(steps)}


def misbehave(how: str, channel) -> dict:
    """For the lab's own tests: hang, panic, die, vanish, or fail."""
    if how == "hang":
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
