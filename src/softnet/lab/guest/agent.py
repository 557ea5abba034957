# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's agent: read the plan, set the machine up, trace, do the work, send everything home.

It speaks the frames described in softnet/lab/channel.py over the virtio-serial port named softnet.lab.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import traceback

PORT_NAME = "softnet.lab"
PIECE_BYTES = 1 << 18


class Channel:
    """The guest's end of the channel."""

    def __init__(self) -> None:
        self.fd = os.open(self._device(), os.O_RDWR)

    @staticmethod
    def _device() -> str:
        folder = "/sys/class/virtio-ports"
        for name in sorted(os.listdir(folder)):
            with open(f"{folder}/{name}/name") as stream:
                if stream.read().strip() == PORT_NAME:
                    return f"/dev/{name}"
        raise OSError(f"no virtio port named {PORT_NAME}")

    def send(self, kind: str, payload: bytes) -> None:
        data = memoryview(kind.encode() + struct.pack(">I", len(payload)) + payload)
        while data:
            data = data[os.write(self.fd, data[:65536]) :]

    def send_json(self, kind: str, value: object) -> None:
        self.send(kind, json.dumps(value).encode())

    def say(self, text: str) -> None:
        self.send("P", text.encode())

    def blob(self, name: str, data: bytes) -> None:
        head = struct.pack(">H", len(name)) + name.encode()
        for start in range(0, max(len(data), 1), PIECE_BYTES):
            self.send("D", head + data[start : start + PIECE_BYTES])


def write_setting(path: str, value: str) -> None:
    """Write one file of /proc/sys or /sys; the error names the file and the value."""
    try:
        fd = os.open(path, os.O_WRONLY)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise OSError(f"writing {value!r} to {path}: {error.strerror}") from error


def read_text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read()


def complaints() -> list[str]:
    """What the kernel's log says that no run should make it say."""
    log = subprocess.run(["/bin/busybox", "dmesg"], capture_output=True, text=True, check=False).stdout
    marks = ("WARNING:", "BUG:", "Oops", "rcu: INFO", "Call Trace", "handler #", "lockup")
    return [line for line in log.splitlines() if any(mark in line for mark in marks)]


def kernel_threads() -> dict[str, str]:
    """Process id -> name of every task of the kernel's and ours."""
    names = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                names[entry] = read_text(f"/proc/{entry}/comm").strip()
            except OSError:
                continue
    return names


def run(plan: dict, channel: Channel) -> dict:
    """Carry out the plan; the returned dictionary is the result frame."""
    import load
    import script
    import threads
    import tracefs

    if plan["kind"] == "facts":
        return tracefs.send_facts(plan, channel)
    if plan["kind"] == "misbehave":
        return script.misbehave(plan["how"], channel)
    for path, value in plan["settings"]:
        write_setting(path, value)
    result = {"threads_set": threads.apply(plan["threads"])}
    trace = tracefs.Tracer(plan["trace"])
    result["softnet_stat_before"] = read_text("/proc/net/softnet_stat")
    work = script.run if plan["kind"] == "script" else load.run
    result["work"] = work(plan["work"], trace, channel)
    trace.stop()
    result["softnet_stat_after"] = read_text("/proc/net/softnet_stat")
    result["threads"] = kernel_threads()
    channel.say("sending the trace")
    result["trace"] = trace.send(channel)
    result["complaints"] = complaints()
    return result


def main() -> int:
    """Say hello, run the plan, say bye."""
    channel = Channel()
    plan = json.loads(read_text("/lab/plan.json"))
    uname = os.uname()
    hello = {
        "release": uname.release,
        "version": uname.version,
        "cpus": os.sysconf("SC_NPROCESSORS_ONLN"),
        "command_line": read_text("/proc/cmdline").strip(),
    }
    channel.send_json("H", hello)
    try:
        channel.send_json("R", run(plan, channel))
    except Exception as error:
        told = {"message": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        channel.send_json("E", told)
        return 1
    channel.send("B", b"")
    return 0


if __name__ == "__main__":
    sys.exit(main())
