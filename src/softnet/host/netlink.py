# SPDX-License-Identifier: GPL-2.0-or-later
"""What ethtool knows of this machine's cards, read without ethtool: rings, channels, coalescing, offloads by netlink (pyroute2, the
extra ``host``), the driver's statistics by the older ioctl; and the NAPI instances with their settings, by netlink's family netdev.

Everything here may fail, and is then left out: the extra is missing, the driver has no such thing, a sandbox forbids the socket.
"""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import socket
import struct
import sys
from typing import Any, Final

from softnet.host.model import Card, HostReport, Napi, Sample, Unread

CARDS_MAX: Final = 16
STATISTICS_MAX: Final = 8192
STRING: Final = 32
"""ETH_GSTRING_LEN."""
SIOCETHTOOL: Final = 0x8946
GSTRINGS, GSTATS, GSSET_INFO = 0x1B, 0x1D, 0x37
ETH_SS_STATS: Final = 1
ROOM: Final = 4096
"""The kernel writes as many as there are when it writes: more than it said before, if a queue was added in between."""


def add_ethtool(report: HostReport) -> None:
    """Rings, channels, coalescing and offloads of the cards, into the report."""
    cards = [card for card in report.cards if card.kind == "hardware"][:CARDS_MAX]
    if not cards:
        return
    try:
        from pyroute2 import Ethtool
    except ImportError:
        report.unread.append(
            Unread(what="ring sizes, channels and coalescing", why="pip install softnet[host], or give ethtool's output")
        )
        return
    try:
        with Ethtool() as ethtool:
            for card in cards:
                _card(ethtool, card)
    except Exception as error:  # whatever a socket, the kernel or the library says
        report.unread.append(Unread(what="ethtool's netlink family", why=f"{type(error).__name__}: {error}"[:200]))


def _card(ethtool: Any, card: Card) -> None:
    rings = _asked(ethtool.get_rings, card.name)
    for name in ("rx", "rx_max", "tx", "tx_max"):
        _take(card.ring, name, getattr(rings, name, None))
    channels = _asked(ethtool.get_channels, card.name)
    for name, theirs in (
        ("combined", "combined_count"),
        ("combined_max", "max_combined"),
        ("rx", "rx_count"),
        ("rx_max", "max_rx"),
    ):
        _take(card.channels, name, getattr(channels, theirs, None))
    coalesce = _asked(ethtool.get_coalesce, card.name)
    if isinstance(coalesce, dict):
        for name, theirs in (
            ("rx_usecs", "rx_coalesce_usecs"),
            ("rx_frames", "rx_max_coalesced_frames"),
            ("adaptive_rx", "use_adaptive_rx_coalesce"),
        ):
            _take(card.coalesce, name, coalesce.get(theirs))
    features = getattr(_asked(ethtool.get_features, card.name), "features", {})
    for kernels, name in (("rx-gro", "generic-receive-offload"), ("rx-gro-hw", "rx-gro-hw"), ("rx-hashing", "receive-hashing")):
        if kernels in features and isinstance(getattr(features[kernels], "enable", None), bool):
            card.features[name] = features[kernels].enable


def _asked(ask: Any, name: str) -> Any:
    """An answer, or nothing where the driver has none."""
    try:
        return ask(name)
    except Exception:  # "Operation not supported", in the library's own kinds of error
        return None


def _take(into: dict[str, int], name: str, value: Any) -> None:
    if isinstance(value, int) and 0 <= value < 2**32:
        into[name] = int(value)


NETDEV_CMD_NAPI_GET: Final = 11
NAPIS_MAX: Final = 4096
NAPI_ATTRIBUTES: Final = ("ifindex", "id", "irq", "pid", "defer_hard_irqs", "gro_flush_timeout", "irq_suspend_timeout", "threaded")
"""NETDEV_A_NAPI_*, from 1 on (include/uapi/linux/netdev.h of 7.3): settings since 6.13."""


