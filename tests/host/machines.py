# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines as trees of files, made from a few words: releases, columns, CPUs, cards. Synthetic; formats as the kernel prints them.

A machine is quiet unless told otherwise. What is written is what fs/proc, net/core/net-procfs.c and net/core/net-sysfs.c print.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

CPUIDLE = "sys/devices/system/cpu/cpu0/cpuidle"
ICE_LAKE = (
    ("POLL", "CPUIDLE CORE POLL IDLE", 0, 0),
    ("C1", "MWAIT 0x00", 1, 1),
    ("C1E", "MWAIT 0x01", 4, 4),
    ("C6", "MWAIT 0x20", 170, 600),
)
ROME = (("POLL", "CPUIDLE CORE POLL IDLE", 0, 0), ("C1", "ACPI FFH MWAIT 0x0", 1, 2), ("C2", "ACPI IOPORT 0x814", 400, 800))


def idle_states(driver: str, states: tuple[tuple[str, str, int, int], ...], off: tuple[str, ...] = ()) -> dict[str, str]:
    """The files of drivers/cpuidle/sysfs.c."""
    base = "sys/devices/system/cpu/cpuidle"
    files = {f"{base}/current_driver": f"{driver}\n", f"{base}/current_governor": "menu\n"}
    for at, (name, desc, latency, residency) in enumerate(states):
        values = {"name": name, "desc": desc, "latency": latency, "residency": residency, "disable": int(name in off)}
        files |= {f"{CPUIDLE}/state{at}/{key}": f"{value}\n" for key, value in values.items()}
    return files


COLUMNS = {"4.19": 11, "5.4": 11, "5.10": 13, "6.1": 13, "6.6": 15, "6.12": 15, "6.18": 15}


@dataclass
class Card:
    """eth0 of a machine."""

    name: str = "eth0"
    driver: str = "ixgbe"
    irqs: list[int] = field(default_factory=lambda: [0])
    """The CPU of each queue's interrupt."""
    interrupts: int = 20_000
    rps: str = "0"
    flow_cnt: int = 0
    node: int = 0
    files: dict[str, str] = field(default_factory=dict)
    """More files of /sys/class/net/NAME."""


