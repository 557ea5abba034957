# SPDX-License-Identifier: GPL-2.0-or-later
"""The model sends when a guest's senders did, as fast as the guest was; and the tables of all held-out predictions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from softnet.cli import run_cli
from softnet.lab.errors import LabError
from softnet.lab.play.arm import GuestArm
from softnet.lab.play.run import LabResult
from softnet.lab.play.stretch import stretched
from softnet.lab.studies import conform
from softnet.lab.studies import predict_all as heldout
from softnet.lab.studies.experiment_prediction import predict
from softnet.lab.studies.replay import achieved, guest_costs, replayed
from softnet.lab.studies.scenario_prediction import model_run
from softnet.lab.tracing.counts import count
from softnet.lab.tracing.records import read
from softnet.lab.vm.kernels import Kernel
from softnet.lab.vm.qemu import Ran
from softnet.machine.costtable import load_cost_table
from softnet.report import lab_predictions
from softnet.scenario import Scenario, load_scenario

FIXTURES = Path(__file__).parent / "fixtures"
EXAMPLES = Path(__file__).parents[2] / "examples"
MS = 1_000_000


def _arm(name: str, release: str) -> GuestArm:
    rt = name.endswith("-rt")
    return GuestArm(name, image=Kernel(name, f"{release}{'-rt' if rt else ''}-amd64", Path("vmlinuz"), None, {}))


PLAIN = _arm("6.12", "6.12.117+deb12")


def _scenario() -> Scenario:
    found = next(e.scenario for e in conform.suite() if e.name == "UDP, RPS to CPU 2")
    assert found is not None
    return found()


def _result(sender: dict[str, object], receiver: dict[str, object]) -> LabResult:
    trace = read(FIXTURES / "flow-limit-6.12.jsonl.gz")
    tasks = [{"task": "receiver@1", **receiver}, {"task": "sender0", **sender}]
    return LabResult(
        arm="6.12", release="6.12.117+deb12-amd64", ran=Ran("tcg", "multi", "7.2", ""), boot_args=(), trace=trace,
        counts=count(trace.records), softnet_stat={}, work={"tasks": tasks}, refused={}, lost={}, complaints=[],
        threads_set=[], seconds=1.0,
    )  # fmt: skip


def _received(packets: int, factor: int) -> dict[str, object]:
    """A receiver whose packets took ``factor`` times what the fitted table says."""
    rows = load_cost_table("guest-6.12").rows
    names = (
        "lab_receive",
        "syscall",
        "udp_recvmsg",
        "context_switch",
        "skb_free_local",
        "skb_release_data_local",
    )
    return {"packets": packets, "cpu_ns": packets * factor * sum(rows[name].ns for name in names)}


def test_the_table_is_the_one_of_the_arm() -> None:
    assert guest_costs(PLAIN) == "guest-6.12"
    assert guest_costs(_arm("6.12-rt", "6.12.117+deb12")) == "guest-6.12-rt"
    assert guest_costs(_arm("6.1-rt", "6.1.0-56")).endswith("-rt")


def test_times_speed_and_rate_are_read_from_the_result() -> None:
    times = [30 * MS, 31 * MS, 200 * MS]
    told = achieved(_scenario(), PLAIN, _result({"packets": 3, "asked": 400, "sent_ns": times}, _received(100, 7)))
    assert told.sends == (tuple(times),)
    assert told.permille == 7000
    assert told.sentence() == "3 of 400 sent, replayed as sent; guest-6.12 × 7.0"


def test_a_result_without_times_is_spread_evenly_and_says_so() -> None:
    told = achieved(_scenario(), PLAIN, _result({"packets": 4, "asked": 400}, {"packets": 4}))
    assert told.sends == ((0, 100 * MS, 200 * MS, 300 * MS),)
    assert told.permille == 1000
    assert "spread evenly" in told.sentence()


def test_a_sender_that_is_not_in_the_result_is_an_error() -> None:
    result = _result({"packets": 3}, {"packets": 3})
    result.work["tasks"].pop()
    with pytest.raises(LabError, match="a sender of the scenario is not in the result"):
        achieved(_scenario(), PLAIN, result)


@pytest.mark.slow
def test_the_model_sends_when_the_guest_did() -> None:
    """Twenty in a burst share polls, ten far apart have one each; at the scenario's own rate there would be 380."""
    burst = [100 * MS + n for n in range(20)]
    apart = [200 * MS + n * 10 * MS for n in range(10)]
    result = _result({"packets": 30, "asked": 400, "sent_ns": burst + apart}, _received(100, 1))
    figures = predict(_scenario(), PLAIN, result).figures
    assert figures["enqueued"] == 30
    ipis = figures["rps_ipis"]
    assert ipis is not None
    assert 10 < ipis <= 30
    only = _result({"packets": 10, "asked": 400, "sent_ns": apart}, _received(100, 1))
    assert predict(_scenario(), PLAIN, only).figures["rps_ipis"] == 10


