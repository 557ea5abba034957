# SPDX-License-Identifier: GPL-2.0-or-later
"""A scenario's tasks made real: senders, cards' queues, applications, hogs and cyclictests, each a process.

The agent opens every socket, forks the tasks, starts them all at one instant, changes settings when their
events are due, and collects what each counted. Every message carries the time at which it was sent, in its
first eight bytes, so that the receiver knows how long it took.
"""

from __future__ import annotations

import array
import itertools
import json
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterable
from typing import Any

from softnet.lab.guest import cards, threads
from softnet.lab.guest.channel import Channel
from softnet.lab.guest.files import write_setting
from softnet.lab.guest.plans import (
    ApplicationPlan,
    CyclictestPlan,
    Found,
    HogPlan,
    LoadWork,
    ReceiverPlan,
    SenderPlan,
    TaskFound,
    TaskPlan,
)
from softnet.lab.guest.tracefs import Tracer

_STAMP = struct.Struct("<q")
_START_DELAY_NS = 100_000_000
_REST_SECONDS = 0.1
_END_GRACE_SECONDS = 0.3
_SO_RCVBUFFORCE = 33


# A socket and the lengths of the messages to come on it; of datagrams None.
Receiving = tuple[socket.socket, "Iterable[int] | None"]


class _StopError(BaseException):
    """The parent says that the time is over."""


def _spin(duration_ns: int) -> None:
    end = time.monotonic_ns() + duration_ns
    while time.monotonic_ns() < end:
        pass


def _stop(signum: int, frame: object) -> None:
    raise _StopError


