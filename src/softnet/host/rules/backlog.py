# SPDX-License-Identifier: GPL-2.0-or-later
"""What softnet_stat tells: backlog drops, squeezes, the flow limit, one CPU that does everything."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from softnet.host.cpusets import as_list, as_mask
from softnet.host.facts import Facts, SoftnetCpu
from softnet.host.findings import Change, Evidence, Finding, Level
from softnet.host.model import Card

SHARE_NOTED: Final = 1e-5
"""Share of all packets since boot: fewer drops are no more than a note, and none at all if none came while we looked."""
SQUEEZES_A_SECOND: Final = 5.0
SQUEEZES_SINCE_BOOT: Final = 100
PACKETS_PER_SQUEEZE: Final = 20_000
ONE_CPU_SHARE: Final = 0.8
BUSY_PPS: Final = 10_000
BUSY_SOFTIRQ: Final = 0.3


def _cpus(rows: list[SoftnetCpu]) -> str:
    return ("CPU " if len(rows) == 1 else "CPUs ") + as_list(row.cpu for row in rows)


MODELLED: Final = (
    "netdev_max_backlog",
    "netdev_budget",
    "netdev_budget_usecs",
    "skb_defer_max",
    "rps_sock_flow_entries",
)
"""Sysctls of net.core that a scenario has and rules change."""
HARMLESS: Final = re.compile(r"[\w.,\- ]{1,200}", re.ASCII)
"""Values that may stand in a command: a report may come from anybody, and a shell is to read what is printed."""


def set_sysctl(facts: Facts, name: str, value: int | str, why: str = "") -> Change:
    """A change of a setting, with the way back."""
    old = facts.report.sysctl.get(name, "")
    undo = f"sysctl -w {name}={_quoted(old)}" if HARMLESS.fullmatch(old) else f"the value that `sysctl {name}` prints before"
    key = "application.app.rcvbuf" if name == "net.core.rmem_default" else f"sysctl.{name[9:]}" if name[9:] in MODELLED else ""
    sets = ((key, value),) if key and isinstance(value, int) else ()
    return Change(f"sysctl -w {name}={_quoted(str(value))}", undo, why, sets)


def _quoted(value: str) -> str:
    return f"'{value}'" if " " in value else value


def backlog_drops(facts: Facts) -> Iterator[Finding]:
    """Packets that found a CPU's backlog full."""
    hit = [row for row in facts.softnet if row.dropped.now]
    old = not hit
    hit = hit or [row for row in facts.softnet if row.dropped.total]
    few = sum(row.dropped.total for row in hit) < SHARE_NOTED * sum(row.processed.total for row in facts.softnet)
    if not hit or (old and few):
        return
    worst = max(hit, key=lambda row: row.dropped.now or row.dropped.total)
    limit = facts.sysctl("net.core.netdev_max_backlog")
    dropped = sum(row.dropped.now for row in hit)
    evidence = [
        facts.seen(
            "softnet",
            "softnet_stat",
            f"CPU {row.cpu}, column 2: {facts.counted(row.dropped, 'dropped')}; {facts.counted(row.processed, 'processed')}",
        )
        for row in sorted(hit, key=lambda row: -(row.dropped.now or row.dropped.total))[:4]
    ]
    if (setting := facts.setting("net.core.netdev_max_backlog")) is not None:
        evidence.append(setting)
    limited = sum(row.flow_limit.now for row in hit)
    if limited:
        evidence.append(facts.seen("softnet", "softnet_stat", f"column 11: {limited:,} of the drops are the flow limit's"))
    who = "RPS, loopback, veth, tunnels and drivers without NAPI put packets there; a driver with NAPI does not"
    starved = _starved(facts, worst)
    level: Level = "note" if old or (few and worst.dropped.recent is None) else "wrong"
    yield Finding(
        id="backlog-drops",
        level=level,
        title=f"{_cpus(hit)}: the backlog was full and packets were dropped" + (", but not now" if old else ""),
        meaning=f"A CPU's backlog holds netdev_max_backlog packets that another CPU or a virtual device gave it ({who}); what comes"
        " on top is lost, counted here and in the interface's rx_dropped, and at no socket. A longer backlog helps"
        " against bursts only." + (f" {starved}" if starved else ""),
        evidence=tuple(evidence),
        sure="certain",
        because=facts.since(worst.dropped),
        changes=(set_sysctl(facts, "net.core.netdev_max_backlog", max(4 * (limit or 1000), 4000), "room for bursts"),),
        weight=float(dropped),
    )


