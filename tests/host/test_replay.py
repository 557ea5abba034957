# SPDX-License-Identifier: GPL-2.0-or-later
"""softnet replay on the recorded fixture: its text, its numbers, and what it refuses."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from tests.report.golden import held_to_golden

from softnet.cli import run_cli
from softnet.errors import SoftnetError
from softnet.host.load import load_of
from softnet.host.observe import observe
from softnet.host.recording import read_recording
from softnet.host.replay import Replay, Row, replay
from softnet.report.recording import replay_lines

ROOT = Path(__file__).resolve().parents[2]
RECORDED = ROOT / "examples" / "host" / "recorded.dat"
TEXT = Path(__file__).parent / "fixtures" / "recorded-trace-cmd.txt.gz"


@pytest.fixture(scope="module")
def found() -> Replay:
    return replay(RECORDED, settings=("loopback.rps_cpus=[1]",), engine="reference")


@pytest.mark.slow
def test_the_text_is_the_golden_one(found: Replay) -> None:
    found.recording = "recorded.dat"
    held_to_golden("host", "replay", "\n".join(replay_lines(found, 100)) + "\n")


def test_counts_are_within_5_and_medians_within_10_percent(found: Replay) -> None:
    """Of the half that nothing was fitted to. What the 99th percentiles miss stands in docs/host.md."""
    for row in found.rows:
        if "p99" not in row.name:
            assert row.error_permille is not None, row
            assert abs(row.error_permille) <= (100 if row.unit else 50), row


def test_with_rps_every_packet_takes_an_ipi_and_the_reader_is_woken_on_its_own_cpu(found: Replay) -> None:
    """What RPS onto the reader's CPU must do, whatever the costs: one IPI a packet while it trickles, and no remote wakeup."""
    rows = {row.name: row for row in found.rows}
    assert (rows["ipis"].model, rows["ipis"].changed) == (0, rows["arrived"].model)
    assert (rows["run_p50_ns"].change_permille or 0) < -500
    assert (rows["receive_p50_ns"].change_permille or 0) > 1000


def test_the_recorded_times_of_the_sends_are_kept(found: Replay) -> None:
    """The model's arrivals are the recording's: as many, and none earlier."""
    load = load_of(observe(read_recording(RECORDED).events), 2)
    assert found.packets == len(load.packets) == sum(len(sender.sends) for sender in load.senders)
    dues = [send.due for sender in load.senders for send in sender.sends]
    assert dues == sorted(dues)
    assert all(send.wake < send.due for sender in load.senders for send in sender.sends)


@pytest.mark.parametrize(
    ("recorded", "model", "changed", "verdict"),
    [
        (100, 110, None, ""),
        (100, 110, 115, "within the error"),
        (100, 110, 150, "beyond the error"),
        (100, 100, 101, "no change"),
        (0, 0, 5, "was 0"),
        (0, 0, 0, "no change"),
        (None, 100, 150, "error unknown"),
    ],
)
def test_a_change_is_held_against_the_error(recorded: int | None, model: int, changed: int | None, verdict: str) -> None:
    assert Row("x", "x", "ns", recorded, model, changed).verdict == verdict


def test_a_mistake_in_the_question_is_told_before_anything_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["replay", str(RECORDED), "--set", "sysctl.netdev_budgett=1", "--quiet"]) == 2
    assert "netdev_budgett" in capsys.readouterr().err


@pytest.mark.parametrize("data", [b"", b"\x17\x08\x44tracing6\0", b"nothing of a trace\n", RECORDED.read_bytes()[:20_000]])
def test_what_is_no_recording_is_refused_with_status_2(data: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "recorded.dat"
    path.write_bytes(data)
    assert run_cli(["replay", str(path), "--quiet"]) == 2
    assert str(path) in capsys.readouterr().err
    with pytest.raises(SoftnetError):
        replay(path)


def test_a_text_of_too_few_packets_says_so(tmp_path: Path) -> None:
    path = tmp_path / "trace.txt"
    path.write_bytes(gzip.decompress(TEXT.read_bytes())[:30_000])
    with pytest.raises(SoftnetError, match="too few packets"):
        replay(path, engine="reference")
