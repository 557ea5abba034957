# SPDX-License-Identifier: GPL-2.0-or-later
"""Network cards of the guest: TUN devices with NAPI, the tasks that write to them, and sockets that receive.

What the host prepared (softnet/lab/play/traffic.py) arrives as records; see there for their form.
"""

from __future__ import annotations

import array
import base64
import fcntl
import os
import socket
import struct
import subprocess
import time
from typing import Any

from softnet.lab.guest.files import write_setting
from softnet.lab.guest.plans import CardPlan, QueuePlan, SocketPlan

# include/uapi/linux/if_tun.h, include/uapi/linux/sockios.h, include/uapi/linux/ethtool.h
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NAPI, _IFF_MULTI_QUEUE, _IFF_NO_PI, _IFF_VNET_HDR = 0x1, 0x10, 0x100, 0x1000, 0x4000
_SIOCETHTOOL, _ETHTOOL_SGRO = 0x8946, 0x2C
# include/uapi/linux/tcp.h
_TCP_REPAIR, _TCP_REPAIR_QUEUE, _TCP_QUEUE_SEQ = 19, 20, 21
_RECV_QUEUE, _SEND_QUEUE = 1, 2
_REPAIR_OFF_WITHOUT_PROBE = -1
_FIRST_SEQ = 1000
_RECORD = struct.Struct("<qHHB")
_STAMP = struct.Struct("<q")
_STAMPED = 1
_SO_RCVBUFFORCE = 33


def _busybox(*words: str) -> None:
    done = subprocess.run(["/bin/busybox", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(words)}: {done.stderr.strip()}")


def set_gro(name: str, on: int) -> None:
    """ethtool -K NAME gro on or off."""
    value = array.array("I", [_ETHTOOL_SGRO, on])
    request = struct.pack("16sQ8x", name.encode(), value.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCETHTOOL, request)


def _open_queue(name: str, queues: int) -> int:
    flags = _IFF_TUN | _IFF_NAPI | _IFF_NO_PI | _IFF_VNET_HDR | (_IFF_MULTI_QUEUE if queues > 1 else 0)
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    return fd


def create(cards: list[CardPlan]) -> dict[str, int]:
    """Make every card; returns the open file of each queue by the queue's name."""
    files = {}
    for card in cards:
        for queue in card["queues"]:
            files[queue["name"]] = _open_queue(card["name"], len(card["queues"]))
        _busybox("ip", "addr", "add", f"{card['address']}/32", "dev", card["name"])
        _busybox("ip", "link", "set", card["name"], "up")
        for route in card["routes"]:
            _busybox("ip", "route", "replace", route, "dev", card["name"])
        # Nobody reads what the guest sends: one packet waits, the rest are dropped.
        write_setting(f"/sys/class/net/{card['name']}/tx_queue_len", "1")
        set_gro(card["name"], card["gro"])
    return files


def change(path: str, value: str, pids: dict[str, int]) -> None:
    """Carry out a change of a card that no file stands for: "card:gro/NAME" or "card:affinity/QUEUE"."""
    what, _, name = path.removeprefix("card:").partition("/")
    if what == "gro":
        set_gro(name, int(value))
    else:
        os.sched_setaffinity(pids[name], {int(value)})


def open_socket(row: SocketPlan, rcvbuf: int) -> tuple[socket.socket, array.array[int] | None]:
    """A receiving socket and, for TCP, the payload lengths of the packets to come.

    A TCP socket is put into the state that it would have after its handshake (TCP_REPAIR), so that no peer is
    needed.
    """
    kind = socket.SOCK_STREAM if row["kind"] == "tcp" else socket.SOCK_DGRAM
    made = socket.socket(socket.AF_INET, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # The kernel doubles what it is asked for, for its own overhead.
    made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, rcvbuf // 2)
    if row["kind"] == "udp":
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(("0.0.0.0", row["port"]))
        return made, None
    made.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
    made.bind((row["local"], row["port"]))
    for queue in (_RECV_QUEUE, _SEND_QUEUE):
        made.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR_QUEUE, queue)
        made.setsockopt(socket.IPPROTO_TCP, _TCP_QUEUE_SEQ, _FIRST_SEQ)
    made.connect(tuple(row["peer"]))
    made.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, _REPAIR_OFF_WITHOUT_PROBE)
    lengths: array.array[int] = array.array("H")
    lengths.frombytes(base64.b64decode(row["lengths"]))
    return made, lengths


class Player:
    """One queue's packets, taken apart before the run so that a write is all that is left to do."""

    def __init__(self, queue: QueuePlan, fd: int, duration_ns: int) -> None:
        self.fd = fd
        self.duration_ns = duration_ns
        self.packets: list[tuple[int, bytes, bool, bytes]] = []
        data = base64.b64decode(queue["packets"])
        queue["packets"] = ""
        fill: dict[int, bytes] = {}
        at = 0
        while at < len(data):
            time_ns, head_bytes, payload, flags = _RECORD.unpack_from(data, at)
            at += _RECORD.size
            head = data[at : at + head_bytes]
            at += head_bytes
            rest = payload - (_STAMP.size if flags & _STAMPED else 0)
            filler = fill.setdefault(rest, b"x" * rest)
            self.packets.append((time_ns, head, bool(flags & _STAMPED), filler))

    def play(self, start_ns: int, found: dict[str, Any]) -> None:
        """Write every packet when it is due; behind time, as fast as it goes, until the run ends."""
        stop_ns = start_ns + self.duration_ns
        found.update(packets=0, asked=len(self.packets), late_ns_max=0)
        for time_ns, head, stamped, filler in self.packets:
            due = start_ns + time_ns
            now = time.monotonic_ns()
            if now < due:
                time.sleep((due - now) / 1e9)
                now = time.monotonic_ns()
            if now >= stop_ns:
                return
            found["late_ns_max"] = max(found["late_ns_max"], now - due)
            stamp = _STAMP.pack(time.monotonic_ns()) if stamped else b""
            os.write(self.fd, head + stamp + filler)
            found["packets"] += 1
