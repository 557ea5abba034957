# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's end of the channel: the frames of softnet/lab/vm/channel.py over the port named softnet.lab."""

from __future__ import annotations

import json
import os
import struct

PORT_NAME = "softnet.lab"
_PORTS = "/sys/class/virtio-ports"
_PIECE_BYTES = 1 << 18


class Channel:
    """An open virtio-serial port."""

    def __init__(self) -> None:
        self.fd = os.open(_device(), os.O_RDWR)

    def send(self, kind: str, payload: bytes) -> None:
        """Send one frame, all of it."""
        data = memoryview(kind.encode() + struct.pack(">I", len(payload)) + payload)
        while data:
            data = data[os.write(self.fd, data[:65536]) :]

    def send_json(self, kind: str, value: object) -> None:
        """Send one frame of JSON."""
        self.send(kind, json.dumps(value).encode())

    def say(self, text: str) -> None:
        """Tell the user how far this is."""
        self.send("P", text.encode())

    def blob(self, name: str, data: bytes) -> None:
        """Send a named piece of bytes of any size."""
        head = struct.pack(">H", len(name)) + name.encode()
        for start in range(0, max(len(data), 1), _PIECE_BYTES):
            self.send("D", head + data[start : start + _PIECE_BYTES])


def _device() -> str:
    for name in sorted(os.listdir(_PORTS)):
        with open(f"{_PORTS}/{name}/name") as stream:
            if stream.read().strip() == PORT_NAME:
                return f"/dev/{name}"
    raise OSError(f"no virtio port named {PORT_NAME}")
