# SPDX-License-Identifier: GPL-2.0-or-later
"""softnet host record on this machine's own kernel: root and tracefs, namespaces of its own; what it leaves behind when killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.long import LONG

from softnet.errors import HostError
from softnet.host.load import load_of
from softnet.host.observe import observe
from softnet.host.recording import read_recording
from softnet.host.replay import replay
from softnet.host.tracefs import PLACES, remove_leftovers, tracing_folder

PACKETS = 120
READER = """
import os, socket, sys
os.sched_setaffinity(0, {1})
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 5000))
print("ready", flush=True)
n = 0
while s.recv(2048) != b"end":
    n += 1
print(n, flush=True)
"""
SENDER = """
import os, socket, sys, time
os.sched_setaffinity(0, {0})
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("10.99.0.2", 5000))
for n in range(int(sys.argv[1])):
    s.send(b"x" * 100)
    time.sleep(0.0005)
s.send(b"end")
"""


def _why_not() -> str:
    """Why this machine cannot be recorded here; nothing if it can."""
    try:
        tracing_folder()
    except HostError as error:
        return f"no tracing: {error.message}"
    if len(os.sched_getaffinity(0)) < 2:
        return "one CPU only"
    made = subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False)
    return "" if made.returncode == 0 else "no network namespaces"


WHY_NOT = _why_not()
live = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "can be")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def spaces() -> Iterator[tuple[str, str]]:
    """Two network namespaces, joined by a veth pair."""
    if WHY_NOT:
        pytest.skip(WHY_NOT)
    a, b = f"softnet-a{os.getpid()}", f"softnet-b{os.getpid()}"
    try:
        _ip("netns", "add", a)
        _ip("netns", "add", b)
        _ip("link", "add", "va", "netns", a, "type", "veth", "peer", "name", "vb", "netns", b)
        macs = {"va": "02:00:00:00:99:01", "vb": "02:00:00:00:99:02"}
        for space, card, address in ((a, "va", "10.99.0.1/24"), (b, "vb", "10.99.0.2/24")):
            _ip("-n", space, "link", "set", card, "address", macs[card])
            _ip("-n", space, "addr", "add", address, "dev", card)
            _ip("-n", space, "link", "set", card, "up")
        # Without ARP: a packet that waits for it is sent by a softirq.
        _ip("-n", a, "neigh", "add", "10.99.0.2", "lladdr", macs["vb"], "dev", "va", "nud", "permanent")
        yield a, b
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no veth in namespaces: {error}")
    finally:
        for space in (a, b):
            subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)


def _instance(pid: int) -> Path:
    return tracing_folder() / "instances" / f"softnet-{pid}"


def _recorder(out: Path, *words: str) -> subprocess.Popen[str]:
    """softnet host record, once it records."""
    command = [sys.executable, "-m", "softnet", "host", "record", "--out", str(out), *(words or ("--seconds", "300"))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    _until(lambda: process.poll() is not None or _on(process.pid))
    return process


def _on(pid: int) -> bool:
    try:
        return (_instance(pid) / "tracing_on").read_text().strip() == "1" and (
            _instance(pid) / "events/sched/sched_switch/enable"
        ).read_text().strip() == "1"
    except OSError:
        return False


def _until(true: Callable[[], bool]) -> None:
    for _ in range(6000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to that in a minute")


def _traffic(spaces: tuple[str, str]) -> int:
    """Send PACKETS and a last one; how many the reader says that it read, the last one too."""
    a, b = spaces
    python = ["chrt", "-f", "5", sys.executable, "-c"]
    reader = subprocess.Popen(["ip", "netns", "exec", b, *python, READER], stdout=subprocess.PIPE, text=True)
    assert reader.stdout is not None
    assert reader.stdout.readline() == "ready\n"
    subprocess.run(["ip", "netns", "exec", a, *python, SENDER, str(PACKETS)], check=True)
    return int(reader.communicate()[0]) + 1


@live
@pytest.mark.slow
@pytest.mark.parametrize("mask", ["0", "2"], ids=["rps-off", "rps-on"])
def test_every_packet_is_in_the_recording_and_the_model_does_what_the_kernel_did(
    spaces: tuple[str, str], mask: str, tmp_path: Path
) -> None:
    """The sender and the reader count for themselves. RPS onto the reader's CPU asks it by an IPI."""
    rps = "/sys/class/net/vb/queues/rx-0/rps_cpus"
    subprocess.run(["ip", "netns", "exec", spaces[1], "sh", "-c", f"echo {mask} > {rps}"], check=True)
    out = tmp_path / "recorded.dat"
    recorder = _recorder(out)
    read = _traffic(spaces)
    recorder.send_signal(signal.SIGTERM)
    said = recorder.communicate()[0]
    assert recorder.returncode == 0, said
    assert "ended: at SIGTERM" in said
    assert "no event was lost" in said
    assert not _instance(recorder.pid).exists()
    recording = read_recording(out)
    seen = observe(recording.events)
    load = load_of(seen, recording.cpus)
    assert len(load.packets) == PACKETS + 1
    assert sum(packet.read >= 0 for packet in load.packets) == read
    assert {packet.received_cpu for packet in load.packets} == ({1} if mask == "2" else {0})
    assert load.rps_cpus == ([1] if mask == "2" else [])
    assert (len(seen.ipis) > PACKETS // 2) == (mask == "2")
    rows = {row.name: row for row in replay(out, engine="reference").rows}
    for name in ("arrived", "received", "read"):
        assert abs(rows[name].error_permille or 0) <= 50, rows[name]
    # A hypervisor that takes a CPU away for milliseconds lets packets come together; nothing recorded says so.
    for name in ("softirqs", "polls"):
        assert abs(rows[name].error_permille or 0) <= 250, rows[name]
    assert (rows["ipis"].model or 0) > 0 or mask == "0"


@live
@pytest.mark.slow
def test_it_ends_when_a_packet_was_too_slow(spaces: tuple[str, str], tmp_path: Path) -> None:
    recorder = _recorder(tmp_path / "slow.dat", "--until-latency", "1")
    _traffic(spaces)
    said = recorder.communicate()[0]
    assert recorder.returncode == 0, said
    assert "from its arrival to being read, which is 1 us or more" in said
    assert not _instance(recorder.pid).exists()


@live
@pytest.mark.slow
def test_ctrl_c_ends_it_with_what_was_recorded(tmp_path: Path) -> None:
    recorder = _recorder(tmp_path / "recorded.dat")
    recorder.send_signal(signal.SIGINT)
    said = recorder.communicate()[0]
    assert (recorder.returncode, "ended: at Ctrl-C" in said) == (0, True), said
    assert not _instance(recorder.pid).exists()


KILL_AFTER = [0.0, 0.3] if not LONG else [0.1 * n for n in range(20)]
"""Seconds behind the moment at which the instance is there: while it is set up, and while it records."""


@live
@pytest.mark.slow
def test_what_kill_9_leaves_is_removed_by_the_next_start(tmp_path: Path) -> None:
    left = []
    for after in KILL_AFTER:
        out = tmp_path / f"killed{after}.dat"
        command = [sys.executable, "-m", "softnet", "host", "record", "--out", str(out), "--seconds", "300"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _until(_instance(process.pid).exists)
        time.sleep(after)
        process.kill()
        process.wait()
        left.append(_instance(process.pid))
        assert left[-1].exists(), "the kernel keeps it: somebody has to remove it"
        assert not list(tmp_path.iterdir()), "no half of a file"
    other = _instance(os.getpid())
    other.mkdir()  # of a process that lives
    try:
        done = _recorder(tmp_path / "next.dat", "--seconds", "0.1")
        said = done.communicate()[0]
        assert done.returncode == 0, said
        assert left[-1].name in said  # the others were found by those that were killed after them
        for path in left:
            assert not path.exists()
        assert other.exists()
    finally:
        other.rmdir()
        for path in left:
            if path.exists():
                path.rmdir()


# -- without a kernel


def test_no_tracefs_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(HostError) as error:
        tracing_folder((tmp_path,))
    assert error.value.hint in ("run it with sudo", "mount -t tracefs tracefs /sys/kernel/tracing")


def test_only_instances_of_dead_processes_are_removed(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    for name in (f"softnet-{dead.pid}", f"softnet-{os.getpid()}", "softnet-x", f"mine-{dead.pid}"):
        (tmp_path / "instances" / name).mkdir(parents=True)
    assert remove_leftovers(tmp_path) == [f"softnet-{dead.pid}"]
    assert len(list((tmp_path / "instances").iterdir())) == 3


def test_the_places_are_the_kernels_own() -> None:
    assert [str(place) for place in PLACES] == ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
