# SPDX-License-Identifier: GPL-2.0-or-later
"""What is lost at the sockets: UDP receive buffers, TCP's backlog, queues and listeners."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from softnet.host.facts import Counter, Facts
from softnet.host.findings import Evidence, Finding
from softnet.host.rules.backlog import set_sysctl

UDP_SHARE: Final = 1e-4
UDP_SINCE_BOOT: Final = 10
TCP_SINCE_BOOT: Final = 100


def _source(facts: Facts, name: str) -> str:
    """The file of a counter: UDP's stand in snmp, TcpExt's in netstat."""
    part = "protocols.netstat" if name.startswith("TcpExt") else "protocols.snmp"
    return facts.report.sources.get(part) or facts.source("protocols.netstat", "/proc/net/snmp")


def udp_buffers(facts: Facts) -> Iterator[Finding]:
    """Datagrams that found their socket's buffer full."""
    lost, got = facts.protocol("Udp.RcvbufErrors"), facts.protocol("Udp.InDatagrams")
    six = facts.protocol("Udp6.RcvbufErrors")
    now = lost.now + six.now
    sockets = sorted((s for s in facts.last.sockets if s.drops), key=lambda s: -s.drops)
    alone = not facts.last.protocols
    if alone:
        now = sum(s.drops for s in sockets)
    seldom = lost.recent is None and not alone and (now < UDP_SINCE_BOOT or now < UDP_SHARE * got.now)
    if not now or seldom:
        return
    evidence = (
        []
        if alone
        else [Evidence(_source(facts, "Udp"), f"Udp RcvbufErrors: {facts.counted(lost, 'lost')}; {got.now:,} delivered")]
    )
    if six.now:
        evidence.append(Evidence(_source(facts, "Udp"), f"Udp6 RcvbufErrors: {facts.counted(six, 'lost')}"))
    for socket in sockets[:3]:
        evidence.append(
            facts.seen(
                f"sockets.{socket.protocol}",
                "/proc/net/udp",
                f"port {socket.port} at {socket.local}: {socket.drops:,} drops, {socket.queued_bytes:,} bytes wait",
            )
        )
    evidence += [e for e in (facts.setting("net.core.rmem_default"), facts.setting("net.core.rmem_max")) if e]
    memory = facts.protocol("Udp.MemErrors")
    changes = [
        set_sysctl(facts, "net.core.rmem_max", max(4 * (facts.sysctl("net.core.rmem_max") or 212992), 4194304),
                   "then the application asks for more by SO_RCVBUF"),
        set_sysctl(facts, "net.core.rmem_default", 4 * (facts.sysctl("net.core.rmem_default") or 212992),
                   "for applications that do not ask; they must be started again"),
    ]  # fmt: skip
    if memory.now:
        evidence.append(
            Evidence(_source(facts, "Udp"), f"Udp MemErrors: {facts.counted(memory, 'lost')}: the limit of all sockets, udp_mem")
        )
    yield Finding(
        id="udp-buffers",
        level="risk" if lost.recent is None else "wrong",
        title=f"UDP datagrams are lost because the receiver's buffer is full: {now:,}",
        meaning="They came through the card, the softirq and the backlog; the application did not read them in time. A"
        " larger buffer bridges pauses of the reader; a reader that is slower than what comes needs a faster one, or a CPU that the"
        " card's softirqs do not take from it." + _reader_squeezed(facts),
        evidence=tuple(evidence),
        sure="certain",
        because=facts.since(lost if not alone else Counter(now, None)),
        changes=tuple(changes),
        weight=float(now),
    )


def _reader_squeezed(facts: Facts) -> str:
    full = [cpu for cpu in facts.online if (facts.cpu_share(cpu, "softirq") or 0) > 0.6]
    return f" CPU {full[0]} spends most of its time in softirqs: a reader there hardly runs." if full else ""


TCP: Final = (
    ("TcpExt.TCPBacklogDrop", ("segments came while the application held the socket, and its backlog was"
    " full"), "net.ipv4.tcp_rmem", True),
    ("TcpExt.TCPRcvQDrop", "segments in order found the receive queue full", "net.ipv4.tcp_rmem", True),
    ("TcpExt.RcvPruned", "segments were thrown away from full receive queues", "net.ipv4.tcp_rmem", True),
    ("TcpExt.TCPOFODrop", "segments out of order found the receive buffer full", "net.ipv4.tcp_rmem", True),
    ("TcpExt.PruneCalled", "receive queues were full and were pruned", "net.ipv4.tcp_rmem", False),
    ("TcpExt.ListenOverflows", ("connections found the listener's queue full: accept() is called too"
    " seldom"), "net.core.somaxconn", True),
)  # fmt: skip


def tcp_drops(facts: Facts) -> Iterator[Finding]:
    """What TCP drops on a host that keeps its own segments: they are sent again, which costs time."""
    for name, what, setting, loses in TCP:
        counter = facts.protocol(name)
        if not counter.now or (counter.recent is None and counter.total < TCP_SINCE_BOOT):
            continue
        old = facts.report.sysctl.get(setting, "")
        words = old.split()
        numbers = [int(w) for w in words if w.isascii() and w.isdecimal() and len(w) < 12]
        if setting == "net.ipv4.tcp_rmem":
            new = f"{numbers[0]} {numbers[1]} {2 * numbers[2]}" if len(numbers) == 3 else "4096 131072 12582912"
            change = set_sysctl(facts, setting, new)
        else:
            change = set_sysctl(
                facts, setting, 2 * (numbers[0] if numbers else 4096), "and a larger backlog in the application's listen()"
            )
        yield Finding(
            id="tcp-" + name.partition(".")[2].lower(),
            level=("wrong" if loses else "note") if counter.recent is not None else "note",
            title=f"TCP: {what}",
            meaning="The sender sends them again, after a round trip or a timeout. The application does not read, or not"
            " accept, in time; more room helps against pauses only.",
            evidence=tuple(
                e
                for e in (Evidence(_source(facts, name), f"{name}: {facts.counted(counter, 'times')}"), facts.setting(setting))
                if e
            ),
            sure="certain" if counter.recent else "possible",
            because=facts.since(counter),
            changes=(change,),
            weight=float(counter.now),
        )


RULES = (udp_buffers, tcp_drops)
