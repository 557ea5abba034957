# SPDX-License-Identifier: GPL-2.0-or-later
"""What a change would do, by the model: what the model must show, and where it must say that it shows nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.host.machines import Card, Machine
from tests.host.test_machines import later

from softnet.host import scenario as host_scenario
from softnet.host.doctor import diagnose
from softnet.host.findings import Change
from softnet.host.model import HostReport
from softnet.host.predict import BASE, Prediction, _settings, predict
from softnet.host.sources import read_sources
from softnet.report.host import doctor_lines


def busy(rate: int, folder: Path, **said: object) -> HostReport:
    """A machine whose eth0 took ``rate`` packets a second."""
    first = Machine("6.12.1", cpus=3, **said)  # type: ignore[arg-type]
    packets = f"eth0: {rate * 10 * 100} {rate * 10 + 5} 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n"
    second = later(first, files={"proc/net/dev": packets})
    first.files = {"proc/net/dev": "eth0: 0 5 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n"}
    return read_sources([first.write(folder / "1"), second.write(folder / "2")], 0)


def of(report: HostReport, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Prediction], str]:
    monkeypatch.setattr(host_scenario, "PACKETS", 1000)  # runs of 20 ms
    diagnosis = diagnose(report)
    predictions = predict(report, diagnosis)
    return {p.settings[0]: p for p in predictions}, "\n".join(doctor_lines(diagnosis, 100, predictions))


@pytest.mark.slow
def test_a_longer_backlog_loses_less_where_it_was_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = busy(400_000, tmp_path, sysctl={"netdev_max_backlog": "8"}, cards=[Card(rps="2")])
    found, text = of(report, monkeypatch)
    figures = {figure.title: figure for figure in found["sysctl.netdev_max_backlog=1000"].figures}
    dropped = figures["packets dropped"]
    assert dropped.base is not None
    assert dropped.changed is not None
    assert dropped.changed < dropped.base / 2
    assert dropped.judgement == "better"
    assert found["sysctl.netdev_max_backlog=1000"].caution == ""
    assert "model   packets delivered" in text
    assert "(better)" in text


def test_a_problem_that_the_model_does_not_show_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = busy(20_000, tmp_path, sysctl={"netdev_max_backlog": "900"})
    found, text = of(report, monkeypatch)
    assert "no packet is dropped in the scenario as it is" in found["sysctl.netdev_max_backlog=1000"].caution
    assert "no packet is dropped" in text.replace("\n" + " " * 11, " ")
    assert BASE not in found


def test_what_a_scenario_has_no_word_for_is_not_predicted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = busy(20_000, tmp_path, threads=[(10, "ksoftirqd/0", 1, 5, 0, 20)])
    assert of(report, monkeypatch)[0] == {}
    odd = busy(20_000, tmp_path / "odd", sysctl={"rps_sock_flow_entries": "32768"}, cards=[Card("eth0.5")])
    assert "the scenario cannot have it" in of(odd, monkeypatch)[0]["nic.eth0.5.rps_flow_cnt=32768"].why_not


def test_cpus_get_the_scenarios_numbers() -> None:
    change = Change("x", sets=(("nic.eth0.rps_cpus", (2, 5)), ("sysctl.netdev_budget", 600)))
    assert _settings(change, {0: 0, 2: 1, 5: 2}) == ("nic.eth0.rps_cpus=[1,2]", "sysctl.netdev_budget=600")
    assert _settings(change, {0: 0, 2: 1}) == ()
