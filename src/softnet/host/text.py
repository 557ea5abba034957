# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's text files, taken apart. Each parser takes a text and where it is from, and raises HostError with the line.

What a kernel of another release adds at the end of a line is passed over; what is missing in the middle is an error, because
figures would slip into the wrong column.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from softnet.errors import HostError
from softnet.host.cpusets import CPUS_MAX
from softnet.host.model import CpuTable, CpuTime, Irq, SocketDrops, SoftnetRow

LIMIT: Final = 2**64
STAT_COLUMNS: Final = {
    9: "no release that softnet knows",
    10: "Linux 2.6.36 and older than 3.11",
    11: "from Linux 3.11 (flow_limit)",
    13: "from Linux 5.10 (backlog length and CPU)",
    15: "from Linux 6.4 (lengths of both queues)",
}
"""Columns of /proc/net/softnet_stat, and which releases print so many: net/core/net-procfs.c; 7d58e6555870 (v5.10),
59da2d7b0e99 (v6.4)."""


class Line(NamedTuple):
    """A line with its place, for errors."""

    place: str
    text: str

    def error(self, message: str, expected: str = "", found: str | None = None, hint: str = "") -> HostError:
        shown = self.text if found is None else found
        return HostError(message, where=self.place, found=shown.strip()[:120], expected=expected, hint=hint)


def lines(text: str, where: str, first: int = 1) -> Iterator[Line]:
    """The lines that hold something."""
    for number, line in enumerate(text.split("\n"), start=first):
        if line.strip():
            yield Line(f"{where}:{number}", line.rstrip("\r"))


def number(text: str, line: Line, what: str, base: int = 10) -> int:
    """A count: digits only, below 2**64."""
    digits = "0123456789abcdefABCDEF" if base == 16 else "0123456789"
    if not text or len(text) > 20 or text.strip(digits) or (value := int(text, base)) >= LIMIT:
        kind = "hexadecimal number" if base == 16 else "number"
        raise line.error(f"{what} is not a {kind}", f"a {kind} below 2**64", text)
    return value


def softnet_stat(text: str, where: str, online: list[int] | None, first: int = 1) -> tuple[list[SoftnetRow], str]:
    """/proc/net/softnet_stat, and what had to be assumed.

    The kernel prints a line for each online CPU. From v5.10 on the 13th column says which; before, the n-th line is the n-th
    online CPU, which ``online`` tells.
    """
    rows: list[SoftnetRow] = []
    cpus: set[int] = set()
    columns = 0
    for line in lines(text, where, first):
        words = line.text.split()
        columns = columns or len(words)
        if len(words) != columns:
            raise line.error("a line of softnet_stat with another number of columns", f"{columns}", f"{len(words)} columns")
        if columns not in STAT_COLUMNS and columns < 15:
            known = ", ".join(str(n) for n in STAT_COLUMNS)
            raise line.error("not as many columns as any kernel prints", f"{known} or more", f"{columns} columns")
        values = [number(word, line, f"column {at}", 16) for at, word in enumerate(words, start=1)]
        rows.append(_softnet_row(values, line, len(rows), online))
        cpus.add(rows[-1].cpu)
        if len(cpus) < len(rows):
            raise line.error("two lines of one CPU", "each CPU once", f"CPU {rows[-1].cpu}")
    if not rows:
        raise HostError("softnet_stat is empty", where=where, expected="a line for each online CPU")
    note = ""
    if columns < 13 and (online is None or len(online) != len(rows)):
        note = (
            f"{where}: {columns} columns, {STAT_COLUMNS[columns]}: no column says the CPU, and the list of online CPUs is"
            " not known; lines are taken as CPU 0, 1, …, which is wrong if a CPU in the middle is offline"
        )
    return rows, note


def _softnet_row(values: list[int], line: Line, at: int, online: list[int] | None) -> SoftnetRow:
    count = len(values)
    cpu = values[12] if count >= 13 else at
    if count < 13 and online is not None and at < len(online):
        cpu = online[at]
    if cpu >= CPUS_MAX:
        raise line.error("a CPU that no kernel has", f"below {CPUS_MAX}", str(cpu))
    return SoftnetRow(
        cpu=cpu,
        processed=values[0],
        dropped=values[1],
        time_squeeze=values[2],
        received_rps=values[9] if count >= 10 else None,
        flow_limit=values[10] if count >= 11 else None,
        backlog=values[11] if count >= 13 else None,
        input_queue=values[13] if count >= 15 else None,
        process_queue=values[14] if count >= 15 else None,
    )


def _cpu_header(line: Line) -> list[int]:
    cpus = []
    for word in line.text.split():
        if not re.fullmatch(r"CPU[0-9]{1,4}", word, re.ASCII) or int(word[3:]) >= CPUS_MAX:
            raise line.error("not the header of a table of CPUs", "CPU0 CPU1 …", word)
        cpus.append(int(word[3:]))
    if not cpus or cpus != sorted(set(cpus)):
        raise line.error("not the header of a table of CPUs", "CPU0 CPU1 …, each once and in order")
    return cpus


