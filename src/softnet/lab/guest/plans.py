# SPDX-License-Identifier: GPL-2.0-or-later
"""What crosses the border of a guest, as both sides see it: the plan that goes in, and the result that comes out.

The host writes a plan as JSON into the guest's first file system and reads the result as JSON from the channel. This file goes
into the guest like its neighbours, so it imports the standard library alone.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

Setting = list[str]
"""[path, text]"""
Event = list[Any]
"""[ns from the start, path, text]: a setting that changes during the run; a path "card:..." is for the agent itself."""
ThreadWish = list[Any]
"""[pattern of a kernel thread's name, policy, CPUs or None]"""
Step = list[Any]
"""[name, argument...]: see script.py."""
Latency = dict[str, int]
"""count, p50_ns, p99_ns, p999_ns, max_ns; only the count where there was none."""

# -- what is traced


class _MayTrace(TypedDict, total=False):
    graph: list[str]
    """Functions whose entry and exit are recorded."""
    pointers: dict[str, int]
    """Name -> address of a pointer in the kernel; ``<name+number>`` in a definition stands for its value and so many bytes."""


class TracePlan(_MayTrace):
    """What is recorded; nothing where both lists are empty and no ``graph`` is asked for."""

    clock: str
    buffer_kb: int
    """For each CPU."""
    kprobes: list[list[str]]
    """[event, definition]"""
    events: list[list[str]]
    """[tracepoint, filter or ""]"""


# -- a scenario's tasks


class TaskPlan(TypedDict):
    """What every task has: its name, ``label`` among the results, and how it is scheduled."""

    name: str
    label: str
    cpu: int
    sched: str
    nice: int


class ApplicationPlan(TypedDict):
    """An application: one receiving task on each of its CPUs."""

    name: str
    kind: str
    cpus: list[int]
    sched: str
    nice: int
    service_ns: int
    rcvbuf: int


class ReceiverPlan(TaskPlan):
    """One of an application's tasks."""

    service_ns: int


class SenderPlan(TaskPlan):
    """A task that sends ``payload`` bytes every ``gap_ns`` to an application."""

    to: str
    payload: int
    gap_ns: int
    start_ns: int
    stop_ns: int


class HogPlan(TaskPlan):
    """A task that computes."""

    kind: Literal["hog"]
    period_ns: int
    busy_ns: int


class CyclictestPlan(TaskPlan):
    """A task that wakes up periodically and notes how late."""

    kind: Literal["cyclictest"]
    interval_ns: int
    work_ns: int


class QueuePlan(TaskPlan):
    """A card's queue: the task that writes its packets, records in base64 (softnet/lab/play/traffic.py)."""

    count: int
    packets: str


class CardPlan(TypedDict):
    """A TUN device."""

    name: str
    address: str
    routes: list[str]
    gro: int
    queues: list[QueuePlan]


class _Connection(TypedDict, total=False):
    local: str
    peer: list[Any]
    """[address, port]"""
    lengths: str
    """Payload lengths to come, unsigned 16-bit numbers in base64."""


class SocketPlan(_Connection):
    """A socket that receives a card's packets; of TCP also its connection."""

    application: int
    worker: int
    kind: str
    port: int


class LoadWork(TypedDict):
    """A scenario."""

    applications: list[ApplicationPlan]
    senders: list[SenderPlan]
    tasks: list[HogPlan | CyclictestPlan]
    cards: list[CardPlan]
    sockets: list[SocketPlan]
    events: list[Event]
    warmup_ns: int
    duration_ns: int


class RaceWork(TypedDict, total=False):
    """A race (races.py). Which keys there are depends on it."""

    race: str
    main: int
    freer: int
    steers: int
    owner: int
    tries: int
    seconds: float
    nap_us: int
    hold_seconds: float
    connections: int
    segment: int
    limit: int
    race_limit: int
    frees: int
    pacing: int
    datagrams: int
    busy_ms: int
    inside: list[str]
    past: list[str]
    fields: dict[str, list[int]]
    """Field of softnet_data -> [offset, bytes]"""
    per_cpu_symbol: int
    per_cpu_offsets: int
    nodes: dict[str, list[int]]
    """Field of skb_defer_node -> [offset, bytes], where a kernel has such lists"""
    nodes_pointer: int
    """Address of the pointer to a CPU's first one."""


# -- plans


class _Traced(TypedDict):
    settings: list[Setting]
    threads: list[ThreadWish]
    trace: TracePlan


class LoadPlan(_Traced):
    """Play a scenario."""

    kind: Literal["load"]
    work: LoadWork


class ScriptPlan(_Traced):
    """Carry out steps."""

    kind: Literal["script"]
    work: list[Step]


class RacePlan(_Traced):
    """Try a race."""

    kind: Literal["race"]
    work: RaceWork


class FactsPlan(TypedDict):
    """Say what the kernel has."""

    kind: Literal["facts"]
    symbols: list[str]
    events: list[str]


class MisbehavePlan(TypedDict):
    """Fail in a way, for the lab's own tests."""

    kind: Literal["misbehave"]
    how: str


TracedPlan = LoadPlan | ScriptPlan | RacePlan
Plan = LoadPlan | ScriptPlan | RacePlan | FactsPlan | MisbehavePlan

# -- results


class Hello(TypedDict):
    """The agent's first frame."""

    release: str
    version: str
    cpus: int
    command_line: str


class Complaint(TypedDict):
    """The agent's frame when it fails."""

    message: str
    traceback: str


class TaskFound(TypedDict, total=False):
    """What a task counted. ``latency`` is the host's, from the raw times that the guest sends beside."""

    task: str
    packets: int
    bytes: int
    asked: int
    refused: int
    sent_ns: list[int]
    late_ns_max: int
    cpu_ns: int
    error: str
    latency: Latency


class Found(TypedDict, total=False):
    """What the work came to; which keys there are depends on the plan."""

    # load
    tasks: list[TaskFound]
    events: list[dict[str, Any]]
    measured_ns: int
    task_names: dict[str, str]
    """Process id -> name. The agent moves it into the result's ``threads``."""
    # script
    steps: int
    # race
    found: bool
    rounds: int
    tries: int
    samples: int
    holds: int
    received: int
    watched: list[dict[str, Any]]


class Traced(TypedDict):
    """What became of the tracing."""

    refused: dict[str, str]
    """Event -> why it is not recorded."""
    lost: dict[str, int]
    page_bytes: int
    pinned: dict[str, int]
    """Task of ours -> the one CPU that it could run on from the trace's beginning to its end."""


class Result(TypedDict):
    """The result of a plan that is traced."""

    threads_set: list[list[object]]
    work: Found
    softnet_stat_before: str
    softnet_stat_after: str
    threads: dict[str, str]
    trace: Traced
    complaints: list[str]


class FactsResult(TypedDict):
    """The result of a facts plan: which of the tracepoints there are. Types and symbols come beside it."""

    events: list[str]
