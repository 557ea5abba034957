# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames of every kind, with what the kernel must hash of each: known from how they were built, not from reading them.

Few values are drawn, so that frames agree in some of what they say and differ in the rest. ``Frame.key`` is None where the frame
was cut off: only a kernel can say then.
"""

from __future__ import annotations

import random
import struct
from typing import NamedTuple

ADDRESSES4 = [bytes((192, 0, 2, n)) for n in (1, 2, 130)]
ADDRESSES6 = [bytes.fromhex("20010db8") + bytes((n, 0, 0, 0, n, 1, 2, 3, 0, 0, 0, n)) for n in (1, 2, 200)]
PORTS = [53, 80, 443, 0x1200]
TCP, UDP, DCCP, GRE, ESP, AH, SCTP, UDPLITE = 6, 17, 33, 47, 50, 51, 132, 136


class Frame(NamedTuple):
    """A frame of Ethernet; equal keys are one flow to the kernel."""

    data: bytes
    key: tuple[object, ...] | None
    kind: str


class _Found:
    """What a reader of the frame has seen when it stops, in the words of flow_dissector.c."""

    def __init__(self) -> None:
        self.reading = True
        self.headers = 0
        self.n_proto = self.ip_proto = self.label = 0
        self.vlan: tuple[int, int, int, int] = (0, 0, 0, 0)
        self.keyid = b"\0" * 4
        self.ports = b"\0" * 4
        self.addresses: tuple[bytes, ...] = ()
        self.outer = b"\0" * 4
        self.kinds: list[str] = []

    def again(self) -> None:
        """One header more was passed; the kernel looks behind 15."""
        if self.reading:
            self.headers += 1
            self.reading = self.headers <= 15

    def key(self) -> tuple[object, ...]:
        addresses = tuple(sorted(self.addresses))
        ports = tuple(sorted((self.ports[:2], self.ports[2:]))) if self.addresses else (self.ports,)
        # An IPv4 packet inside IPv6 leaves bytes 8 to 11 of the outer source where they were.
        outer = self.outer if self.addresses and len(self.addresses[0]) == 4 else b""
        return self.n_proto, self.ip_proto, self.label, self.vlan, self.keyid, ports, addresses, outer


class _Maker:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.e = _Found()

    def kind(self, name: str) -> None:
        self.e.kinds.append(name)

    # Below the network layer

    def ethernet(self) -> bytes:
        rng = self.rng
        tags = rng.choice([0, 0, 0, 0, 1, 1, 2, 3])
        return bytes.fromhex("020000000002020000000001") + self.typed(tags, rng.choice(["ip", "ip", "ip", "ip6", "ip6", "other"]))

    def typed(self, tags: int, inside: str, depth: int = 0) -> bytes:
        """An Ethernet type and what follows it."""
        rng, e = self.rng, self.e
        if tags:
            tpid = rng.choice([0x8100, 0x88A8])
            vlan, priority, dei = rng.choice([5, 9]), rng.choice([0, 0, 3]), rng.choice([0, 0x1000])
            first = e.reading and e.vlan == (0, 0, 0, 0)
            self.kind("vlan")
            if e.reading:
                e.n_proto = tpid
            e.again()
            rest = self.typed(tags - 1, inside, depth)
            if first:
                e.vlan = (vlan, priority, tpid, struct.unpack("!H", rest[:2])[0])
            return struct.pack("!HH", tpid, vlan | dei | priority << 13) + rest
        if inside == "ip":
            return b"\x08\x00" + self.ipv4(depth)
        if inside == "ip6":
            return b"\x86\xdd" + self.ipv6(depth)
        other = rng.choice(["pppoe", "pppoe", "pppoe-lcp", "pppoe-bad", "mpls", "arp", "lldp"])
        self.kind(other)
        number = {"mpls": 0x8847, "arp": 0x0806, "lldp": 0x88CC}.get(other, 0x8864)
        if e.reading:
            e.n_proto = number
        head = struct.pack("!H", number)
        if other == "mpls":
            e.reading = False
            return head + struct.pack("!I", rng.choice([16, 17]) << 12 | 0x140) + self.ipv4(depth)
        if other in ("arp", "lldp"):
            e.reading = False
            return head + bytes(rng.choices(range(256), k=46))
        session = struct.pack("!BBHH", 0x21 if other == "pppoe-bad" else 0x11, 0, rng.choice([7, 8]), 50)
        if other != "pppoe":
            e.reading = False
            return head + session + b"\xc0\x21" + bytes(rng.choices(range(256), k=40))
        e.again()
        six = rng.random() < 0.3
        return head + session + (b"\x00\x57" + self.ipv6(depth) if six else b"\x00\x21" + self.ipv4(depth))

    # Network

    def ipv4(self, depth: int) -> bytes:
        rng, e = self.rng, self.e
        src, dst = rng.sample(ADDRESSES4, 2)
        flags = rng.choices([0, 0x4000, 0x2000, 0x2005, 0x00B9], [6, 6, 1, 1, 1])[0]
        proto = self.choose(depth)
        if e.reading:
            e.n_proto, e.ip_proto = 0x0800, proto
            e.addresses = (src, dst)
            if flags & 0x3FFF:
                e.reading = False
        if flags & 0x3FFF:
            self.kind("fragment4")
        options = b"\x01" * rng.choice([0, 0, 4, 8])
        payload = self.transport(proto, depth, six=False)
        total = 20 + len(options) + len(payload)
        fields = (0x45 + len(options) // 4, 0, total, rng.randrange(65536), flags, 64, proto, 0, src, dst)
        head = struct.pack("!BBHHHBBH4s4s", *fields)
        return head + options + payload

    def ipv6(self, depth: int) -> bytes:
        rng, e = self.rng, self.e
        src, dst = rng.sample(ADDRESSES6, 2)
        label = rng.choice([0, 0, 0, 0x12345, 0x00001])
        proto = self.choose(depth)
        extensions = rng.choice([[], [], [], [0], [60], [43, 60], [44], [0, 44]])
        chain = [*extensions, proto]
        if e.reading:
            e.n_proto, e.addresses, e.ip_proto, e.outer = 0x86DD, (src, dst), chain[0], src[8:12]
            if label:
                e.label = label
                e.reading = False
                self.kind("label")
        body = b""
        for this, following in zip(extensions, chain[1:], strict=True):
            if this == 44:
                self.kind("fragment6")
                offset = rng.choice([0, 1, 8])  # atomic, first, later
                body += struct.pack("!BBHI", following, 0, offset, rng.randrange(1 << 32))
                if e.reading:
                    e.ip_proto, e.reading = following, False
            else:
                units = rng.choice([0, 1])
                body += bytes((following, units)) + bytes(6 + 8 * units)
                if e.reading:
                    e.ip_proto = following
                    e.again()
        payload = body + self.transport(proto, depth, six=True)
        return (
            struct.pack("!IHBB", 0x6000_0000 | label, len(payload), proto if not extensions else extensions[0], 64)
            + src
            + dst
            + payload
        )

    # Behind it

    def choose(self, depth: int) -> int:
        plain = [TCP, TCP, UDP, UDP, SCTP, DCCP, UDPLITE, ESP, AH, 1, 58, 89]
        tunnels = [GRE, GRE, GRE, GRE, 4, 41, 137]
        return self.rng.choice(plain + tunnels if depth < 3 else plain)

    def transport(self, proto: int, depth: int, *, six: bool) -> bytes:
        rng, e = self.rng, self.e
        self.kind(f"{'six' if six else 'four'}-{proto}")
        rest = bytes(rng.choices(range(256), k=24))
        if e.reading:
            e.ports = b"\0" * 4
        if proto in (TCP, UDP, SCTP, DCCP, UDPLITE):
            ports = struct.pack("!HH", rng.choice(PORTS), rng.choice(PORTS))
            if e.reading:
                e.ports = ports
            return ports + rest
        if proto in (ESP, AH):
            spi = struct.pack("!I", rng.choice([0x1000, 0x1001, 0x50000]))
            if e.reading:
                e.ports = spi
            return (struct.pack("!BBH", TCP, 4, 0) if proto == AH else b"") + spi + rest
        if proto == GRE:
            return self.gre(depth)
        if proto in (4, 41):
            self.kind("tunnel")
            if e.reading:
                e.n_proto = 0x0800 if proto == 4 else 0x86DD
            e.again()
            return self.ipv4(depth + 1) if proto == 4 else self.ipv6(depth + 1)
        if proto == 137:
            if e.reading:
                e.n_proto = 0x8847
            e.reading = False
            return struct.pack("!I", 16 << 12 | 0x140) + rest
        e.reading = False
        return rest

    def gre(self, depth: int) -> bytes:
        rng, e = self.rng, self.e
        shape = rng.choice(["ip", "ip", "ip", "ip6", "teb", "erspan", "routing", "version2", "pptp", "pptp", "pptp-bare"])
        self.kind(f"gre-{shape}")
        flags = sum(rng.choice([0, bit]) for bit in (0x8000, 0x2000, 0x1000))
        keyid = struct.pack("!I", rng.choice([1, 2, 0x10001]))
        if shape in ("routing", "version2"):
            e.reading = False
            return struct.pack("!HH", flags | (0x4000 if shape == "routing" else 2), 0x0800) + bytes(24)
        if shape.startswith("pptp"):
            return self.pptp(flags & 0x9000, keyid, depth, bare=shape == "pptp-bare")
        number = {"ip": 0x0800, "ip6": 0x86DD, "teb": 0x6558, "erspan": 0x88BE}[shape]
        head = struct.pack("!HH", flags, number) + (b"\0" * 4 if flags & 0x8000 else b"")
        if flags & 0x2000:
            head += keyid
            if e.reading:
                e.keyid = keyid
        head += b"\0\0\0\7" if flags & 0x1000 else b""
        if e.reading:
            e.n_proto = number
        if shape == "teb":
            tags, inside = rng.choice([0, 0, 1]), rng.choice(["ip", "ip6"])
            if e.reading:
                e.n_proto = {"ip": 0x0800, "ip6": 0x86DD}[inside] if not tags else 0x8100
            e.again()
            return head + bytes(12) + self.typed(tags, inside, depth + 1)
        e.again()
        if shape == "erspan":
            e.reading = False  # nobody looks into it
            return head + bytes(8) + bytes(12) + b"\x08\x00" + self.ipv4(depth + 1)
        return head + (self.ipv4(depth + 1) if shape == "ip" else self.ipv6(depth + 1))

    def pptp(self, flags: int, keyid: bytes, depth: int, *, bare: bool) -> bytes:
        rng, e = self.rng, self.e
        ack = rng.choice([0, 0x0080])
        if e.reading:
            e.n_proto = 0x880B
        if bare:  # without a key it is not PPTP
            e.reading = False
            return struct.pack("!HH", flags | ack | 1, 0x880B) + bytes(24)
        head = struct.pack("!HH", flags | 0x2000 | ack | 1, 0x880B) + (b"\0" * 4 if flags & 0x8000 else b"") + keyid
        head += (b"\0\0\0\7" if flags & 0x1000 else b"") + (b"\0\0\0\3" if ack else b"")
        if e.reading:
            e.keyid = b"\0\0" + keyid[2:]
        inside = rng.choice(["ip", "ip", "ip6", "lcp"])
        if e.reading and inside != "lcp":
            e.n_proto = 0x0800 if inside == "ip" else 0x86DD
        e.again()
        if inside == "lcp":
            e.reading = False
            return head + b"\xff\x03\xc0\x21" + bytes(20)
        return head + b"\xff\x03" + (b"\0\x21" + self.ipv4(depth + 1) if inside == "ip" else b"\0\x57" + self.ipv6(depth + 1))


def _nested(layers: int, sport: int) -> Frame:
    """IP in IP, ``layers`` headers deep: behind the sixteenth nobody looks."""
    data = struct.pack("!HHHH", sport, 53, 8, 0)
    for layer in range(layers):
        src, dst = ADDRESSES4[0], bytes((198, 51, 100, layers - layer))
        data = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(data), 1, 0, 64, UDP if layer == 0 else 4, 0, src, dst) + data
    seen = min(layers, 16)
    proto = UDP if seen == layers else 4
    ports = (b"\x00\x35", struct.pack("!H", sport)) if seen == layers else (b"\0\0", b"\0\0")
    key = (0x0800, proto, 0, (0, 0, 0, 0), b"\0" * 4, tuple(sorted(ports)),
           tuple(sorted((ADDRESSES4[0], bytes((198, 51, 100, seen))))), b"\0" * 4)  # fmt: skip
    return Frame(bytes.fromhex("0200000000020200000000010800") + data, key, f"nested-{layers}")


def corpus(count: int, seed: int = 1) -> list[Frame]:
    """``count`` frames, every tenth of them cut off somewhere, and a few very deep ones."""
    frames = []
    for number in range(count):
        maker = _Maker(random.Random(f"{seed}:{number}"))
        data = maker.ethernet()
        key: tuple[object, ...] | None = maker.e.key()
        kind = " ".join(maker.e.kinds)
        if number % 10 == 9:
            data, key = data[: maker.rng.randrange(14, max(len(data), 15))], None
        frames.append(Frame(data.ljust(60, b"\0") if key is not None else data, key, kind))
    return frames + [_nested(layers, sport) for layers in (2, 14, 15, 16, 17, 18) for sport in (1000, 2000)]
