# SPDX-License-Identifier: GPL-2.0-or-later
"""What the doctor must and must not say of machines that have something: the questions that operators ask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.host.machines import ICE_LAKE, Card, Machine, idle_states

from softnet.host.doctor import diagnose
from softnet.host.findings import Finding
from softnet.host.sources import read_sources


@dataclass
class Case:
    """A machine, and the same one later if counters must run; findings that must and must not be there; a look at them."""

    machine: Machine
    must: dict[str, str]
    """Finding -> words of it: of its title, meaning, evidence or commands."""
    later: Machine | None = None
    never: tuple[str, ...] = ()
    look: Callable[[dict[str, Finding]], bool] = lambda found: True


BUSY = [10_000, 0, 50_000, 9_900_000, 0, 0, 5_000, 0]


def later(machine: Machine, **changed: object) -> Machine:
    return replace(machine, uptime=machine.uptime + 10, **changed)  # type: ignore[arg-type]


SQUEEZED = Machine("5.10.100", cpus=4, sysctl={"netdev_budget_usecs": "2000"})
ONE_QUEUE = Machine("6.1.100", cpus=8)
FOUR_QUEUES = Machine("6.6.1", cpus=8, cards=[Card(irqs=[0, 0, 0, 0])])
UDP = Machine("6.12.1", cpus=4)
KSOFTIRQD = Machine("6.1.50", cpus=4, threads=[(10, "ksoftirqd/0", 0, 0, 0, 100)])
DISK = Machine("6.12.1", cpus=4, threads=[(10, "ksoftirqd/0", 0, 0, 0, 100)])
ISOLATED = Machine("6.6.1", cpus=8, isolated="4-7", cmdline="isolcpus=4-7", cards=[Card(irqs=[4, 5])])

NAPI_HOG = Machine("6.12.1", config="CONFIG_HZ=250\nCONFIG_PREEMPT_NONE=y\n", threads=[(77, "napi/eth0-8193", 0, 0, 0, 100)])
HOGGED = [(77, "napi/eth0-8193", 0, 0, 0, 1050)]

DEEP = Machine("6.12.1", files=idle_states("intel_idle", ICE_LAKE))
CASES: dict[str, Case] = {
    "a deep idle state and a card": Case(DEEP, {"deep-idle": "may take 170 us to wake"}),
    "a deep idle state that is off": Case(
        replace(DEEP, files=idle_states("intel_idle", ICE_LAKE, off=("C6",))), {}, never=("deep-idle",)
    ),
    "a deep idle state, and a CPU that may not take it": Case(
        replace(DEEP, files=DEEP.files | {"sys/devices/system/cpu/cpu0/power/pm_qos_resume_latency_us": "20\n"}),
        {}, never=("deep-idle",),
    ),
    "raising the budget is no use where the time ends the runs (netdata 1076)": Case(
        SQUEEZED,
        {"time-squeeze": "raising netdev_budget alone changes nothing", "budget-usecs-short": "4,000 us"},
        later(SQUEEZED, stat={0: [60_000, 0, 400], 1: [60_000], 2: [60_000], 3: [60_000]}),
        never=("backlog-drops", "one-cpu"),
        look=lambda found: all("usecs" in change.do for change in found["time-squeeze"].changes),
    ),
    "a short budget_usecs is the default at HZ=1000": Case(
        Machine("6.12.1", config="CONFIG_HZ=1000\n", sysctl={"netdev_budget_usecs": "2000"}), {}, never=("budget-usecs-short",)
    ),
    "one queue, everything on CPU 0 (coreos 2135)": Case(
        ONE_QUEUE,
        {"one-cpu": "RPS is off", "backlog-drops": "column 2: 900 dropped in 10.0 s"},
        later(ONE_QUEUE, stat={0: [3_000_000, 900, 20]}),
        look=lambda found: found["one-cpu"].changes[0].do == "echo fe > /sys/class/net/eth0/queues/rx-0/rps_cpus",
    ),
    "four queues that interrupt one CPU": Case(
        FOUR_QUEUES,
        {"one-cpu": "4 receiving interrupts, and all go to CPU 0"},
        later(FOUR_QUEUES, stat={0: [5_000_000]}),
        look=lambda found: found["one-cpu"].changes[0].undo == "echo 0 > /proc/irq/41/smp_affinity_list",
    ),
    "a single busy CPU among quiet ones is no trouble by itself": Case(
        Machine(cpus=4, stat={0: [9_000_000], 1: [10], 2: [10], 3: [10]}), {}, never=("one-cpu",)
    ),
    "old drops are a note": Case(
        replace(UDP, stat={1: [1_000_000, 500]}), {"backlog-drops": "but not now"}, later(UDP, stat={1: [1_000_900, 500]}),
        look=lambda found: found["backlog-drops"].level == "note",
    ),
    "a socket's buffer is full": Case(
        UDP,
        {"udp-buffers": "port 5353"},
        later(UDP, snmp={"RcvbufErrors": 4000, "InErrors": 4000},
              files={"proc/net/udp": "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid "
                  " timeout inode ref pointer drops\n"
                     "   1: 0100007F:14E9 00000000:0000 07 00000000:00034000 00:00000000 00000000     0        0 777 2"
                     " 0000000000000000 4000\n"}),
        look=lambda found: found["udp-buffers"].level == "wrong" and "at 127.0.0.1: 4,000 drops, 212,992 bytes"
            " wait" in _text(found["udp-buffers"]),
    ),
    "TCP's own drops": Case(
        UDP, {"tcp-tcpbacklogdrop": "tcp_rmem='4096 131072 12582912'", "tcp-listenoverflows": "accept"},
        later(UDP, netstat={"TCPBacklogDrop": 12, "ListenOverflows": 3}),
    ),
    "some overflows in years are"
    " none": Case(replace(UDP, netstat={"ListenOverflows": 3, "TCPBacklogDrop": 5}), {}, never=("tcp-listenoverflows",)),
    "ksoftirqd/0 at 100 %, why (askubuntu 7858), before 6.5": Case(
        KSOFTIRQD, {"ksoftirqd-busy": "wait for ksoftirqd while it is runnable"},
        later(KSOFTIRQD, threads=[(10, "ksoftirqd/0", 0, 0, 0, 1050)], softirqs={"NET_RX": {0: 900_000}}),
    ),
    "ksoftirqd is busy with something else": Case(
        DISK, {"ksoftirqd-busy": "Here it is TIMER more than the network"},
        later(DISK, threads=[(10, "ksoftirqd/0", 0, 0, 0, 900)], softirqs={"TIMER": {0: 900_000}}),
    ),
    "ksoftirqd at a real-time priority (meta-nilrt 722)": Case(
        Machine("6.1.77-rt", version="#1 SMP PREEMPT_RT", threads=[(10, "ksoftirqd/0", 1, 8, 0, 100)]),
        {"ksoftirqd-realtime": "chrt -o -p 0 10"},
    ),
    "RPS on PREEMPT_RT before 6.10": Case(
        Machine("6.6.1-rt", version="#1 SMP PREEMPT_RT", cards=[Card(rps="e")]),
        {"rt-rps": "ksoftirqd"}, never=("rt-backlog-threads",)
    ),
    "RPS on PREEMPT_RT with backlog threads": Case(
        Machine("6.12.1-rt", version="#1 SMP PREEMPT_RT", cards=[Card(rps="e")], threads=[(30, "backlog_napi/0", 0, 0, 0, 4)]),
        {"rt-backlog-threads": "received_rps, stays 0"}, never=("rt-rps",),
    ),
    "RPS without PREEMPT_RT is nothing to speak of": Case(Machine("6.6.1", cards=[Card(rps="e")]), {}, never=("rt-rps",)),
    "RPS names a CPU that is offline": Case(
        Machine("6.1.1", cpus=8, offline=[5], cards=[Card(rps="000000f0")]),
        {"rps-offline": "echo d0 > /sys/class/net/eth0/queues/rx-0/rps_cpus"},
    ),
    "isolated CPUs are interrupted": Case(ISOLATED, {"irq-isolated": "IRQ 40 eth0-TxRx-0, CPU 4"}, never=("rps-isolated",)),
    "isolated CPUs get RPS": Case(Machine("5.10.1", cpus=8, isolated="4-7", cards=[Card(rps="f0")]), {"rps-isolated": "4-7"}),
    "RFS by half": Case(Machine(sysctl={"rps_sock_flow_entries": "32768"}), {"rfs-half": "rps_flow_cnt"}),
    "RFS whole": Case(Machine(sysctl={"rps_sock_flow_entries": "32768"}, cards=[Card(flow_cnt=32768)]), {}, never=("rfs-half",)),
    "deferred interrupts without their timer": Case(
        Machine(cards=[Card(files={"napi_defer_hard_irqs": "2\n"})]), {"defer-without-timeout": "does nothing"}
    ),
    "what drivers set by themselves is right": Case(
        Machine(cards=[Card(driver="r8169", files={"napi_defer_hard_irqs": "1\n", "gro_flush_timeout": "20000\n"})]), {},
        never=("defer-without-timeout", "flush-timeout-long"),
    ),
    "GRO holds packets for a millisecond": Case(
        Machine(cards=[Card(files={"gro_flush_timeout": "1000000\n"})]), {"flush-timeout-long": "1000 us"}
    ),
    "a card whose interrupts are all far away": Case(
        Machine("6.12.1", cpus=16, nodes=2, cards=[Card(irqs=[0, 1], node=1)]),
        {"other-node": "echo 8 > /proc/irq/40/smp_affinity_list"}
    ),
    "skb_defer_max of 2 on lock-free lists": Case(
        Machine("6.18.1", sysctl={"skb_defer_max": "2"}), {"defer-never-kicked": "skb_defer_max=64"}
    ),
    "skb_defer_max of 2 on lists with a"
    " lock": Case(Machine("6.12.1", sysctl={"skb_defer_max": "2"}), {}, never=("defer-never-kicked",)),
    "the flow limit": Case(
        Machine(sysctl={"flow_limit_cpu_bitmap": "f"}, stat={1: [90_000, 20, 0, 0, 20]}), {"flow-limit": "echo f >"},
    ),
    "a short backlog": Case(Machine(sysctl={"netdev_max_backlog": "128"}), {"backlog-small": "netdev_max_backlog=1000"}),
    "the hypervisor takes CPUs": Case(
        Machine("6.1.1", cpus=2),
        {"steal": "25%"}, later(Machine("6.1.1", cpus=2), times={0: [5_000, 0, 4_000, 9_901_500, 1_000, 0, 2_000, 500]}),
        look=lambda found: found["steal"].sure == "certain",
    ),
    "silent drops under a quota (kubeflow 13729)": Case(
        Machine("6.6.1", files={"sys/fs/cgroup/cpu.max": "50000 100000\n",
                                "sys/fs/cgroup/cpu.stat": "usage_usec 9\nnr_periods 1000\nnr_throttled 400\nthrottled_usec 8\n"}),
        {"throttled": "400 of 1,000 periods"},
    ),
    "a real-time task where the card interrupts": Case(
        Machine("6.12.1", threads=[(99, "control", 1, 80, 0, 100)]), {"realtime-hog": "control (SCHED_FIFO 80)"},
        later(Machine("6.12.1"), threads=[(99, "control", 1, 80, 0, 1090)]),
    ),
    "a CPU does nothing but softirqs": Case(
        UDP, {"softirq-full": "CPU 0 spends 90% of its time in softirqs"},
        later(UDP, times={0: [5_000, 0, 4_000, 9_900_100, 1_000, 0, 2_900, 0]}),
    ),
    "a napi thread on a kernel that can be told to preempt": Case(
        NAPI_HOG, {"napi-thread-hog": "echo voluntary > /sys/kernel/debug/sched/preempt"}, later(NAPI_HOG, threads=HOGGED),
    ),
    "and on one that cannot": Case(
        replace(NAPI_HOG, version="#1 SMP"), {"napi-thread-hog": "no CONFIG_PREEMPT_DYNAMIC"},
        later(replace(NAPI_HOG, version="#1 SMP"), threads=HOGGED),
        look=lambda found: "echo" not in found["napi-thread-hog"].changes[0].do,
    ),
    "a napi thread on a kernel that preempts": Case(
        replace(NAPI_HOG, config="CONFIG_HZ=250\nCONFIG_PREEMPT=y\n"), {},
        later(replace(NAPI_HOG, config="CONFIG_HZ=250\nCONFIG_PREEMPT=y\n"), threads=HOGGED),
    ),
    "WireGuard on one core (calico 9223)": Case(
        Machine("6.1.1", cards=[Card(), Card("wg0", files={"uevent": "DEVTYPE=wireguard\n"})]),
        {"wireguard-one-cpu": "echo 1 > /sys/class/net/wg0/threaded"},
        later(Machine("6.1.1", cards=[Card(), Card("wg0", files={"uevent": "DEVTYPE=wireguard\n"})]),
              files={"proc/net/dev": " face |bytes\n wg0: 1 2200000 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n"}),
    ),
}  # fmt: skip


def _text(finding: Finding) -> str:
    changes = [f"{change.do} {change.undo}" for change in finding.changes]
    return " ".join(
        [finding.title, finding.meaning, *(f"{e.source}: {e.text}" for e in finding.evidence), *changes, finding.because]
    )


@pytest.mark.parametrize("name", CASES)
def test_what_is_said(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    given = [case.machine.write(tmp_path / "now")]
    if case.later is not None:
        given.append(case.later.write(tmp_path / "later"))
    found = {finding.id: finding for finding in diagnose(read_sources(given, 0)).findings}
    for finding, words in case.must.items():
        assert finding in found, f"{finding} is not said, but {sorted(found)}"
        assert words in _text(found[finding]).replace(str(tmp_path), ""), _text(found[finding])
    assert not set(case.never) & set(found)
    assert case.look(found)
    if not case.must:
        assert not found
    for finding_ in found.values():
        assert finding_.evidence
        assert all(evidence.source and evidence.text for evidence in finding_.evidence)
