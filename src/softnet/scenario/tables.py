# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables of a scenario: machine, kernel, NICs, traffic, applications, tasks, and what to measure.

Every class is one table of the TOML file. ``docs/scenario.md`` is generated from here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, model_validator

from softnet.scenario.fields import (
    CPU_LIST_ALLOWED,
    CPU_MASK_ALLOWED,
    CPUS_MAX,
    NAME_ALLOWED,
    SCHED_ALLOWED,
    Cpu,
    CpuList,
    CpuLists,
    CpuMask,
    Name,
    PortList,
    Sched,
    SchedText,
    Settings,
    TextList,
    list_to_tuple,
    ms_to_ns,
    parse_cpu_list,
    parse_cpu_mask,
    parse_sched,
    required,
    setting,
    shown_name,
    shown_text,
    us_to_ns,
)
from softnet.scenario.idle import Idle, IdleState, name_to_idle
from softnet.scenario.kernel_models import IDLE_OVERRIDES, Kernel
from softnet.scenario.noise import NOISE_ALLOWED, Noise, name_to_noise
from softnet.scenario.traffic_models import STANDARD_INPUT, Traffic


class Machine(Settings):
    """``[machine]``: the CPUs and what things cost on them."""

    cpus: int = setting(4, "CPUs, numbered from 0.", unit="CPUs", ge=1, le=CPUS_MAX)
    numa_nodes: int = setting(1, "NUMA nodes; the CPUs are dealt to them in equal runs.", ge=1, le=64)
    llcs: CpuLists = setting(
        (),
        "The CPUs that share a last-level cache, a list for each; it decides which wakeups go by the wake list. Empty: NUMA nodes.",
    )
    isolated_cpus: CpuList = setting(
        (), "CPUs that the scheduler keeps free of unpinned work (isolcpus=).", source="none", allowed=CPU_LIST_ALLOWED
    )
    costs: str = setting(
        "default",
        "Cost table: the name of a shipped one, or the path of a TOML file beside the scenario.",
        min_length=1,
    )
    idle: Annotated[Idle, BeforeValidator(name_to_idle, json_schema_input_type=str | Idle)] = Field(
        default=Idle.model_construct(),
        description="Idle states and their governor. A text is the name of a shipped table. Not given: leaving idleness costs the"
        " same however long it lasted, machine.idle_exit or machine.poll_wake of the cost table.",
    )

    noise: Annotated[
        tuple[Noise, ...], BeforeValidator(name_to_noise, json_schema_input_type=str | tuple[Noise, ...]), Field(max_length=64)
    ] = setting(
        (), "What disturbs the CPUs beside the scenario's own work; a text is the name of a profile.", allowed=NOISE_ALLOWED
    )

    def numa_node(self, cpu: int) -> int:
        """The NUMA node of a CPU: CPUs are split into ``numa_nodes`` runs whose lengths differ by one at most."""
        return cpu * self.numa_nodes // self.cpus

    def llc(self, cpu: int) -> int:
        """The last-level cache of a CPU, as the kernel's sd_llc_id: the first CPU that shares it; its own where no list has it."""
        if not self.llcs:
            return next(other for other in range(self.cpus) if self.numa_node(other) == self.numa_node(cpu))
        return min(next((cpus for cpus in self.llcs if cpu in cpus), (cpu,)))


class Loopback(Settings):
    """``[loopback]``: steering of the lo device, which senders use."""

    rps_cpus: CpuMask = setting(
        (), "CPUs that RPS may steer to; empty is off.", source="net/core/net-sysfs.c: none", allowed=CPU_MASK_ALLOWED
    )
    rps_flow_cnt: int = setting(0, "Entries of the queue's RFS table.", source="net/core/net-sysfs.c: none", ge=0, le=2**20)


