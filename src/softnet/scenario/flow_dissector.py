# SPDX-License-Identifier: GPL-2.0-or-later
"""net/core/flow_dissector.c (6.12): what the kernel looks at when it must compute ``skb->hash`` itself.

``__skb_flow_dissect()`` walks the headers, with its order, its limits and its oddities, as ``flow_keys_dissector`` with
FLOW_DISSECTOR_F_STOP_AT_FLOW_LABEL asks it to; ``flow_hash_from_keys()`` hashes what it found. The text is the same from 6.1 to
7.3 in all that such a hash depends on, but for one: until 7.2 a PPPoE header with a compressed protocol is looked into, in 7.3
(and in the stable 6.12) it is not; here neither. A TIPC probe, which the kernel hashes by a random number, has the key of its
other packets here.

The hash's own bytes are struct flow_keys from ``basic`` on, on a little-endian machine (include/net/flow_dissector.h):

    0 n_proto | 2 ip_proto | 4 flow_label | 8 vlan | 16 cvlan | 24 keyid | 28 ports | 32 icmp | 36 addrs, 32 bytes | 68 padding

``addrs`` is a union: inside IPv6, an IPv4 packet's two addresses leave the rest of the outer source in place, and four bytes of
it are hashed too.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import numpy as np

from softnet.scenario.rss import boot_key, siphash24

if TYPE_CHECKING:
    from numpy.typing import NDArray

ETH_P_802_2: Final = 0x0004
ETH_P_802_3_MIN: Final = 0x0600
ETH_P_IP: Final = 0x0800
ETH_P_ARP: Final = 0x0806
ETH_P_TEB: Final = 0x6558
ETH_P_8021Q: Final = 0x8100
ETH_P_IPV6: Final = 0x86DD
ETH_P_MPLS_UC: Final = 0x8847
ETH_P_MPLS_MC: Final = 0x8848
ETH_P_PPP_SES: Final = 0x8864
ETH_P_8021AD: Final = 0x88A8
_ETH_P_BATMAN: Final = 0x4305
_ETH_P_TIPC: Final = 0x88CA
_ETH_P_PRP: Final = 0x88FB
_ETH_P_HSR: Final = 0x892F

_GRE_CSUM, _GRE_ROUTING, _GRE_KEY, _GRE_SEQ, _GRE_ACK, _GRE_VERSION = 0x8000, 0x4000, 0x2000, 0x1000, 0x0080, 0x0007
_GRE_PROTO_PPP: Final = 0x880B
_PPP_IP, _PPP_IPV6, _PPP_MPLS_UC, _PPP_MPLS_MC = 0x21, 0x57, 0x281, 0x283

_PORTS_OFFSET: Final = {6: 0, 17: 0, 33: 0, 50: 0, 132: 0, 136: 0, 51: 4}
"""proto_ports_offset() (include/linux/in.h): of TCP, UDP, DCCP, SCTP, UDP-Lite the ports, of ESP and AH the SPI."""

MAX_FLOW_DISSECT_HDRS: Final = 15

_TAGS, _VLAN, _KEYID, _PORTS, _ADDRS = 4, 8, 24, 28, 36
KEYS_BYTES: Final = 72
V4: Final = 2
"""``addr_type``: FLOW_DISSECTOR_KEY_IPV4_ADDRS."""
V6: Final = 3
"""FLOW_DISSECTOR_KEY_IPV6_ADDRS."""
TIPC: Final = 6
"""FLOW_DISSECTOR_KEY_TIPC."""
HASHED_BYTES: Final = {0: 40, V4: 48, V6: 72, TIPC: 44}
"""flow_keys_hash_length() by ``addr_type``; 0 is a frame without addresses."""


class FlowKeys:
    """struct flow_keys: ``raw`` is what is hashed, ``addr_type`` says how much of it."""

    __slots__ = ("addr_type", "encapsulated", "fragment", "raw")

    def __init__(self) -> None:
        self.raw = bytearray(KEYS_BYTES)
        self.addr_type = 0
        self.fragment = False
        """FLOW_DIS_IS_FRAGMENT"""
        self.encapsulated = False
        """FLOW_DIS_ENCAPSULATION"""

    def packed(self) -> bytes:
        """``addr_type`` and ``raw``, for ``unpacked()``."""
        return bytes((self.addr_type,)) + bytes(self.raw)


class _Walk:
    """The local variables of __skb_flow_dissect()."""

    __slots__ = ("data", "ip_proto", "keys", "nhoff", "proto", "vlans")

    def __init__(self, data: bytes, proto: int, nhoff: int) -> None:
        self.data = data
        self.proto = proto
        self.nhoff = nhoff
        self.ip_proto = 0
        self.vlans = 0
        self.keys = FlowKeys()

    def has(self, count: int) -> bool:
        """__skb_header_pointer(): whether the frame holds that many bytes more."""
        return self.nhoff + count <= len(self.data)

    def be16(self, at: int) -> int:
        """Two bytes behind ``nhoff``, in network order."""
        place = self.nhoff + at
        return (self.data[place] << 8) | self.data[place + 1]


_OUT_GOOD, _OUT_BAD, _PROTO_AGAIN, _IPPROTO_AGAIN, _CONTINUE = range(5)
"""enum flow_dissect_ret"""


def skb_flow_dissect_flow_keys(data: bytes, proto: int, nhoff: int) -> FlowKeys:
    """__skb_flow_dissect(): the keys of a frame whose network header, of Ethernet type ``proto``, begins at byte ``nhoff``."""
    walk = _Walk(data, proto, nhoff)
    num_hdrs = 0
    again = _PROTO_AGAIN
    while again in (_PROTO_AGAIN, _IPPROTO_AGAIN):
        if again == _PROTO_AGAIN:
            result = _network(walk)
            if result == _PROTO_AGAIN:
                num_hdrs += 1
                if num_hdrs <= MAX_FLOW_DISSECT_HDRS:
                    continue
            if result != _CONTINUE:
                break
        again = _transport(walk)
        if not walk.keys.fragment:
            _dissect_ports(walk)
        if again in (_PROTO_AGAIN, _IPPROTO_AGAIN):
            num_hdrs += 1
            if num_hdrs > MAX_FLOW_DISSECT_HDRS:
                break
    struct.pack_into("!HB", walk.keys.raw, 0, walk.proto, walk.ip_proto)
    return walk.keys


def _network(walk: _Walk) -> int:
    """The switch over ``proto``."""
    proto = walk.proto
    if proto == ETH_P_IP:
        return _dissect_ipv4(walk)
    if proto == ETH_P_IPV6:
        return _dissect_ipv6(walk)
    if proto in (ETH_P_8021Q, ETH_P_8021AD):
        return _dissect_vlan(walk)
    if proto == ETH_P_PPP_SES:
        return _dissect_pppoe(walk)
    if proto in (ETH_P_MPLS_UC, ETH_P_MPLS_MC):
        return _OUT_GOOD  # the labels are no key of flow_keys_dissector: __skb_flow_dissect_mpls() stops at once
    if proto == _ETH_P_TIPC and walk.has(16):
        walk.keys.addr_type = TIPC
        walk.keys.raw[_ADDRS : _ADDRS + 4] = walk.data[walk.nhoff + 12 : walk.nhoff + 16]
        return _OUT_GOOD
    if proto == _ETH_P_BATMAN and walk.has(24) and walk.data[walk.nhoff] == 0x40 and walk.data[walk.nhoff + 1] == 15:
        # A unicast packet of version 15: 10 bytes, and an Ethernet header.
        walk.proto = walk.be16(22)
        walk.nhoff += 24
        walk.keys.encapsulated = True
        return _PROTO_AGAIN
    if proto in (_ETH_P_PRP, _ETH_P_HSR) and walk.has(6):
        walk.proto = walk.be16(4)
        walk.nhoff += 6
        return _PROTO_AGAIN
    return _OUT_BAD


def _dissect_ipv4(walk: _Walk) -> int:
    """The case ETH_P_IP. No port is taken from a fragment, not even from the first (no FLOW_DISSECTOR_F_PARSE_1ST_FRAG)."""
    at = walk.nhoff
    if not walk.has(20) or walk.data[at] & 15 < 5:
        return _OUT_BAD
    walk.nhoff += (walk.data[at] & 15) * 4
    walk.ip_proto = walk.data[at + 9]
    walk.keys.addr_type = V4
    walk.keys.raw[_ADDRS : _ADDRS + 8] = walk.data[at + 12 : at + 20]
    if ((walk.data[at + 6] << 8) | walk.data[at + 7]) & 0x3FFF:
        walk.keys.fragment = True
        return _OUT_GOOD
    return _CONTINUE


def _dissect_ipv6(walk: _Walk) -> int:
    """The case ETH_P_IPV6: a flow label ends the walk."""
    at = walk.nhoff
    if not walk.has(40):
        return _OUT_BAD
    walk.ip_proto = walk.data[at + 6]
    walk.nhoff += 40
    walk.keys.addr_type = V6
    walk.keys.raw[_ADDRS : _ADDRS + 32] = walk.data[at + 8 : at + 40]
    label = ((walk.data[at + 1] & 15) << 16) | (walk.data[at + 2] << 8) | walk.data[at + 3]
    if label:
        struct.pack_into("<I", walk.keys.raw, _TAGS, label)
        return _OUT_GOOD
    return _CONTINUE


def _dissect_vlan(walk: _Walk) -> int:
    """The case of both tags: the outermost one's id and priority are keys, the ones inside are passed."""
    if not walk.has(4):
        return _OUT_BAD
    tpid, tci = walk.proto, walk.be16(0)
    walk.proto = walk.be16(2)
    walk.nhoff += 4
    walk.vlans += 1
    if walk.vlans == 1:
        struct.pack_into("<H", walk.keys.raw, _VLAN, tci & 0xEFFF)  # all but the drop-eligible bit
        struct.pack_into("!HH", walk.keys.raw, _VLAN + 2, tpid, walk.proto)
    return _PROTO_AGAIN