@pytest.mark.slow
def test_a_slower_guest_takes_as_much_longer() -> None:
    sender = {"packets": 30, "asked": 400, "sent_ns": [50 * MS + n * 10 * MS for n in range(30)]}
    medians = []
    for factor in (1, 20):
        told = achieved(_scenario(), PLAIN, _result(sender, _received(100, factor)))
        medians.append(replayed(_scenario(), PLAIN, told).latency["receiver"].quantile_ns(1, 2))
    assert 18 < medians[1] / medians[0] < 22


@pytest.mark.slow
@pytest.mark.parametrize("release", ["6.12", "6.1"])
def test_tcp_over_loopback_is_acknowledged(release: str) -> None:
    """A thousand segments, each read by itself: a real 6.12 was counted to poll 1997 times and to send as many IPIs."""
    scenario = stretched(load_scenario(EXAMPLES / "loopback.toml", ("measure.duration_ms=6", "measure.warmup_ms=1")), 100)
    arm = _arm(release, f"{release}.0")
    made, _ = model_run(scenario, arm, guest_costs(arm))
    assert abs(made.counters["process_backlog_polls"] - 1997) <= 3
    assert abs(made.counters["rps_ipis"] - 1997) <= 3
    assert made.latency["receiver"].count == 1000


@pytest.mark.slow
def test_a_tun_devices_segments_are_not_merged() -> None:
    """350 segments that wait in a socket's queue: a real 6.12 deferred each of them and kicked six times."""
    scenario = stretched(load_scenario(EXAMPLES / "changing-settings.toml", ("measure.duration_ms=35",)), 50)
    made, _ = model_run(scenario, PLAIN, "guest-6.12")
    assert made.counters["kicks"] == 6
    assert made.counters["deferred"] > 325
    assert made.counters["net_rx_raises"] == 356


TOLD = {
    "arm": "6.12", "release": "6.12.117", "ran": "QEMU 7.2 icount", "scenario": "rps", "costs": "guest-6.12",
    "deviations": ["slow."],
    "rows": [
        {"name": "ipis_rps", "unit": "", "predicted": 110, "measured": 100, "error_permille": 100},
        {"name": "web p50", "unit": "ns", "predicted": 30_000, "measured": 40_000, "error_permille": -250},
        {"name": "kicks", "unit": "", "predicted": 3, "measured": 0, "error_permille": None},
    ],
}  # fmt: skip


def test_held_out_predictions_are_summed_up_by_quantity(tmp_path: Path) -> None:
    attempts = [
        heldout.Attempt("rps ×100", "6.12", TOLD),
        heldout.Attempt("rps ×100", "6.1", None, "no answer | within 240 s"),
    ]
    assert lab_predictions.summary_rows(attempts) == [
        ["ipis_rps", "1", "10.0 %", "+10.0 %", "rps ×100 on 6.12"],
        ["latency p50", "1", "25.0 %", "-25.0 %", "rps ×100 on 6.12"],
    ]
    text = lab_predictions.document(attempts, "softnet lab predict --all")
    assert "| rps ×100 | 6.12 | kicks | 3 | 0 | – |" in text
    assert "| rps ×100 | 6.1 | not measured |  |  | no answer \\| within 240 s |" in text
    assert "- slow." in text
    path = tmp_path / "predict.json"
    path.write_text(json.dumps({"predictions": [attempt.as_json() for attempt in attempts]}))
    assert heldout.read(path) == attempts
    path.write_text("{}")
    with pytest.raises(LabError, match="no predictions of an earlier run"):
        heldout.read(path)


def test_held_out_scenarios_are_there_and_are_not_those_of_a_calibration() -> None:
    from softnet.lab.studies.calibrate import experiments

    for held in heldout.HELD_OUT:
        assert (Path(__file__).parents[2] / "examples" / held.file).exists()
        assert held.file.removesuffix(".toml") != experiments().name


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "which scenario?"),
        (["examples/rps.toml", "--all"], "--all has scenarios, settings and costs of its own"),
        (["examples/rps.toml", "--out", "x"], "belong to --all"),
        (["--all", "--only", "nothing"], "no held-out scenario is called so"),
    ],
)
def test_arguments_that_do_not_go_together(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["lab", "predict", *arguments]) == 2
    assert words in capsys.readouterr().err