@dataclass
class Machine:
    """A machine; the dictionaries say what differs from a quiet one."""

    release: str = "6.12"
    cpus: int = 4
    offline: list[int] = field(default_factory=list)
    version: str = "#1 SMP PREEMPT_DYNAMIC"
    config: str = "CONFIG_HZ=250\nCONFIG_PREEMPT_VOLUNTARY=y\n"
    cmdline: str = "BOOT_IMAGE=/vmlinuz root=/dev/sda1 ro quiet"
    uptime: float = 100_000.0
    nodes: int = 1
    cards: list[Card] = field(default_factory=lambda: [Card()])
    stat: dict[int, list[int]] = field(default_factory=dict)
    """CPU -> the first columns of softnet_stat, column 10 and 11: processed, dropped, squeezes, received_rps, flow_limit."""
    softirqs: dict[str, dict[int, int]] = field(default_factory=dict)
    times: dict[int, list[int]] = field(default_factory=dict)
    """CPU -> user, nice, system, idle, iowait, irq, softirq, steal."""
    snmp: dict[str, int] = field(default_factory=dict)
    netstat: dict[str, int] = field(default_factory=dict)
    sysctl: dict[str, str] = field(default_factory=dict)
    threads: list[tuple[int, str, int, int, int, int]] = field(default_factory=list)
    """(pid, comm, policy, priority, CPU, ticks)."""
    isolated: str = ""
    sys: bool = True
    files: dict[str, str] = field(default_factory=dict)

    def online(self) -> list[int]:
        return [cpu for cpu in range(self.cpus) if cpu not in self.offline]

    def write(self, root: Path) -> Path:
        """The tree below ``root``."""
        for path, text in {**self._proc(), **(self._sys() if self.sys else {}), **self.files}.items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        return root

    def _softnet(self) -> str:
        columns = next(n for name, n in COLUMNS.items() if self.release == name or self.release.startswith(name + "."))
        lines = []
        for cpu in self.online():
            processed, dropped, squeezed, rps, limited = (self.stat.get(cpu, [40_000 + cpu]) + [0] * 5)[:5]
            values = [processed, dropped, squeezed, 0, 0, 0, 0, 0, 0, rps, limited, 0, cpu, 0, 0]
            lines.append(" ".join(f"{value:08x}" for value in values[:columns]) + "\n")
        return "".join(lines)

    def _table(self, rows: dict[str, dict[int, int]], rest: dict[str, str], cpus: list[int]) -> str:
        lines = ["            " + "".join(f"{f'CPU{cpu}':>11}" for cpu in cpus)]
        for name, counts in rows.items():
            lines.append(f"{name:>11}:" + "".join(f"{counts.get(cpu, 0):>11}" for cpu in cpus) + rest.get(name, ""))
        return "\n".join(lines) + "\n"

    def _interrupts(self) -> str:
        rows: dict[str, dict[int, int]] = {"0": {0: 40}}
        rest = {"0": "  IO-APIC   2-edge      timer", "LOC": "   Local timer interrupts"}
        for at, card in enumerate(self.cards):
            for queue, cpu in enumerate(card.irqs):
                number = str(40 + 100 * at + queue)
                rows[number] = {cpu: card.interrupts}
                rest[number] = f"  PCI-MSI-0000:0{at + 1}:00.0   {queue}-edge      {card.name}-TxRx-{queue}"
        rows["LOC"] = dict.fromkeys(self.online(), 1_000_000)
        return self._table(rows, rest, self.online()) + "        ERR:          0\n"

    def _proc(self) -> dict[str, str]:
        runs = {name: dict.fromkeys(range(self.cpus), count) for name, count in
                (("HI", 0), ("TIMER", 300_000), ("NET_TX", 50), ("NET_RX", 40_000), ("SCHED", 200_000))}  # fmt: skip
        for name, counts in self.softirqs.items():
            runs[name] |= counts
        quiet = [5_000, 0, 4_000, 9_900_000, 1_000, 0, 2_000, 0]
        times = {cpu: self.times.get(cpu, quiet) for cpu in self.online()}
        whole = [sum(values) for values in zip(*times.values(), strict=True)]
        snmp = {
            "InDatagrams": 100_000,
            "NoPorts": 3,
            "InErrors": 0,
            "OutDatagrams": 90_000,
            "RcvbufErrors": 0,
            "MemErrors": 0,
        } | self.snmp
        tcp = {
            "ListenOverflows": 0,
            "ListenDrops": 0,
            "PruneCalled": 0,
            "RcvPruned": 0,
            "TCPBacklogDrop": 0,
            "TCPRcvQDrop": 0,
            "TCPOFODrop": 0,
        }
        tcp |= self.netstat
        sysctl = {
            "netdev_max_backlog": "1000", "netdev_budget": "300", "netdev_budget_usecs": "8000", "rmem_default": "212992",
            "rmem_max": "212992", "rps_sock_flow_entries": "0", "flow_limit_cpu_bitmap": "0", "somaxconn": "4096",
        } | self.sysctl  # fmt: skip
        files = {
            "proc/version": f"Linux version {self.release} (builder@example) (gcc 12) {self.version}\n",
            "proc/sys/kernel/osrelease": self.release + "\n",
            "proc/sys/kernel/hostname": "machine\n",
            "proc/cmdline": self.cmdline + "\n",
            "proc/uptime": f"{self.uptime:.2f} {self.uptime * self.cpus:.2f}\n",
            "proc/net/softnet_stat": self._softnet(),
            "proc/interrupts": self._interrupts(),
            "proc/softirqs": self._table(runs, {}, list(range(self.cpus))),
            "proc/stat": "cpu  " + " ".join(map(str, whole)) + " 0 0\n"
            + "".join(f"cpu{cpu} " + " ".join(map(str, values)) + " 0 0\n" for cpu, values in times.items()) + "ctxt 1\n",
            "proc/net/snmp": "Ip: Forwarding DefaultTTL\nIp: 1 64\n" + _pair("Udp", snmp),
            "proc/net/netstat": _pair("TcpExt", tcp),
            "proc/net/dev": "Inter-|   Receive                                                |  Transmit\n"
            " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls"
            " carrier compressed\n"
            + "".join(f"{name:>6}: 1000000 200000    0    0    0     0          0         0  1000000    9000    0    0   "
            f" 0     0       0          0\n"
                      for name in ("lo", *(card.name for card in self.cards))),
            "boot/config-" + self.release: self.config,
        }  # fmt: skip
        for name, value in sysctl.items():
            files[f"proc/sys/net/core/{name}"] = value + "\n"
        files["proc/sys/net/ipv4/tcp_rmem"] = "4096\t131072\t6291456\n"
        files |= self._affinity_and_threads()
        return files

    def _affinity_and_threads(self) -> dict[str, str]:
        files: dict[str, str] = {}
        for card_at, card in enumerate(self.cards):
            for queue, cpu in enumerate(card.irqs):
                files[f"proc/irq/{40 + 100 * card_at + queue}/smp_affinity_list"] = f"{cpu}\n"
        kernel_threads = [(10 + cpu, f"ksoftirqd/{cpu}", 0, 0, cpu, 20) for cpu in self.online()]
        given = {comm for _, comm, *_ in self.threads}
        for pid, comm, policy, priority, cpu, ticks in [*(t for t in kernel_threads if t[1] not in given), *self.threads]:
            fields = [
                "S",
                "2",
                *["0"] * 9,
                "0",
                str(ticks),
                "0",
                "0",
                "20",
                "0",
                "1",
                "0",
                "0",
                *["0"] * 16,
                str(cpu),
                str(priority),
                str(policy),
            ]
            files[f"proc/{pid}/stat"] = f"{pid} ({comm}) " + " ".join(fields) + " 0 0\n"
            files[f"proc/{pid}/status"] = f"Name:\t{comm}\nCpus_allowed_list:\t{cpu}\n"
        return files

    def _sys(self) -> dict[str, str]:
        base = "sys/devices/system"
        files = {
            f"{base}/cpu/possible": f"0-{self.cpus - 1}\n",
            f"{base}/cpu/online": ",".join(map(str, self.online())) + "\n",
            f"{base}/cpu/offline": ",".join(map(str, self.offline)) + "\n",
            f"{base}/cpu/isolated": self.isolated + "\n",
        }
        each = self.cpus // self.nodes
        for node in range(self.nodes):
            files[f"{base}/node/node{node}/cpulist"] = f"{node * each}-{node * each + each - 1}\n"
        for card in self.cards:
            net = f"sys/class/net/{card.name}"
            files |= {
                f"{net}/mtu": "1500\n", f"{net}/operstate": "up\n", f"{net}/device/numa_node": f"{card.node}\n",
                f"{net}/threaded": "0\n", f"{net}/gro_flush_timeout": "0\n", f"{net}/napi_defer_hard_irqs": "0\n",
                f"{net}/speed": "10000\n",
            }  # fmt: skip
            for queue in range(len(card.irqs)):
                files[f"{net}/queues/rx-{queue}/rps_cpus"] = card.rps + "\n"
                files[f"{net}/queues/rx-{queue}/rps_flow_cnt"] = f"{card.flow_cnt}\n"
            files |= {f"{net}/{name}": text for name, text in card.files.items()}
        files |= {"sys/class/net/lo/mtu": "65536\n", "sys/class/net/lo/operstate": "unknown\n",
                  "sys/class/net/lo/queues/rx-0/rps_cpus": "0\n"}  # fmt: skip
        return files


