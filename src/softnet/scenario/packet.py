# SPDX-License-Identifier: GPL-2.0-or-later
"""From the bytes of a captured frame to what the receive path needs to know of the packet.

The ports are read as a receiver reads them: not from a fragment, not even from the first, since fragments are not put together
here. What the kernel's hash is computed from is softnet.scenario.flow_dissector's, which looks into tunnels; a packet is
delivered by its outermost IP header, as the kernel does where no tunnel is set up.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from softnet.errors import CaptureError
from softnet.scenario.capture import Frame, Notes, read_frames
from softnet.scenario.columns import NOT_IP, TCP, UDP
from softnet.scenario.flow_dissector import ETH_P_8021AD, ETH_P_8021Q, ETH_P_ARP, ETH_P_IP, ETH_P_IPV6, skb_flow_dissect_flow_keys
from softnet.scenario.link import ETH_HLEN, NAMES, READERS, link_header

#: IP protocols that begin with source and destination port: TCP, UDP, DCCP, SCTP, UDP-Lite.
_WITH_PORTS: Final = frozenset((TCP, UDP, 33, 132, 136))
#: IP protocols whose hash is not that of the IP packet alone: tunnels, ESP and AH.
_DISSECTED: Final = frozenset((4, 41, 47, 50, 51, 137))
_ETHERTYPES: Final = {
    0x0001: "802.3", 0x0004: "LLC", 0x0806: "ARP", 0x0842: "Wake-on-LAN", 0x8035: "RARP", 0x8808: "pause", 0x8809: "slow protocols",
    0x8847: "MPLS", 0x8848: "MPLS", 0x8863: "PPPoE discovery", 0x8864: "PPPoE", 0x888E: "802.1X", 0x88A2: "AoE", 0x88CC: "LLDP",
    0x88E5: "MACsec", 0x88F7: "PTP", 0x8906: "FCoE", 0x9100: "VLAN 0x9100",
}  # fmt: skip
#: Hop-by-hop, routing, destination options, mobility: length in units of 8 bytes, less the first.
_EXTENSION_HEADERS: Final = frozenset((0, 43, 60, 135))
_FRAGMENT: Final = 44
_AUTHENTICATION: Final = 51
EXTENSION_HEADERS_MAX: Final = 16

LINK_TYPES: Final = {number: NAMES[number] for number in READERS}

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32

#: A clock that steps back further than this was set, and the gaps between packets are lost.
BACKWARDS_NS_MAX: Final = 1_000_000_000


class Packet(NamedTuple):
    """One packet of a capture.

    ``proto`` is the IP protocol, or, where the frame holds no IP packet, its Ethernet type with NOT_IP; there are no addresses
    then.
    ``len_bytes`` counts an Ethernet header, whatever the link type was; ``flow_label`` is IPv6's, else 0. ``fragment`` is a
    piece of a packet; ``fragment_header`` says that IPv6 has a fragment header, which an atomic fragment, a whole packet, has
    too. ``dissected`` is what the flow dissector finds (FlowKeys.packed()); empty where that is the packet's own addresses,
    ports and flow label.
    """

    number: int
    time_ns: int
    len_bytes: int
    proto: int
    src: bytes
    dst: bytes
    sport: int
    dport: int
    fragment: bool
    tcp_flags: int
    seq: int
    payload_bytes: int
    outgoing: bool
    flow_label: int
    fragment_header: bool = False
    dissected: bytes = b""


class CaptureSummary:
    """What a pass over a capture has seen so far."""

    def __init__(self) -> None:
        self.frames = 0
        self.packets = 0
        #: Packets that are no IP packet, by their Ethernet type.
        self.not_ip: dict[int, int] = {}
        self.notes = Notes()
        #: Frames left out, counted by reason.
        self.skipped: dict[str, int] = {}
        #: Packets whose time stamp lay before the packet before; they are given that packet's time.
        self.backwards = 0
        self.backwards_max_ns = 0
        self.without_time = 0
        self.first_ns: int | None = None
        self.last_ns = 0

    def lines(self) -> list[str]:
        """What a user should know about it, in sentences."""
        other = sum(self.not_ip.values())
        out = [f"{self.packets - other} IP packets in {self.frames} frames"]
        for kind, count in sorted(self.not_ip.items()):
            name = _ETHERTYPES.get(kind, f"Ethernet type {kind:#06x}")
            held, them = ("1 frame holds", "it") if count == 1 else (f"{count} frames hold", "them")
            end = (
                f"takes {them} itself"
                if kind == ETH_P_ARP
                else f"steers {them}, and drops {them}: nobody listens (UNHANDLED_PROTO)"
            )
            out.append(f"{held} no IP packet but {name}: the kernel {end}")
        out += [f"{count} frames left out: {reason}" for reason, count in sorted(self.skipped.items())]
        if self.backwards:
            out.append(
                f"the clock went backwards {self.backwards} times, by {self.backwards_max_ns} ns at most; "
                "those packets arrive with the one before"
            )
        if self.without_time:
            out.append(f"{self.without_time} packets have no time stamp and arrive with the one before")
        return out + self.notes.lines()


class CaptureReader:
    """An iterator over the IP packets of a capture; ``summary`` tells what it left out so far."""

    def __init__(self, path: str | Path) -> None:
        self.path = path
        self.summary = CaptureSummary()
        self._packets = self._read()

    def __iter__(self) -> Iterator[Packet]:
        return self._packets

    def __next__(self) -> Packet:
        return next(self._packets)

    def _read(self) -> Iterator[Packet]:
        summary = self.summary
        clock_ns = 0
        for frame in read_frames(self.path, summary.notes):
            summary.frames += 1
            clock_ns = self._clock(frame, clock_ns)
            packet = dissect(frame, clock_ns)
            if isinstance(packet, str):
                summary.skipped[packet] = summary.skipped.get(packet, 0) + 1
                continue
            summary.packets += 1
            if packet.proto >= NOT_IP:
                kind = packet.proto - NOT_IP
                summary.not_ip[kind] = summary.not_ip.get(kind, 0) + 1
            if summary.first_ns is None:
                summary.first_ns = clock_ns
            summary.last_ns = clock_ns
            yield packet
        if not summary.packets:
            raise no_packet_error(self.path, summary)

    def _clock(self, frame: Frame, clock_ns: int) -> int:
        """The frame's time, never before the last one's."""
        summary = self.summary
        if frame.time_ns is None:
            summary.without_time += 1
            return clock_ns
        back_ns = clock_ns - frame.time_ns
        if back_ns <= 0:
            return frame.time_ns
        if back_ns > BACKWARDS_NS_MAX:
            raise clock_error(self.path, frame, back_ns)
        summary.backwards += 1
        summary.backwards_max_ns = max(summary.backwards_max_ns, back_ns)
        return clock_ns


def clock_error(path: str | Path, frame: Frame, back_ns: int) -> CaptureError:
    """A clock that was set back."""
    return CaptureError(
        "the clock goes backwards",
        where=f"{path}: packet {frame.number}, byte {frame.offset}",
        found=f"{back_ns} ns before the packet before",
        expected=f"at most {BACKWARDS_NS_MAX} ns",
        hint="the clock was set while capturing, or files were joined: sort it with reordercap",
    )


def no_packet_error(path: str | Path, summary: CaptureSummary) -> CaptureError:
    """A capture in which there was nothing to read."""
    reasons = ", ".join(f"{count} x {reason}" for reason, count in sorted(summary.skipped.items()))
    return CaptureError(
        "no packet in the capture",
        where=str(path),
        found=f"{summary.frames} frames" + (f": {reasons}" if reasons else ""),
        expected="frames of Ethernet, Linux cooked, raw IP, loopback, PPP, 802.11 or another link type of docs/scenario.md",
    )


def read_capture(path: str | Path) -> CaptureReader:
    """The packets of a pcap or pcapng file, compressed or not, in file order, in bounded memory.

    Times never go backwards. Frames that cannot be read are left out and counted in ``.summary``. Raises
    ``CaptureError`` for a damaged file, and at the end for a file without any packet.
    """
    return CaptureReader(path)


def dissect(frame: Frame, time_ns: int) -> Packet | str:
    """The packet in a frame, or the reason why it cannot be read."""
    data = frame.data
    outgoing = frame.outgoing
    if frame.link_type == 1 and len(data) > ETH_HLEN and data[12] >= 6:  # by far the most frames, without a call for each
        start, kind = ETH_HLEN, (data[12] << 8) | data[13]
    else:
        link = link_header(frame.link_type, data)
        if isinstance(link, str):
            return link
        start, kind = link.at, link.kind
        outgoing = outgoing or link.outgoing
    at, first_kind = start, kind
    while kind in (ETH_P_8021Q, ETH_P_8021AD):  # vlan_do_receive(), round by round
        if len(data) < at + 4:
            return "truncated VLAN tag"
        kind = (data[at + 2] << 8) | data[at + 3]
        at += 4
    len_bytes = max(frame.original_len - start + ETH_HLEN, ETH_HLEN)
    if kind not in (ETH_P_IP, ETH_P_IPV6):
        if not kind:
            return "not IP"
        dissected = skb_flow_dissect_flow_keys(data, first_kind, start).packed()
        return Packet(
            frame.number, time_ns, len_bytes, NOT_IP | kind, b"", b"", 0, 0, False, 0, 0, 0, outgoing, 0, dissected=dissected
        )
    ip_len = max(frame.original_len - at, 0)
    ip = _ipv4(data, at, ip_len) if kind == ETH_P_IP else _ipv6(data, at, ip_len)
    if isinstance(ip, str):
        return ip
    transport = _transport(data, ip)
    if isinstance(transport, str):
        return transport
    plain = at == start and not ip.extended and ip.proto not in _DISSECTED
    return Packet(
        number=frame.number,
        time_ns=time_ns,
        len_bytes=len_bytes,
        proto=ip.proto,
        src=ip.src,
        dst=ip.dst,
        sport=transport.sport,
        dport=transport.dport,
        fragment=ip.fragment,
        tcp_flags=transport.tcp_flags,
        seq=transport.seq,
        payload_bytes=transport.payload_bytes,
        outgoing=outgoing,
        flow_label=ip.flow_label,
        fragment_header=ip.fragment_header,
        dissected=b"" if plain else skb_flow_dissect_flow_keys(data, first_kind, start).packed(),
    )


class _Ip(NamedTuple):
    """What the network header says; the transport header, ``length`` bytes with its payload, begins at ``at``."""

    proto: int
    src: bytes
    dst: bytes
    fragment: bool
    flow_label: int
    at: int
    length: int
    fragment_header: bool = False
    extended: bool = False
    """There are extension headers."""


class _Transport(NamedTuple):
    sport: int = 0
    dport: int = 0
    tcp_flags: int = 0
    seq: int = 0
    payload_bytes: int = 0


def _ipv4(data: bytes, at: int, ip_len: int) -> _Ip | str:
    if len(data) < at + 20:
        return "truncated IPv4 header"
    header_len = (data[at] & 15) * 4
    if data[at] >> 4 != 4 or header_len < 20:
        return "malformed IPv4 header"
    total_len = (data[at + 2] << 8) | data[at + 3]
    if 0 < total_len < ip_len:
        ip_len = total_len  # the rest is Ethernet padding; 0 is a packet that segmentation offload made
    fragment = (((data[at + 6] << 8) | data[at + 7]) & 0x3FFF) != 0
    src, dst = data[at + 12 : at + 16], data[at + 16 : at + 20]
    return _Ip(data[at + 9], src, dst, fragment, 0, at + header_len, ip_len - header_len)


def _ipv6(data: bytes, at: int, ip_len: int) -> _Ip | str:
    if len(data) < at + 40:
        return "truncated IPv6 header"
    if data[at] >> 4 != 6:
        return "malformed IPv6 header"
    flow_label = ((data[at + 1] & 15) << 16) | (data[at + 2] << 8) | data[at + 3]
    payload_len = (data[at + 4] << 8) | data[at + 5]
    if 0 < payload_len < ip_len - 40:
        ip_len = payload_len + 40
    src, dst = data[at + 8 : at + 24], data[at + 24 : at + 40]
    proto = data[at + 6]
    end = at + ip_len
    at += 40
    fragment = fragment_header = False
    first = at
    for _ in range(EXTENSION_HEADERS_MAX):
        if proto not in _EXTENSION_HEADERS and proto not in (_FRAGMENT, _AUTHENTICATION):
            break
        if len(data) < at + 8:
            return "truncated IPv6 extension header"
        if proto == _FRAGMENT:
            fragment_header = True
            fragment = ((data[at + 2] << 8) | data[at + 3]) & 0xFFF9 != 0
            length = 8
        else:
            length = (data[at + 1] + 2) * 4 if proto == _AUTHENTICATION else (data[at + 1] + 1) * 8
        proto = data[at]
        at += length
        if fragment:
            break
    else:
        return "malformed IPv6 header"
    return _Ip(proto, src, dst, fragment, flow_label, at, end - at, fragment_header, at != first)


def _transport(data: bytes, ip: _Ip) -> _Transport | str:
    at, length = ip.at, ip.length
    if ip.fragment or ip.proto not in _WITH_PORTS:
        return _Transport(payload_bytes=max(length, 0))
    if len(data) < at + (14 if ip.proto == TCP else 4):
        return "truncated transport header"
    sport, dport = struct.unpack_from("!HH", data, at)
    if ip.proto != TCP:
        header_len = 8 if ip.proto == UDP else 0
        return _Transport(sport, dport, payload_bytes=max(length - header_len, 0))
    header_len = (data[at + 12] >> 4) * 4
    if header_len < 20:
        return "malformed TCP header"
    seq = struct.unpack_from("!I", data, at + 4)[0]
    return _Transport(sport, dport, data[at + 13], seq, max(length - header_len, 0))
