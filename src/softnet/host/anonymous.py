# SPDX-License-Identifier: GPL-2.0-or-later
"""A report without what names the machine, its people and its network: for whoever sends it elsewhere."""

from __future__ import annotations

import re
from typing import Any, Final

from softnet.host.model import HostReport

HARMLESS_BOOT_ARGS: Final = re.compile(
    r"(isolcpus|nohz_full|nohz|rcu_nocbs|irqaffinity|threadirqs|thread_backlog_napi|preempt|idle|intel_idle\.max_cstate|processor\.max_cstate"
    r"|mitigations|skew_tick|intel_pstate|tsc|clocksource|nosmt|maxcpus|nr_cpus|quiet)(=[\w.,:\-]*)?"
)
HARMLESS_COMM: Final = re.compile(
    r"(ksoftirqd|backlog_napi|ktimers|rcuc|migration|cpuhp|idle_inject)/\d+|rcu_\w+|watchdogd|(napi|irq)/.*"
)
PLAIN_CARD: Final = re.compile(r"lo|eth\d{1,3}|DEVICE")


def anonymised(report: HostReport) -> HostReport:
    """The report with cards as card0, card1, …; addresses as address1, address2, …; unknown boot arguments and names left out."""
    cards = {c.name: f"card{at}" for at, c in enumerate(report.cards) if not PLAIN_CARD.fullmatch(c.name)}
    found = HostReport.model_validate(_renamed(report.model_dump(by_alias=True), cards))
    found.name = ""
    found.version = " ".join(re.findall(r"#\d+|SMP|PREEMPT\w*", report.version))
    found.boot_args = None if report.boot_args is None else [a for a in report.boot_args if HARMLESS_BOOT_ARGS.fullmatch(a)]
    for thread in found.threads:
        if not HARMLESS_COMM.fullmatch(thread.comm):
            thread.comm = "a task"
    addresses: dict[str, str] = {}
    for sample in found.samples:
        sample.thread_ticks = {k: v for k, v in sample.thread_ticks.items() if HARMLESS_COMM.fullmatch(k.partition("/")[2])}
        for socket in sample.sockets:
            socket.local = addresses.setdefault(socket.local, f"address{len(addresses) + 1}")
    found.log = [re.sub(r"(?:\d{1,3}\.){3}\d{1,3}|(?:[0-9a-fA-F]{0,4}:){2,}[0-9a-fA-F:.]+", "ADDRESS", line) for line in found.log]
    found.sources = {part: _last(path) for part, path in found.sources.items()}
    found.unread = [item.model_copy(update={"what": _last(item.what)}) for item in found.unread]
    found.notes = [re.sub(r"\S*/(?=[^/\s]+)", "", note) for note in found.notes]
    return found


def _last(path: str) -> str:
    """A path of the machine itself as it is, of a copy without the folders above it."""
    found = re.search(r"/(?:proc|sys|boot|sos_commands)/.*", path)
    return found[0] if found else path.rpartition("/")[2]


def _renamed(value: Any, cards: dict[str, str]) -> Any:
    """The document with every card's name replaced, also within the names of interrupts, threads and counters."""
    if not cards:
        return value
    names = re.compile(r"(?<![\w.])(?:" + "|".join(re.escape(n) for n in sorted(cards, key=len, reverse=True)) + r")(?![\w])")

    def walk(item: Any) -> Any:
        if isinstance(item, str):
            return names.sub(lambda m: cards[m[0]], item)
        if isinstance(item, dict):
            return {walk(k): walk(v) for k, v in item.items()}
        return [walk(v) for v in item] if isinstance(item, list) else item

    return walk(value)