class Nic(Settings):
    """``[[nic]]``: a network card, its queues, its interrupts, its steering."""

    name: Name = setting("eth0", "Name of the interface.", allowed=NAME_ALLOWED)
    queues: int = setting(1, "Receive queues.", ge=1, le=CPUS_MAX)
    ring: int = setting(256, "Descriptors of each receive ring.", unit="packets", ge=1, le=65536)
    irq_cpus: CpuList | None = setting(
        None,
        "CPU that takes each queue's interrupt, one per queue. Not given: queue number modulo CPUs.",
        allowed=CPU_LIST_ALLOWED,
    )
    rx_usecs: int = setting(0, "Interrupt coalescing: the longest wait (ethtool -C rx-usecs).", unit="us", ge=0, le=10**6)
    rx_frames: int = setting(
        0,
        "Interrupt coalescing: packets that end the wait early; 0 is no such bound (ethtool -C rx-frames).",
        unit="packets",
        ge=0,
        le=65536,
    )
    rps_cpus: CpuMask = setting(
        (),
        "CPUs that RPS may steer to; empty is off. The kernel takes isolated CPUs out.",
        source="net/core/net-sysfs.c: none",
        allowed=CPU_MASK_ALLOWED,
    )
    rps_flow_cnt: int = setting(
        0,
        "Entries of each queue's RFS table. Rounded up to a power of two, as the kernel does.",
        unit="entries",
        source="net/core/net-sysfs.c: none",
        ge=0,
        le=2**20,
    )
    threaded: bool = setting(False, "Poll in a kernel thread napi/NIC-QUEUE instead of the softirq.", source="net/core/dev.c: off")
    gro: bool = setting(True, "Generic receive offload.", source="include/linux/netdev_features.h: NETIF_F_SOFT_FEATURES")
    napi_defer_hard_irqs: int = setting(
        0,
        "Empty polls after which the interrupt is enabled again.",
        unit="polls",
        source="net/core/net-sysfs.c: 0",
        ge=0,
        le=2**31 - 1,
    )
    gro_flush_timeout: int = setting(
        0,
        "How long GRO may hold packets, and the timer of napi_defer_hard_irqs.",
        unit="ns",
        source="net/core/net-sysfs.c: 0",
        ge=0,
        le=10**9,
    )
    irq_suspend_timeout: int = setting(
        0,
        "How long interrupts stay off while an application with prefer_busy_poll finds packets; 0: as long as gro_flush_timeout. "
        "From 6.13 on; the kernel has one for each queue.",
        unit="ns",
        source="net/core/dev.c: 0 (Documentation/networking/napi.rst)",
        ge=0,
        le=10**9,
    )
    weight: int = setting(
        64,
        "Packets of one poll.",
        unit="packets",
        source="include/linux/netdevice.h: NAPI_POLL_WEIGHT",
        ge=1,
        le=256,
    )
    rss: bool = setting(
        True,
        "The card supplies skb->hash (Toeplitz); if not, the kernel computes it. The card always chooses the queue by it.",
    )
    rx_flow_hash_udp: Literal["sd", "sdfn"] = setting(
        "sdfn",
        "What the card hashes of UDP: addresses (sd), or addresses and ports (sdfn), as ethtool -N writes it.",
    )

    def irq_cpu(self, queue: int, cpus: int) -> int:
        """The CPU that takes the interrupt of ``queue`` on a machine with ``cpus`` CPUs."""
        return self.irq_cpus[queue] if self.irq_cpus is not None else queue % cpus


