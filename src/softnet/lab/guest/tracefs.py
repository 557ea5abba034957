# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's side of tracing: kprobes, tracepoints, and the ring buffers' raw pages.

The pages are sent as they are, because formatting them as text in an emulated guest takes longer than the
experiment; softnet/ftrace/ringbuffer.py decodes them on the host.
"""

from __future__ import annotations

import os
import re
import struct
import subprocess

from softnet.lab.guest import threads
from softnet.lab.guest.channel import Channel
from softnet.lab.guest.files import read_text
from softnet.lab.guest.memory import Memory
from softnet.lab.guest.plans import FactsPlan, FactsResult, Traced, TracePlan

ROOT = "/sys/kernel/tracing"
SOFTNET_STAT = "/proc/net/softnet_stat"


def put(path: str, text: str, flags: int = os.O_WRONLY) -> None:
    """Write one tracefs file. os.open and not open(): tracefs refuses the seek that mode "a" does."""
    fd = os.open(f"{ROOT}/{path}", flags)
    try:
        os.write(fd, text.encode())
    except OSError as error:
        raise OSError(f"writing {text!r} to {path}: {error.strerror}") from error
    finally:
        os.close(fd)


def get(path: str) -> bytes:
    """Read one tracefs file."""
    with open(f"{ROOT}/{path}", "rb") as stream:
        return stream.read()


def filled(definition: str, values: dict[str, int]) -> str:
    """A kprobe's definition with numbers where it has ``<name+number>``: the value of that pointer and so many bytes.

    An offset of a kprobe's argument is signed, 64 bits of it, and so is a pointer.
    """

    def number(match: re.Match[str]) -> str:
        value = values[match[1]] + int(match[2])
        return f"{value - ((value >> 63) << 64):+d}"

    return re.sub(r"<([\w.]+)\+(\d+)>", number, definition)


class Tracer:
    """The events of one experiment. ``stop`` ends recording, ``send`` brings the buffers home."""

    def __init__(self, plan: TracePlan) -> None:
        self.refused: dict[str, str] = {}
        self.enabled: list[str] = []
        self.stat_before = self.stat_after = ""
        self.running = False
        self.homes: dict[int, int] = {}
        self.graph: list[str] = []
        self.wanted = bool(plan["events"] or plan["kprobes"] or plan.get("graph"))
        if not self.wanted:
            return
        put("tracing_on", "0")
        put("trace_clock", plan["clock"])
        put("buffer_size_kb", str(plan["buffer_kb"]))
        put("options/overwrite", "0")
        wanted = plan.get("pointers", {})
        memory = Memory() if wanted else None
        values = {name: memory.word(address, 8) for name, address in wanted.items()} if memory else {}
        for name, definition in plan["kprobes"]:
            try:
                put("kprobe_events", filled(definition, values) + "\n", os.O_WRONLY | os.O_APPEND)
            except OSError as error:
                self.refused[name] = str(error)
                continue
            self._enable(f"softnet/{name}", "")
        for name, condition in plan["events"]:
            self._enable(name, condition)
        if plan.get("graph"):
            self._trace_functions(plan["graph"])

    def _trace_functions(self, names: list[str]) -> None:
        """Record the entry and the exit of these functions; one that the kernel has not is refused."""
        put("set_ftrace_filter", "", os.O_WRONLY | os.O_TRUNC)
        for name in names:
            try:
                put("set_ftrace_filter", name + "\n", os.O_WRONLY | os.O_APPEND)
            except OSError as error:
                self.refused[name] = str(error)
                continue
            self.graph.append(name)
        put("current_tracer", "function_graph")

    def _enable(self, name: str, condition: str) -> None:
        try:
            if condition:
                put(f"events/{name}/filter", condition)
            put(f"events/{name}/enable", "1")
        except OSError as error:
            self.refused[name.split("/", 1)[1]] = str(error)
            return
        self.enabled.append(name)

    def watch(self, pids: list[int]) -> None:
        """Tasks of ours that will be traced: what CPU each is pinned to, if to one, goes into the trace's header."""
        for pid in pids:
            cpu = threads.home(pid)
            if cpu is not None:
                self.homes[pid] = cpu

    def moves(self, pid: int) -> None:
        """A task gets another CPU while it may be traced."""
        self.homes.pop(pid, None)

    def start(self) -> None:
        """What is measured begins here."""
        if not self.running:
            self.running = True
            self.stat_before = read_text(SOFTNET_STAT)
            if self.wanted:
                put("tracing_on", "1")

    def stop(self) -> None:
        """What is measured ends here."""
        if self.running:
            self.running = False
            if self.wanted:
                put("tracing_on", "0")
            self.stat_after = read_text(SOFTNET_STAT)
            # The kernel gives a task whose CPU goes down all of them.
            self.homes = {pid: cpu for pid, cpu in self.homes.items() if threads.home(pid) == cpu}

    def mark(self, text: str) -> None:
        """A line of our own among the events."""
        if self.wanted:
            put("trace_marker", text)

    def send(self, channel: Channel) -> Traced:
        """Send formats and pages; what is returned says what was refused and what was lost."""
        lost: dict[str, int] = {}
        pinned = {str(pid): cpu for pid, cpu in sorted(self.homes.items())}
        if not self.wanted:
            return {"refused": self.refused, "lost": lost, "page_bytes": 0, "pinned": pinned}
        graph = ["ftrace/funcgraph_entry", "ftrace/funcgraph_exit"] if self.graph else []
        for name in [*self.enabled, "ftrace/print", *graph]:
            channel.blob(f"format/{name}", get(f"events/{name}/format"))
        if self.graph:
            channel.blob("symbols", symbols(self.graph))
        page_bytes = _page_bytes()
        for cpu in range(os.sysconf("SC_NPROCESSORS_CONF")):
            folder = f"per_cpu/cpu{cpu}"
            if not os.path.isdir(f"{ROOT}/{folder}"):
                continue
            for line in get(f"{folder}/stats").decode().splitlines():
                key, _, value = line.partition(":")
                if key in ("overrun", "commit overrun", "dropped events") and int(value):
                    lost[f"cpu{cpu} {key}"] = int(value)
            channel.blob(f"pages/{cpu}", _pages(f"{ROOT}/{folder}/trace_pipe_raw", page_bytes))
        return {"refused": self.refused, "lost": lost, "page_bytes": page_bytes, "pinned": pinned}