def _dissect_pppoe(walk: _Walk) -> int:
    """The case ETH_P_PPP_SES: version 1, type 1, code 0; then PPP's protocol."""
    if not walk.has(8) or walk.data[walk.nhoff] != 0x11 or walk.data[walk.nhoff + 1]:
        return _OUT_BAD
    ppp_proto = walk.be16(6)
    inside = {_PPP_IP: ETH_P_IP, _PPP_IPV6: ETH_P_IPV6, _PPP_MPLS_UC: ETH_P_MPLS_UC, _PPP_MPLS_MC: ETH_P_MPLS_MC}.get(ppp_proto)
    walk.nhoff += 8
    if inside is None:
        return _OUT_GOOD
    walk.proto = inside
    return _PROTO_AGAIN


def _transport(walk: _Walk) -> int:
    """The switch over ``ip_proto``."""
    ip_proto = walk.ip_proto
    if ip_proto == 47:
        return _dissect_gre(walk)
    if ip_proto in (0, 43, 60) and walk.proto == ETH_P_IPV6:
        if not walk.has(2):
            return _OUT_BAD
        length = (walk.data[walk.nhoff + 1] + 1) * 8
        walk.ip_proto = walk.data[walk.nhoff]
        walk.nhoff += length
        return _IPPROTO_AGAIN
    if ip_proto == 44 and walk.proto == ETH_P_IPV6:
        if not walk.has(8):
            return _OUT_BAD
        walk.keys.fragment = True  # an atomic one too
        walk.ip_proto = walk.data[walk.nhoff]
        walk.nhoff += 8
        return _OUT_GOOD
    if ip_proto in (4, 41):
        walk.proto = ETH_P_IP if ip_proto == 4 else ETH_P_IPV6
        walk.keys.encapsulated = True
        return _PROTO_AGAIN
    if ip_proto == 137:
        walk.proto = ETH_P_MPLS_UC
        return _PROTO_AGAIN
    return _CONTINUE


