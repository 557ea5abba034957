# SPDX-License-Identifier: GPL-2.0-or-later
"""Which CPU gets the packets: RPS and RFS masks, affinity of interrupts, isolated and offline CPUs, NUMA nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from softnet.host.cpusets import as_list, as_mask
from softnet.host.facts import Facts
from softnet.host.findings import Change, Evidence, Finding
from softnet.host.model import Card, Irq
from softnet.host.rules.backlog import set_sysctl

SYSFS: Final = "/sys/class/net"


def _masks(facts: Facts) -> Iterator[tuple[Card, int, list[int]]]:
    """Every queue that has RPS on."""
    for card in facts.report.cards:
        for at, queue in enumerate(card.rx_queues):
            if queue.rps_cpus:
                yield card, at, queue.rps_cpus


def _mask_change(card: Card, at: int, old: list[int], new: list[int]) -> Change:
    path = f"{SYSFS}/{card.name}/queues/rx-{at}/rps_cpus"
    return Change(f"echo {as_mask(new)} > {path}", f"echo {as_mask(old)} > {path}")


def rps_offline(facts: Facts) -> Iterator[Finding]:
    """Masks that name CPUs which are offline."""
    if facts.report.cpus.online is None:
        return
    online = set(facts.online)
    hit = [(card, at, mask) for card, at, mask in _masks(facts) if not online.issuperset(mask)]
    if not hit:
        return
    gone = sorted({cpu for _, _, mask in hit for cpu in mask if cpu not in online})
    yield Finding(
        id="rps-offline",
        level="risk",
        title=f"RPS of {hit[0][0].name} names CPU{'' if len(gone) == 1 else 's'} {as_list(gone)}, offline",
        meaning="The mask keeps a CPU that went offline after it was written. Its share of the flows stays on the CPU that took the"
        " interrupt, so that one gets more than the others. In the instant in which a CPU goes, an RPS IPI to it is"
        " skipped without a word (net/core/dev.c, net_rps_send_ipi()).",
        evidence=(
            *tuple(Evidence(f"{SYSFS}/{card.name}/queues/rx-{at}/rps_cpus", as_mask(mask)) for card, at, mask in hit[:3]),
            facts.seen("cpus.online", "online CPUs", as_list(facts.online)),
        ),
        sure="certain",
        because="both are what the kernel prints",
        changes=tuple(_mask_change(card, at, mask, [cpu for cpu in mask if cpu in online]) for card, at, mask in hit[:8]),
    )


def rps_isolated(facts: Facts) -> Iterator[Finding]:
    """Masks that name isolated CPUs."""
    free = set(facts.kept_free)
    hit = [(card, at, mask) for card, at, mask in _masks(facts) if free & set(mask)]
    if not hit:
        return
    yield Finding(
        id="rps-isolated",
        level="risk",
        title=f"RPS of {hit[0][0].name} sends packets to isolated CPUs ({as_list(free & {c for _, _, m in hit for c in m})})",
        meaning="Somebody wants these CPUs undisturbed, and RPS gives them interrupts and softirqs. Newer kernels leave"
        " isolated CPUs out when the mask is written; this one holds them.",
        evidence=(
            *tuple(Evidence(f"{SYSFS}/{card.name}/queues/rx-{at}/rps_cpus", as_mask(mask)) for card, at, mask in hit[:3]),
            facts.seen("cpus.isolated", "isolated CPUs", f"isolated or nohz_full: {as_list(free)}"),
        ),
        sure="likely",
        because="the masks are certain; that the CPUs are meant to be left alone follows from isolcpus or nohz_full",
        changes=tuple(_mask_change(card, at, mask, [cpu for cpu in mask if cpu not in free]) for card, at, mask in hit[:8]),
    )


def irq_isolated(facts: Facts) -> Iterator[Finding]:
    """A card's interrupts that come to isolated CPUs."""
    free = set(facts.kept_free)
    if not free:
        return
    helpers = facts.housekeeping()
    for card in facts.hardware:
        hit = []
        for irq in facts.irqs_of(card):
            cpus = [cpu for cpu in facts.irq_cpus(irq) if cpu in free and facts.interrupts(irq.number, cpu).now]
            if cpus:
                hit.append((irq, cpus))
        if not hit:
            continue
        yield Finding(
            id="irq-isolated",
            level="risk",
            title=f"{card.name} interrupts isolated CPUs ({as_list(cpu for _, cpus in hit for cpu in cpus)})",
            meaning="Each of these interrupts takes a CPU from what it is reserved for, and its packets are processed there, too.",
            evidence=(
                *(_counted_there(facts, irq, cpus[0]) for irq, cpus in hit[:4]),
                facts.seen("cpus.isolated", "isolated CPUs", f"isolated or nohz_full: {as_list(free)}"),
            ),
            sure="likely",
            because="the interrupts are counted; a reserved CPU may be meant for this card, as with busy polling",
            changes=tuple(
                Change(
                    f"echo {as_list(helpers)} > /proc/irq/{irq.number}/smp_affinity_list",
                    f"echo {as_list(irq.affinity or cpus)} > /proc/irq/{irq.number}/smp_affinity_list",
                    "may fail for interrupts that the kernel manages: then isolcpus=managed_irq at boot"
                    if irq is hit[0][0]
                    else "",
                )
                for irq, cpus in hit[:4]
                if helpers
            ),
        )