def _page_bytes() -> int:
    """The size of a sub-buffer: what follows the header fields, and the header's 16 bytes."""
    for line in get("events/header_page").decode().splitlines():
        if "data;" in line:
            words = dict(part.strip().split(":") for part in line.split(";") if ":" in part and "field" not in part)
            return int(words["offset"]) + int(words["size"])
    raise OSError("events/header_page has no data field")


def _pages(path: str, page_bytes: int) -> bytes:
    pieces = []
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        while True:
            try:
                page = os.read(fd, page_bytes)
            except BlockingIOError:
                break
            if not page:
                break
            pieces.append(page + b"\0" * (page_bytes - len(page)))
            if struct.unpack_from("<Q", page, 8)[0] == 0:
                break
    finally:
        os.close(fd)
    return b"".join(pieces)


def symbols(names: list[str]) -> bytes:
    """The lines of /proc/kallsyms for these names, a module's among them."""
    pattern = f" ({'|'.join(names)})([[:space:]]|$)"
    found = subprocess.run(["/bin/busybox", "grep", "-E", pattern, "/proc/kallsyms"], capture_output=True, check=False)
    return found.stdout


def send_facts(plan: FactsPlan, channel: Channel) -> FactsResult:
    """What the host needs to know of a kernel once: its types (BTF) and the addresses of some symbols."""
    with open("/sys/kernel/btf/vmlinux", "rb") as stream:
        channel.blob("btf", stream.read())
    channel.blob("symbols", symbols(plan["symbols"]))
    events = [name for name in plan["events"] if os.path.isdir(f"{ROOT}/events/{name}")]
    return {"events": events}
