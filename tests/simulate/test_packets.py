# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a packet's time went: the stages add up to what the run measured, and a change shows in the stage that it is about."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from softnet.cli import run_cli
from softnet.errors import SoftnetError
from softnet.report.packets import mean_stages_ns, slowest, write_packets
from softnet.simulate.api import run
from softnet.simulate.packets import COLUMNS, STAGES, Packet, packets, packets_frame

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
Words = tuple[str, ...]
SHORT = ("measure.duration_ms=6", "measure.warmup_ms=1")


def followed(example: str, *settings: str, kernel: str = "", engine: str = "auto") -> list[Packet]:
    done = run(EXAMPLES / f"{example}.toml", kernel=kernel, settings=[*SHORT, *settings], trace="full", engine=engine)
    rows = packets(done.trace, done.result)
    for name, histogram in done.result.latency.items():
        if histogram.kind == "packet":
            latencies = [row.latency_ns for row in rows if row.app == name]
            assert len(latencies) == histogram.count
            assert sum(latencies) == histogram.sum_ns
            assert max(latencies, default=0) == histogram.max_ns
    return rows


@pytest.mark.slow
@pytest.mark.parametrize(
    ("example", "kernel"),
    [
        ("rps", ""),
        ("rps", "6.12-rt"),
        ("seed", "6.10-rt"),
        ("threaded-napi", ""),
        ("many-flows", "6.18"),
        ("loopback", "6.12-threads"),
    ],
)
def test_the_stages_of_every_packet_add_up_to_what_the_run_measured(example: str, kernel: str) -> None:
    rows = followed(example, kernel=kernel)
    assert rows
    for row in rows:
        assert min(row.stages_ns) >= 0
        assert sum(row.stages_ns) == row.latency_ns
    arrivals = [row.arrival for row in rows]
    if example == "loopback":
        assert set(arrivals) == {-1}
        assert all(row.stages_ns[0] == 0 for row in rows), "nothing of it was in a ring"
    else:
        assert len(set(arrivals)) == len(rows), "each packet is a frame of its own"
        assert min(arrivals) >= 0


def test_the_packets_of_a_flow_are_delivered_in_the_order_in_which_they_came() -> None:
    """Were a packet taken for another of the same time, the order within some socket would break."""
    last: dict[int, int] = {}
    for row in followed("rps"):
        assert row.arrival > last.get(row.sock, -1)
        last[row.sock] = row.arrival
    assert len(last) > 10


def grown(example: str, *settings: str, before: tuple[str, ...] = ()) -> dict[str, int]:
    """Stage -> by how much the mean packet is longer in it with the settings than with those ``before``."""
    old, new = (mean_stages_ns(followed(example, *some)) for some in (before, settings))
    return {stage: b - a for stage, a, b in zip(STAGES, old, new, strict=True)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "least_ns", "example", "before", "after"),
    [
        ("ring", 20_000, "many-flows", (), ("nic.rx_usecs=100", "nic.rx_frames=0")),
        ("reader", 20_000, "many-flows", (), ("application.0.service_ns=30000",)),
        ("backlog", 1_000, "rps", ("nic.rps_cpus=[]",), ("nic.rps_cpus=[2]",)),
    ],
)
def test_a_change_shows_in_its_stage(
    stage: str, least_ns: int, example: str, before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    difference = grown(example, *after, before=before)
    assert difference[stage] >= least_ns
    assert max(difference, key=lambda each: difference[each]) == stage


def test_a_reader_beside_a_hog_waits_for_the_scheduler(tmp_path: Path) -> None:
    scenario = (EXAMPLES / "loopback.toml").read_text(encoding="utf-8")
    hog = '\n[[task]]\nname = "hog"\nkind = "hog"\ncpu = 1\n'
    means = []
    for text in (scenario, scenario + hog):
        path = tmp_path / "loopback.toml"
        path.write_text(text, encoding="utf-8")
        done = run(path, settings=[*SHORT], trace="full")
        means.append(mean_stages_ns(packets(done.trace, done.result)))
    difference = dict(zip(STAGES, (b - a for a, b in zip(*means, strict=True)), strict=True))
    assert max(difference, key=lambda each: difference[each]) == "scheduler"


@pytest.mark.slow
def test_both_engines_tell_the_same() -> None:
    settings = ("measure.duration_ms=3",)
    assert followed("rps", *settings, engine="native") == followed("rps", *settings, engine="reference")


def test_the_slowest_come_first_and_the_earlier_of_two_equal_ones() -> None:
    rows = [Packet(n, 0, 0, latency, 0, "a", 0, False, (latency, 0, 0, 0, 0, 0)) for n, latency in enumerate((5, 9, 9, 1))]
    assert [row.arrival for row in slowest(rows, 3)] == [1, 2, 0]


def test_a_trace_that_does_not_follow_packets_is_refused() -> None:
    done = run(EXAMPLES / "rps.toml", settings=SHORT, trace="decisions")
    with pytest.raises(SoftnetError, match="does not follow packets"):
        packets(done.trace, done.result)


def test_every_packet_is_a_row_of_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "packets.csv"
    words = ["run", str(EXAMPLES / "rps.toml"), "--quiet", *(f"--set={each}" for each in SHORT)]
    assert run_cli([*words, "--packets", str(file), "--slowest", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    with file.open(encoding="utf-8", newline="") as stream:
        read = list(csv.DictReader(stream))
    assert list(read[0]) == COLUMNS
    assert len(read) == told["latency"]["web"]["count"]
    worst = max(int(row["latency_ns"]) for row in read)
    assert told["packets"]["slowest"][0]["latency_ns"] == worst == told["latency"]["web"]["max_ns"]
    assert told["packets"]["mean"]["web"]["all"]["packets"] == len(read)
    rows = followed("rps")
    parquet = tmp_path / "packets.parquet"
    write_packets(parquet, rows)
    pandas = pytest.importorskip("pandas")
    assert pandas.read_parquet(parquet).equals(packets_frame(rows))


def test_the_text_says_which_stage_makes_the_slowest_slow(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", str(EXAMPLES / "starved-cpu.toml"), "--quiet", "--set", "measure.duration_ms=40", "--slowest", "3"]
    for width in (60, 80, 120):
        assert run_cli([*words, "--width", str(width)]) == 0
        text = capsys.readouterr().out.partition("Where the packets' time went\n")[2]
        assert "in a CPU's backlog" in " ".join(text.split())
        assert max(map(len, text.splitlines())) <= width
        assert text.count("backlog") == 3, "in a sentence and in two tables"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--slowest", "3", "--trace", "off"), "packets are followed by the whole trace\n  found:    --trace off"),
        (("--packets", "a.txt"), "no such format\n  found:    .txt\n  expected: a name in .csv, .csv.gz or .parquet"),
        (("--slowest", "0"), "0 is not in the range"),
        (("--packets", "nowhere/a.csv"), "nowhere"),
    ],
)
def test_what_cannot_be_is_one_error(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["run", str(EXAMPLES / "rps.toml"), "--quiet", *(f"--set={each}" for each in SHORT), *words]) == 2
    assert said in capsys.readouterr().err