def _starved(facts: Facts, row: SoftnetCpu) -> str:
    """Whether the CPU that drops is one that does not come to work, rather than one hit by bursts."""
    softirq = facts.cpu_share(row.cpu, "softirq")
    idle = facts.cpu_share(row.cpu, "idle")
    if softirq is not None and softirq > 0.5:
        return f"Here CPU {row.cpu} spends {softirq:.0%} of its time in softirqs: it is at its limit, so spread the load first."
    if idle is not None and idle < 0.05:
        return (
            f"Here CPU {row.cpu} is busy with other work (idle {idle:.0%}): move that away from it, or steer the packets elsewhere."
        )
    return ""


def time_squeeze(facts: Facts) -> Iterator[Finding]:
    """net_rx_action() that left work undone because its budget or its time was over."""
    hit = [row for row in facts.softnet if _squeezed(facts, row)]
    if not hit:
        return
    squeezes, processed = sum(row.time_squeeze.now for row in hit), sum(row.processed.now for row in hit)
    worst = max(hit, key=lambda row: row.time_squeeze.now)
    budget = facts.sysctl("net.core.netdev_budget")
    usecs = facts.sysctl("net.core.netdev_budget_usecs")
    evidence = [
        facts.seen("softnet", "softnet_stat", f"CPU {row.cpu}, column 3: {facts.counted(row.time_squeeze, 'squeezes')}")
        for row in sorted(hit, key=lambda row: -row.time_squeeze.now)[:4]
    ]
    per = processed // squeezes
    evidence.append(facts.seen("softnet", "softnet_stat", f"{per:,} packets for each squeeze on {_cpus(hit)}"))
    evidence += [e for e in (facts.setting("net.core.netdev_budget"), facts.setting("net.core.netdev_budget_usecs")) if e]
    by_time = budget is not None and per < budget
    which = (
        f" Fewer packets than netdev_budget ({budget}) came for each squeeze, so it is the time, netdev_budget_usecs, that ends"
        " runs: raising netdev_budget alone changes nothing (unless GRO merges, which this counter does not see)."
        if by_time
        else " Nothing here says which of the two limits ends the runs: raise both together, or neither."
        + (
            f" A netdev_budget_usecs of {usecs} is two ticks with HZ={2_000_000 // usecs}; with a lower HZ it is less,"
            f" and ends runs early."
            if usecs and usecs < 8000 and facts.report.hz is None
            else ""
        )
    )
    changes = []
    if not by_time:
        changes.append(set_sysctl(facts, "net.core.netdev_budget", 2 * (budget or 300), "twice the packets in one run"))
    changes.append(set_sysctl(facts, "net.core.netdev_budget_usecs", 2 * (usecs or 8000), "twice the time for one run"))
    yield Finding(
        id="time-squeeze",
        level="risk" if any(row.dropped.now for row in hit) or len(facts.report.samples) == 2 else "note",
        title=f"{_cpus(hit)}: net_rx_action() ends with packets left over",
        meaning="A squeeze loses nothing: the rest is polled in the next softirq or in ksoftirqd, later. It says that more comes at"
        " once than one run may take." + which,
        evidence=tuple(evidence),
        sure="possible" if worst.time_squeeze.recent is None else "likely",
        because=facts.since(worst.time_squeeze) + "; whether anybody waits for these packets, no counter says",
        changes=tuple(changes),
        weight=float(squeezes) / 1000,
    )


