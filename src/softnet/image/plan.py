# SPDX-License-Identifier: GPL-2.0-or-later
"""What an image of a scenario consists of: its machine, its sockets, and how many there are of each structure and task.

Worked out once from the scenario; whoever builds or boots an image is handed the plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from softnet.image.settings import roundup_pow_of_two

if TYPE_CHECKING:
    from softnet.scenario.flows import SocketSpec
    from softnet.scenario.idle import IdleState
    from softnet.scenario.models import Scenario

SKB_POOL = 65536
"""skbs of the largest pool of a scenario with ordinary queues."""
SKB_POOL_MAX = 1 << 19
"""skbs of the largest pool of all. The kernel has no such bound: a run that meets it stops (Simulation.advance())."""


class NoiseSpec(NamedTuple):
    """A source of noise as the image needs it; an SMI's CPU means nothing."""

    kind: str
    cpu: int
    interval_ns: int
    least_ns: int
    most_ns: int


class MachineSpec(NamedTuple):
    """What the image needs of a machine: its CPUs, and per receive queue the ring, the interrupt's CPU and its moderation."""

    nr_cpus: int
    nodes: tuple[int, ...]
    llcs: tuple[int, ...]
    isolated: tuple[int, ...]
    ring_sizes: tuple[int, ...]
    irq_cpus: tuple[int, ...]
    rx_usecs: tuple[int, ...]
    rx_frames: tuple[int, ...]
    preempt: str
    hz: int
    tick_in_idle: bool
    noise: tuple[NoiseSpec, ...]
    seed: int


class HotplugEvent(NamedTuple):
    """One write to /sys/devices/system/cpu/cpuN/online."""

    at_ns: int
    cpu: int
    online: int


@dataclass(frozen=True, eq=False)
class Plan:
    """The contents of a scenario's image."""

    scenario: Scenario
    machine: MachineSpec
    sockets: tuple[SocketSpec, ...]
    first_workers: tuple[int, ...]
    """The row in table(app, ...) of each application's first task."""
    idle_states: tuple[IdleState, ...]
    """Those among which the governor chooses, the polling one first; none where there is no governor."""
    hotplug: tuple[HotplugEvent, ...]
    """The scenario's changes of CPUs, in the order of their time."""
    counts: Mapping[str, int]
    """Instances of each kernel structure but the per-CPU ones."""
    tasks_max: int
    """The most tasks that boot can ask for, the idle tasks included: the image keeps room for them."""
    histograms: tuple[str, ...]
    """As "kind:name": packet latency of each application, then wakeup latency of each cyclictest; the names are unique."""

    @classmethod
    def of(cls, scenario: Scenario) -> Plan:
        """The plan of a scenario."""
        from softnet.scenario.traffic import socket_table

        sockets = tuple(socket_table(scenario))
        hotplug = _hotplug(scenario)
        return cls(
            scenario=scenario,
            machine=_machine(scenario),
            sockets=sockets,
            first_workers=_first_workers(scenario),
            idle_states=scenario.idle_states,
            hotplug=hotplug,
            counts=_counts(scenario, sockets, hotplug),
            tasks_max=_tasks_max(scenario, hotplug),
            histograms=_histograms(scenario),
        )


def _nr_queues(scenario: Scenario) -> int:
    return sum(nic.queues for nic in scenario.nic)


def _machine(scenario: Scenario) -> MachineSpec:
    """What the scenario says of the machine and its cards, queue by queue."""
    cpus = scenario.machine.cpus
    queues = [(nic, queue) for nic in scenario.nic for queue in range(nic.queues)]
    return MachineSpec(
        nr_cpus=cpus,
        nodes=tuple(scenario.machine.numa_node(c) for c in range(cpus)),
        llcs=tuple(scenario.machine.llc(c) for c in range(cpus)),
        isolated=tuple(scenario.machine.isolated_cpus),
        ring_sizes=tuple(nic.ring for nic, _ in queues),
        irq_cpus=tuple(nic.irq_cpu(queue, cpus) for nic, queue in queues),
        rx_usecs=tuple(nic.rx_usecs for nic, _ in queues),
        rx_frames=tuple(nic.rx_frames for nic, _ in queues),
        preempt=scenario.kernel.preempt,
        hz=scenario.kernel.hz,
        tick_in_idle=scenario.governed or scenario.kernel.idle_poll,
        noise=_noise(scenario),
        seed=scenario.measure.seed,
    )


def _noise(scenario: Scenario) -> tuple[NoiseSpec, ...]:
    """The scenario's sources, those that disturb several CPUs one for each."""
    every = range(scenario.machine.cpus)
    return tuple(
        NoiseSpec(source.kind, cpu, source.interval_ns, *source.duration_ns)
        for source in scenario.machine.noise
        for cpu in ((0,) if source.kind == "smi" else source.cpus or every)
    )


def _first_workers(scenario: Scenario) -> tuple[int, ...]:
    rows, total = [], 0
    for application in scenario.application:
        rows.append(total)
        total += len(application.task_cpus)
    return tuple(rows)


def _hotplug(scenario: Scenario) -> tuple[HotplugEvent, ...]:
    from softnet.scenario import changes

    return tuple(HotplugEvent(c.at_ns, int(c.key), int(c.value != 0)) for c in changes(scenario) if c.table == "cpu")


