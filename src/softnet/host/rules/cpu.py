# SPDX-License-Identifier: GPL-2.0-or-later
"""Who has the CPU: ksoftirqd, softirqs, real-time threads, the hypervisor, the cgroup's quota."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from softnet.host.facts import Facts
from softnet.host.findings import Change, Evidence, Finding
from softnet.host.model import Thread

KSOFTIRQD_SHARE: Final = 0.2
SOFTIRQ_SHARE: Final = 0.8
STEAL_SHARE: Final = 0.05
THROTTLED_SHARE: Final = 0.05
UPTIME_MIN_S: Final = 600
DEEP_US: Final = 50
"""An idle state that takes so long to leave is worth a word."""


def _ksoftirqd(facts: Facts) -> Iterator[tuple[int, float, Evidence]]:
    """(CPU, share of it, where that stands) of each ksoftirqd that runs much."""
    for name, share in sorted(facts.report.shares.items()):
        if re.fullmatch(r"ksoftirqd/\d{1,4}", name) and share >= KSOFTIRQD_SHARE:
            yield int(name[10:]), share, facts.seen("threads", "ps", f"{name}: {share:.0%} of a CPU")
    for thread in facts.report.threads:
        share_read = facts.thread_share(thread)
        if re.fullmatch(r"ksoftirqd/\d{1,4}", thread.comm) and share_read is not None and share_read >= KSOFTIRQD_SHARE:
            if facts.two or (facts.report.uptime_s or 0) >= UPTIME_MIN_S:
                when = f"in {facts.seconds:.1f} s" if facts.seconds else "since boot"
                yield (
                    int(thread.comm[10:]),
                    share_read,
                    Evidence(f"/proc/{thread.pid}/stat", f"{thread.comm}: {share_read:.0%} of a CPU {when}"),
                )


def ksoftirqd_busy(facts: Facts) -> Iterator[Finding]:
    """ksoftirqd works: softirqs take more than their turn; which ones, /proc/softirqs tells."""
    for cpu, share, seen in _ksoftirqd(facts):
        counts = sorted(((facts.softirqs(name, cpu).now, name) for name in facts.last.softirqs.rows), reverse=True)
        ours = next((count for count, name in counts if name == "NET_RX"), 0)
        total = sum(count for count, _ in counts)
        network = not counts or ours * 4 >= total or _trouble(facts, cpu)
        evidence = [seen]
        if counts:
            told = ", ".join(f"{name} {count:,}" for count, name in counts[:3] if count)
            evidence.append(facts.seen("softirqs", "/proc/softirqs", f"CPU {cpu}: {told}" + ("" if facts.two else " since boot")))
        yield Finding(
            id="ksoftirqd-busy",
            level="risk",
            title=f"ksoftirqd/{cpu} takes {share:.0%} of CPU {cpu}",
            meaning="It is the sign and not the illness: softirqs that would not end (more than 2 ms or ten rounds, or"
            " somebody waits for the CPU) are left to this thread, which runs like any other. "
            + _what(facts, cpu, network, counts)
            + _gate(facts),
            evidence=tuple(evidence),
            sure="likely" if counts else "possible",
            because="its time is counted; counts of softirqs say how often, not how long",
            changes=_relief(facts, cpu) if network else (),
            weight=share * 1000,
        )


def _trouble(facts: Facts, cpu: int) -> bool:
    return any(row.cpu == cpu and (row.dropped.recent or row.time_squeeze.recent) for row in facts.softnet)


def _what(facts: Facts, cpu: int, network: bool, counts: list[tuple[int, str]]) -> str:
    if not counts:
        return "Which softirq it is, /proc/softirqs, read twice, would show."
    if not network:
        return f"Here it is {counts[0][1]} more than the network: look there first."
    return "Here the network's is among the most frequent: more packets come to this CPU than it processes beside its other work."


def _gate(facts: Facts) -> str:
    if facts.version == (0, 0):
        return ""
    if facts.version < (6, 5):
        return (
            f" On {facts.version[0]}.{facts.version[1]} all softirqs of the CPU wait for ksoftirqd while it is runnable, so a busy"
            " task on this CPU delays the network by its time slices; 6.5 ended that."
        )
    return " From 6.5 on new softirqs still run at once beside it, so a flood is not held back for the sake of applications."


def _relief(facts: Facts, cpu: int) -> tuple[Change, ...]:
    for card in facts.hardware:
        if len(card.rx_queues) == 1 and not card.rx_queues[0].rps_cpus:
            path = f"/sys/class/net/{card.name}/queues/rx-0/rps_cpus"
            helpers = [other for other in facts.housekeeping(near=cpu) if other != cpu][:8]
            if helpers:
                from softnet.host.cpusets import as_mask

                return (
                    Change(
                        f"echo {as_mask(helpers)} > {path}",
                        f"echo 0 > {path}",
                        "RPS: let other CPUs do the protocols",
                        ((f"nic.{card.name}.rps_cpus", tuple(helpers)),),
                    ),
                )
    return (
        (Change("softnet host doctor --seconds 10", "", "while it happens: shows which queue and which CPU"),)
        if not facts.two
        else ()
    )


def softirq_full(facts: Facts) -> Iterator[Finding]:
    """A CPU that does nothing but softirqs."""
    said = {cpu for cpu, _, _ in _ksoftirqd(facts)}
    for cpu in facts.online:
        share = facts.cpu_share(cpu, "softirq")
        if share is None or share < SOFTIRQ_SHARE or cpu in said:
            continue
        yield Finding(
            id="softirq-full",
            level="risk",
            title=f"CPU {cpu} spends {share:.0%} of its time in softirqs",
            meaning="It has no room for more packets, and what else runs on it hardly gets its turn.",
            evidence=(facts.seen("cpu_time", "/proc/stat", f"cpu{cpu}: softirq {share:.0%}"),),
            sure="likely",
            because="where the kernel accounts softirq time by ticks, short ones are missed or counted whole",
            changes=_relief(facts, cpu),
            weight=share * 900,
        )


def steal(facts: Facts) -> Iterator[Finding]:
    """The hypervisor gives the CPUs to others."""
    share = facts.cpu_share("all", "steal")
    if share is None or share < STEAL_SHARE:
        return
    yield Finding(
        id="steal",
        level="risk",
        title=f"The hypervisor takes {share:.0%} of the CPU time",
        meaning="While a virtual CPU does not run, its ring and its backlog fill, and no setting in here helps: it is the"
        " host's load, or the instance's limit.",
        evidence=(facts.seen("cpu_time", "/proc/stat", f"steal {share:.1%} of all CPUs"),),
        sure="certain" if facts.two else "possible",
        because="the kernel counts it from what the hypervisor says" + ("" if facts.two else "; since boot, it may be long ago"),
    )


def throttled(facts: Facts) -> Iterator[Finding]:
    """The cgroup's quota stops what receives."""
    last, first = facts.last.throttled, facts.first.throttled if facts.two else {}
    times = last.get("nr_throttled", 0) - first.get("nr_throttled", 0)
    periods = last.get("nr_periods", 0) - first.get("nr_periods", 0)
    if times <= 0 or periods <= 0 or times < THROTTLED_SHARE * periods:
        return
    yield Finding(
        id="throttled",
        level="risk",
        title=f"This cgroup's CPU quota was used up in {times:,} of {periods:,} periods",
        meaning="The application then stands still for the rest of each period while packets keep coming: socket buffers fill, and"
        " what is lost looks like a network's fault.",
        evidence=(
            facts.seen("throttled", "cpu.stat", f"nr_throttled {times:,} of nr_periods {periods:,}"),
            *(
                [facts.seen("cgroup", "cpu.max", f"cpu.max = {facts.report.cgroup['cpu.max']}")]
                if "cpu.max" in facts.report.cgroup
                else []
            ),
        ),
        sure="certain" if facts.two else "likely",
        because="counted while we looked" if facts.two else "counted since the cgroup was made",
        changes=(Change("raise cpu.max of the container, or its CPU limit", "the value that it has now"),),
    )


