# SPDX-License-Identifier: GPL-2.0-or-later
"""A scenario's cards and their packets, as a guest plays them: TUN devices with NAPI, written to by pinned tasks.

A card's queue is one queue of a TUN device (IFF_NAPI), and a task pinned to the CPU that takes the queue's
interrupt writes each packet when it is due. So the skb is allocated on that CPU, its NAPI is scheduled there,
and the softirq (or, with ``threaded``, the NAPI thread) polls it through GRO and RPS as it would a card's
(drivers/net/tun.c, tun_get_user(), tun_napi_poll()). The arrivals are those of the simulation: same times, sizes,
flows and queues. Headers are written here, whole, so that the guest has only to add a time stamp.
"""

from __future__ import annotations

import base64
import ipaddress
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from softnet.lab.errors import LabError
from softnet.lab.guest.plans import CardPlan, QueuePlan, Setting, SocketPlan
from softnet.scenario.columns import FLAG_FRAGMENT, FLAG_PUSH, NOT_IP
from softnet.scenario.events import changes
from softnet.scenario.traffic import arrivals, socket_table

if TYPE_CHECKING:
    from softnet.lab.play.arm import GuestArm
    from softnet.scenario import Nic, Scenario

PACKETS_MAX = 250_000
TCP_SOCKETS_MAX = 4096
_TCP, _UDP = 6, 17
_ETHERNET_BYTES, _IPV4_BYTES, _UDP_BYTES, _TCP_BYTES, _TCP_BYTES_MAX = 14, 20, 8, 20, 60
_IPV4_MAX = 65535
_STAMP_BYTES = 8
# What both ends of a replayed connection begin with; any number does.
FIRST_SEQ = 1000
_ACK, _PSH = 0x10, 0x08
_DONT_FRAGMENT = 0x4000
# struct virtio_net_hdr (include/uapi/linux/virtio_net.h): flags, gso_type, hdr_len, gso_size, csum_start,
# csum_offset. NEEDS_CSUM says that the checksum is still to be computed, so the receiver takes it as right.
_VNET = struct.Struct("<BBHHHH")
_NEEDS_CSUM = 1
_CSUM_OFFSET = {_TCP: 16, _UDP: 6}
# time_ns, header bytes, payload bytes, bit 0: the payload carries a time stamp; then the header.
RECORD = struct.Struct("<qHHB")
_STAMPED = 1
_DEFAULT_WEIGHT = 64
# IFNAMSIZ without the end of the string.
_NAME_MAX = 15
_DISCARD_PORT = 9
_LOCAL_PORT_FIRST, _LOCAL_PORTS = 32768, 28232
_SYS_NET = "/sys/class/net"
# The card's interrupt comes before any task; on PREEMPT_RT its handler is a thread (kernel/irq/manage.c).
_HARDIRQ_SCHED, _IRQ_THREAD_KIND = "fifo:99", "irq"


@dataclass(slots=True)
class _Flow:
    """Where a flow goes in the guest, and how far its TCP sequence is."""

    proto: int
    src: bytes
    dst: bytes
    sport: int
    dport: int
    sock: int
    seq: int = FIRST_SEQ


def local_address(nic: int, *, listening: bool) -> bytes:
    """192.168.NIC.1, which is the guest's own, or 192.168.NIC.2, which is nobody's."""
    return bytes((192, 168, nic, 1 if listening else 2))


def _peer(source: int, number: int) -> bytes:
    return struct.pack(">I", 0x0A00_0001 + (source << 20) + number)


