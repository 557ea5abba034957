# SPDX-License-Identifier: GPL-2.0-or-later
"""Link layers of captures: from the first byte of a frame to its network header and Ethernet type.

The numbers are those of https://www.tcpdump.org/linktypes.html; every type of that list that carries IP without being tied to one
vendor's card is here. A frame of a bus or of a radio arrives as the Ethernet frame that a driver makes of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from softnet.scenario.flow_dissector import ETH_P_802_2, ETH_P_802_3_MIN, ETH_P_IP, ETH_P_IPV6, ETH_P_MPLS_UC, ETH_P_PPP_SES

ETH_HLEN: Final = 14
_ETH_P_802_3: Final = 0x0001
_AF_INET6: Final = frozenset((10, 24, 28, 30))
"""Linux; NetBSD and OpenBSD; FreeBSD; macOS."""
_PPP: Final = {0x21: ETH_P_IP, 0x57: ETH_P_IPV6, 0x281: ETH_P_MPLS_UC, 0x283: 0x8848}
_SNAP: Final = b"\xaa\xaa\x03\x00\x00\x00"
_NFULA_PAYLOAD: Final = 9


class Link(NamedTuple):
    """Where the network header begins, its Ethernet type, and whether the capturing host sent the frame itself."""

    at: int
    kind: int
    outgoing: bool = False


class _TooShort(Exception):
    pass


def _need(data: bytes, count: int) -> None:
    if len(data) < count:
        raise _TooShort


def _be16(data: bytes, at: int) -> int:
    _need(data, at + 2)
    return (data[at] << 8) | data[at + 1]


def _ethernet(data: bytes, at: int = 0) -> Link | str:
    """eth_type_trans() (net/ethernet/eth.c): below 1536 it is a length, and the type that of LLC or of raw 802.3."""
    kind = _be16(data, at + 12)
    if kind < ETH_P_802_3_MIN:
        kind = _ETH_P_802_3 if data[at + 14 : at + 16] == b"\xff\xff" else ETH_P_802_2
    return Link(at + ETH_HLEN, kind)


def _family(data: bytes, at: int, family: int) -> Link | str:
    return Link(at, ETH_P_IP if family == 2 else ETH_P_IPV6 if family in _AF_INET6 else 0)


def _loopback(data: bytes) -> Link | str:
    _need(data, 4)
    return _family(data, 4, max(data[0], data[3]))  # host byte order, whichever host it was


def _raw(data: bytes) -> Link | str:
    _need(data, 1)
    return Link(0, {4: ETH_P_IP, 6: ETH_P_IPV6}.get(data[0] >> 4, 0))


def _cooked(data: bytes) -> Link | str:
    _need(data, 16)
    return Link(16, _cooked_kind(_be16(data, 14)), data[0] == 0 and data[1] == 4)


def _cooked2(data: bytes) -> Link | str:
    _need(data, 20)
    return Link(20, _cooked_kind(_be16(data, 0)), data[10] == 4)


def _cooked_kind(kind: int) -> int:
    return ETH_P_802_2 if kind < ETH_P_802_3_MIN else kind


def _ppp(data: bytes, at: int = 0, *, outgoing: bool = False) -> Link | str:
    """RFC 1661, with the address and control bytes of RFC 1662 or without, the protocol compressed or not."""
    _need(data, at + 2)
    if data[at : at + 2] == b"\xff\x03":
        at += 2
        _need(data, at + 1)
    if data[at] & 1:
        return Link(at + 1, _PPP.get(data[at], 0), outgoing)
    protocol = _be16(data, at)
    return Link(at + 2, _PPP.get(protocol, 0), outgoing)


def _ppp_serial(data: bytes) -> Link | str:
    """PPP in HDLC-like framing, or Cisco's HDLC where the address is one of its own."""
    _need(data, 4)
    return Link(4, _be16(data, 2)) if data[0] in (0x0F, 0x8F) else _ppp(data)


def _hdlc(data: bytes, at: int = 0, *, outgoing: bool = False) -> Link | str:
    return Link(at + 4, _be16(data, at + 2), outgoing)


def _with_direction(reader: Callable[..., Link | str]) -> Callable[[bytes], Link | str]:
    def read(data: bytes) -> Link | str:
        _need(data, 1)
        return reader(data, 1, outgoing=data[0] != 0)

    return read


def _pppd(data: bytes) -> Link | str:
    """Linux's pppd: the address byte says the direction, the control byte is as ever."""
    _need(data, 2)
    return _ppp(data, 2, outgoing=data[0] == 1)


def _pppoe(data: bytes) -> Link | str:
    """A PPPoE session's header with no Ethernet header before it."""
    return Link(0, ETH_P_PPP_SES)


def _snap(data: bytes, at: int) -> Link | str:
    """802.2 with SNAP; of another protocol than SNAP's the type stays LLC."""
    _need(data, at + 3)
    if data[at : at + 6] != _SNAP:
        return Link(at, ETH_P_802_2)
    return Link(at + 8, _be16(data, at + 6))


def _frame_relay(data: bytes) -> Link | str:
    """RFC 2427: a two-byte address, the control byte, the NLPID."""
    _need(data, 4)
    if data[2] != 3:
        return Link(4, 0)
    if data[3] == 0 and data[4:5] == b"\x80":
        return Link(10, _be16(data, 8))
    return Link(4, {0xCC: ETH_P_IP, 0x8E: ETH_P_IPV6}.get(data[3], 0))


