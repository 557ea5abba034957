# SPDX-License-Identifier: GPL-2.0-or-later
"""Real guests: they run what they are asked, and each way of failing is told apart and leaves nothing behind.

They hold on a host that is busy with other things: bounds are there to end what hangs, what must be exact is asked of a guest that
counts instructions, and a guest that the host did not let run is no failure (conftest.py).
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from tests.long import sample

from softnet.lab.errors import LabChannelLost, LabError, LabGuestError, LabPanic, LabTimeout, kind_of
from softnet.lab.guest.plans import TaskFound
from softnet.lab.play.arm import guest_arm
from softnet.lab.play.run import GuestOptions, LabResult, run_scenario
from softnet.lab.studies import conform, experiments
from softnet.lab.validate.checker import check
from softnet.lab.vm import kernels, qemu
from softnet.scenario import scenario_from_dict

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("guest")]


PATIENT = qemu.Bounds(600, 900)
"""Far more than a guest takes that has the host for itself."""
COUNTED = GuestOptions("icount", PATIENT)
"""An instruction takes 1 ns of the guest's time: what it has time for does not depend on the host.

6.1 may not boot this way (docs/lab.md)."""


def _quiet(text: str) -> None:
    pass


def _misbehave(how: str, bounds: qemu.Bounds = PATIENT, said: list[str] | None = None) -> None:
    kernel = kernels.resolve("6.12", say=_quiet)
    machine = qemu.GuestMachine(cpus=1, memory_mb=512)
    say = _quiet if said is None else said.append
    qemu.boot(kernel, {"kind": "misbehave", "how": how}, machine, bounds=bounds, accel="tcg", say=say)


def _guests() -> set[int]:
    """Process ids of the guests that this process has started. Those of others on the machine are none of a test's business."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/status"):
        try:
            parent = next(line for line in path.read_text().splitlines() if line.startswith("PPid:"))
            words = path.with_name("cmdline").read_bytes()
        except OSError:
            continue
        if int(parent.split()[1]) == os.getpid() and b"name=softnet.lab" in words:
            found.add(int(path.parent.name))
    return found


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("panic", LabPanic, "panicked"),
        ("die", LabChannelLost, "went away before it was done"),
        ("vanish", LabChannelLost, "went away before it was done"),
        ("garbage", LabError, "no frame"),
    ],
)
def test_each_way_of_failing_is_told_apart(how: str, kind: type[LabError], message: str) -> None:
    """But for a guest that complains: the test below boots one."""
    _fails(how, kind, message)