class Application(Settings):
    """``[[application]]``: tasks that receive from sockets."""

    name: Annotated[Name, required("Name, for senders and reports.", allowed=NAME_ALLOWED)]
    kind: Literal["tcp", "udp"] = setting("tcp", "How it receives: TCP-like or UDP-like.")
    cpu: Cpu | None = setting(None, "CPU of its one task. Not given: cpus, else CPU 0.")
    cpus: CpuList = setting((), "One task on each of these CPUs; its sockets are dealt to them.", allowed=CPU_LIST_ALLOWED)
    sched: SchedText = setting("other", "Policy and priority of its tasks.", allowed=SCHED_ALLOWED)
    nice: int = setting(0, "Nice value, with policy other.", source="include/linux/sched/prio.h", ge=-20, le=19)
    service_ns: int = setting(1500, "User time for each packet received.", unit="ns", ge=0, le=10**9)
    rcvbuf: int = setting(
        212992,
        "Receive buffer of each socket.",
        unit="bytes",
        source="include/net/sock.h: SK_RMEM_MAX on x86-64",
        ge=2304,
        le=2**31 - 1,
    )
    dst_ports: PortList = setting((), "Ports it listens on; empty takes every flow of its kind.")
    busy_poll_usecs: int = setting(
        0,
        "How long its epoll_wait() polls the card before it sleeps (EPIOCSPARAMS, from 6.9 on). 0: kernel.sysctl.busy_poll says.",
        unit="us",
        source="fs/eventpoll.c: 0",
        ge=0,
        le=2**31 - 1,
    )
    busy_poll_budget: int = setting(
        0, "Packets of such a poll; 0: 8.", unit="packets", source="include/net/busy_poll.h: BUSY_POLL_BUDGET", ge=0, le=64
    )
    prefer_busy_poll: bool = setting(
        False,
        "Its polls come before the softirq's: who polls else gives the card up, and with the card's napi_defer_hard_irqs and "
        "gro_flush_timeout interrupts stay off between its polls.",
        source="fs/eventpoll.c: off",
    )

    @property
    def task_cpus(self) -> tuple[int, ...]:
        """The CPU of each of its tasks."""
        if self.cpus:
            return self.cpus
        return (self.cpu if self.cpu is not None else 0,)

    @property
    def policy(self) -> Sched:
        return parse_sched(self.sched, self.nice)


class Sender(Settings):
    """``[[sender]]``: a task that sends to an application over loopback (loopback_xmit, netif_rx)."""

    name: Name = setting("sender", "Name, for reports.", allowed=NAME_ALLOWED)
    cpu: Annotated[Cpu, required("CPU that it runs on.")]
    sched: SchedText = setting("other", "Policy and priority.", allowed=SCHED_ALLOWED)
    nice: int = setting(0, "Nice value, with policy other.", ge=-20, le=19)
    to: Annotated[str, required("Name of the application that receives.")]
    proto: Literal["tcp", "udp"] | None = setting(None, "Protocol. Not given: the application's kind.")
    rate_pps: int | None = setting(None, "Packets a second. Give this or interval_ns.", unit="packets/s", ge=1, le=10**8)
    interval_ns: int | None = setting(None, "Time between packets. Give this or rate_pps.", unit="ns", ge=10, le=10**12)
    size: int = setting(1514, "Bytes of each packet, with its Ethernet header.", unit="bytes", ge=60, le=65535)
    start_ms: float = setting(0, "When it starts.", unit="ms", ge=0, le=10**9)
    stop_ms: float | None = setting(None, "When it stops. Not given: the end of the run.", unit="ms", gt=0, le=10**9)

    @property
    def policy(self) -> Sched:
        return parse_sched(self.sched, self.nice)

    @property
    def gap_ns(self) -> int:
        """Nanoseconds between two packets."""
        if self.interval_ns is not None:
            return self.interval_ns
        return 1_000_000_000 // (self.rate_pps or 1)


class Cyclictest(Settings):
    """``[[task]] kind="cyclictest"``: sleeps until a time and measures how late it wakes."""

    kind: Literal["cyclictest"] = "cyclictest"
    name: Name = setting("cyclictest", "Name, for reports.", allowed=NAME_ALLOWED)
    cpu: Annotated[Cpu, required("CPU that it is pinned to.")]
    interval_us: float = setting(1000, "Time between wakeups.", unit="us", source="cyclictest -i 1000", ge=1, le=10**9)
    sched: SchedText = setting("fifo:80", "Policy and priority.", allowed=SCHED_ALLOWED)
    work_ns: int = setting(500, "What it does after each wakeup.", unit="ns", ge=0, le=10**9)

    @property
    def policy(self) -> Sched:
        return parse_sched(self.sched)

    @property
    def interval_ns(self) -> int:
        return us_to_ns(self.interval_us)


