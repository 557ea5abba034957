# SPDX-License-Identifier: GPL-2.0-or-later
"""A TUN device with NAPI in our own network namespace: what is written to it goes the way of a card's packets, through GRO.

It has no interrupt and no ring, so it says nothing of a driver. It takes root, and goes with its file.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from typing import Final

from softnet.errors import HostError

NAME: Final = "softnet0"
OURS: Final = "10.99.0.1"
THEIRS: Final = "10.99.0.2"
PORT: Final = 5000
_TUNSETIFF: Final = 0x400454CA
_IFF_TUN, _IFF_NAPI, _IFF_NO_PI = 0x1, 0x10, 0x1000
_SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8916, 0x891C, 0x8913, 0x8914


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def datagram(payload: bytes) -> bytes:
    """An IPv4 packet with UDP, without UDP's checksum."""
    udp = struct.pack("!4H", PORT, PORT, 8 + len(payload), 0)
    addresses = socket.inet_aton(THEIRS) + socket.inet_aton(OURS)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(payload), 0, 0, 64, socket.IPPROTO_UDP, 0) + addresses
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + udp + payload


class Tun:
    """A context; ``send`` as a socket's, of a datagram's payload."""

    def __init__(self) -> None:
        try:
            self.fd: int = os.open("/dev/net/tun", os.O_RDWR)
        except OSError as error:
            raise HostError("no TUN device", where="/dev/net/tun", found=error.strerror or str(error)) from None
        try:
            name = NAME.encode()
            fcntl.ioctl(self.fd, _TUNSETIFF, struct.pack("16sH22x", name, _IFF_TUN | _IFF_NAPI | _IFF_NO_PI))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                for request, address in ((_SIOCSIFADDR, OURS), (_SIOCSIFNETMASK, "255.255.255.0")):
                    fcntl.ioctl(sock, request, struct.pack("16sHH4s8x", name, socket.AF_INET, 0, socket.inet_aton(address)))
                flags = struct.unpack_from("H", fcntl.ioctl(sock, _SIOCGIFFLAGS, struct.pack("16sH14x", name, 0)), 16)[0]
                fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH14x", name, flags | 1))
        except OSError as error:
            os.close(self.fd)
            raise HostError("no TUN device with NAPI", found=error.strerror or str(error)) from None

    def __enter__(self) -> Tun:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def fileno(self) -> int:
        """The file that packets are written to."""
        return self.fd

    def send(self, payload: bytes) -> int:
        return os.write(self.fd, datagram(payload))
