# SPDX-License-Identifier: GPL-2.0-or-later
"""Pasted output, recognised by what it holds: no file name and no option says what it is.

A text may hold several outputs, each behind its prompt (``$ cat /proc/net/softnet_stat``). The same output twice is two samples.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from softnet.errors import HostError
from softnet.host import text as texts
from softnet.host import tools
from softnet.host.cpusets import CPUS_MAX
from softnet.host.model import CARD_NAME, HostReport, Sample, Unread
from softnet.host.read import config_of, preempt_of, release_of

SENT_MAX: Final = 16 * 1024 * 1024
SECTIONS_MAX: Final = 2000
LOG_MAX: Final = 200
LINE_MAX: Final = 500
"""Characters of a line in which a pattern is looked for, so that none takes long on a line without an end."""
UNNAMED: Final = "DEVICE"
"""A card of which an output does not say the name: ethtool -S does not."""
LOG_LINES: Final = re.compile(
    r"page_pool_release_retry|stalled pool shutdown|unregister_netdevice: waiting for|local softirq work is pending"
    r"|NETDEV WATCHDOG|nf_conntrack.*(?:blocked|full)|xfrm.*WARN|WARNING:.*(?:xfrm|skb_|net/core)|blocked for more than \d+ seconds"
    r"|softirq: huh|sched: RT throttling activated|NOHZ.*(?:handler|local_softirq_pending)"
)
"""What the kernel's log says that concerns this path."""

_TOOLS = "cat|head|ethtool|nstat|netstat|sysctl|ip|uname|ps|top|dmesg|journalctl|zcat|zgrep|grep|lscpu|ss"
_PROMPT = re.compile(rf"^(?:\[?[\w.\-]{{1,64}}@[\w.\-:~/ ]{{1,100}}\]?\s*)?[#$>]\s+(?:sudo\s+)?((?:{_TOOLS})\b.*)$")


class Section(NamedTuple):
    """One output: where it is from, its first line's number, and the command above it."""

    text: str
    where: str
    first: int
    command: str


def sections(text: str, where: str) -> Iterator[Section]:
    """A text taken apart at its prompts."""
    start, command = 1, ""
    held: list[str] = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        prompt = _PROMPT.match(line[:LINE_MAX])
        if prompt:
            if any(h.strip() for h in held):
                yield Section("\n".join(held), where, start, command)
            start, command, held = number + 1, prompt[1][:200], []
        else:
            held.append(line)
    if any(h.strip() for h in held):
        yield Section("\n".join(held), where, start, command)


_KINDS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = tuple(
    (kind, re.compile(pattern, re.MULTILINE))
    for kind, pattern in (
        ("softnet", r"\A\s*[0-9a-zA-Z]{8}(?:[ \t]+[0-9a-zA-Z]{8}){8,}[ \t]*$"),
        ("softirqs", r"\A\s*CPU\d.*\n(?:.*\n){0,12}?[ \t]*(?:NET_RX|HI|TIMER):"),
        ("interrupts", r"\A\s*CPU\d.*\n(?:.*\n)*?[ \t]*(?:\d+|NMI|LOC|IPI0):"),
        ("devices", r"\A\s*Inter-\|\s+Receive"),
        ("ip_link", r"\A\s*\d+: \S+: <[\w,\-]*>(?:.*\n)*?[ \t]+RX:"),
        ("ethtool_S", r"^NIC statistics:"),
        ("ethtool_g", r"^Ring parameters for \S+:"),
        ("ethtool_l", r"^Channel parameters for \S+:"),
        ("ethtool_c", r"^Coalesce parameters for \S+:"),
        ("ethtool_k", r"^Features for \S+:"),
        ("ethtool_i", r"\Adriver: \S+\s*$"),
        ("udp6", r"\A\s*sl\s+local_address\s+remote_address"),
        ("udp", r"\A\s*sl\s+local_address\s+rem_address"),
        ("protocols", r"\A\s*(?:Ip|TcpExt|Icmp|Udp): [A-Z]\w+"),
        ("nstat", r"\A#\d*\.?kernel|\A\w+\s+\d+\s+\d+\.\d+\s*$"),
        ("netstat_s", r"^(?:Udp|Tcp|TcpExt|Ip):\s*$"),
        ("config", r"^CONFIG_\w+=(?:y|\d+)"),
        ("sysctl", r"^net\.core\.\w+\s*=|^net\.ipv4\.\w+\s*="),
        ("cpu_time", r"^cpu\d*\s+\d+ \d+ \d+ \d+"),
        ("processes", r"^.{0,300}%CPU\b.{0,300}\b(?:COMMAND|COMM|CMD)\b"),
        ("uname", r"\A\s*Linux (?:version \d|\S+ \d+\.\d+)\S*"),
        ("boot_args", r"\A\s*(?:BOOT_IMAGE=|root=|console=)\S[^\n]*\s*\Z"),
    )
)