def _fails(how: str, kind: type[LabError], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        _misbehave(how)
    assert type(caught.value) is (kind if kind is not LabError else type(caught.value))
    assert not _guests()
    if kind is LabPanic:
        assert "sysrq" in caught.value.found
    if kind is LabGuestError:
        assert "asked to fail: complain" in caught.value.found


def test_a_guest_that_hangs_is_killed_when_its_time_is_over() -> None:
    # It must come so far as to hang. How long that takes on this host today a guest says that ends at once.
    begin = time.monotonic()
    _fails("complain", LabGuestError, "failed in the guest")
    seconds = 8 + int(1.5 * (time.monotonic() - begin))
    said: list[str] = []
    with pytest.raises(LabTimeout, match=f"not done within {seconds} s"):
        _misbehave("say and hang", qemu.Bounds(900, seconds), said)
    assert not _guests()
    if "hanging" not in said:
        pytest.skip(f"the host was too busy: a guest like one before it did not boot in {seconds} s")


def test_a_guest_whose_emulator_is_killed_has_lost_its_channel() -> None:
    killed: list[int] = []

    def kill(text: str) -> None:
        """At the guest's first word of its own, which it says while it runs, its QEMU goes."""
        if not killed:
            killed.extend(_guests())
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    kernel = kernels.resolve("6.12", say=_quiet)
    machine = qemu.GuestMachine(cpus=1, memory_mb=512)
    with pytest.raises(LabChannelLost, match="went away before it was done") as caught:
        qemu.boot(kernel, {"kind": "misbehave", "how": "say and hang"}, machine, bounds=PATIENT, accel="tcg", say=kill)
    assert len(killed) == 1
    assert "status -9" in caught.value.found
    assert not _guests()


@pytest.mark.parametrize("accel", sample(["tcg", "icount"], ["tcg"]))
def test_a_panic_in_the_boot_is_a_panic_at_the_second_boot(accel: Literal["tcg", "icount"]) -> None:
    said: list[str] = []
    kernel = kernels.resolve("6.12", say=_quiet)
    # There is no such first process, and no root file system to look for another.
    machine = qemu.GuestMachine(cpus=1, memory_mb=512, boot_args=("rdinit=/nowhere",))
    with pytest.raises(LabPanic, match="panicked") as caught:
        qemu.boot(kernel, {"kind": "misbehave", "how": "hang"}, machine, bounds=PATIENT, accel=accel, say=said.append)
    assert "root" in caught.value.found
    assert kind_of(caught.value) == "panic"
    assert [text for text in said if "booting it once more" in text] == said
    assert len(said) == 1
    assert not _guests()


@pytest.mark.parametrize("name", sample(["6.1-rt", "6.12", "6.12-rt"], ["6.12"]))
def test_the_first_kick_is_at_the_33rd(name: str) -> None:
    result = experiments.first_kick(guest_arm(name, say=_quiet), options=GuestOptions(bounds=PATIENT), say=_quiet)
    assert experiments.first_kick_at(result.trace) == 33
    assert result.counts["defer_attempts"]["total"] == 110
    assert not result.refused
    assert not result.lost
    assert result.ran.accel in ("tcg", "kvm")
    verdict = check(result.trace)
    assert verdict.accepted, verdict.reasons
    # 6.1-rt kicks by a work item, 6.12 by an IPI, 6.12-rt by its thread.
    way = {"6.1-rt": "work item queued", "6.12": "IPI sent", "6.12-rt": "backlog thread woken"}[name]
    assert verdict.covered[f"deferred and kicked: {way}"] >= 1


def test_a_kernel_with_lock_free_lists_is_traced_and_followed() -> None:
    """6.18: the counter of a list is read behind a pointer, and every count that was read is one of the model's."""
    try:
        kernels.cached("6.18") or kernels.fetch("6.18", say=_quiet, suite="trixie-backports")
    except LabError as error:
        pytest.skip(f"6.18 is not to be had here: {error.message}")
    result = experiments.first_kick(guest_arm("6.18", say=_quiet), options=GuestOptions(bounds=PATIENT), say=_quiet)
    assert not result.refused
    assert not result.lost
    frees = list(result.trace.of("skb_attempt_defer_free"))
    assert len(frees) == 110
    assert all(record.c >= 0 for record in frees)
    assert experiments.first_kick_at(result.trace) == 33
    verdict = check(result.trace)
    assert verdict.accepted, verdict.reasons


def test_a_lower_limit_kicks_earlier() -> None:
    result = experiments.first_kick(
        guest_arm("6.12-threads", say=_quiet), skb_defer_max=16, options=GuestOptions(bounds=PATIENT), say=_quiet
    )
    assert experiments.first_kick_at(result.trace) == 9
    assert result.counts["backlog_napi_wakeups"]["total"] > 0
    assert result.counts["net_rx_raises"]["total"] == 0


def _run_counted(document: dict[str, Any], name: str) -> tuple[LabResult, dict[str, TaskFound]]:
    """Run it in a guest that counts instructions: everybody gets to do what is asked, on however busy a host."""
    result = run_scenario(guest_arm(name, say=_quiet), scenario_from_dict(document), options=COUNTED, say=_quiet)
    return result, {row["task"]: row for row in result.work["tasks"]}


def test_a_scenario_is_made_real() -> None:
    document = {
        "name": "lab",
        "machine": {"cpus": 4},
        "kernel": {"sysctl": {"skb_defer_max": 32}, "threads": {"ksoftirqd": "fifo:2"}},
        "loopback": {"rps_cpus": [2]},
        "application": [
            {"name": "tcp", "kind": "tcp", "cpu": 1},
            {"name": "udp", "kind": "udp", "cpu": 3},
        ],
        "sender": [
            {"name": "a", "cpu": 0, "to": "tcp", "interval_ns": 5_000_000, "size": 600},
            {"name": "b", "cpu": 0, "to": "udp", "interval_ns": 5_000_000, "size": 300},
        ],
        "task": [
            {"kind": "cyclictest", "cpu": 3, "interval_us": 5000},
            {"kind": "hog", "cpu": 1, "duty": 0.1},
        ],
        "event": [{"at_ms": 200, "set": "sysctl.skb_defer_max", "value": 8}],
        "measure": {"duration_ms": 400, "warmup_ms": 50},
    }

    result, rows = _run_counted(document, "6.12")
    # One every 5 ms of 400: nobody is late where time is instructions.
    assert rows["a"]["packets"] == rows["a"]["asked"] == 80
    assert rows["tcp@1"]["packets"] == rows["a"]["packets"]
    assert rows["udp@3"]["packets"] == rows["b"]["packets"] == 80
    assert result.counts["defer_attempts"]["total"] > 2
    assert rows["udp@3"]["bytes"] == rows["b"]["packets"] * (300 - 42)
    assert rows["cyclictest"]["latency"]["count"] > 0
    assert all("error" not in row for row in rows.values())
    assert [event["value"] for event in result.work["events"]] == ["8"]
    assert [record.text for record in result.trace.of("mark")] == ["/proc/sys/net/core/skb_defer_max = 8"]
    # lo's packets are steered: they are queued on CPU 2 and nowhere else, and by an IPI from the sender's CPU.
    assert {record.b for record in result.trace.of("enqueue_to_backlog")} == {2}
    assert result.softnet_stat[2]["received_rps"] > 0
    verdict = check(result.trace)
    assert verdict.accepted, verdict.reasons
    assert verdict.covered["flushed and freed on the CPU that allocated it"] > 0
    assert verdict.covered["RPS: IPI received, NET_RX raised"] > 0
    assert verdict.covered["skb_defer_max changed"] == 1
    assert verdict.events_checked > 0.7 * verdict.events
    assert result.threads_set == [["ksoftirqd/*", "fifo:2", 4]]


def test_a_card_is_made_real() -> None:
    document = {
        "name": "card",
        "machine": {"cpus": 4},
        "nic": [{"name": "eth0", "queues": 2, "irq_cpus": [0, 3], "rps_cpus": [2]}],
        "traffic": [
            {"kind": "constant", "rate_pps": 300, "flows": 12, "proto": "tcp", "dst_ports": [80],
             "sizes": [[590, 1], [1514, 1]], "stop_ms": 250},
            {"kind": "poisson", "rate_pps": 100, "flows": 4, "dst_ports": [53, 99], "sizes": [[100, 1]],
             "stop_ms": 250},
        ],
        "application": [
            {"name": "web", "cpus": [1, 2], "dst_ports": [80]},
            {"name": "dns", "kind": "udp", "cpu": 1, "dst_ports": [53]},
        ],
        "event": [{"at_ms": 100, "set": "nic.eth0.rps_cpus", "value": [1]}, {"at_ms": 110, "set": "nic.eth0.gro", "value": False}],
        "measure": {"duration_ms": 400, "warmup_ms": 20},
    }  # fmt: skip
    writers, readers = ("eth0-0", "eth0-1"), ("web@1", "web@2", "dns@1")

    result, rows = _run_counted(document, "6.12-threads")
    assert all("error" not in row for row in rows.values())
    assert not [row for row in result.complaints if "BUG" in row]
    # Every packet with a listener came, whole and in order; port 99 has none.
    written = sum(rows[name]["packets"] for name in writers)
    read = sum(rows[name]["packets"] for name in readers)
    assert 0 < read < written == sum(rows[name]["asked"] for name in writers)
    assert all(rows[name]["packets"] > 0 for name in readers)
    assert all(rows[name]["latency"]["p50_ns"] > 0 for name in readers)
    assert rows["dns@1"]["bytes"] == rows["dns@1"]["packets"] * (100 - 42)
    # The skbs are allocated where the interrupts are, and steered as the scenario says, before and after the change.
    freed_for = {record.b for record in result.trace.of("skb_attempt_defer_free")}
    assert freed_for == {0, 3}
    assert {record.b for record in result.trace.of("enqueue_to_backlog")} == {1, 2}
    assert result.counts["backlog_napi_wakeups"]["total"] > 0
    assert result.counts["net_rx_raises"]["total"] > 0
    assert [event["path"] for event in result.work["events"]].count("card:gro/eth0") == 1
    assert any("TUN device" in text for text in result.deviations)


def _shorter(experiment: conform.Experiment) -> conform.Experiment:
    """A load for a fourth of its 400 ms, a thousand packets: counting instructions, a guest takes a host's minute for all of it."""
    if experiment.scenario is None:
        return experiment
    scenario = experiment.scenario()
    scenario = scenario.model_copy(update={"measure": scenario.measure.model_copy(update={"duration_ms": 100})})
    return replace(
        experiment,
        run=lambda arm, options, say: run_scenario(arm, scenario, options=options, say=say),
        scenario=lambda: scenario,
    )


PART = [("6.12-rt", "flow limit, 200 of one flow"), ("6.12", "UDP, netdev_budget 1, dev_weight 1")]


@pytest.mark.parametrize(
    ("name", "experiment"),
    sample(PART, PART[1:]),
)
def test_a_part_of_the_suite_on_real_kernels(name: str, experiment: str, tmp_path: Path) -> None:
    chosen = [_shorter(entry) for entry in conform.suite() if entry.name == experiment]
    # A guest whose CPUs wait for the host's all the time may never show a quiet poll, from which on a backlog is known.
    (outcome,) = conform.conform([guest_arm(name, say=_quiet)], chosen, options=COUNTED, say=_quiet, folder=tmp_path)
    assert outcome.word == "ok", outcome.verdict.reasons
    assert outcome.verdict.events_checked > 0.5 * outcome.verdict.events
    if outcome.exact:
        assert outcome.measured == {"backlog drops": 136}
    else:
        # Every poll does one packet and is over its budget.
        assert outcome.verdict.covered["backlog poll ended: quota reached"] > 0
        assert 0 < outcome.verdict.squeezes <= outcome.squeezed
    assert (tmp_path / chosen[0].folder / f"{name}.lab.jsonl.gz").exists()
