# SPDX-License-Identifier: GPL-2.0-or-later
"""The flows of one traffic source as columns, and what follows from a flow: its hash, its queue, its socket."""

from __future__ import annotations

import dataclasses
import ipaddress
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from softnet.errors import ScenarioError
from softnet.scenario.columns import NOT_IP, PKT_HASH_TYPE_L3, PKT_HASH_TYPE_L4, PKT_HASH_TYPE_NONE, TCP, UDP
from softnet.scenario.fields import SOCKETS_MAX
from softnet.scenario.flow_dissector import KEYS_BYTES, flow_hash_from_keys, plain_keys, set_vlan
from softnet.scenario.rss import indirection, toeplitz
from softnet.units import mix, mix_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from softnet.scenario.models import Nic, Scenario
    from softnet.scenario.packet import Packet
    from softnet.scenario.traffic_models import Generator

PROTO_NUMBER: Final = {"tcp": TCP, "udp": UDP}
_KINDS: Final = {TCP: "tcp", UDP: "udp"}

_PORT_STREAM: Final = 0x464C_0000
_REUSEPORT_STREAM: Final = 0x464C_1000
# net/ipv4/af_inet.c: ip_local_port_range is 32768 to 60999.
_64_BITS: Final = (1 << 64) - 1
_LOCAL_PORT_FIRST: Final = 32768
_LOCAL_PORTS: Final = 28232


@dataclasses.dataclass(frozen=True, eq=False)
class FlowTable:
    """Flows as columns. IPv4 addresses stand in the first four of their sixteen bytes.

    A flow here is what the kernel's flow dissector, the card and the receiver cannot tell apart: one connection may have
    several, of different VLANs or flow labels, which share a socket.
    """

    proto: NDArray[np.int64]
    src: NDArray[np.uint8]
    dst: NDArray[np.uint8]
    sport: NDArray[np.int64]
    dport: NDArray[np.int64]
    is_ipv6: NDArray[np.bool_]
    fragment_header: NDArray[np.bool_]
    """The packets are fragments, or IPv6's atomic ones: a card looks for no ports."""
    keys: NDArray[np.uint8]
    """What the flow dissector finds, (flows, KEYS_BYTES)."""
    addr_type: NDArray[np.int64]
    """How much of it is hashed (flow_dissector.HASHED_BYTES)."""
    connection: NDArray[np.int64]
    """Number of the addresses, ports and protocol, counted from 0 in the order of their first packets."""

    def __len__(self) -> int:
        return len(self.proto)


class FlowKey(NamedTuple):
    """What tells the flows of a capture apart."""

    proto: int
    src: bytes
    dst: bytes
    sport: int
    dport: int
    fragment: bool = False
    fragment_header: bool = False
    flow_label: int = 0
    dissected: bytes = b""
    """What the flow dissector found (FlowKeys.packed()); empty where the fields before say all of it."""


def flow_key(packet: Packet) -> FlowKey:
    """What tells the flow of a packet from others."""
    return FlowKey(
        packet.proto, packet.src, packet.dst, packet.sport, packet.dport,
        packet.fragment, packet.fragment_header, packet.flow_label, packet.dissected,
    )  # fmt: skip


def table_of_keys(keys: list[FlowKey]) -> FlowTable:
    """The table of flows that a capture holds, in the order of their first packets."""

    def addresses(column: int) -> NDArray[np.uint8]:
        joined = b"".join(bytes(key[column]).ljust(16, b"\0") for key in keys)
        return np.frombuffer(joined, dtype=np.uint8).reshape(len(keys), 16)

    proto, sport, dport, label = (np.array([key[at] for key in keys], dtype=np.int64) for at in (0, 3, 4, 7))
    src, dst = addresses(1), addresses(2)
    is_ipv6 = np.array([len(key.src) == 16 for key in keys], dtype=np.bool_)
    raw, addr_type = plain_keys(proto, src, dst, (sport, dport), is_ipv6, label)
    for row, key in enumerate(keys):
        if key.dissected:
            addr_type[row] = key.dissected[0]
            raw[row] = np.frombuffer(key.dissected, dtype=np.uint8, count=KEYS_BYTES, offset=1)
    known: dict[tuple[object, ...], int] = {}
    return FlowTable(
        proto=proto,
        src=src,
        dst=dst,
        sport=sport,
        dport=dport,
        is_ipv6=is_ipv6,
        fragment_header=np.array([key.fragment or key.fragment_header for key in keys], dtype=np.bool_),
        keys=raw,
        addr_type=addr_type,
        connection=np.array([known.setdefault(key[:6], len(known)) for key in keys], dtype=np.int64),
    )