def _checksum(header: bytes) -> int:
    total: int = sum(struct.unpack(f">{len(header) // 2}H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


class _Wire:
    """Packets of all flows as the guest must write them, and what had to be made otherwise than asked."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.flows: dict[int, _Flow] = {}
        self.resized = 0
        self.fragments = 0
        self.not_ip = 0
        self._next_number = [0] * len(scenario.traffic)
        self._sockets = {spec.sock: spec for spec in socket_table(scenario)}

    def flow(self, number: int, source: int, proto: int, sock: int) -> _Flow:
        """The flow of this number, made at its first packet: a peer's address of its own, its socket's port."""
        if proto == _TCP and sock:
            number = -sock  # flows that a card and RPS tell apart, of one connection
        known = self.flows.get(number)
        if known is None:
            name = self.scenario.traffic[source].nic
            nic = 0 if name is None else self.scenario.nic_index(name)
            count = self._next_number[source]
            self._next_number[source] += 1
            here = local_address(nic, listening=sock != 0)
            port = self._sockets[sock].port if sock else _DISCARD_PORT
            sport = _LOCAL_PORT_FIRST + count % _LOCAL_PORTS
            known = self.flows[number] = _Flow(proto, _peer(source, count), here, sport, port, sock)
        return known

    def packet(self, flow: _Flow, len_bytes: int, payload: int, flags: int) -> tuple[bytes, int]:
        """(virtio_net_hdr and headers, payload bytes) of one packet."""
        room = min(len_bytes - _ETHERNET_BYTES, _IPV4_MAX) - _IPV4_BYTES
        if flags & FLAG_FRAGMENT:
            self.fragments += 1
        if flow.proto == _TCP:
            option_bytes = (max(room - payload - _TCP_BYTES, 0) // 4) * 4
            head = min(_TCP_BYTES + option_bytes, _TCP_BYTES_MAX)
            transport = self._tcp(flow, head, payload, flags)
        elif flow.proto == _UDP:
            head, payload = _UDP_BYTES, max(room - _UDP_BYTES, 0)
            transport = struct.pack(">HHHH", flow.sport, flow.dport, _UDP_BYTES + payload, 0)
        else:
            head, payload, transport = 0, max(room, 0), b""
        self.resized += head + payload != room
        total = _IPV4_BYTES + head + payload
        words = (0x4500, total, 0, _DONT_FRAGMENT, (64 << 8) | flow.proto)
        bare = struct.pack(">HHHHHH4s4s", *words, 0, flow.src, flow.dst)
        network = struct.pack(">HHHHHH4s4s", *words, _checksum(bare), flow.src, flow.dst)
        offset = _CSUM_OFFSET.get(flow.proto)
        vnet = _VNET.pack(0, 0, 0, 0, 0, 0)
        if offset is not None:
            vnet = _VNET.pack(_NEEDS_CSUM, 0, 0, 0, _IPV4_BYTES, offset)
        return vnet + network + transport, payload

    def _tcp(self, flow: _Flow, head: int, payload: int, flags: int) -> bytes:
        bits = _ACK | (_PSH if flags & FLAG_PUSH else 0)
        seq, flow.seq = flow.seq, (flow.seq + payload) & 0xFFFF_FFFF
        fixed = struct.pack(">HHIIHHHH", flow.sport, flow.dport, seq, FIRST_SEQ, (head // 4 << 12) | bits, 0xFFFF, 0, 0)
        # NOP options stand for the time stamps that a real sender would add.
        return fixed + b"\x01" * (head - _TCP_BYTES)


@dataclass(slots=True)
class _Played:
    """All packets of a scenario: per queue their bytes and how many; per TCP socket its payload lengths."""

    queues: list[bytearray]
    counts: list[int]
    lengths: dict[int, list[int]]
    connections: dict[int, _Flow]


def _play(scenario: Scenario, wire: _Wire) -> _Played:
    """Every arrival as a record for its queue. Raises ``LabError`` beyond ``PACKETS_MAX`` packets."""
    count = sum(nic.queues for nic in scenario.nic)
    played = _Played([bytearray() for _ in range(count)], [0] * count, {}, {})
    total = 0
    for chunk in arrivals(scenario):
        total += len(chunk)
        if total > PACKETS_MAX:
            raise LabError(
                "more packets than a guest can be given",
                where=f"scenario {scenario.name}: traffic",
                found=f"more than {PACKETS_MAX}",
                hint="shorten measure.duration_ms",
            )
        columns = [
            getattr(chunk, name).tolist()
            for name in (
                "time_ns",
                "nic_queue",
                "len_bytes",
                "sock",
                "proto",
                "flow",
                "flags",
                "payload_bytes",
                "source",
            )
        ]
        for time_ns, queue, len_bytes, sock, proto, number, flags, asked, source in zip(*columns, strict=True):
            if proto & NOT_IP:
                wire.not_ip += 1
                continue
            flow = wire.flow(number, source, proto, sock)
            head, payload = wire.packet(flow, len_bytes, asked, flags)
            stamped = payload >= _STAMP_BYTES and sock != 0
            played.queues[queue] += RECORD.pack(time_ns, len(head), payload, _STAMPED * stamped) + head
            played.counts[queue] += 1
            if proto == _TCP and sock:
                played.connections.setdefault(sock, flow)
                if payload:
                    played.lengths.setdefault(sock, []).append(payload)
    return played


def _irq_sched(scenario: Scenario, arm: GuestArm, instance: str) -> str:
    """Policy of the task that stands for the card's interrupt."""
    if arm.image.rt or "threadirqs" in (*scenario.kernel.boot_args, *arm.boot_args):
        policy, _ = scenario.kernel.thread(_IRQ_THREAD_KIND, instance)
        return f"{policy.policy}:{policy.rt_priority}"
    return _HARDIRQ_SCHED


def queue_path(nic: Nic, queue: int) -> str:
    """The sysfs folder of one receive queue."""
    return f"{_SYS_NET}/{nic.name}/queues/rx-{queue}"


def card_settings(nic: Nic, mask: Callable[[tuple[int, ...]], str]) -> list[Setting]:
    """[path, text] of every setting of a card that sysfs takes, defaults included."""
    rows = []
    for queue in range(nic.queues):
        rows.append([f"{queue_path(nic, queue)}/rps_cpus", mask(nic.rps_cpus)])
        rows.append([f"{queue_path(nic, queue)}/rps_flow_cnt", str(nic.rps_flow_cnt)])
    for key in ("napi_defer_hard_irqs", "gro_flush_timeout", "threaded"):
        rows.append([f"{_SYS_NET}/{nic.name}/{key}", str(int(getattr(nic, key)))])
    return rows


def change_settings(nic: Nic, key: str, value: int | tuple[int, ...], mask: Callable[[tuple[int, ...]], str]) -> list[Setting]:
    """[path, text] of a setting of a card that changes during the run; "card:" paths are for the guest's agent."""
    if key in ("rps_cpus", "rps_flow_cnt"):
        text = mask(value) if isinstance(value, tuple) else str(value)
        return [[f"{queue_path(nic, queue)}/{key}", text] for queue in range(nic.queues)]
    if key == "irq_cpus" and isinstance(value, tuple):
        return [[f"card:affinity/{nic.name}-{queue}", str(cpu)] for queue, cpu in enumerate(value)]
    if key == "gro":
        return [[f"card:gro/{nic.name}", str(int(bool(value)))]]
    if key in ("napi_defer_hard_irqs", "gro_flush_timeout", "threaded"):
        return [[f"{_SYS_NET}/{nic.name}/{key}", str(value)]]
    raise LabError(
        "the guest's card has no interrupt to coalesce",
        where=f"event: nic.{nic.name}.{key}",
        expected="rps_cpus, rps_flow_cnt, irq_cpus, gro, threaded, napi_defer_hard_irqs or gro_flush_timeout",
    )


def refuse_cards(scenario: Scenario) -> None:
    """Raise ``LabError`` for cards that no guest can have."""
    for nic in scenario.nic:
        if len(nic.name) > _NAME_MAX or nic.name == "lo":
            raise LabError(
                "not a name that the kernel gives a new device",
                where=f"scenario {scenario.name}: nic.name",
                found=nic.name,
                expected=f"at most {_NAME_MAX} characters, and not lo",
            )
    for change in changes(scenario):
        if change.table == "nic":
            change_settings(scenario.nic[change.nic], change.key, change.value, str)


def cards(scenario: Scenario, arm: GuestArm, said: list[str]) -> tuple[list[CardPlan], list[SocketPlan]]:
    """(cards, sockets) for the guest; appends to ``said`` what a card of the guest is not.

    A card has its name, address, routes and queues; a queue its task (cpu, sched) and its packets, records of
    ``RECORD`` and header in base64. A socket names its application's index and worker, kind, port, and for TCP
    the peer and the payload lengths to come, unsigned 16-bit numbers in base64.
    """
    wire = _Wire(scenario)
    played = _play(scenario, wire)
    made: list[CardPlan] = []
    for index, nic in enumerate(scenario.nic):
        queues: list[QueuePlan] = []
        for queue in range(nic.queues):
            number = scenario.queue_base[index] + queue
            sched = _irq_sched(scenario, arm, f"{nic.name}-{queue}")
            queues.append(
                {
                    "name": f"{nic.name}-{queue}",
                    "label": f"{nic.name}-{queue}",
                    "cpu": nic.irq_cpu(queue, scenario.machine.cpus),
                    "sched": sched,
                    "nice": 0,
                    "count": played.counts[number],
                    "packets": base64.b64encode(bytes(played.queues[number])).decode(),
                }
            )
        sources = [at for at, source in enumerate(scenario.traffic) if source.nic in (None, nic.name)]
        made.append(
            {
                "name": nic.name,
                "address": str(ipaddress.ip_address(local_address(index, listening=True))),
                "routes": [f"{ipaddress.ip_address(0x0A00_0000 + (at << 20))}/12" for at in sources],
                "gro": int(nic.gro),
                "queues": queues,
            }
        )
    said += _deviations(scenario, arm, wire, played)
    return made, _sockets(scenario, played)


def _sockets(scenario: Scenario, played: _Played) -> list[SocketPlan]:
    """The sockets that the packets need: of TCP those with a flow, of UDP all."""
    rows: list[SocketPlan] = []
    for spec in socket_table(scenario):
        row: SocketPlan = {"application": spec.application, "worker": spec.worker, "kind": spec.kind, "port": spec.port}
        if spec.kind == "udp":
            rows.append(row)
            continue
        flow = played.connections.get(spec.sock)
        if flow is None:
            continue
        lengths = played.lengths.get(spec.sock, [])
        row["local"] = str(ipaddress.ip_address(flow.dst))
        row["peer"] = [str(ipaddress.ip_address(flow.src)), flow.sport]
        row["lengths"] = base64.b64encode(struct.pack(f"<{len(lengths)}H", *lengths)).decode()
        rows.append(row)
    if len(played.connections) > TCP_SOCKETS_MAX:
        raise LabError(
            "more TCP connections than a guest is given",
            where=f"scenario {scenario.name}: traffic",
            found=str(len(played.connections)),
            expected=f"at most {TCP_SOCKETS_MAX}",
        )
    return rows


def _deviations(scenario: Scenario, arm: GuestArm, wire: _Wire, played: _Played) -> list[str]:
    said = []
    for nic in scenario.nic:
        said.append(
            f"{nic.name}: the card is a TUN device with NAPI; a task on each queue's interrupt CPU "
            f"({_irq_sched(scenario, arm, f'{nic.name}-0')}) writes every packet when it is due. There is no ring, and "
            "packets that arrive together are polled one by one, so GRO merges fewer."
        )
        if nic.rx_usecs or nic.rx_frames:
            said.append(f"{nic.name}: there is no interrupt to coalesce (rx_usecs, rx_frames).")
        if nic.weight != _DEFAULT_WEIGHT:
            said.append(f"{nic.name}.weight: polls have a weight of {_DEFAULT_WEIGHT} and not {nic.weight}.")
        if nic.rps_cpus or nic.rps_flow_cnt:
            said.append(
                f"{nic.name}: skb->hash is the kernel's own, with a key of its own at every boot, so flows fall on other "
                "CPUs of rps_cpus than in the model."
            )
    if played.connections:
        said.append(
            "TCP flows are connections made by TCP_REPAIR, their headers and sequence numbers written anew; a segment "
            "that the kernel drops is not sent again, and their ACKs are dropped in the card."
        )
    if wire.resized:
        said.append(f"{wire.resized} packets have another size than asked: their headers left no room for it.")
    if wire.not_ip:
        said.append(f"{wire.not_ip} frames without an IP packet are left out: a TUN device takes none.")
    if wire.fragments:
        said.append(f"{wire.fragments} IP fragments were sent as whole packets.")
    return said