def _pair(group: str, values: dict[str, int]) -> str:
    return f"{group}: {' '.join(values)}\n{group}: {' '.join(map(str, values.values()))}\n"


QUIET: dict[str, Machine] = {
    "4.19 in a container without /sys": Machine("4.19.300", cpus=8, sys=False),
    "5.10 with 2 CPUs": Machine("5.10.0-28-amd64", cpus=2, version="#1 SMP Debian 5.10.209-2"),
    "6.1 with offline CPUs in the middle": Machine("6.1.0-37-amd64", cpus=16, offline=[5, 6, 11], cards=[Card(irqs=[0, 1, 2, 3])]),
    "6.6 with 128 CPUs and 2 nodes": Machine("6.6.30", cpus=128, nodes=2, cards=[Card(irqs=list(range(0, 128, 2)))]),
    "6.12 with one CPU": Machine("6.12.94", cpus=1),
    "6.12 on PREEMPT_RT": Machine(
        "6.12.94-rt", version="#1 SMP PREEMPT_RT", config="CONFIG_HZ=250\nCONFIG_PREEMPT_RT=y\n",
        threads=[(30, "backlog_napi/0", 0, 0, 0, 4), (31, "irq/40-eth0-TxR", 1, 50, 0, 9), (32, "ktimers/0", 1, 1, 0, 50)],
    ),
    "6.18 with 256 CPUs and two cards": Machine(
        "6.18.15", cpus=256, nodes=2, config="CONFIG_HZ=1000\nCONFIG_PREEMPT_LAZY=y\n",
        sysctl={"netdev_budget_usecs": "2000", "skb_defer_max": "64"},
        cards=[Card(irqs=list(range(32))), Card("eth1", irqs=list(range(128, 160)), node=1)],
    ),
}  # fmt: skip
"""Machines of which nothing is to be said."""