def _dissect_gre(walk: _Walk) -> int:
    """__skb_flow_dissect_gre(): versions 0 and 1 without routing; the key counts, and what is inside."""
    if not walk.has(4):
        return _OUT_BAD
    flags, version = walk.be16(0), walk.be16(0) & _GRE_VERSION
    if flags & _GRE_ROUTING or version > 1:
        return _OUT_GOOD
    walk.proto = walk.be16(2)
    if version and not (walk.proto == _GRE_PROTO_PPP and flags & _GRE_KEY):
        return _OUT_GOOD
    offset = 8 if flags & _GRE_CSUM else 4
    if flags & _GRE_KEY:
        if not walk.has(offset + 4):
            return _OUT_BAD
        key = bytes(walk.data[walk.nhoff + offset : walk.nhoff + offset + 4])
        walk.keys.raw[_KEYID : _KEYID + 4] = key if version == 0 else b"\0\0" + key[2:]  # of PPTP the call's id
        offset += 4
    if flags & _GRE_SEQ:
        offset += 4
    if version == 0 and walk.proto == ETH_P_TEB:
        if not walk.has(offset + 14):
            return _OUT_BAD
        walk.proto = walk.be16(offset + 12)
        offset += 14
    elif version:
        if flags & _GRE_ACK:
            offset += 4
        if not walk.has(offset + 4):
            return _OUT_BAD
        inside = walk.be16(offset + 2)
        walk.proto = {_PPP_IP: ETH_P_IP, _PPP_IPV6: ETH_P_IPV6}.get(inside, walk.proto)
        offset += 4
    walk.nhoff += offset
    walk.keys.encapsulated = True
    return _PROTO_AGAIN


