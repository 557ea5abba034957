# SPDX-License-Identifier: GPL-2.0-or-later
"""One reader of /proc and /sys: ``read_tree`` for what stands, ``take_sample`` for what counts, ``read_machine`` for both.

Nothing is written. What is not there, as /sys in many containers, is named in the report's ``unread``, and the rest is read.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final

from softnet.errors import HostError
from softnet.host import text as texts
from softnet.host.cards import read_cards
from softnet.host.cpusets import cpu_list
from softnet.host.model import CpuIdleState, CpuTable, HostReport, Preempt, Sample
from softnet.host.netlink import add_ethtool, add_napis, add_statistics
from softnet.host.threads import read_threads, thread_ticks
from softnet.host.tools import netdev_table
from softnet.host.tree import Tree

CONFIG_KEYS: Final = (
    "CONFIG_HZ", "CONFIG_PREEMPT_NONE", "CONFIG_PREEMPT_VOLUNTARY", "CONFIG_PREEMPT", "CONFIG_PREEMPT_LAZY", "CONFIG_PREEMPT_RT",
    "CONFIG_PREEMPT_DYNAMIC", "CONFIG_RPS", "CONFIG_XPS", "CONFIG_NET_FLOW_LIMIT", "CONFIG_RFS_ACCEL", "CONFIG_NO_HZ_FULL",
    "CONFIG_IRQ_FORCED_THREADING", "CONFIG_NET_RX_BUSY_POLL", "CONFIG_CPU_ISOLATION", "CONFIG_PREEMPT_RT_NEEDS_BH_LOCK",
)  # fmt: skip
SYSCTLS_BESIDE_CORE: Final = (
    "net/ipv4/udp_mem", "net/ipv4/udp_rmem_min", "net/ipv4/tcp_mem", "net/ipv4/tcp_rmem", "net/ipv4/tcp_max_syn_backlog",
    "kernel/sched_rt_runtime_us", "kernel/sched_rt_period_us",
)  # fmt: skip
LEFT_OUT: Final = ("netdev_rss_key", "bpf_jit_enable", "bpf_jit_harden", "bpf_jit_kallsyms", "bpf_jit_limit")
"""Sysctls that say nothing of the receive path and something of the machine."""
IDLE_STATES_MAX: Final = 10
"""include/linux/cpuidle.h: CPUIDLE_STATE_MAX."""


def read_machine(
    tree: Tree,
    seconds: float = 0,
    *,
    now: Callable[[], int] = time.monotonic_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> HostReport:
    """Everything: what stands, a sample, and after ``seconds`` (0: not at all) another one."""
    report = read_tree(tree)
    report.samples.append(_sampled(tree, report, now()))
    if tree.live:
        add_ethtool(report)
        add_napis(report)
        if seconds > 0:
            sleep(seconds)
            report.samples.append(_sampled(tree, report, now()))
    if not tree.live:
        # Both copies of a machine that was copied twice have a clock in common: the time since boot.
        report.samples[0].at_ns = None if report.uptime_s is None else int(report.uptime_s * 1e9)
    report.unread += tree.missing()
    return report


def _sampled(tree: Tree, report: HostReport, at_ns: int) -> Sample:
    sample = take_sample(tree, report, at_ns)
    if tree.live:
        add_statistics(report, sample)
    return sample


def read_tree(tree: Tree) -> HostReport:
    """What stands: no counters."""
    report = HostReport(name=tree.line("/proc/sys/kernel/hostname") or tree.line("/etc/hostname"))
    report.release = tree.line("/proc/sys/kernel/osrelease")
    report.version = tree.line("/proc/version")
    if not report.release:
        report.release = release_of(report.version)
    uptime = tree.line("/proc/uptime").split()
    if uptime and re.fullmatch(r"[0-9]{1,11}(\.[0-9]{1,3})?", uptime[0], re.ASCII):
        report.uptime_s = float(uptime[0])
    if (arguments := tree.text("/proc/cmdline")) is not None:
        report.boot_args = [word[:400] for word in arguments.split()[:400]]
        report.sources["boot_args"] = tree.place("/proc/cmdline")
    _config(tree, report)
    report.preempt = _preempt(tree, report)
    _cpus(tree, report)
    _sysctls(tree, report)
    if not tree.names("/sys"):
        tree.missed("/sys", "not there, as in many containers: cards, masks and NUMA nodes are not known")
    report.cards = read_cards(tree)
    _interrupts(tree, report)
    report.threads = read_threads(tree)
    _cgroup(tree, report)
    return report


def release_of(version: str) -> str:
    """The release in /proc/version or in what uname prints; nothing if there is none."""
    found = re.search(r"(?:^|\s)([0-9]{1,2}\.[0-9]{1,3}(?:[.\-+][0-9A-Za-z.+_~\-]{0,80})?)(?:\s|$)", version)
    return found[1] if found else ""


def config_of(text: str) -> dict[str, str]:
    """The build options that matter here, of a kernel's .config."""
    found = {}
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and key in CONFIG_KEYS:
            found[key] = value[:100]
    return found


