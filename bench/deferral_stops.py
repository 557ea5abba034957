# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a real kernel defers frees again after skb_defer_max was 0, and after it was 1: finding C10, in a QEMU guest.

The guest has two CPUs. One sends 150 datagrams over loopback and sleeps; the other reads them all, and so frees skbs of the first,
which must be kicked. Five times for each setting; what is counted are the calls of kick_defer_list_purge().

    python bench/deferral_stops.py 6.18 7.3
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from softnet.lab.vm import cpio, kernels, userland

SECONDS = 300
INIT = """#!/bin/busybox sh
for fs in proc:/proc sysfs:/sys tracefs:/sys/kernel/tracing; do /bin/busybox mount -t ${fs%%:*} none ${fs#*:}; done
/bin/busybox ip link set lo up
/usr/bin/python3 -S -E /guest.py
/bin/busybox poweroff -f
"""
GUEST = """
import os, socket, time
LIMIT, TRACING = "/proc/sys/net/core/skb_defer_max", "/sys/kernel/tracing/"
def read(path):
    with open(path) as file: return file.read()
def write(path, text):
    with open(path, "w") as file: file.write(text)
def kicks():
    return sum(int(line.split()[1]) for line in read(TRACING + "kprobe_profile").splitlines())
def phase(name, limit):
    write(LIMIT, str(limit))
    reader, sender = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    reader.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)
    reader.bind(("127.0.0.1", 0))
    before, got = kicks(), 0
    for _ in range(5):
        os.sched_setaffinity(0, {0})
        for _ in range(150): sender.sendto(b"x" * 200, reader.getsockname())
        time.sleep(0.1)
        os.sched_setaffinity(0, {1})
        time.sleep(0.02)
        for _ in range(150): got += len(reader.recv(300, socket.MSG_DONTWAIT)) // 200
        time.sleep(0.1)
    print("\\nsoftnet:", name.ljust(8), "skb_defer_max", str(limit).rjust(3), "read", got, "kicks", kicks() - before, flush=True)
write(TRACING + "kprobe_events", "p:kick kick_defer_list_purge")
write(TRACING + "events/kprobes/kick/enable", "1")
usual = int(read(LIMIT))
for name, limit in (("at first", usual), ("lowered", 0), ("restored", usual), ("lowered", 1), ("restored", usual)):
    phase(name, limit)
"""


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr)


def tried(name: str) -> list[str]:
    """What the guest with this kernel says."""
    kernel = kernels.resolve(name, say=say)
    base, _ = userland.build(say=say)
    own = [cpio.regular("init", INIT.encode(), executable=True), cpio.regular("guest.py", GUEST.encode(), executable=False)]
    with tempfile.TemporaryDirectory() as folder:
        initrd = Path(folder) / "initrd"
        initrd.write_bytes(base.read_bytes() + cpio.archive(own))
        machine = ["-M", "q35", "-accel", "tcg,thread=single", "-cpu", "max", "-smp", "2", "-m", "1024", "-nographic", "-no-reboot"]
        boot = ["-kernel", str(kernel.vmlinuz), "-initrd", str(initrd), "-append", "console=ttyS0 panic=-1 quiet"]
        words = ["qemu-system-x86_64", *machine, *boot]
        done = subprocess.run(words, capture_output=True, timeout=SECONDS, check=False, stdin=subprocess.DEVNULL)
    lines = done.stdout.decode(errors="replace").splitlines()
    return [f"{kernel.release}: {line.strip().removeprefix('softnet: ')}" for line in lines if line.startswith("softnet: ")]


if __name__ == "__main__":
    for kernel_name in sys.argv[1:]:
        print("\n".join(tried(kernel_name)), flush=True)