def _squeezed(facts: Facts, row: SoftnetCpu) -> bool:
    """Whether squeezes are more than what any machine has now and then."""
    rate = facts.rate(row.time_squeeze)
    if rate is not None:
        return rate >= SQUEEZES_A_SECOND
    runs = facts.softirqs("NET_RX", row.cpu)
    squeezes = row.time_squeeze.now
    if squeezes < SQUEEZES_SINCE_BOOT:
        return False
    return squeezes >= runs.now / 100 if runs.now else row.processed.now < squeezes * PACKETS_PER_SQUEEZE


def budget_usecs_short(facts: Facts) -> Iterator[Finding]:
    """netdev_budget_usecs below two ticks: the time of a run is then anything down to nothing."""
    usecs, hz = facts.sysctl("net.core.netdev_budget_usecs"), facts.report.hz
    if usecs is None or hz is None or usecs >= 2 * 1_000_000 // hz:
        return
    tick = 1_000_000 // hz
    ticks = -(-usecs // tick)
    yield Finding(
        id="budget-usecs-short",
        level="risk",
        title=f"netdev_budget_usecs is {usecs}, less than two ticks of {tick} us",
        meaning=f"The kernel rounds it up to whole ticks, here {ticks}, and the first of them has begun already: a run may take"
        f" between {max(ticks - 1, 0) * tick:,} and {ticks * tick:,} us."
        " Kernels from 6.14 on, and later 6.1 and 6.12, refuse such a value.",
        evidence=tuple(
            e for e in (facts.setting("net.core.netdev_budget_usecs"), facts.seen("config", "config", f"CONFIG_HZ={hz}")) if e
        ),
        sure="certain",
        because="it is arithmetic: net/core/dev.c, net_rx_action() counts in jiffies",
        changes=(set_sysctl(facts, "net.core.netdev_budget_usecs", 2 * tick, "the kernel's default at this HZ"),),
    )


def flow_limit(facts: Facts) -> Iterator[Finding]:
    """Drops of the flow limit: they are meant, but whoever has that flow must know."""
    hit = [row for row in facts.softnet if row.flow_limit.now]
    if not hit:
        return
    path = "/proc/sys/net/core/flow_limit_cpu_bitmap"
    mask = facts.report.sysctl.get("net.core.flow_limit_cpu_bitmap", "")
    mask = mask if HARMLESS.fullmatch(mask) else "MASK"
    yield Finding(
        id="flow-limit",
        level="note",
        title=f"{_cpus(hit)}: the flow limit drops packets of large flows",
        meaning="net.core.flow_limit_cpu_bitmap is set: once a backlog is half full, a flow that has more than its half of the"
        " recent packets loses some. They are among column 2, too.",
        evidence=tuple(
            facts.seen("softnet", "softnet_stat", f"CPU {row.cpu}, column 11: {facts.counted(row.flow_limit, 'packets')}")
            for row in hit[:4]
        ),
        sure="certain",
        because=facts.since(hit[0].flow_limit),
        changes=(
            Change(
                f"echo 0 > {path}",
                f"echo {mask} > {path}",
                "only if a large flow may push the others out",
            ),
        ),
    )


def one_cpu(facts: Facts) -> Iterator[Finding]:
    """One CPU does nearly everything while others could help, and it shows."""
    rows = facts.softnet
    processed = sum(row.processed.now for row in rows)
    if len(rows) < 2 or not processed:
        return
    top = max(rows, key=lambda row: row.processed.now)
    share = top.processed.now / processed
    if share < ONE_CPU_SHARE or not (trouble := _trouble(facts, top)):
        return
    others = "CPU" if len(rows) == 2 else len(rows) - 1
    cards = [card for card in facts.hardware if any(top.cpu in facts.irq_cpus(irq) for irq in facts.irqs_of(card))]
    cause, changes, evidence = _spread(facts, top.cpu, cards)
    yield Finding(
        id="one-cpu",
        level="risk",
        title=f"CPU {top.cpu} processes {share:.0%} of all packets, the other {others} next to nothing",
        meaning=f"{trouble} {cause}",
        evidence=(
            facts.seen("softnet", "softnet_stat", f"column 1: CPU {top.cpu} {top.processed.now:,} of {processed:,} packets"),
            *evidence,
        ),
        sure="likely" if cards else "possible",
        because="the shares are counted; whether the CPU is the limit depends on what else it does",
        changes=tuple(changes),
        weight=float(processed) / 100,
    )


def _trouble(facts: Facts, row: SoftnetCpu) -> str:
    softirq = facts.cpu_share(row.cpu, "softirq")
    rate = facts.rate(row.processed)
    if row.dropped.now:
        return "It drops packets."
    if _squeezed(facts, row):
        return "It is squeezed."
    if softirq is not None and softirq >= BUSY_SOFTIRQ:
        return f"It spends {softirq:.0%} of its time in softirqs."
    return f"It takes {rate:,.0f} packets a second." if rate is not None and rate >= BUSY_PPS else ""


def _spread(facts: Facts, cpu: int, cards: list[Card]) -> tuple[str, list[Change], list[Evidence]]:
    """Why the packets come to one CPU, and how to spread them."""
    helpers = [other for other in facts.housekeeping(near=cpu) if other != cpu][:32]
    changes: list[Change] = []
    if not cards:
        return ("Nothing here says why: /proc/interrupts would show whether the card's interrupts all go there, ethtool -l whether"
                " it has more queues, /sys/class/net/DEVICE/queues/rx-N/rps_cpus whether RPS is on."), changes, []  # fmt: skip
    card = cards[0]
    irqs = facts.irqs_of(card)
    here = [irq for irq in irqs if facts.irq_cpus(irq) == [cpu]]
    counts = facts.seen(
        "interrupts", "/proc/interrupts", f"{card.name}: {len(here)} of {len(irqs)} receiving interrupts go to CPU {cpu} alone"
    )
    queues, most = max(len(card.rx_queues), card.channels.get("combined", 0)), card.channels.get("combined_max", 0)
    if len(here) > 1 and len(here) == len(irqs) and helpers:
        for at, irq in enumerate(here[1:9]):
            to = helpers[at % len(helpers)]
            old = as_list(irq.affinity or [cpu])
            path = f"/proc/irq/{irq.number}/smp_affinity_list"
            spread = (cpu, *(helpers[n % len(helpers)] for n in range(len(here) - 1)))
            sets = ((f"nic.{card.name}.irq_cpus", spread),) if at == 0 and len(card.rx_queues) == len(here) else ()
            changes.append(Change(f"echo {to} > {path}", f"echo {old} > {path}", f"{irq.name or card.name} to CPU {to}", sets))
        return f"{card.name} has {len(irqs)} receiving interrupts, and all go to CPU {cpu}: give each its CPU.", changes, [counts]
    if most > queues >= 1:
        want = min(most, len(facts.housekeeping(near=cpu)))
        changes.append(
            Change(
                f"ethtool -L {card.name} combined {want}",
                f"ethtool -L {card.name} combined {queues}",
                "more receive queues",
                ((f"nic.{card.name}.queues", want), (f"nic.{card.name}.irq_cpus", tuple(facts.housekeeping(near=cpu)[:want]))),
            )
        )
        return f"{card.name} uses {queues} of {most} queues that it has.", changes, [counts]
    queue = card.rx_queues[0] if card.rx_queues else None
    if queue is not None and not queue.rps_cpus and helpers and len(card.rx_queues) == 1:
        path = f"/sys/class/net/{card.name}/queues/rx-0/rps_cpus"
        changes.append(
            Change(
                f"echo {as_mask(helpers[:8])} > {path}",
                f"echo 0 > {path}",
                "let other CPUs do the protocols (RPS)",
                ((f"nic.{card.name}.rps_cpus", tuple(helpers[:8])),),
            )
        )
        return f"{card.name} has one queue and RPS is off: every packet is processed where its interrupt goes.", changes, [counts]
    why = "one flow, or a hash that does not tell flows apart (ethtool -n)"
    return f"{card.name} has several queues, but the packets come in one: {why}.", changes, [counts]


RULES = (backlog_drops, time_squeeze, budget_usecs_short, flow_limit, one_cpu)