class Hog(Settings):
    """``[[task]] kind="hog"``: burns CPU, all the time or a share of each period."""

    kind: Literal["hog"] = "hog"
    name: Name = setting("hog", "Name, for reports.", allowed=NAME_ALLOWED)
    cpu: Annotated[Cpu, required("CPU that it is pinned to.")]
    sched: SchedText = setting("other", "Policy and priority.", allowed=SCHED_ALLOWED)
    nice: int = setting(0, "Nice value, with policy other.", ge=-20, le=19)
    duty: float = setting(1.0, "Share of each period in which it runs; 1 never sleeps.", gt=0, le=1)
    period_us: float = setting(10_000, "Period of the duty cycle.", unit="us", ge=10, le=10**9)

    @property
    def policy(self) -> Sched:
        return parse_sched(self.sched, self.nice)


Task = Annotated[Cyclictest | Hog, Field(discriminator="kind")]


class Measure(Settings):
    """``[measure]``: how long, and what to keep."""

    duration_ms: float = setting(100, "Length of the run, warm-up included.", unit="ms", gt=0, le=10**8)
    warmup_ms: float = setting(0, "Start of the run that the statistics leave out.", unit="ms", ge=0, le=10**8)
    seed: int = setting(1, "Seed of every choice.", ge=0, le=2**63 - 1)
    trace: Literal["off", "decisions", "full"] = setting("off", "Events to record.")
    series_interval_us: int = setting(1000, "Interval of the sampled series.", unit="us", ge=1, le=10**9)

    @property
    def duration_ns(self) -> int:
        return ms_to_ns(self.duration_ms)

    @property
    def warmup_ns(self) -> int:
        return ms_to_ns(self.warmup_ms)


EventValue = Annotated[
    int | bool | tuple[int, ...], BeforeValidator(list_to_tuple, json_schema_input_type=int | bool | tuple[int, ...] | str)
]


class Event(Settings):
    """``[[event]]``: a setting that is changed while the traffic runs."""

    at_ms: Annotated[float, required("When.", unit="ms", ge=0, le=10**8)]
    set: Annotated[
        str,
        required(
            "What: sysctl.NAME, nic.NAME.KEY, loopback.rps_cpus, or cpu.N.online (N from 1; value 0 or 1).",
            allowed="sysctl.NAME, nic.NAME.KEY, loopback.rps_cpus or cpu.N.online",
        ),
    ]
    value: Annotated[EventValue, required("The new value, as in the table that the key belongs to.")]

    @model_validator(mode="before")
    @classmethod
    def _cpus_as_text(cls, value: Any) -> Any:
        """A mask or list of CPUs as the table takes it."""
        if isinstance(value, dict) and isinstance(value.get("value"), str):
            key = str(value.get("set")).rpartition(".")[2]
            parse = {"rps_cpus": parse_cpu_mask, "irq_cpus": parse_cpu_list}.get(key)
            cpus = parse(value["value"]) if parse is not None else None
            if cpus is not None:
                return {**value, "value": cpus}
        return value

    @property
    def at_ns(self) -> int:
        return ms_to_ns(self.at_ms)


NicList = Annotated[tuple[Nic, ...], BeforeValidator(list_to_tuple), Field(max_length=64)]
TrafficList = Annotated[tuple[Traffic, ...], BeforeValidator(list_to_tuple), Field(max_length=64)]
ApplicationList = Annotated[tuple[Application, ...], BeforeValidator(list_to_tuple), Field(max_length=256)]
SenderList = Annotated[tuple[Sender, ...], BeforeValidator(list_to_tuple), Field(max_length=256)]
TaskList = Annotated[tuple[Task, ...], BeforeValidator(list_to_tuple), Field(max_length=1024)]
EventList = Annotated[tuple[Event, ...], BeforeValidator(list_to_tuple), Field(max_length=1024)]


