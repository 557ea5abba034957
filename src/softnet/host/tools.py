# SPDX-License-Identifier: GPL-2.0-or-later
"""What tools print, taken apart: ``ethtool -S/-g/-l/-c/-k/-i``, ``nstat``, ``netstat -s``, ``sysctl``, ``ip -s -s link``, ``ps``.

Each parser takes a text and where it is from, and raises HostError with the line.
"""

from __future__ import annotations

import re
from typing import Final

from softnet.errors import HostError
from softnet.host.text import Line, lines, number

DEVICES_MAX: Final = 20_000

DEV_COLUMNS: Final = (
    "rx_bytes", "rx_packets", "rx_errors", "rx_dropped", "rx_fifo", "rx_frame", "rx_compressed", "multicast",
    "tx_bytes", "tx_packets", "tx_errors", "tx_dropped", "tx_fifo", "tx_colls", "tx_carrier", "tx_compressed",
)  # fmt: skip
"""Of /proc/net/dev; rx_dropped there is rx_dropped + rx_missed_errors (net/core/net-procfs.c)."""


def netdev_table(text: str, where: str, first: int = 1) -> dict[str, dict[str, int]]:
    """/proc/net/dev."""
    found: dict[str, dict[str, int]] = {}
    for line in lines(text, where, first):
        name, colon, tail = line.text.rpartition(":")
        if "|" in line.text:
            continue
        words = tail.split()
        if not colon or len(words) < len(DEV_COLUMNS):
            raise line.error("not a line of /proc/net/dev", f"NAME: {len(DEV_COLUMNS)} numbers")
        values = [number(word, line, column) for word, column in zip(words, DEV_COLUMNS, strict=False)]
        found[name.strip()[:100]] = dict(zip(DEV_COLUMNS, values, strict=True))
        if len(found) > DEVICES_MAX:
            raise line.error("too many interfaces", f"at most {DEVICES_MAX:,}")
    return found


def ip_link(text: str, where: str, first: int = 1) -> dict[str, dict[str, int]]:
    """``ip -s link`` or ``ip -s -s link``: the receiving side, by interface."""
    found: dict[str, dict[str, int]] = {}
    name = ""
    header: list[str] = []
    for line in lines(text, where, first):
        if head := re.match(r"[0-9]{1,10}: ([^\s:@]{1,63})[@:]", line.text):
            name, header = head[1], []
            continue
        stripped = line.text.strip()
        if stripped.startswith(("RX:", "RX errors:")):
            header = stripped.partition(":")[2].split()
            continue
        if header and name:
            words = stripped.split()
            if len(words) < len(header):
                raise line.error("fewer numbers than names above them", " ".join(header))
            into = found.setdefault(name, {})
            for column, word in zip(header, words, strict=False):
                into[_RX_NAMES.get(column, f"rx_{column}")[:100]] = _scaled(word, line, column)
            header = []
        elif stripped.startswith(("TX:", "TX errors:")):
            header = []
    if not found:
        raise HostError("no statistics in it", where=where, expected="the output of ip -s -s link")
    return found


_RX_NAMES: Final = {
    "mcast": "multicast",
    "missed": "rx_missed",
    "overrun": "rx_overrun",
    "dropped": "rx_dropped",
    "errors": "rx_errors",
}
_SCALES: Final = {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "k": 10**3, "m": 10**6}


def _scaled(word: str, line: Line, what: str) -> int:
    """A count, which ``ip -h`` and ``top`` shorten."""
    short = re.fullmatch(r"([0-9]{1,12})(?:\.([0-9]{1,3}))?([KMGTkm])", word, re.ASCII)
    if short:
        return int(float(f"{short[1]}.{short[2] or 0}") * _SCALES[short[3]])
    return number(word, line, what)


def nstat(text: str, where: str, first: int = 1) -> dict[str, int]:
    """``nstat`` or ``nstat -az``: ``UdpRcvbufErrors  12  0.0``; names get the point of /proc/net/snmp."""
    found: dict[str, int] = {}
    for line in lines(text, where, first):
        words = line.text.split()
        if words[0].startswith("#"):
            continue
        if len(words) < 2:
            raise line.error("not a line of nstat", "NAME NUMBER RATE")
        group = re.match(r"(Ip6|Ip|Icmp6|Icmp|TcpExt|Tcp|UdpLite6|UdpLite|Udp6|Udp|IpExt|MPTcpExt)", words[0])
        name = f"{group[1]}.{words[0][group.end() :]}" if group else words[0]
        found[name[:200]] = number(words[1].removeprefix("-"), line, name)
    return found