def _config(tree: Tree, report: HostReport) -> None:
    for path in ("/proc/config.gz", f"/boot/config-{report.release}", f"/lib/modules/{report.release}/config"):
        found = tree.unpacked(path) if path.endswith(".gz") else tree.text(path)
        if found:
            report.config = config_of(found)
            report.sources["config"] = tree.place(path)
            return
    tree.missed("/proc/config.gz", "not there, nor /boot/config-RELEASE: CONFIG_HZ and the preemption model are not certain")


def _preempt(tree: Tree, report: HostReport) -> Preempt:
    debug = re.search(r"\((none|voluntary|full|lazy)\)", tree.line("/sys/kernel/debug/sched/preempt"))
    return preempt_of(report, debug[1] if debug else "", tree.line("/sys/kernel/realtime") == "1")


def preempt_of(report: HostReport, chosen: str = "", realtime: bool = False) -> Preempt:
    """The preemption model: as it is chosen at run time, by the boot argument, as built; empty if nothing says it."""
    if realtime or "PREEMPT_RT" in report.version or report.config.get("CONFIG_PREEMPT_RT") == "y":
        return "rt"
    models: tuple[Preempt, ...] = ("none", "voluntary", "full", "lazy")
    for model in models:
        if model == chosen or f"preempt={model}" in (report.boot_args or []):
            return model
    names = ("CONFIG_PREEMPT_NONE", "CONFIG_PREEMPT_VOLUNTARY", "CONFIG_PREEMPT", "CONFIG_PREEMPT_LAZY")
    for model, name in zip(models, names, strict=True):
        if report.config.get(name) == "y":
            return model
    return "full" if re.search(r"\bPREEMPT\b(?!_)", report.version) else ""


def _cpus(tree: Tree, report: HostReport) -> None:
    base = "/sys/devices/system/cpu"
    cpus = report.cpus
    for name in ("possible", "online", "offline", "isolated", "nohz_full"):
        found = tree.text(f"{base}/{name}")
        if found is not None:
            setattr(cpus, name, cpu_list(found, tree.place(f"{base}/{name}")))
            report.sources[f"cpus.{name}"] = tree.place(f"{base}/{name}")
    for name in tree.names("/sys/devices/system/node"):
        if re.fullmatch(r"node[0-9]{1,4}", name):
            path = f"/sys/devices/system/node/{name}/cpulist"
            found = tree.text(path)
            if found is not None and len(cpus.nodes) < 1024:
                cpus.nodes[name[4:]] = cpu_list(found, tree.place(path))
    _idle(tree, report, base)
    if info := tree.text("/proc/cpuinfo"):
        model = re.search(r"^model name\s*:\s*(.*)$", info, re.MULTILINE)
        cpus.model = model[1][:200] if model else ""
        flags = re.search(r"^flags\s*:\s*(.*)$", info, re.MULTILINE)
        cpus.hypervisor = "hypervisor" in flags[1].split() if flags else None
    if cpus.online is None and (stat := tree.text("/proc/stat")):
        with_numbers = texts.proc_stat(stat, tree.place("/proc/stat"))
        cpus.online = [int(name) for name in with_numbers if name != "all" and int(name) < 8192]
        report.sources["cpus.online"] = tree.place("/proc/stat")


def _idle(tree: Tree, report: HostReport, base: str) -> None:
    """How the CPUs idle: the driver, its states, who chooses. 6.1 has the governor in a second file, too."""
    cpus = report.cpus
    cpus.idle_driver = tree.line(f"{base}/cpuidle/current_driver")
    cpus.idle_governor = tree.line(f"{base}/cpuidle/current_governor") or tree.line(f"{base}/cpuidle/current_governor_ro")
    own = f"{base}/cpu{min(cpus.online or [0], default=0)}"
    for at in range(IDLE_STATES_MAX):
        path = f"{own}/cpuidle/state{at}"
        name, latency, residency = (tree.line(f"{path}/{key}") for key in ("name", "latency", "residency"))
        if not (name and re.fullmatch(r"[0-9]{1,10}", latency) and re.fullmatch(r"[0-9]{1,10}", residency)):
            break
        desc, disabled = tree.line(f"{path}/desc"), tree.line(f"{path}/disable") not in ("", "0")
        state = CpuIdleState(
            name=name[:100], desc=desc[:100], latency_us=int(latency), residency_us=int(residency), disabled=disabled
        )
        cpus.idle_states.append(state)
        report.sources["cpus.idle_states"] = tree.place(f"{own}/cpuidle")
    limit = tree.line(f"{own}/power/pm_qos_resume_latency_us")
    # 0 is no limit, and "n/a" the limit 0: drivers/base/power/sysfs.c.
    if limit == "n/a" or re.fullmatch(r"[1-9][0-9]{0,9}", limit):
        cpus.latency_limit_us = 0 if limit == "n/a" else int(limit)