def kind_of(section: Section) -> str:
    """What an output is; empty if nothing is recognised."""
    head = section.text[:20_000].lstrip("\n")
    for kind, pattern in _KINDS:
        if pattern.search(head):
            return kind
    return "log" if any(LOG_LINES.search(line[:LINE_MAX]) for line in section.text.split("\n")) else ""


class Dumps:
    """Outputs on their way into a report."""

    def __init__(self) -> None:
        self.held: dict[str, list[tuple[Section, str, bool]]] = {}
        self.count = 0

    def take(self, text: str, where: str, *, lenient: bool = False) -> bool:
        """Hold the outputs that are recognised; whether any was. ``lenient``: one that cannot be read is written down, no error."""
        found = False
        for section in sections(text, where):
            kind = kind_of(section)
            if not kind or self.count >= SECTIONS_MAX:
                continue
            found = True
            self.count += 1
            card = _card_of(section)
            self.held.setdefault(f"{kind} {card}" if kind.startswith("ethtool") else kind, []).append((section, card, lenient))
        return found

    def into(self, report: HostReport) -> HostReport:
        """The report with all outputs in it."""
        twice = any(len(found) > 1 for found in self.held.values()) and not report.samples
        if self.held and not report.samples:
            report.samples = [Sample(), Sample()] if twice else [Sample()]
        order = [kind for kind, _ in _KINDS] + ["log"]
        # Which CPUs are online is known before softnet_stat is read.
        order.sort(key=lambda kind: (kind == "softnet", kind == "processes"))
        for kind in order:
            for key in sorted(key for key in self.held if key.partition(" ")[0] == kind):
                found = self.held[key]
                for section, card, lenient in (found[0], found[-1]) if len(found) > 1 else found:
                    first = len(found) > 1 and section is found[0][0]
                    self._read(kind, section, card, lenient, report, report.samples[0 if first else -1])
        return report

    def _read(self, kind: str, section: Section, card: str, lenient: bool, report: HostReport, sample: Sample) -> None:
        try:
            _READERS[kind](section, card, report, sample)
        except HostError as error:
            if not lenient:
                raise
            report.unread.append(Unread(what=(error.where or section.where)[:400], why=f"{error.message}: {error.found}"[:400]))
            return
        report.sources.setdefault(_PARTS.get(kind, kind) + (f".{card}" if kind.startswith("ethtool") else ""), section.where[:400])


def _card_of(section: Section) -> str:
    """The interface that an output of ethtool is about: as it says, as its command says, as its file's name says."""
    said = re.search(
        r"^(?:Ring|Channel|Coalesce) parameters for (\S{1,63}?):|^Features for (\S{1,63}?):", section.text[:2000], re.MULTILINE
    )
    names = [said[1] or said[2]] if said else []
    asked = re.search(r"ethtool\s+-\w\s+([^\s|]{1,63})", section.command)
    named = re.search(r"ethtool_-\w_(\S{1,63})$", section.where)
    names += [match[1] for match in (asked, named) if match]
    return next((name for name in names if re.fullmatch(CARD_NAME, name, re.ASCII)), UNNAMED)


_PARTS: Final = {
    "ip_link": "devices",
    "nstat": "protocols.netstat",
    "netstat_s": "protocols.netstat",
    "protocols": "protocols.netstat",
    "udp": "sockets.udp",
    "udp6": "sockets.udp6",
    "processes": "threads",
}
"""Kind -> the name of its part in ``sources``, where it is another."""
_Reader = Callable[[Section, str, HostReport, Sample], None]


def _softnet(section: Section, card: str, report: HostReport, sample: Sample) -> None:
    sample.softnet, note = texts.softnet_stat(section.text, section.where, report.cpus.online, section.first)
    if note and note not in report.notes:
        report.notes.append(note)


def _interrupts(section: Section, card: str, report: HostReport, sample: Sample) -> None:
    sample.interrupts, rest = texts.cpu_table(section.text, section.where, section.first)
    report.irqs = report.irqs or texts.irqs(rest)
    if report.cpus.online is None:
        report.cpus.online = list(sample.interrupts.cpus)
        report.sources["cpus.online"] = section.where[:400]


def _softirqs(section: Section, card: str, report: HostReport, sample: Sample) -> None:
    sample.softirqs, _ = texts.cpu_table(section.text, section.where, section.first)