def generated_flows(source: Generator, index: int, nic_index: int, seed: int) -> FlowTable:
    """The flows of a generator: one client address each, from its first up, all to one address.

    The client's port is drawn from the seed, so how flows fall on queues differs from seed to seed, as it
    does from one run to the next on a real network.
    """
    count = source.flows
    number = np.arange(count, dtype=np.int64)
    first, to = generator_addresses(source, index, nic_index)
    size = first.max_prefixlen // 8
    src, dst = (np.zeros((count, 16), dtype=np.uint8) for _ in range(2))
    src[:, :size] = _addresses_from(int(first), count)[:, 16 - size :]
    dst[:, :size] = np.frombuffer(to.packed, dtype=np.uint8)
    draws = mix_array(seed, _PORT_STREAM + index, number).astype(np.int64)
    proto = np.full(count, PROTO_NUMBER[source.proto], dtype=np.int64)
    sport = _LOCAL_PORT_FIRST + ((draws * _LOCAL_PORTS) >> 32)
    dport = np.array(source.dst_ports, dtype=np.int64)[number % len(source.dst_ports)]
    no, is_ipv6 = np.zeros(count, dtype=np.bool_), np.full(count, size == 16)
    raw, addr_type = plain_keys(proto, src, dst, (sport, dport), is_ipv6, np.zeros(count, dtype=np.int64))
    if source.vlan:
        set_vlan(raw, source.vlan)
    return FlowTable(
        proto, src, dst, sport, dport, is_ipv6=is_ipv6, fragment_header=no, keys=raw, addr_type=addr_type, connection=number
    )


def _addresses_from(first: int, count: int) -> NDArray[np.uint8]:
    """So many numbers from the first up, as sixteen bytes each."""
    low = np.uint64(first & _64_BITS) + np.arange(count, dtype=np.uint64)
    high = np.uint64(first >> 64) + (low < np.uint64(first & _64_BITS)).astype(np.uint64)
    return np.stack([high, low], axis=1).astype(">u8").view(np.uint8)


Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def generator_addresses(source: Generator, index: int, nic_index: int) -> tuple[Address, Address]:
    """The first client's address and the one that all packets go to. Raises ValueError for what is none."""
    given = [ipaddress.ip_address(text) for text in (source.src, source.dst) if text]
    is_ipv6 = any(address.version == 6 for address in given)
    first: Address = ipaddress.ip_address((0xFD01 << 112) + (index << 20) + 1 if is_ipv6 else 0x0A00_0001 + (index << 20))
    to: Address = ipaddress.ip_address((0xFD00 << 112) + nic_index if is_ipv6 else 0xC0A8_0001 + ((nic_index & 0xFF) << 8))
    return ipaddress.ip_address(source.src) if source.src else first, ipaddress.ip_address(source.dst) if source.dst else to


def card_hash(flows: FlowTable, nic: Nic) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """What the card computes of each flow, and over what: Toeplitz over addresses and, for TCP and as configured UDP, ports.

    Of a frame without an IP packet it computes nothing. As drivers do, it reads past VLAN tags, and not into tunnels.
    """
    out = np.zeros(len(flows), dtype=np.uint32)
    has_ports = (flows.proto == TCP) | ((flows.proto == UDP) & (nic.rx_flow_hash_udp == "sdfn"))
    has_ports &= ~flows.fragment_header
    is_ip = flows.proto < NOT_IP
    ports = np.stack([flows.sport >> 8, flows.sport & 255, flows.dport >> 8, flows.dport & 255], axis=1)
    for length, family in ((4, ~flows.is_ipv6), (16, flows.is_ipv6)):
        for with_ports in (False, True):
            rows = np.flatnonzero(family & is_ip & (has_ports == with_ports))
            columns = [flows.src[rows, :length], flows.dst[rows, :length]]
            if with_ports:
                columns.append(ports[rows].astype(np.uint8))
            out[rows] = toeplitz(np.concatenate(columns, axis=1))
    return out, np.where(is_ip, np.where(has_ports, PKT_HASH_TYPE_L4, PKT_HASH_TYPE_L3), PKT_HASH_TYPE_NONE)