def _sysctls(tree: Tree, report: HostReport) -> None:
    paths = [f"net/core/{name}" for name in tree.names("/proc/sys/net/core") if name not in LEFT_OUT]
    for path in (*paths[:200], *SYSCTLS_BESIDE_CORE):
        if value := tree.line(f"/proc/sys/{path}"):
            report.sysctl[path.replace("/", ".")[:200]] = " ".join(value.split())[:400]
    report.sources["sysctl"] = tree.place("/proc/sys")


def _interrupts(tree: Tree, report: HostReport) -> None:
    found = tree.text("/proc/interrupts")
    if found is None:
        return
    _, rest = texts.cpu_table(found, tree.place("/proc/interrupts"))
    report.irqs = texts.irqs(rest)
    for irq in report.irqs:
        for name, field in (("smp_affinity_list", "affinity"), ("effective_affinity_list", "effective")):
            path = f"/proc/irq/{irq.number}/{name}"
            if (cpus := tree.text(path)) is not None:
                setattr(irq, field, cpu_list(cpus, tree.place(path)))


def _cgroup(tree: Tree, report: HostReport) -> None:
    base = cgroup_path(tree)
    for name in ("cpu.max", "cpuset.cpus.effective", "cpu.weight"):
        if value := tree.line(f"{base}/{name}"):
            report.cgroup[name] = value[:400]
    if report.cgroup:
        report.sources["cgroup"] = tree.place(base)


def cgroup_path(tree: Tree) -> str:
    """The directory of the cgroup in which this runs; of a copied tree, what stands at the top."""
    own = re.search(r"^0::(/.*)$", tree.text("/proc/self/cgroup") or "", re.MULTILINE) if tree.live else None
    path = f"/sys/fs/cgroup{own[1]}" if own else "/sys/fs/cgroup"
    return path.rstrip("/") if tree.exists(path) else "/sys/fs/cgroup"


def take_sample(tree: Tree, report: HostReport, at_ns: int) -> Sample:
    """All counters now. What a file is wrong in is an error of a copy, and of the machine itself, too."""
    sample = Sample(at_ns=at_ns)

    def given(name: str, path: str, *, wanted: bool = True) -> tuple[str, str] | None:
        found = tree.text(path, wanted=wanted)
        if found is None or not found.strip():
            if found is not None and wanted:
                tree.missed(path, "empty")
            return None
        report.sources[name] = tree.place(path)
        return found, tree.place(path)

    if found := given("softnet", "/proc/net/softnet_stat"):
        sample.softnet, note = texts.softnet_stat(*found, report.cpus.online)
        if note and note not in report.notes:
            report.notes.append(note)
    if found := given("interrupts", "/proc/interrupts"):
        sample.interrupts, _ = texts.cpu_table(*found)
    if found := given("softirqs", "/proc/softirqs"):
        sample.softirqs, _ = texts.cpu_table(*found)
    if found := given("cpu_time", "/proc/stat"):
        sample.cpu_time = texts.proc_stat(*found)
    for name in ("snmp", "netstat"):
        if found := given(f"protocols.{name}", f"/proc/net/{name}"):
            sample.protocols |= texts.protocols(*found)
    if found := given("devices", "/proc/net/dev"):
        sample.devices = netdev_table(*found)
    for name in ("udp", "udp6"):
        if found := given(f"sockets.{name}", f"/proc/net/{name}", wanted=False):
            sample.sockets += texts.udp_sockets(*found[:2], name)
    sample.thread_ticks = thread_ticks(tree, report.threads)
    if found := given("throttled", f"{cgroup_path(tree)}/cpu.stat", wanted=False):
        for line in texts.lines(*found):
            words = line.text.split()
            if len(words) == 2 and words[0] in ("nr_periods", "nr_throttled", "throttled_usec"):
                sample.throttled[words[0]] = texts.number(words[1], line, words[0])
    return sample


def read_root(root: str, seconds: float) -> HostReport:
    """The machine whose files stand below a directory. Raises HostError if nothing of a machine is there."""
    tree = Tree(root)
    if not tree.names("/proc"):
        raise HostError(
            "no files of a machine", where=root, found="no directory proc", expected="a copy of /proc, and /sys if there is"
        )
    return read_machine(tree, seconds)


__all__ = [
    "CpuTable",
    "Tree",
    "cgroup_path",
    "config_of",
    "preempt_of",
    "read_machine",
    "read_root",
    "read_tree",
    "release_of",
    "take_sample",
]