def _dissect_ports(walk: _Walk) -> None:
    """__skb_flow_dissect_ports(): four bytes, where there are such and they are in the frame; else zero."""
    offset = _PORTS_OFFSET.get(walk.ip_proto)
    found = b"\0\0\0\0"
    if offset is not None and walk.has(offset + 4):
        found = walk.data[walk.nhoff + offset : walk.nhoff + offset + 4]
    walk.keys.raw[_PORTS : _PORTS + 4] = found


def plain_keys(
    proto: NDArray[np.int64],
    src: NDArray[np.uint8],
    dst: NDArray[np.uint8],
    ports: tuple[NDArray[np.int64], NDArray[np.int64]],
    is_ipv6: NDArray[np.bool_],
    flow_label: NDArray[np.int64],
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The keys, (rows, KEYS_BYTES), and ``addr_type`` of packets that are nothing but IP and a transport protocol that has
    ports.
    """
    rows = len(proto)
    raw = np.zeros((rows, KEYS_BYTES), dtype=np.uint8)
    raw[:, 0] = np.where(is_ipv6, ETH_P_IPV6 >> 8, ETH_P_IP >> 8)
    raw[:, 1] = np.where(is_ipv6, ETH_P_IPV6 & 255, ETH_P_IP & 255)
    raw[:, 2] = proto
    labelled = flow_label != 0
    raw[:, _TAGS : _TAGS + 4] = np.ascontiguousarray(flow_label.astype("<u4")).view(np.uint8).reshape(rows, 4)
    for at, port in zip((_PORTS, _PORTS + 2), ports, strict=True):
        raw[:, at] = np.where(labelled, 0, port >> 8)
        raw[:, at + 1] = np.where(labelled, 0, port & 255)
    four = ~is_ipv6
    raw[four, _ADDRS : _ADDRS + 4] = src[four, :4]
    raw[four, _ADDRS + 4 : _ADDRS + 8] = dst[four, :4]
    raw[is_ipv6, _ADDRS : _ADDRS + 16] = src[is_ipv6]
    raw[is_ipv6, _ADDRS + 16 : _ADDRS + 32] = dst[is_ipv6]
    return raw, np.where(is_ipv6, V6, V4)


def set_vlan(raw: NDArray[np.uint8], vlan: int) -> None:
    """Give the keys of untagged packets one tag, as _dissect_vlan() does. In place."""
    raw[:, _VLAN : _VLAN + 2] = np.frombuffer(struct.pack("<H", vlan), dtype=np.uint8)
    raw[:, _VLAN + 2 : _VLAN + 4] = np.frombuffer(struct.pack("!H", ETH_P_8021Q), dtype=np.uint8)
    raw[:, _VLAN + 4 : _VLAN + 6] = raw[:, :2]  # the type of what is behind it


def _swap(raw: NDArray[np.uint8], rows: NDArray[np.intp], first: int, length: int) -> None:
    second = first + length
    before = raw[rows, first:second].copy()
    raw[rows, first:second] = raw[rows, second : second + length]
    raw[rows, second : second + length] = before


def _column(raw: NDArray[np.uint8], at: int, kind: str) -> NDArray[np.uint64]:
    size = np.dtype(kind).itemsize
    return np.ascontiguousarray(raw[:, at : at + size]).view(kind)[:, 0].astype(np.uint64)


def __flow_hash_consistentify(raw: NDArray[np.uint8], addr_type: NDArray[np.int64]) -> None:
    """Both directions of a flow alike: the addresses in order, and, apart from them, the ports. IPv4's and the ports' order is
    that of little-endian numbers, IPv6's that of bytes. In place.
    """
    has_addresses = (addr_type == V4) | (addr_type == V6)
    v4_back = (addr_type == V4) & (_column(raw, _ADDRS + 4, "<u4") < _column(raw, _ADDRS, "<u4"))
    source = [_column(raw, _ADDRS + at, ">u8") for at in (0, 8)]
    target = [_column(raw, _ADDRS + at, ">u8") for at in (16, 24)]
    v6_back = (addr_type == V6) & ((target[0] < source[0]) | ((target[0] == source[0]) & (target[1] < source[1])))
    ports_back = has_addresses & (_column(raw, _PORTS + 2, "<u2") < _column(raw, _PORTS, "<u2"))
    _swap(raw, np.flatnonzero(v4_back), _ADDRS, 4)
    _swap(raw, np.flatnonzero(v6_back), _ADDRS, 16)
    _swap(raw, np.flatnonzero(ports_back), _PORTS, 2)


def flow_hash_from_keys(seed: int, raw: NDArray[np.uint8], addr_type: NDArray[np.int64]) -> NDArray[np.uint32]:
    """The hash of each row of keys, never 0: SipHash-2-4 with the key that stands for the kernel's, which is random at every boot.

    ``raw`` is (rows, KEYS_BYTES); ``seed`` chooses the key.
    """
    raw = raw.copy()
    __flow_hash_consistentify(raw, addr_type)
    out = np.zeros(len(raw), dtype=np.uint32)
    key = boot_key(seed)
    for kind, length in HASHED_BYTES.items():
        rows = np.flatnonzero(addr_type == kind)
        if not len(rows):
            continue
        padded = np.zeros((len(rows), length // 8 * 8 + 8), dtype=np.uint8)
        padded[:, :length] = raw[rows, :length]
        words = padded.view("<u8").astype(np.uint64)
        hashed = (siphash24(key, words, length) & np.uint64(0xFFFF_FFFF)).astype(np.uint32)
        out[rows] = np.where(hashed == 0, np.uint32(1), hashed)
    return out