def _counted_there(facts: Facts, irq: Irq, cpu: int) -> Evidence:
    counted = facts.counted(facts.interrupts(irq.number, cpu), "interrupts")
    return facts.seen("interrupts", "/proc/interrupts", f"IRQ {irq.number} {irq.name}, CPU {cpu}: {counted}")


def rfs_half(facts: Facts) -> Iterator[Finding]:
    """RFS needs two settings, and has one."""
    entries = facts.sysctl("net.core.rps_sock_flow_entries")
    with_count = [card for card in facts.report.cards if any(queue.rps_flow_cnt for queue in card.rx_queues)]
    known = [card for card in facts.hardware if card.rx_queues and card.rx_queues[0].rps_flow_cnt is not None]
    if entries is None or not known or bool(entries) == bool(with_count):
        return
    card = (with_count or known)[0]
    path = f"{SYSFS}/{card.name}/queues/rx-0/rps_flow_cnt"
    each = max((entries or 32768) // max(len(card.rx_queues), 1), 1)
    queues = f"{SYSFS}/{card.name}/queues/rx-*"
    change = (
        Change(
            f"for q in {queues}; do echo {each} > $q/rps_flow_cnt; done",
            f"for q in {queues}; do echo 0 > $q/rps_flow_cnt; done",
            "",
            ((f"nic.{card.name}.rps_flow_cnt", each),),
        )
        if entries
        else set_sysctl(facts, "net.core.rps_sock_flow_entries", 32768)
    )
    yield Finding(
        id="rfs-half",
        level="wrong",
        title="RFS is set up by half and does nothing",
        meaning="Receive flow steering needs the table of all flows, net.core.rps_sock_flow_entries, and one of each queue,"
        " rps_flow_cnt. Here only one of them is there.",
        evidence=(
            facts.setting("net.core.rps_sock_flow_entries") or Evidence("sysctl", ""),
            Evidence(path, str(card.rx_queues[0].rps_flow_cnt)),
        ),
        sure="certain",
        because="get_rps_cpu() in net/core/dev.c asks for both",
        changes=(change,),
    )


def other_node(facts: Facts) -> Iterator[Finding]:
    """A card whose interrupts all go to CPUs of another NUMA node."""
    nodes = facts.report.cpus.nodes
    for card in facts.hardware:
        node = "" if card.numa_node is None else str(card.numa_node)
        local = nodes.get(node, [])
        busy = [
            irq for irq in facts.irqs_of(card) if any(facts.interrupts(irq.number, cpu).now for cpu in facts.last.interrupts.cpus)
        ]
        if len(nodes) < 2 or not busy or not any(cpu in facts.online for cpu in local):
            continue
        if any(cpu in local for irq in busy for cpu in facts.irq_cpus(irq)):
            continue
        near = [cpu for cpu in local if cpu in facts.housekeeping()] or local
        yield Finding(
            id="other-node",
            level="note",
            title=f"{card.name} is on NUMA node {node}, and none of its interrupts go to a CPU of that node",
            meaning="Descriptors and packets are then fetched from the other node's memory, for every packet.",
            evidence=(
                Evidence(f"{SYSFS}/{card.name}/device/numa_node", node),
                facts.seen(
                    "interrupts",
                    "/proc/interrupts",
                    f"{len(busy)} interrupts on CPUs {as_list(cpu for irq in busy for cpu in facts.irq_cpus(irq))}",
                ),
            ),
            sure="likely",
            because="what it costs depends on the machine: compare before and after",
            changes=tuple(
                Change(
                    f"echo {near[at % len(near)]} > /proc/irq/{irq.number}/smp_affinity_list",
                    f"echo {as_list(irq.affinity or facts.irq_cpus(irq))} > /proc/irq/{irq.number}/smp_affinity_list",
                )
                for at, irq in enumerate(busy[:4])
            ),
        )


RULES = (rps_offline, rps_isolated, irq_isolated, rfs_half, other_node)