class Tables(Settings):
    """Everything that a run needs besides the code of the kernel."""

    # Each table is right in itself; whether they fit together is for softnet.scenario.models.Scenario to ask.

    # Defaults are made by model_construct(): they need no check, so nobody builds a validator for each.

    name: Annotated[str, AfterValidator(shown_name)] = setting("scenario", "Name, for reports.", min_length=1, max_length=80)
    description: Annotated[str, AfterValidator(shown_text)] = setting("", "The question that the scenario answers.")
    machine: Machine = Field(default=Machine.model_construct(), description="The CPUs.")
    kernel: Kernel = Field(default=Kernel.model_construct(), description="The kernel.")
    loopback: Loopback = Field(default=Loopback.model_construct(), description="The lo device.")
    nic: NicList = setting((), "Network cards.")
    traffic: TrafficList = setting((), "What arrives at the NICs.")
    application: ApplicationList = setting((), "Tasks that receive.")
    sender: SenderList = setting((), "Tasks that send over loopback.")
    task: TaskList = setting((), "Background tasks.")
    event: EventList = setting((), "Settings changed during the run.")
    measure: Measure = Field(default=Measure.model_construct(), description="How long and what to keep.")

    @property
    def idle_states(self) -> tuple[IdleState, ...]:
        """The idle states that the governor chooses from, the polling one first; none without such, or by a boot argument."""
        return () if set(self.kernel.boot_args) & set(IDLE_OVERRIDES) else self.machine.idle.chosen

    @property
    def governed(self) -> bool:
        """Whether a governor chooses how CPUs idle."""
        return bool(self.idle_states)

    @property
    def polls_busy(self) -> bool:
        """Whether a task may poll a card. The kernel asks that at every turn; who never does is spared what it costs."""
        sysctl = self.kernel.sysctl
        return bool(
            sysctl.busy_poll
            or sysctl.busy_read
            or any(one.busy_poll_usecs or one.prefer_busy_poll for one in self.application)
            or any(event.set == "sysctl.busy_poll" for event in self.event)
        )

    # Where relative paths of the scenario start. Not part of what is compared or written out.
    _directory: Path = PrivateAttr(default=Path("."))

    @property
    def directory(self) -> Path:
        """The folder that relative paths start from: the scenario file's."""
        return self._directory

    def resolve(self, path: str) -> Path:
        """A path of the scenario as the reader must open it; "-", standard input, stays as it is."""
        return Path(path) if path == STANDARD_INPUT else self._directory / path

    def placed_at(self, directory: Path) -> Self:
        """The same scenario, its relative paths starting from ``directory``."""
        copy = self.model_copy()
        copy._directory = directory
        return copy

    def __eq__(self, other: object) -> bool:
        """Equal when every key is; where the file lies does not count."""
        return type(other) is type(self) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @property
    def queue_base(self) -> tuple[int, ...]:
        """The global index of each NIC's first queue: queues are numbered over all NICs in file order."""
        bases: list[int] = []
        total = 0
        for nic in self.nic:
            bases.append(total)
            total += nic.queues
        return tuple(bases)

    def nic_index(self, name: str) -> int:
        """Which NIC has this name."""
        return next(index for index, nic in enumerate(self.nic) if nic.name == name)

    def to_dict(self, *, defaults: bool = False) -> dict[str, Any]:
        """The scenario as plain lists and dicts, as TOML or JSON would hold it."""
        data: dict[str, Any] = self.model_dump(mode="json", exclude_none=True, exclude_defaults=not defaults)
        if not defaults:  # exclude_defaults also drops the tag of a default kind
            for key in ("traffic", "task"):
                for item, model in zip(data.get(key, []), getattr(self, key), strict=True):
                    item["kind"] = model.kind
        return data


__all__ = [
    "Application",
    "Cyclictest",
    "Event",
    "Hog",
    "Kernel",
    "Loopback",
    "Machine",
    "Measure",
    "Nic",
    "Sender",
    "Tables",
    "Task",
    "TextList",
    "Traffic",
]