SMALLEST_TRUESIZE = 636
"""Of a sender's packet of 60 bytes: what a socket is charged at the least."""


def skbs_needed(scenario: Scenario) -> int:
    """A bound of the skbs in use at once: every queue, list, cache and socket full, or every packet of the run held somewhere."""
    from softnet.scenario.traffic import packets_bound, socket_table

    sysctl, cpus = scenario.kernel.sysctl, scenario.machine.cpus
    cached = cpus * (64 + 64 + 512) + 64 * _nr_queues(scenario) + 256
    lists = cpus * (2 * (sysctl.netdev_max_backlog + 1) + scenario.kernel.defer_max)
    held = sum(2 * (socket.rcvbuf // SMALLEST_TRUESIZE) + 64 for socket in socket_table(scenario))
    return cached + min(lists + held, packets_bound(scenario))


def _skb_pool(scenario: Scenario, sockets: tuple[SocketSpec, ...]) -> int:
    """How many skbs the image holds: enough for ordinary queues, and more, up to SKB_POOL_MAX, where the scenario has larger
    ones.
    """
    cpus = scenario.machine.cpus
    sysctl = scenario.kernel.sysctl
    per_cpu = 2 * (min(sysctl.netdev_max_backlog, 16384) + 1) + min(scenario.kernel.defer_max, 4096) + 64 + 64 + 512
    queued = sum(min(s.rcvbuf // 2304 * 3 + 64, 1024) for s in sockets)
    ordinary = cpus * per_cpu + queued + 64 * _nr_queues(scenario) + 256
    large = sysctl.netdev_max_backlog > 16384 or scenario.kernel.defer_max > 4096 or ordinary > SKB_POOL
    if not large and all(s.rcvbuf // 2304 * 3 + 64 <= 1024 for s in sockets):
        return ordinary
    return max(min(ordinary, SKB_POOL), min(skbs_needed(scenario), SKB_POOL_MAX))


def _counts(scenario: Scenario, sockets: tuple[SocketSpec, ...], hotplug: tuple[HotplugEvent, ...]) -> dict[str, int]:
    """How many instances of each kernel structure the image must hold, where that is not declared (``Struct, per_cpu=True``)."""
    cpus = scenario.machine.cpus
    queues = _nr_queues(scenario)
    flows = sum(roundup_pow_of_two(nic.rps_flow_cnt) * nic.queues for nic in scenario.nic if nic.rps_flow_cnt)
    if scenario.loopback.rps_flow_cnt:
        flows += roundup_pow_of_two(scenario.loopback.rps_flow_cnt)
    entries = scenario.kernel.sysctl.rps_sock_flow_entries
    cyclics = sum(1 for task in scenario.task if task.kind == "cyclictest")
    return {
        "sd_flow_limit": cpus if scenario.kernel.sysctl.flow_limit_cpu_bitmap else 1,
        "net_hotdata": 1,
        "cpuidle_driver": 1,
        "cpuidle_state": max(len(scenario.idle_states), 1),
        "sched_sysctls": 1,
        "rt_bandwidth": 1,
        "kmem_cache_node": 1,
        "softirq_action": 10,
        "smp_hotplug_thread": 2,
        "smpboot_thread_data": 2 * cpus,
        "net_device": 1 + len(scenario.nic),
        "netdev_rx_queue": 1 + queues,
        "rps_map": 1 + queues,
        "rps_dev_flow_table": 1 + queues,
        "rps_dev_flow": max(flows, 1),
        "rps_sock_flow_entry": roundup_pow_of_two(entries) if entries else 1,
        "nic_vector": max(queues, 1),
        "sk_buff": _skb_pool(scenario, sockets),
        "sock": max(len(sockets), 1),
        "udp_prod_queue": max(len(sockets), 1) * scenario.machine.numa_nodes,
        "skb_defer_node": cpus * scenario.machine.numa_nodes,
        "app": max(sum(len(a.task_cpus) for a in scenario.application), 1),
        "sender": max(len(scenario.sender), 1),
        "cyclic": max(cyclics, 1),
        "hog": max(len(scenario.task) - cyclics, 1),
        "cpuhp_event": max(len(hotplug), 1),
    }


def _tasks_max(scenario: Scenario, hotplug: tuple[HotplugEvent, ...]) -> int:
    workers = sum(len(a.task_cpus) for a in scenario.application)
    stoppers = len({event.cpu for event in hotplug}) + 1 if hotplug else 0
    families = 2 + scenario.kernel.has("kick_by_work_item")
    idle = scenario.machine.cpus * (2 if scenario.governed else 1)
    threads = families * scenario.machine.cpus + 2 * _nr_queues(scenario) + stoppers
    return idle + threads + workers + len(scenario.sender) + len(scenario.task)


def _histograms(scenario: Scenario) -> tuple[str, ...]:
    wanted = [("packet", application.name) for application in scenario.application]
    wanted += [("wakeup", task.name) for task in scenario.task if task.kind == "cyclictest"]
    names: list[str] = []
    for _, name in wanted:
        unique, n = name, 2
        while unique in names:
            unique, n = f"{name}#{n}", n + 1
        names.append(unique)
    return tuple(f"{kind}:{name}" for (kind, _), name in zip(wanted, names, strict=True))
