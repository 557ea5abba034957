# SPDX-License-Identifier: GPL-2.0-or-later
"""Every bad experiment is one message before anything runs: what it says, held to golden files."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.report.golden import held_to_golden

from softnet.cli import run_cli

TEN = "1,2,3,4,5,6,7,8,9,10"
OPTIONS = {
    "no-factor": [],
    "unknown-key": ["--vary", "sysctl.netdev_budgt=1,2"],
    "level-of-the-wrong-kind": ["--vary", "sysctl.netdev_budget=75,many"],
    "no-levels": ["--vary", "sysctl.netdev_budget="],
    "level-twice": ["--vary", "sysctl.netdev_budget=75,75"],
    "factor-twice": ["--vary", "kernel=6.12", "--kernels", "6.1,6.12"],
    "unknown-kernel": ["--kernels", "6.12,6.13"],
    "no-such-patch": ["--vary", "patch=none,nope.py"],
    "seed-as-factor": ["--vary", "measure.seed=1,2"],
    "range-in-a-grid": ["--vary", "sysctl.netdev_budget=75..300"],
    "range-backwards": ["--vary", "sysctl.netdev_budget=300..75", "--design", "lhs", "--runs", "4"],
    "range-that-leaves-the-key": ["--vary", "sysctl.netdev_budget=0..300", "--design", "lhs", "--runs", "4"],
    "sample-without-runs": ["--vary", "sysctl.netdev_budget=75..300", "--design", "lhs"],
    "sobol-of-ten": ["--vary", "sysctl.netdev_budget=75..300", "--design", "sobol", "--runs", "10"],
    "runs-of-a-grid": ["--vary", "sysctl.netdev_budget=75,300", "--runs", "10"],
    "unknown-measure": ["--vary", "sysctl.netdev_budget=75,300", "--measure", "web.p98"],
    "not-a-width": ["--vary", "sysctl.netdev_budget=75,300", "--until", "web.p99=5"],
    "a-million-runs": [f"--vary=sysctl.{name}={TEN}" for name in ("netdev_budget", "netdev_budget_usecs", "dev_weight",
                       "skb_defer_max", "gro_normal_batch")] + ["--seeds=10"],
    "levels-that-do-not-fit-together": ["--vary", "measure.warmup_ms=0,1.5", "--vary", "measure.duration_ms=2,1"],
}  # fmt: skip
FILES = {
    "file-unknown-keys": 'scenario = "small.toml"\nseeds = 0\nsedes = 3\n[vary]\nsysctl.netdev_budget = [75, 300]\n',
    "file-wrong-level": 'scenario = "small.toml"\n\n[vary]\n"nic.rps_cpus" = [[], "2"]\nsysctl.netdev_budget = [75, "x"]\n',
    "file-no-list": 'scenario = "small.toml"\n[vary]\nsysctl.netdev_budget = 75\n',
    "file-no-scenario": 'scenario = "nope.toml"\n[vary]\nsysctl.netdev_budget = [75, 300]\n',
    "file-empty": 'scenario = "small.toml"\n',
    "file-wrong-kind": 'scenario = 7\ndesign = "gird"\n[vary]\nsysctl.netdev_budget = [75, 300]\n',
}


def _refused(words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    from softnet.sweep import api

    monkeypatch.setattr(api, "run_once", lambda job: pytest.fail("something ran"))
    assert run_cli(["sweep", *words, "--jobs=1", "--out=out", "--quiet"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert not Path("out").exists()
    return printed.err


@pytest.mark.parametrize("case", OPTIONS)
def test_a_bad_option_is_one_message(
    case: str, scenario: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(scenario.parent)
    held_to_golden("sweep", case, _refused([scenario.name, *OPTIONS[case]], capsys, monkeypatch))


@pytest.mark.parametrize("case", FILES)
def test_a_bad_file_is_one_message_with_its_lines(
    case: str, scenario: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(scenario.parent)
    Path("experiment.toml").write_text(FILES[case])
    held_to_golden("sweep", case, _refused(["experiment.toml"], capsys, monkeypatch))


def test_a_file_and_options_at_once_are_refused(
    scenario: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(scenario.parent)
    Path("experiment.toml").write_text('scenario = "small.toml"\n[vary]\nsysctl.netdev_budget = [75, 300]\n')
    held_to_golden("sweep", "file-and-options", _refused(["experiment.toml", "--seeds", "3"], capsys, monkeypatch))