def _cpu_time(section: Section, card: str, report: HostReport, sample: Sample) -> None:
    sample.cpu_time = texts.proc_stat(section.text, section.where, section.first)
    if report.cpus.online is None:
        report.cpus.online = [int(name) for name in sample.cpu_time if name != "all" and int(name) < CPUS_MAX] or None


def _devices(section: Section, card: str, report: HostReport, sample: Sample) -> None:
    sample.devices = tools.netdev_table(section.text, section.where, section.first)


def _ip_link(section: Section, card: str, report: HostReport, sample: Sample) -> None:
    sample.devices = tools.ip_link(section.text, section.where, section.first)


def _statistics(section: Section, card: str, report: HostReport, sample: Sample) -> None:
    sample.ethtool[card] = tools.ethtool_statistics(section.text, section.where, section.first)
    report.card(card)


def _ring(section: Section, card: str, report: HostReport, sample: Sample) -> None:
    report.card(card).ring = tools.ethtool_values(section.text, section.where, section.first)


def _channels(section: Section, card: str, report: HostReport, sample: Sample) -> None:
    report.card(card).channels = tools.ethtool_values(section.text, section.where, section.first)


def _coalesce(section: Section, card: str, report: HostReport, sample: Sample) -> None:
    report.card(card).coalesce = tools.ethtool_values(section.text, section.where, section.first)


def _features(section: Section, card: str, report: HostReport, sample: Sample) -> None:
    report.card(card).features = tools.ethtool_features(section.text, section.where, section.first)


def _driver(section: Section, card: str, report: HostReport, sample: Sample) -> None:
    report.card(card).driver = section.text.split()[1][:60]


def _udp(section: Section, card: str, report: HostReport, sample: Sample) -> None:
    sample.sockets += texts.udp_sockets(section.text, section.where, "udp", section.first)


def _udp6(section: Section, card: str, report: HostReport, sample: Sample) -> None:
    sample.sockets += texts.udp_sockets(section.text, section.where, "udp6", section.first)


def _protocols(section: Section, card: str, report: HostReport, sample: Sample) -> None:
    sample.protocols |= texts.protocols(section.text, section.where, section.first)


def _nstat(section: Section, card: str, report: HostReport, sample: Sample) -> None:
    sample.protocols |= tools.nstat(section.text, section.where, section.first)


def _netstat(section: Section, card: str, report: HostReport, sample: Sample) -> None:
    sample.protocols |= tools.netstat_s(section.text, section.where, section.first)


def _config(section: Section, card: str, report: HostReport, sample: Sample) -> None:
    report.config |= config_of(section.text)
    report.preempt = report.preempt or preempt_of(report)


def _sysctl(section: Section, card: str, report: HostReport, sample: Sample) -> None:
    report.sysctl |= tools.sysctls(section.text, section.where, section.first)


def _uname(section: Section, card: str, report: HostReport, sample: Sample) -> None:
    report.version = section.text.strip().partition("\n")[0][:400]
    report.release = release_of(report.version)[:100]
    report.preempt = preempt_of(report)


def _boot_args(section: Section, card: str, report: HostReport, sample: Sample) -> None:
    report.boot_args = [word[:400] for word in section.text.split()[:400]]


def _processes(section: Section, card: str, report: HostReport, sample: Sample) -> None:
    """ps and top: the threads' shares of a CPU."""
    for process in tools.processes(section.text, section.where, section.first)[:2000]:
        if re.match(r"(ksoftirqd|backlog_napi)/\d+|napi/|irq/", process.comm):
            report.shares[process.comm] = process.percent / 100


def _log(section: Section, card: str, report: HostReport, sample: Sample) -> None:
    report.log += [line.strip()[:400] for line in section.text.split("\n") if LOG_LINES.search(line[:LINE_MAX])][
        : LOG_MAX - len(report.log)
    ]


_READERS: Final[dict[str, _Reader]] = {
    "softnet": _softnet, "interrupts": _interrupts, "softirqs": _softirqs, "cpu_time": _cpu_time, "devices": _devices,
    "ip_link": _ip_link, "ethtool_S": _statistics, "ethtool_g": _ring, "ethtool_l": _channels, "ethtool_c": _coalesce,
    "ethtool_k": _features, "ethtool_i": _driver, "udp": _udp, "udp6": _udp6, "protocols": _protocols, "nstat": _nstat,
    "netstat_s": _netstat, "config": _config, "sysctl": _sysctl, "uname": _uname, "boot_args": _boot_args,
    "processes": _processes, "log": _log,
}  # fmt: skip

__all__ = ["Dumps", "Section", "kind_of", "sections"]