class Hashes(NamedTuple):
    """Columns, one entry for each flow."""

    card: NDArray[np.int64]
    """What the driver stores as ``skb->hash``; 0 where the card does not pass its hash on."""
    card_type: NDArray[np.int64]
    """PKT_HASH_TYPE_NONE, _L3 or _L4."""
    flow: NDArray[np.int64]
    """What the kernel computes itself, where the card's is not over ports."""
    queue: NDArray[np.int64]
    """The queue of its NIC, from 0, that the flow arrives at."""


def hash_and_queue(flows: FlowTable, nic: Nic, seed: int) -> Hashes:
    """The two hashes of each flow and its queue."""
    hardware, kind = card_hash(flows, nic)
    queue = indirection(nic.queues)[hardware & np.uint32(127)]
    if not nic.rss:
        hardware, kind = np.zeros_like(hardware), np.full_like(kind, PKT_HASH_TYPE_NONE)
    software = flow_hash_from_keys(seed, flows.keys, flows.addr_type)
    return Hashes(hardware.astype(np.int64), kind, software.astype(np.int64), queue)


class SocketSpec(NamedTuple):
    """One socket. ``sock`` is its number, from 1; ``worker`` says which of the application's tasks reads it."""

    sock: int
    application: int
    worker: int
    cpu: int
    kind: str
    port: int
    rcvbuf: int


class SocketBook:
    """Gives each flow its socket: one for each TCP flow, one for each UDP port and task of an application."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.sockets: list[SocketSpec] = []
        self._by_port: dict[tuple[str, int], int] = {}
        self._catch_all: dict[str, int] = {}
        self._udp_groups: dict[tuple[int, int], int] = {}
        self._next_worker = [0] * len(scenario.application)
        for index, app in enumerate(scenario.application):
            for port in app.dst_ports:
                self._by_port[app.kind, port] = index
            if not app.dst_ports:
                self._catch_all[app.kind] = index

    def application_of(self, proto: int, port: int) -> int:
        """The application that listens on a port, else the one that takes every flow, else -1."""
        kind = _KINDS.get(proto, "")
        return self._by_port.get((kind, port), self._catch_all.get(kind, -1))

    def assign(self, flows: FlowTable) -> NDArray[np.int64]:
        """The socket of each flow, 0 where nobody listens; makes the sockets that are missing. A connection has one."""
        out = np.zeros(len(flows), dtype=np.int64)
        protos, ports, connections = flows.proto.tolist(), flows.dport.tolist(), flows.connection.tolist()
        known: dict[int, int] = {}
        for flow in range(len(flows)):
            app = self.application_of(protos[flow], ports[flow])
            if app >= 0:
                connection = connections[flow]
                if connection not in known:
                    known[connection] = self.socket_for(app, ports[flow], connection)
                out[flow] = known[connection]
        return out

    def socket_for(self, app: int, port: int, flow: int) -> int:
        """A new TCP socket, or the UDP socket of this port that takes this flow.

        Several tasks on one UDP port share it by SO_REUSEPORT; the kernel chooses by a hash of the flow, which
        a number mixed from the flow's stands for.
        """
        spec = self.scenario.application[app]
        workers = len(spec.task_cpus)
        if spec.kind == "tcp":
            worker = self._next_worker[app]
            self._next_worker[app] = (worker + 1) % workers
            return self._make(app, worker, port)
        if (app, port) not in self._udp_groups:
            self._udp_groups[app, port] = len(self.sockets) + 1
            for worker in range(workers):
                self._make(app, worker, port)
        chosen = mix(0, _REUSEPORT_STREAM, flow) * workers >> 32 if workers > 1 else 0
        return self._udp_groups[app, port] + chosen

    def _make(self, app: int, worker: int, port: int) -> int:
        spec = self.scenario.application[app]
        if len(self.sockets) >= SOCKETS_MAX:
            raise ScenarioError(
                "more sockets than the model holds",
                where=f"application {spec.name}",
                found=f"more than {SOCKETS_MAX:,}",
                expected="fewer TCP flows, each of which has a socket",
            )
        sock = len(self.sockets) + 1
        cpu = spec.task_cpus[worker]
        self.sockets.append(SocketSpec(sock, app, worker, cpu, spec.kind, port, spec.rcvbuf))
        return sock