def add_napis(report: HostReport) -> None:
    """The NAPI instances of the interfaces, into the report. A kernel before 6.8 knows no such question: nothing is said of it."""
    try:
        found = napis()
    except ImportError:
        return
    except Exception as error:  # whatever a socket, the kernel or the library says
        if getattr(error, "code", 0) not in (errno.ENOENT, errno.EOPNOTSUPP):
            report.unread.append(Unread(what="netlink's family netdev", why=f"{type(error).__name__}: {error}"[:200]))
        return
    for card in report.cards:
        with contextlib.suppress(OSError):  # it may be gone by now
            card.napis = found.get(socket.if_nametoindex(card.name), [])
        if card.napis:
            report.sources[f"napis.{card.name}"] = f"netlink: netdev napi-get, {card.name}"


def napis() -> dict[int, list[Napi]]:
    """The NAPI instances by their interface's index. Raises ImportError without pyroute2, else what pyroute2 raises."""
    from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST, genlmsg
    from pyroute2.netlink.generic import GenericNetlinkSocket

    class NapiMessage(genlmsg):  # type: ignore[misc]  # pyroute2 has no types
        # Some are 32 bits wide or 64, as the number needs: bytes, as they are.
        nla_map = (("unspec", "none"), *((name, "cdata") for name in NAPI_ATTRIBUTES))

    found: dict[int, list[Napi]] = {}
    with GenericNetlinkSocket() as asker:
        asker.bind("netdev", NapiMessage)
        request = NapiMessage()
        request["cmd"], request["version"] = NETDEV_CMD_NAPI_GET, 1
        for answer in asker.nlm_request(request, msg_type=asker.prid, msg_flags=NLM_F_REQUEST | NLM_F_DUMP):
            values = {name: int.from_bytes(value, sys.byteorder) for name, value in answer["attrs"] if len(value) in (4, 8)}
            if "id" in values and "ifindex" in values:
                here = found.setdefault(values.pop("ifindex"), [])
                here.append(Napi(**{name: value for name, value in values.items() if name in NAPI_ATTRIBUTES}))
    return {index: sorted(here, key=lambda napi: napi.id)[:NAPIS_MAX] for index, here in found.items()}


def add_statistics(report: HostReport, sample: Sample) -> None:
    """``ethtool -S`` of the cards, into a sample."""
    for card in [card for card in report.cards if card.kind == "hardware"][:CARDS_MAX]:
        try:
            found = statistics(card.name)
        except (OSError, struct.error, ValueError):
            continue
        if found:
            sample.ethtool[card.name] = found
            report.sources[f"ethtool_S.{card.name}"] = f"ethtool -S {card.name}"


def statistics(name: str) -> dict[str, int]:
    """The driver's counters of one card (include/uapi/linux/ethtool.h). Raises OSError where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        count = struct.unpack_from("=I", _ioctl(asker, name, struct.pack("=IIQI", GSSET_INFO, 0, 1 << ETH_SS_STATS, 0)), 16)[0]
        if not 0 < count <= STATISTICS_MAX:
            return {}
        room = count + ROOM
        strings = _ioctl(asker, name, struct.pack("=III", GSTRINGS, ETH_SS_STATS, count) + bytes(room * STRING))
        values = _ioctl(asker, name, struct.pack("=II", GSTATS, count) + bytes(room * 8))
    names = [strings[12 + at * STRING : 12 + (at + 1) * STRING].split(b"\0")[0].decode("ascii", "replace") for at in range(count)]
    return {key: struct.unpack_from("=Q", values, 8 + at * 8)[0] for at, key in enumerate(names) if key}


def _ioctl(asker: socket.socket, name: str, request: bytes) -> bytes:
    buffer = array.array("B", request)
    frame = struct.pack("16sP16x", name.encode()[:15], buffer.buffer_info()[0])
    fcntl.ioctl(asker.fileno(), SIOCETHTOOL, frame)
    return buffer.tobytes()