NETSTAT_PHRASES: Final = (
    (r"(\d+) receive buffer errors", "Udp.RcvbufErrors"),
    (r"(\d+) packets received\b", "Udp.InDatagrams"),
    (r"(\d+) packet receive errors", "Udp.InErrors"),
    (r"(\d+) packets pruned from receive queue because of socket buffer overrun", "TcpExt.PruneCalled"),
    (r"(\d+) packets pruned from receive queue$", "TcpExt.RcvPruned"),
    (r"(\d+) packets collapsed in receive queue due to low socket buffer", "TcpExt.TCPRcvCollapsed"),
    (r"(\d+) times the listen queue of a socket overflowed", "TcpExt.ListenOverflows"),
    (r"(\d+) SYNs to LISTEN sockets dropped", "TcpExt.ListenDrops"),
    (r"TCPBacklogDrop: (\d+)", "TcpExt.TCPBacklogDrop"),
    (r"TCPRcvQDrop: (\d+)", "TcpExt.TCPRcvQDrop"),
    (r"TCPOFODrop: (\d+)", "TcpExt.TCPOFODrop"),
)


def netstat_s(text: str, where: str, first: int = 1) -> dict[str, int]:
    """``netstat -s``: the counters of the receive path that it words."""
    found: dict[str, int] = {}
    group = ""
    for line in lines(text, where, first):
        if re.fullmatch(r"\w+:", line.text.strip()) and not line.text.startswith(" "):
            group = line.text.strip()[:-1]
        for phrase, name in NETSTAT_PHRASES:
            match = re.search(phrase, line.text.strip()[:300], re.ASCII)
            if match and (not name.startswith("Udp.") or group in ("", "Udp")):
                found.setdefault(name, number(match[1], line, name))
    return found


def sysctls(text: str, where: str, first: int = 1) -> dict[str, str]:
    """``sysctl -a`` or a part of it: what concerns the network and the scheduler."""
    found: dict[str, str] = {}
    for line in lines(text, where, first):
        name, equals, value = line.text.partition("=")
        if equals and re.fullmatch(r"(net\.core|net\.ipv4|kernel)\.[\w.\-]{1,150}", name.strip(), re.ASCII) and len(found) < 5000:
            if "rss_key" not in name:
                found[name.strip()] = " ".join(value.split())[:400]
    if not found:
        raise HostError("no setting in it", where=where, expected="lines such as: net.core.netdev_budget = 300")
    return found


def ethtool_statistics(text: str, where: str, first: int = 1) -> dict[str, int]:
    """``ethtool -S``."""
    found: dict[str, int] = {}
    for line in lines(text, where, first):
        name, colon, value = line.text.rpartition(":")
        if line.text.strip() == "NIC statistics:":
            continue
        if not colon:
            raise line.error("not a line of ethtool -S", "NAME: NUMBER")
        digits = value.strip()
        if re.fullmatch(r"-?[0-9]{1,20}", digits, re.ASCII):
            found[name.strip()[:200]] = number(digits.removeprefix("-"), line, name.strip())
    return found


def ethtool_values(text: str, where: str, first: int = 1) -> dict[str, int]:
    """``ethtool -g``, ``-l`` and ``-c``: keys in lower case with underscores, those of the maximum with ``_max``."""
    found: dict[str, int] = {}
    suffix = ""
    for line in lines(text, where, first):
        key, colon, value = line.text.partition(":")
        key, value = key.strip(), value.strip()
        if key.startswith("Pre-set maximums"):
            suffix = "_max"
        elif key.startswith("Current hardware settings"):
            suffix = ""
        elif adaptive := re.fullmatch(r"Adaptive RX: (on|off|n/a)\s+TX: (on|off|n/a)", line.text.strip()):
            found["adaptive_rx"] = int(adaptive[1] == "on")
        elif colon and re.fullmatch(r"[0-9]{1,20}", value, re.ASCII):
            found[re.sub(r"[^a-z0-9]+", "_", key.lower())[:100] + suffix] = number(value, line, key)
    return found


def ethtool_features(text: str, where: str, first: int = 1) -> dict[str, bool]:
    """``ethtool -k``."""
    found = {}
    for line in lines(text, where, first):
        if match := re.match(r"\s*([\w\-]{1,100}): (on|off)\b", line.text):
            found[match[1]] = match[2] == "on"
    return found


class Process:
    """A line of ps or top: how much of a CPU a thread takes, in per cent."""

    def __init__(self, comm: str, percent: float) -> None:
        self.comm, self.percent = comm, percent


def processes(text: str, where: str, first: int = 1) -> list[Process]:
    """``ps`` or ``top``: what a header with %CPU and COMMAND, COMM or CMD says."""
    found: list[Process] = []
    header: list[str] = []
    for line in lines(text, where, first):
        words = line.text.split()
        if "%CPU" in words and {"COMMAND", "COMM", "CMD"} & set(words):
            header = words
        elif header:
            at = header.index("%CPU")
            comm = next(i for i, word in enumerate(header) if word in ("COMMAND", "COMM", "CMD"))
            if len(words) <= max(at, comm):
                continue
            percent = words[at].replace(",", ".")
            if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,2})?", percent, re.ASCII):
                raise line.error("%CPU is not a number", "a number in per cent", words[at])
            found.append(Process(" ".join(words[comm:]).strip("[]")[:100], float(percent)))
    if not header:
        raise HostError("no header with %CPU and COMMAND", where=where, expected="the output of ps or top")
    return found