def _first(threads: list[Thread], prefix: str) -> Thread | None:
    return next((thread for thread in threads if thread.comm.startswith(prefix)), None)


def rt_rps(facts: Facts) -> Iterator[Finding]:
    """RPS on PREEMPT_RT: before 6.10 by interrupts that can only wake ksoftirqd; from 6.10 on by threads at SCHED_OTHER."""
    if facts.report.preempt != "rt" or not facts.rps_on or facts.version == (0, 0):
        return
    mask = next((card, queue) for card in facts.report.cards for queue in card.rx_queues if queue.rps_cpus)
    where = f"/sys/class/net/{mask[0].name}/queues"
    if facts.version < (6, 10):
        yield Finding(
            id="rt-rps",
            level="risk",
            title="RPS on PREEMPT_RT before 6.10: every packet for another CPU waits for its ksoftirqd",
            meaning="RPS interrupts the other CPU, and on PREEMPT_RT an interrupt cannot run softirqs: it wakes ksoftirqd, at"
            " SCHED_OTHER, behind every real-time task. An idle CPU that is interrupted so may print a warning. 6.10 has"
            " threads for this.",
            evidence=(Evidence(f"{where}/rx-0/rps_cpus", "RPS is on"), Evidence("/proc/version", facts.report.release)),
            sure="certain",
            because="it is how softirqs work on PREEMPT_RT (kernel/softirq.c); 56364c910691 and the three after it, v6.10",
            changes=(Change(f"for q in {where}/rx-*; do echo 0 > $q/rps_cpus; done", "the masks that stand there now", "no RPS"),),
        )
    elif (thread := _first(facts.report.threads, "backlog_napi/")) is None or thread.policy == "other":
        yield Finding(
            id="rt-backlog-threads",
            level="note",
            title="RPS on PREEMPT_RT is done by backlog_napi threads at SCHED_OTHER",
            meaning="Packets that RPS gives to another CPU wait for that thread behind every real-time task. Column 10 of"
                " softnet_stat, received_rps, stays 0: it counts interrupts, and there are none. A higher priority does not always"
                " help: trace first.",
            evidence=(Evidence(f"{where}/rx-0/rps_cpus", "RPS is on"),
                      Evidence(f"/proc/{thread.pid}/stat" if thread else "/proc/version",
                               f"{thread.comm} SCHED_OTHER" if thread else facts.report.release)),
            sure="certain",
            because="it is the threads' default (net/core/dev.c)",
            changes=(Change("for p in $(pgrep backlog_napi); do chrt -f -p 1 $p;"
                " done", "for p in $(pgrep backlog_napi); do chrt -o -p 0 $p; done",
                            "only if the packets are more urgent than what runs there"),),
        )  # fmt: skip