def _wireless(data: bytes, at: int = 0) -> Link | str:
    """IEEE 802.11: a data frame that is not encrypted, without aggregation."""
    _need(data, at + 24)
    control, flags = data[at], data[at + 1]
    if control & 0x0C != 0x08 or control & 0x40:
        return "802.11 without data"
    if flags & 0x40:
        return "encrypted 802.11"
    length = 24 + (6 if flags & 3 == 3 else 0)
    if control & 0x80:
        _need(data, at + length + 2)
        if data[at + length] & 0x80:
            return "802.11 A-MSDU"
        length += 2 + (4 if flags & 0x80 else 0)
    return _snap(data, at + length)


def _radiotap(data: bytes) -> Link | str:
    _need(data, 4)
    return _wireless(data, data[2] | data[3] << 8)


def _prism(data: bytes) -> Link | str:
    """144 bytes of Prism's header, or an AVS header that says how long it is."""
    _need(data, 8)
    return _wireless(data, int.from_bytes(data[4:8], "big") if data[:3] == b"\x80\x21\x10" else 144)


def _ppi(data: bytes) -> Link | str:
    """Per-Packet Information: its length, and the link type of what follows."""
    _need(data, 8)
    length, inner = data[2] | data[3] << 8, int.from_bytes(data[4:8], "little")
    reader = READERS.get(inner)
    if reader is None or reader is _ppi:
        return f"link type {inner} is not supported"
    found = reader(data[length:])
    return found._replace(at=found.at + length) if isinstance(found, Link) else found


def _pflog(data: bytes) -> Link | str:
    _need(data, 2)
    return _family(data, (data[0] + 3) & ~3, data[1])


def _enc(data: bytes) -> Link | str:
    _need(data, 12)
    return _family(data, 12, max(data[0], data[3]))


def _nflog(data: bytes) -> Link | str:
    """NFLOG: a family, and attributes, of which one is the packet."""
    _need(data, 4)
    family, at = data[0], 4
    while at + 4 <= len(data):
        length, kind = data[at] | data[at + 1] << 8, data[at + 2] | data[at + 3] << 8
        if kind & 0x7FFF == _NFULA_PAYLOAD:
            return _family(data, at + 4, family)
        at += max((length + 3) & ~3, 4)
    return Link(len(data), 0)


def _token_ring(data: bytes) -> Link | str:
    """Two bytes, two addresses, and a route where the source's first bit says so."""
    _need(data, 15)
    return _snap(data, 14 + (data[14] & 31 if data[8] & 0x80 else 0))


READERS: Final[dict[int, Callable[[bytes], Link | str]]] = {
    0: _loopback,
    1: _ethernet,
    6: _token_ring,
    9: _ppp,
    10: lambda data: _snap(data, 13),
    12: _raw,
    14: _raw,
    50: _ppp_serial,
    51: _pppoe,
    101: _raw,
    104: _hdlc,
    105: _wireless,
    107: _frame_relay,
    108: _loopback,
    109: _enc,
    113: _cooked,
    117: _pflog,
    119: _prism,
    122: lambda data: _snap(data, 16),
    127: _radiotap,
    138: lambda data: Link(18, _be16(data, 16)),
    163: _prism,
    166: _pppd,
    192: _ppi,
    204: _with_direction(_ppp),
    205: _with_direction(_hdlc),
    219: lambda data: Link(0, ETH_P_MPLS_UC),
    228: lambda data: Link(0, ETH_P_IP),
    229: lambda data: Link(0, ETH_P_IPV6),
    239: _nflog,
    274: lambda data: _ethernet(data, 8),
    276: _cooked2,
}
NAMES: Final = {
    0: "null", 1: "Ethernet", 6: "token ring", 9: "PPP", 10: "FDDI", 12: "raw IP", 14: "raw IP", 50: "PPP in HDLC framing",
    51: "PPPoE", 101: "raw IP", 104: "Cisco HDLC", 105: "802.11", 107: "frame relay", 108: "loop", 109: "OpenBSD enc",
    113: "Linux cooked v1", 117: "pflog", 119: "802.11 with Prism's header", 122: "IP over Fibre Channel",
    127: "802.11 with radiotap", 138: "IP over IEEE 1394", 163: "802.11 with AVS", 166: "pppd", 192: "PPI",
    204: "PPP with direction", 205: "Cisco HDLC with direction", 219: "MPLS", 228: "raw IPv4", 229: "raw IPv6", 239: "NFLOG",
    274: "Ethernet with preamble", 276: "Linux cooked v2",
}  # fmt: skip
_TRUNCATED: Final = {1: "Ethernet", 113: "Linux cooked", 276: "Linux cooked", 0: "loopback", 108: "loopback"}


def link_header(link_type: int, data: bytes) -> Link | str:
    """The link layer of a frame, or why there is none to read."""
    reader = READERS.get(link_type)
    if reader is None:
        return f"link type {link_type} is not supported"
    try:
        return reader(data)
    except _TooShort:
        return f"truncated {_TRUNCATED.get(link_type, NAMES[link_type])} header"
