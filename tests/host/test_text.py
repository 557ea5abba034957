# SPDX-License-Identifier: GPL-2.0-or-later
"""What the doctor prints and writes: golden texts, names from elsewhere, anonymous reports, scenarios that softnet accepts."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
from tests.host import dumps
from tests.host.machines import ICE_LAKE, QUIET, ROME, Card, Machine, idle_states
from tests.host.test_machines import CASES, later
from tests.report.golden import held_to_golden
from tests.test_terminal_escapes import EVIL, harmless

from softnet.cli import run_cli
from softnet.host.anonymous import anonymised
from softnet.host.doctor import diagnose
from softnet.host.scenario import scenario_of
from softnet.host.sources import read_sources
from softnet.report.host import doctor_lines
from softnet.scenario import scenario_from_dict

ONE_QUEUE = Machine("6.1.0-37-amd64", cpus=8, offline=[5], cards=[Card(driver="virtio_net")])
GOLDEN = {
    "pasted": lambda: Path("softnet_stat.txt").write_text(
        f"$ cat /proc/net/softnet_stat\n{dumps.SOFTNET}$ sysctl net.core\n{dumps.SYSCTL}", encoding="utf-8"
    ),
    "one-queue": lambda: (
        ONE_QUEUE.write(Path("before")),
        later(
            ONE_QUEUE,
            stat={0: [3_000_000, 900, 20]},
            snmp={"RcvbufErrors": 70, "InDatagrams": 900_000},
            files={"proc/net/dev": "eth0: 400000000 3200000 0 900 0 0 0 0 1 1 0 0 0 0 0 0\n"},
        ).write(Path("after")),
    ),
    "container": lambda: QUIET["4.19 in a container without /sys"].write(Path("tree")),
    "ring": lambda: Path("ethtool.txt").write_text(
        f"$ ethtool -S eth0\n{dumps.ETHTOOL_S}$ ethtool -g eth0\n{dumps.ETHTOOL_G}", encoding="utf-8"
    ),
}
GIVEN = {"pasted": ["softnet_stat.txt"], "one-queue": ["before", "after"], "container": ["tree"], "ring": ["ethtool.txt"]}


@pytest.mark.parametrize("case", GOLDEN)
def test_the_text_is_the_golden_one(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    GOLDEN[case]()
    given = [word for name in GIVEN[case] for word in ("--from", name)]
    assert run_cli(["host", "doctor", *given, "--width", "100"]) == 0
    held_to_golden("host", f"doctor-{case}", capsys.readouterr().out)
    assert run_cli(["host", "scenario", *given]) == 0
    held_to_golden("host", f"scenario-{case}", capsys.readouterr().out)


def test_json_and_a_report_that_is_read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree, out = ONE_QUEUE.write(tmp_path / "tree"), tmp_path / "report.json"
    assert run_cli(["host", "doctor", "--from", str(tree), "--out", str(out), "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["schema"] == "softnet-host-doctor/1"
    assert run_cli(["host", "doctor", "--from", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == first


def test_an_anonymous_report_names_nobody(tmp_path: Path) -> None:
    machine = Machine(
        "6.1.1", cards=[Card("enp3s0f0")], cmdline="root=UUID=1234 ip=10.1.2.3 isolcpus=3"
        " quiet", threads=[(99, "payroll", 1, 80, 0, 100)],
        files={"proc/net/udp": dumps.UDP.replace("0100007F", "0302010A")},
    )  # fmt: skip
    read = read_sources([machine.write(tmp_path)], 0)
    assert "enp3s0f0" in read.to_json()
    text = anonymised(read).to_json()
    for secret in ("enp3s0f0", "10.1.2.3", "UUID", "machine", "payroll", "example", str(tmp_path)):
        assert secret not in text, secret
    for kept in ("isolcpus=3", "card0-TxRx-0", "address1", "6.1.1"):
        assert kept in text, kept
    assert {f.id for f in diagnose(anonymised(read)).findings} == {f.id for f in diagnose(read).findings}


def evil(folder: Path) -> list[Path]:
    name = EVIL.replace("\x00", "")
    tree = Machine(
        cards=[Card(files={"napi_defer_hard_irqs": "1\n"})], cmdline=name, threads=[(99, name, 1, 80, 0, 100)],
        sysctl={"netdev_max_backlog": "12'; reboot; '", "flow_limit_cpu_bitmap": "$(reboot)"}, stat={0: [5, 9, 9, 0, 5]},
        files={"proc/sys/kernel/hostname": name, "proc/sys/kernel/osrelease": "6.18.1" + name,
               f"sys/class/net/{name}/mtu": "1\n", "sys/class/net/a;reboot/mtu": "1\n"},
    )  # fmt: skip
    log = folder / "log.txt"
    log.write_text(f"page_pool_release_retry() stalled {name}\n", encoding="utf-8")
    statistics = folder / "s.txt"
    statistics.write_text(f"$ ethtool -S a;reboot\n{dumps.ETHTOOL_S}", encoding="utf-8")
    return [tree.write(folder / "tree"), log, statistics]


def test_names_from_elsewhere_reach_no_terminal_and_no_shell(tmp_path: Path) -> None:
    report = read_sources(evil(tmp_path), 0)
    found = diagnose(report)
    assert {"pages-kept", "backlog-drops", "flow-limit", "ring-full"} <= {finding.id for finding in found.findings}
    assert harmless("".join(doctor_lines(found, 100)))
    assert harmless(scenario_of(report).replace("\n", ""))
    for finding in found.findings:
        for change in finding.changes:
            for command in (change.do, change.undo):
                assert "reboot" not in command
                shlex.split(command.replace("`", "'"))


@pytest.mark.parametrize("name", [*QUIET, *CASES])
def test_softnet_accepts_the_scenario_of_every_machine(name: str, tmp_path: Path) -> None:
    machine = QUIET[name] if name in QUIET else CASES[name].machine
    text = scenario_of(read_sources([machine.write(tmp_path)], 0))
    made = scenario_from_dict(tomllib.loads(text))
    release = re.match(r"\d+\.\d+", machine.release)
    assert release is not None
    if release[0] in ("6.1", "6.6", "6.12", "6.18"):
        assert made.kernel.release == release[0]
    else:
        assert f"the machine's is {machine.release}" in text
        assert made.kernel.release == "6.1"
    assert made.machine.cpus == len(machine.online())
    if machine.sys:
        assert [nic.queues for nic in made.nic] == [len(card.irqs) for card in machine.cards]
    assert made.kernel.rt == ("PREEMPT_RT" in machine.version)


def test_the_idle_states_of_a_machine_are_its_scenario_s(tmp_path: Path) -> None:
    """The polling state is there by itself; a state without MWAIT in its description is left by an interrupt."""
    intel = Machine("6.12.1", files=idle_states("intel_idle", ICE_LAKE, off=("C1E",)))
    made = scenario_from_dict(tomllib.loads(scenario_of(read_sources([intel.write(tmp_path / "1")], 0)))).machine.idle
    assert [(s.name, s.exit_latency_us, s.target_residency_us, s.mwait) for s in made.chosen] == [
        ("POLL", 0, 0, True), ("C1", 1, 1, True), ("C1E", 4, 4, True), ("C6", 170, 600, True),
    ]  # fmt: skip
    assert (made.governor, made.disable, made.latency_limit_us) == ("menu", ("C1E",), None)
    limited = idle_states("acpi_idle", ROME) | {"sys/devices/system/cpu/cpu0/power/pm_qos_resume_latency_us": "20\n"}
    made = scenario_from_dict(
        tomllib.loads(scenario_of(read_sources([Machine("6.12.1", files=limited).write(tmp_path / "2")], 0)))
    ).machine.idle
    assert [(s.name, s.mwait) for s in made.states] == [("C1", True), ("C2", False)]
    assert made.latency_limit_us == 20


def test_idle_states_that_no_scenario_takes_are_told(tmp_path: Path) -> None:
    odd = Machine("6.12.1", files=idle_states("intel_idle", (*ICE_LAKE, ("C2", "MWAIT 0x10", 50, 100))))
    text = scenario_of(read_sources([odd.write(tmp_path)], 0))
    assert "none that a scenario takes" in text
    assert not scenario_from_dict(tomllib.loads(text)).idle_states


def test_offline_cpus_in_the_middle_are_counted_past(tmp_path: Path) -> None:
    machine = Machine("6.12.1", cpus=8, offline=[1, 4], cards=[Card(irqs=[5, 7], rps="e8")])
    made = scenario_from_dict(tomllib.loads(scenario_of(read_sources([machine.write(tmp_path)], 0))))
    assert made.machine.cpus == 6  # 0 2 3 5 6 7
    assert made.nic[0].irq_cpus == (3, 5)
    assert made.nic[0].rps_cpus == (2, 3, 4, 5)


def test_a_real_time_task_becomes_a_hog(tmp_path: Path) -> None:
    first = Machine("6.12.1", threads=[(99, "control", 1, 80, 2, 100)])
    second = later(first, threads=[(99, "control", 1, 80, 2, 600)])
    report = read_sources([first.write(tmp_path / "1"), second.write(tmp_path / "2")], 0)
    made = scenario_from_dict(tomllib.loads(scenario_of(report)))
    assert [(task.cpu, task.sched, getattr(task, "duty", None)) for task in made.task] == [(2, "fifo:80", 0.5)]