def ksoftirqd_realtime(facts: Facts) -> Iterator[Finding]:
    """ksoftirqd at a real-time priority."""
    raised = [thread for thread in facts.report.threads if thread.comm.startswith("ksoftirqd/") and thread.policy in ("fifo", "rr")]
    if not raised:
        return
    thread = raised[0]
    flag = "-f" if thread.policy == "fifo" else "-r"
    yield Finding(
        id="ksoftirqd-realtime",
        level="risk",
        title=f"{thread.comm} runs at SCHED_{thread.policy.upper()} {thread.priority}",
        meaning="Under a flood it then runs for ever above every ordinary task of its CPU, and above kernel threads of"
        " RCU with a lower priority, on which the machine may hang.",
        evidence=(Evidence(f"/proc/{thread.pid}/stat", f"{thread.comm}: SCHED_{thread.policy.upper()} {thread.priority}"),),
        sure="likely",
        because="the priority is certain; that a flood comes is not",
        changes=(Change(f"chrt -o -p 0 {thread.pid}", f"chrt {flag} -p {thread.priority} {thread.pid}"),),
    )


def realtime_hog(facts: Facts) -> Iterator[Finding]:
    """A real-time task that takes a CPU on which a card's interrupts come in."""
    if not facts.two:
        return
    for thread in facts.report.threads:
        share = facts.thread_share(thread)
        if thread.policy not in ("fifo", "rr") or share is None or share < 0.9 or not thread.cpus or len(thread.cpus) != 1:
            continue
        cpu = thread.cpus[0]
        card = next((c for c in facts.hardware if any(facts.irq_cpus(irq) == [cpu] for irq in facts.irqs_of(c))), None)
        if card is None:
            continue
        yield Finding(
            id="realtime-hog",
            level="risk",
            title=f"{thread.comm} (SCHED_{thread.policy.upper()} {thread.priority}) takes {share:.0%} of CPU {cpu}, where"
            f" {card.name} interrupts",
            meaning="ksoftirqd, and on PREEMPT_RT every softirq, waits for it.",
            evidence=(Evidence(f"/proc/{thread.pid}/stat", f"{share:.0%} of CPU {cpu}"),),
            sure="likely",
            because="its time was counted while we looked",
        )


def deep_idle(facts: Facts) -> Iterator[Finding]:
    """CPUs may idle in a state that takes long to leave, and cards interrupt them."""
    cpus = facts.report.cpus
    states = [state for state in cpus.idle_states if not state.disabled]
    limit = cpus.latency_limit_us
    deep = [state for state in states if state.latency_us >= DEEP_US and (limit is None or state.latency_us <= limit)]
    if not deep or not facts.hardware or set(facts.report.boot_args or ()) & {"idle=poll", "idle=halt", "cpuidle.off=1"}:
        return
    worst = deep[-1]
    told = ", ".join(f"{state.name} {state.latency_us} us from {state.residency_us} us on" for state in states)
    yield Finding(
        id="deep-idle",
        level="note",
        title=f"A CPU that was idle for {worst.residency_us:,} us may take {worst.latency_us:,} us to wake",
        meaning=f"Idle states, {cpus.idle_governor or 'a governor'} chooses: {told}. Packets that come seldom pay it, at the card's"
        " interrupt and at the application's CPU again. Who holds /dev/cpu_dma_latency open forbids it; that cannot be read here.",
        evidence=(facts.seen("cpus.idle_states", "/sys/devices/system/cpu/cpu0/cpuidle", f"{worst.name}: {worst.latency_us} us"),),
        sure="possible",
        because="the states are certain; how long CPUs idle, and who forbids deep states, is not known",
        changes=(Change(f"cpupower idle-set -D {DEEP_US}", "cpupower idle-set -E", "it takes power, and turbo from other cores",
                        (("machine.idle.latency_limit_us", DEEP_US - 1),)),),
    )  # fmt: skip


RULES = (ksoftirqd_busy, softirq_full, steal, throttled, rt_rps, ksoftirqd_realtime, realtime_hog, deep_idle)
