# SPDX-License-Identifier: GPL-2.0-or-later
"""`softnet lab` without a guest: what it says, and with which status it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from softnet.cli import run_cli
from softnet.lab.tracing.records import read, write

FIXTURES = Path(__file__).parent / "fixtures"
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine whose package lists offer two kernels, and an empty cache."""
    folder = tmp_path / "bin"
    folder.mkdir()
    listing = "linux-image-6.12.7+deb12-amd64 - Linux\\nlinux-image-6.12.9+deb12-amd64 - Linux\\n"
    (folder / "apt-cache").write_text(f'#!/bin/sh\n[ "$1" = search ] && printf "{listing}"\nexit 0\n')
    (folder / "apt-cache").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("SOFTNET_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_kernels_lists_what_can_be_had_and_what_is_here(packages: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["lab", "kernels", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["package"], row["fetched"]) for row in rows] == [("6.12", "linux-image-6.12.9+deb12-amd64", "")]
    assert run_cli(["lab", "kernels"]) == 0
    assert "linux-image-6.12.9+deb12-amd64" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fetch", "6.99-rt"], "no package of kernel 6.99-rt"),
        (["fetch", "newest"], "not the name of a kernel"),
        (["run", "absent.toml"], "absent.toml"),
        (["check", "absent.jsonl.gz"], "absent.jsonl.gz: the trace cannot be read"),
        (["experiment", "first-kick", "--kernel", "./vmlinuz"], "the kernel image cannot be read"),
    ],
)
def test_bad_input_is_one_message_and_status_2(
    arguments: list[str], message: str, packages: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(["lab", *arguments]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert message in told.err
    assert "Traceback" not in told.err


def test_a_scenario_that_no_guest_can_give_is_refused_before_anything_is_fetched(
    packages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = tmp_path / "bursts.toml"
    text = (EXAMPLES / "bursts.toml").read_text()
    changed.write_text(text + '[[event]]\nat_ms = 5\nset = "nic.eth0.rx_usecs"\nvalue = 0\n')
    assert run_cli(["lab", "compare", str(changed)]) == 2
    told = capsys.readouterr().err
    assert "the guest's card has no interrupt to coalesce" in told
    assert "nic.eth0.rx_usecs" in told
    assert not list((packages / "cache").glob("lab/kernels/*"))


@pytest.mark.parametrize("command", ["experiment", "reproduce", "conform"])
def test_an_experiment_that_is_none_is_refused_with_those_there_are(
    command: str, packages: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--only", "nothing-of-this-name"] if command == "conform" else ["nothing"]
    assert run_cli(["lab", command, *arguments]) == 2
    told = capsys.readouterr().err
    assert {"experiment": "first-kick", "reproduce": "C4", "conform": "C4"}[command] in told


def test_doctor_names_what_is_missing_and_the_command_for_it(
    packages: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(packages / "bin"))
    assert run_cli(["lab", "doctor", "--json"]) == 1
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)}
    assert not checks["qemu-system-x86_64"]["ok"]
    assert "apt-get install" in checks["qemu-system-x86_64"]["fix"]
    assert run_cli(["lab", "doctor"]) == 1
    assert "MISSING  qemu-system-x86_64" in capsys.readouterr().out


def test_check_says_yes_with_0_and_no_with_1(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    good, bad = str(FIXTURES / "first-kick-6.12.jsonl.gz"), str(tmp_path / "bad.jsonl")
    trace = read(Path(good))
    # The first kick, and the IPI that is it, one attempt late.
    at = next(n for n, record in enumerate(trace.records) if record.event == "kick_defer_list_purge")
    attempt = next(n for n in range(at, len(trace.records)) if trace.records[n].event == "skb_attempt_defer_free")
    trace.records.insert(at, trace.records.pop(attempt))
    write(trace, Path(bad))
    assert run_cli(["lab", "check", good]) == 0
    assert "a behaviour of the model" in capsys.readouterr().out
    assert run_cli(["lab", "check", good, bad, "--json"]) == 1
    first, second = json.loads(capsys.readouterr().out)
    assert (first["accepted"], second["accepted"]) == (True, False)
    assert second["line"] > 2
    assert run_cli(["lab", "check", bad]) == 1
    told = capsys.readouterr().out
    assert "NOT a behaviour of the model" in told
    assert "the model: skb_attempt_defer_free()" in told