def cpu_table(text: str, where: str, first: int = 1) -> tuple[CpuTable, dict[str, str]]:
    """/proc/interrupts or /proc/softirqs: the counts, and the rest of each line. The header says which CPUs the columns are."""
    found = lines(text, where, first)
    header = next(found, None)
    if header is None:
        raise HostError("an empty table", where=where, expected="a header CPU0 CPU1 …")
    table, rest = CpuTable(cpus=_cpu_header(header)), {}
    for line in found:
        label, colon, tail = line.text.partition(":")
        name = label.strip()
        if not colon or not name or len(name) > 100:
            raise line.error("not a line of a table of CPUs", "NAME: a number for each CPU")
        words = tail.split(None, len(table.cpus))
        counts = []
        for word in words[: len(table.cpus)]:
            if not (word.isascii() and word.isdecimal()):
                break
            counts.append(number(word, line, "a count"))
        if len(counts) < len(table.cpus) and (len(counts) != 1 or len(words) > 1):
            raise line.error(f"too few counts for {len(table.cpus)} CPUs", f"{len(table.cpus)} numbers", f"{len(counts)} numbers")
        if name in table.rows:
            raise line.error("a row that was there before", "each once", name)
        if len(counts) == len(table.cpus):
            table.rows[name] = counts
            rest[name] = words[len(table.cpus)].strip() if len(words) > len(table.cpus) else ""
    return table, rest


_TRIGGER = re.compile(r"(?:\S*-(?:edge|level|fasteoi|Edge|Level)|Edge|Level)\s+")


def irqs(rest: dict[str, str]) -> list[Irq]:
    """The numbered interrupts of /proc/interrupts, from what stands behind the counts: chip, trigger, names of the handlers."""
    found = []
    for name, text in rest.items():
        if not re.fullmatch(r"[0-9]{1,10}", name, re.ASCII):
            continue
        text = text[:500]
        trigger = _TRIGGER.search(text + " ")
        if trigger:
            handlers = text[trigger.end() :]
        else:
            handlers = text.split(None, 2)[2] if len(text.split()) > 2 else ""
        found.append(Irq(number=name, chip=(text.split() or [""])[0][:200], name=handlers.strip()[:400]))
    return found


CPU_TIMES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


def proc_stat(text: str, where: str, first: int = 1) -> dict[str, CpuTime]:
    """The lines of CPUs in /proc/stat, by number; the line of all of them as ``all``."""
    found: dict[str, CpuTime] = {}
    for line in lines(text, where, first):
        words = line.text.split()
        if not re.fullmatch(r"cpu[0-9]{0,4}", words[0], re.ASCII):
            continue
        values = [number(word, line, "a time") for word in words[1:9]]
        if len(values) < 7:
            raise line.error("too few times of a CPU", "at least 7 numbers")
        found[words[0][3:] or "all"] = CpuTime(**dict(zip(CPU_TIMES, values, strict=False)))
    if not found:
        raise HostError("no CPU in it", where=where, expected="lines such as: cpu0 100 0 50 …")
    return found


def protocols(text: str, where: str, first: int = 1) -> dict[str, int]:
    """/proc/net/snmp and netstat: pairs of lines, names and numbers."""
    found: dict[str, int] = {}
    names: list[str] | None = None
    group = ""
    for line in lines(text, where, first):
        label, colon, tail = line.text.partition(":")
        if not colon:
            raise line.error("not a line of counters", "GROUP: names, then GROUP: numbers")
        words = tail.split()
        if names is None:
            names, group = words, label.strip()
            continue
        if label.strip() != group or len(words) != len(names):
            raise line.error("numbers that do not belong to the names above", f"{group}: {len(names)} numbers")
        for name, word in zip(names, words, strict=True):
            negative = word.startswith("-")
            value = number(word.removeprefix("-"), line, f"{group} {name}")
            found[f"{group}.{name}"[:200]] = max(-value, 1 - 2**63) if negative else value
        names = None
    if names is not None:
        raise HostError("names without their numbers", where=where, found=group[:100], expected="a second line")
    return found


def udp_sockets(text: str, where: str, protocol: str, first: int = 1) -> list[SocketDrops]:
    """/proc/net/udp or udp6: the sockets whose queue holds something or that dropped something, the worst first, at most 100."""
    found = []
    for at, line in enumerate(lines(text, where, first)):
        if at == 0:
            continue
        words = line.text.split()
        if len(words) < 13 or ":" not in words[1] or ":" not in words[4]:
            raise line.error("not a line of UDP sockets", "13 columns, the last of them drops", f"{len(words)} columns")
        address, _, port = words[1].rpartition(":")
        queued = number(words[4].partition(":")[2], line, "rx_queue", 16)
        drops = number(words[12], line, "drops")
        if queued or drops:
            found.append(SocketDrops(protocol=protocol, local=_address(address, line), port=number(port, line, "the port", 16),
                                     queued_bytes=queued, drops=drops))  # fmt: skip
    return sorted(found, key=lambda s: (-s.drops, -s.queued_bytes, s.port))[:100]


def _address(digits: str, line: Line) -> str:
    """An address as /proc/net/udp prints it: words of 32 bits in the machine's order, which is little-endian here."""
    import ipaddress

    if not re.fullmatch(r"[0-9a-fA-F]{8}|[0-9a-fA-F]{32}", digits):
        raise line.error("not an address", "8 or 32 hexadecimal digits", digits)
    data = b"".join(bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, len(digits), 8))
    return str(ipaddress.ip_address(data))