class _Connections:
    """The sockets of one application and its senders, opened before anybody is forked."""

    def __init__(self, app: ApplicationPlan, senders: list[SenderPlan]) -> None:
        self.app = app
        self.receiving: list[Receiving] = []
        self.sending: dict[str, socket.socket] = {}
        if app["kind"] == "tcp":
            self._open_tcp(senders)
        else:
            self._open_udp(senders)

    def _sized(self, receiver: socket.socket) -> socket.socket:
        # The kernel doubles what it is asked for, for its own overhead.
        receiver.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, self.app["rcvbuf"] // 2)
        return receiver

    def _open_tcp(self, senders: list[SenderPlan]) -> None:
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            self._sized(server)
            server.listen(max(1, len(senders)))
            for sender in senders:
                client = socket.socket()
                client.connect(server.getsockname())
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                receiver, _ = server.accept()
                self.receiving.append((receiver, itertools.repeat(sender["payload"])))
                self.sending[sender["name"]] = client

    def _open_udp(self, senders: list[SenderPlan]) -> None:
        receiver = self._sized(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        receiver.bind(("127.0.0.1", 0))
        self.receiving.append((receiver, None))
        for sender in senders:
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            client.connect(receiver.getsockname())
            self.sending[sender["name"]] = client


class _Window:
    """The measured part of the run: what falls outside is not among the latencies."""

    def __init__(self, work: LoadWork, start_ns: int) -> None:
        self.first_ns = start_ns + work["warmup_ns"]
        self.end_ns = start_ns + work["duration_ns"]

    def holds(self, now: int) -> bool:
        return bool(self.first_ns <= now < self.end_ns)


class _Stream:
    """What has come on one socket: cut into messages, of which those with a time stamp are measured."""

    def __init__(self, lengths: Iterable[int] | None) -> None:
        self._lengths = None if lengths is None else iter(lengths)
        self._pending = bytearray()
        self._size = next(self._lengths, 0) if self._lengths is not None else 0

    def take(self, data: bytes, now: int, latencies: array.array[int] | None) -> int:
        """How many messages ``data`` completes; the latency of each is appended to ``latencies``."""
        if self._lengths is None:
            if latencies is not None and len(data) >= _STAMP.size:
                latencies.append(now - _STAMP.unpack_from(data)[0])
            return 1
        self._pending += data
        count = at = 0
        while self._size and len(self._pending) - at >= self._size:
            if latencies is not None and self._size >= _STAMP.size:
                latencies.append(now - _STAMP.unpack_from(self._pending, at)[0])
            at += self._size
            count += 1
            self._size = next(self._lengths, 0)
        del self._pending[:at]
        return count


def _receive(task: ReceiverPlan, sockets: list[Receiving], window: _Window, found: dict[str, Any]) -> None:
    """Receive for ever; ``found`` holds what was received so far."""
    service_ns: int = task["service_ns"]
    latencies: array.array[int] = array.array("q")
    found.update(packets=0, bytes=0, latencies=latencies)
    poller = select.epoll()
    streams = {}
    for receiver, lengths in sockets:
        poller.register(receiver.fileno(), select.EPOLLIN)
        streams[receiver.fileno()] = (receiver, _Stream(lengths))
    while True:
        ready = [next(iter(streams))] if len(streams) == 1 else [fd for fd, _ in poller.poll()]
        for fd in ready:
            receiver, stream = streams[fd]
            data = receiver.recv(65536)
            now = time.monotonic_ns()
            if not data and receiver.type == socket.SOCK_STREAM:
                poller.unregister(fd)
                del streams[fd]
                if not streams:
                    return
                continue
            found["bytes"] += len(data)
            count = stream.take(data, now, latencies if window.holds(now) else None)
            found["packets"] += count
            if service_ns and count:
                _spin(service_ns * count)


def _send(task: SenderPlan, client: socket.socket, start_ns: int, found: dict[str, Any]) -> None:
    """Send at the times that the scenario asks for; behind time, as fast as it goes. ``sent_ns`` says when it was."""
    gap, stop = task["gap_ns"], start_ns + task["stop_ns"]
    due = start_ns + task["start_ns"]
    rest = b"x" * (task["payload"] - _STAMP.size)
    sent: list[int] = []
    found.update(packets=0, refused=0, late_ns_max=0, sent_ns=sent)
    while due < stop:
        now = time.monotonic_ns()
        if now >= stop:
            break
        if now < due:
            time.sleep((due - now) / 1e9)
        else:
            found["late_ns_max"] = max(found["late_ns_max"], now - due)
        try:
            now = time.monotonic_ns()
            client.sendall(_STAMP.pack(now) + rest)
            found["packets"] += 1
            sent.append(now - start_ns)
        except (ConnectionRefusedError, BlockingIOError):
            found["refused"] += 1
        due += gap
    found["asked"] = max(0, -(-(stop - start_ns - task["start_ns"]) // gap))


def _cyclictest(task: CyclictestPlan, start_ns: int, window: _Window, found: dict[str, Any]) -> None:
    latencies: array.array[int] = array.array("q")
    found["latencies"] = latencies
    due = start_ns
    while True:
        due += task["interval_ns"]
        threads.sleep_until(due)
        now = time.monotonic_ns()
        if window.holds(now):
            latencies.append(now - due)
        if task["work_ns"]:
            _spin(task["work_ns"])
        # Wakeups that were slept through are left out, as cyclictest does.
        behind = time.monotonic_ns() - due
        if behind > task["interval_ns"]:
            due += behind // task["interval_ns"] * task["interval_ns"]


def _hog(task: HogPlan, start_ns: int) -> None:
    period, busy = task["period_ns"], task["busy_ns"]
    due = start_ns
    while busy >= period:
        _spin(period)
    while True:
        _spin(busy)
        due = max(due + period, time.monotonic_ns())
        threads.sleep_until(due)


def _child(task: TaskPlan, ready_fd: int, start_fd: int, body: Callable[[int, dict[str, Any]], None], path: str) -> None:
    """One task's process: become what it must be, wait for the start, work, write down what was found."""
    found: dict[str, Any] = {}
    try:
        signal.signal(signal.SIGUSR1, _stop)
        threads.become(task["name"], task["cpu"], task["sched"], task["nice"])
        os.write(ready_fd, b"r")
        start_ns = _STAMP.unpack(os.read(start_fd, _STAMP.size))[0]
        threads.sleep_until(start_ns)
        found["cpu_ns"] = -time.thread_time_ns()
        body(start_ns, found)
    except _StopError:
        pass
    except Exception as error:  # The host must hear of it.
        found["error"] = f"{type(error).__name__}: {error}"
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        if "cpu_ns" in found:
            found["cpu_ns"] += time.thread_time_ns()
        latencies = found.pop("latencies", None)
        if latencies is not None:
            with open(path + ".latencies", "wb") as stream:
                stream.write(latencies.tobytes())
        with open(path, "w") as text:
            json.dump(found, text)
        os._exit(0)


class Load:
    """All tasks of one scenario."""

    def __init__(self, work: LoadWork, files: dict[str, int]) -> None:
        self.work = work
        self.files = files
        self.pids: list[int] = []
        self.names: list[str] = []
        self.ready = 0
        self.read_fd, self.write_fd = os.pipe()
        self.ready_read_fd, self.ready_write_fd = os.pipe()

    def _fork(self, task: TaskPlan, body: Callable[[int, dict[str, Any]], None]) -> None:
        path = f"/tmp/task{len(self.pids)}"
        pid = os.fork()
        if pid == 0:
            os.close(self.write_fd)
            _child(task, self.ready_write_fd, self.read_fd, body, path)
        self.pids.append(pid)
        self.names.append(task["label"])

    def fork_all(self) -> None:
        """Open the sockets, then fork receivers, senders and background tasks, in the scenario's order."""
        by_app = {
            app["name"]: _Connections(app, [s for s in self.work["senders"] if s["to"] == app["name"]])
            for app in self.work["applications"]
        }
        by_task: dict[tuple[int, int], list[Receiving]] = {}
        for row in self.work["sockets"]:
            mine = by_task.setdefault((row["application"], row["worker"]), [])
            mine.append(cards.open_socket(row, self.work["applications"][row["application"]]["rcvbuf"]))
        for number, app in enumerate(self.work["applications"]):
            receiving = by_app[app["name"]].receiving
            for index, cpu in enumerate(app["cpus"]):
                mine = receiving[index :: len(app["cpus"])] + by_task.get((number, index), [])
                receiver: ReceiverPlan = {
                    "name": app["name"], "label": f"{app['name']}@{cpu}", "cpu": cpu, "sched": app["sched"], "nice": app["nice"],
                    "service_ns": app["service_ns"],
                }  # fmt: skip
                if mine:
                    self._fork(
                        receiver,
                        lambda start, found, t=receiver, m=mine: _receive(t, m, _Window(self.work, start), found),  # type: ignore[misc]
                    )
        for sender in self.work["senders"]:
            client = by_app[sender["to"]].sending[sender["name"]]
            self._fork(sender, lambda start, found, t=sender, c=client: _send(t, c, start, found))  # type: ignore[misc]
        for card in self.work["cards"]:
            for queue in card["queues"]:
                player = cards.Player(queue, self.files[queue["name"]], self.work["duration_ns"])
                self._fork(queue, player.play)
        for task in self.work["tasks"]:
            if task["kind"] == "hog":
                self._fork(task, lambda start, found, t=task: _hog(t, start))  # type: ignore[misc]
            else:
                self._fork(
                    task,
                    lambda start, found, t=task: _cyclictest(t, start, _Window(self.work, start), found),  # type: ignore[misc]
                )

    def wait_ready(self) -> None:
        """Until every task is there."""
        while self.ready < len(self.pids):
            self.ready += len(os.read(self.ready_read_fd, len(self.pids)))

    def start(self) -> int:
        """Once every task is there, let all begin at one instant, and return it."""
        self.wait_ready()
        start_ns = time.monotonic_ns() + _START_DELAY_NS
        os.write(self.write_fd, _STAMP.pack(start_ns) * len(self.pids))
        return start_ns

    def finish(self, channel: Channel) -> list[TaskFound]:
        """End every task and bring home what each found."""
        for pid in self.pids:
            os.kill(pid, signal.SIGUSR1)
        found: list[TaskFound] = []
        for index, pid in enumerate(self.pids):
            os.waitpid(pid, 0)
            path = f"/tmp/task{index}"
            row: TaskFound = {"task": self.names[index]}
            with open(path) as text:
                row.update(json.load(text))
            found.append(row)
            if os.path.exists(path + ".latencies"):
                with open(path + ".latencies", "rb") as stream:
                    channel.blob(f"latencies/{self.names[index]}", stream.read())
        return found


def run(work: LoadWork, files: dict[str, int], trace: Tracer, channel: Channel) -> Found:
    """Run the scenario for its duration; the result has one row a task and one an event.

    ``files`` are the open queues of the guest's cards, by name.
    """
    load = Load(work, files)
    load.fork_all()
    # The settings' changes must come on time whatever the tasks do.
    threads.set_policy(0, "fifo:99")
    by_name = dict(zip(load.names, load.pids, strict=True))
    task_names = {str(pid): name for pid, name in zip(load.pids, load.names, strict=True)}
    load.wait_ready()
    trace.watch(load.pids)
    if not work["warmup_ns"]:
        # The trace begins while everything still rests, so that all that follows is known.
        time.sleep(_REST_SECONDS)
        trace.start()
    start_ns = load.start()
    threads.sleep_until(start_ns + work["warmup_ns"])
    trace.start()
    events = []
    for at_ns, path, value in work["events"]:
        threads.sleep_until(start_ns + at_ns)
        if path.startswith("card:"):
            if path.startswith("card:affinity/"):
                trace.moves(by_name[path.removeprefix("card:affinity/")])
            cards.change(path, value, by_name)
        else:
            if path.endswith("/online"):
                # It takes long, and the trace must say from where on.
                trace.mark(f"{path} < {value}")
            write_setting(path, value)
        trace.mark(f"{path} = {value}")
        events.append({"path": path, "value": value, "late_ns": time.monotonic_ns() - start_ns - at_ns})
    threads.sleep_until(start_ns + work["duration_ns"])
    trace.stop()
    measured_ns = time.monotonic_ns() - start_ns - work["warmup_ns"]
    time.sleep(_END_GRACE_SECONDS)
    return {
        "tasks": load.finish(channel),
        "events": events,
        "measured_ns": measured_ns,
        "task_names": task_names,
    }
