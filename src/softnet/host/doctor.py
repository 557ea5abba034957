# SPDX-License-Identifier: GPL-2.0-or-later
"""``diagnose(report)``: all rules asked, their findings ranked."""

from __future__ import annotations

from softnet.host.facts import Facts
from softnet.host.findings import LEVELS, Diagnosis, Finding
from softnet.host.model import HostReport
from softnet.host.rules import all_rules

FINDINGS_MAX = 200


def diagnose(report: HostReport) -> Diagnosis:
    """What is wrong, risky or worth knowing of a machine, the worst first; equal reports give equal findings."""
    facts = Facts(report)
    found: list[Finding] = [finding for rule in all_rules() for finding in rule(facts)]
    found.sort(key=lambda f: (LEVELS.index(f.level), -f.weight, f.id, f.title))
    return Diagnosis(
        findings=tuple(found[:FINDINGS_MAX]),
        machine=machine_line(facts),
        looked_at=tuple(sorted(set(report.sources.values()))),
        window=window_line(facts),
        notes=tuple(report.notes),
        unread=tuple(f"{item.what}: {item.why}" for item in report.unread),
    )


def machine_line(facts: Facts) -> str:
    """The machine in one line; what is not known is left out."""
    report = facts.report
    parts = [f"Linux {report.release}" if report.release else "a kernel of unknown release"]
    if report.preempt:
        parts.append("PREEMPT_RT" if report.preempt == "rt" else f"preemption {report.preempt}")
    if report.hz:
        parts.append(f"HZ {report.hz}")
    if facts.online:
        of = f" of {len(report.cpus.possible)}" if report.cpus.possible and len(report.cpus.possible) > len(facts.online) else ""
        count = len(facts.online)
        parts.append(
            f"{count}{of} CPU{'' if count == 1 and not of else 's'}" + (", a virtual machine" if report.cpus.hypervisor else "")
        )
    for card in facts.hardware[:3]:
        queues = len(card.rx_queues) or card.channels.get("combined", 0)
        told = [card.driver] if card.driver else []
        told += [f"{queues} receive queue{'' if queues == 1 else 's'}"] if queues else []
        parts.append(card.name + (f" ({', '.join(told)})" if told else ""))
    if len(facts.hardware) > 3:
        parts.append(f"{len(facts.hardware) - 3} more cards")
    return (f"{report.name}: " if report.name else "") + ", ".join(parts)


def window_line(facts: Facts) -> str:
    """Over which time counters are compared."""
    if facts.seconds is not None:
        return f"counters compared over {facts.seconds:.1f} s"
    if facts.two:
        return "two samples compared; how far apart they are is not known"
    uptime = facts.report.uptime_s
    return "one sample: counters since boot" + (f", {uptime / 3600:,.1f} hours ago" if uptime else "")
