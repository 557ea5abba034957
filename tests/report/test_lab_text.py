# SPDX-License-Identifier: GPL-2.0-or-later
"""What softnet lab writes in the terminal: golden texts of committed traces and of results made by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from tests.report.golden import GOLDEN, held_to_golden

from softnet.cli import run_cli
from softnet.lab.play.run import LabResult
from softnet.lab.studies import conform, experiments, seed
from softnet.lab.studies.calibrate import Calibration, Fitted
from softnet.lab.studies.predict_all import Attempt
from softnet.lab.studies.reproduce import DEFECTS
from softnet.lab.studies.scenario_prediction import Prediction, Row
from softnet.lab.tracing.counts import COUNTERS, count
from softnet.lab.tracing.records import LabRecord, LabTrace, read, write
from softnet.lab.vm.qemu import Ran
from softnet.report import lab_defects, lab_predictions, lab_seed, lab_tables, lab_verdicts
from softnet.report.table import Paper

ARMS = ("6.1", "6.1-rt", "6.12", "6.12-rt", "6.12-threads")
FIXTURES = Path(__file__).parent.parent / "lab" / "fixtures"
PAPER = Paper()
RAN = Ran("tcg", "multi", "7.2.11", "KVM not used: there is no /dev/kvm")
STAT = {0: {"processed": 400, "dropped": 3, "time_squeeze": 2, "received_rps": 0, "flow_limit_count": 0, "backlog_len": 0}}


def stored(name: str, arm: str) -> LabResult:
    """A result around a committed trace."""
    trace = read(FIXTURES / f"{name}-{arm}.jsonl.gz")
    latency = {"count": 100, "p50_ns": 14_000, "p99_ns": 91_000, "p999_ns": 1_200_000, "max_ns": 3_000_000}
    work = {"tasks": [{"task": "receiver@1", "packets": 100, "latency": latency}, {"task": "sender", "packets": 100}]}
    said = ["machine.numa_nodes: the guest has one node."]
    return LabResult(
        arm, str(trace.header["release"]), RAN, ("preempt=full",), trace, count(trace.records), STAT, work,
        {"napi_poll": "no such event"} if arm == "6.12" else {}, {"cpu0 overrun": 4} if arm == "6.1" else {},
        ["WARNING: at kernel/softirq.c:281"], [], 12.5, said if arm == "6.1" else [*said, "sender: asked to send 200 packets."],
    )  # fmt: skip


def empty(arm: str = "6.12") -> LabResult:
    """A run in which nothing was recorded."""
    counts = {name: {"total": 0, "by_cpu": {}} for name in COUNTERS}
    header = {"arm": arm, "release": "6.12.9-amd64", "clock": "counter", "cpus": 4}
    return LabResult(arm, "6.12.9-amd64", RAN, (), LabTrace(header, []), counts, STAT, {"tasks": []}, {}, {}, [], [], 1.0)


def five() -> list[LabResult]:
    """The five arms of softnet lab compare, with what there is of them."""
    return [stored("first-kick", name) for name in ARMS]


@cache
def outcomes() -> list[conform.ExperimentOutcome]:
    """Two experiments on five arms, one of which is refused on an arm."""
    from softnet.lab.validate.checker import check

    found = []
    for arm in ARMS:
        trace = read(FIXTURES / f"first-kick-{arm}.jsonl.gz")
        verdict = check(trace)
        late = LabTrace(trace.header, [*trace.records[40:50], *trace.records[:40], *trace.records[50:]])
        for experiment in ("first-kick", "rps, four senders"):
            refused = arm == "6.12-rt" and experiment == "first-kick"
            figures: dict[str, int | None] = {"kicks": 2, "NET_RX raised": 12_345}
            measured = figures | ({} if experiment == "first-kick" else {"NET_RX raised": 11_000})
            found.append(conform.ExperimentOutcome(
                experiment, arm, str(trace.header["release"]), "", check(late) if refused else verdict, figures, measured,
                experiment == "first-kick", counts={}, lost=0, squeezed=0,
            ))  # fmt: skip
    return found


def conformed(paper: Paper) -> str:
    return "\n".join(lab_verdicts.conform_lines(outcomes(), ARMS, paper)) + "\n"


def pair() -> list[LabResult]:
    return [stored("first-kick", "6.1"), stored("first-kick", "6.12")]


def seeds() -> list[seed.SeedResult]:
    names = ("deferred", "kicks", "trigger_rx_softirq", "rps_ipis", "net_rx_raises", "ksoftirqd_wakeups", "backlog_napi_wakeups",
             "process_backlog_polls")  # fmt: skip
    model = dict(zip(names, range(3, 100, 7), strict=False))
    return [seed.SeedResult(stored("first-kick", arm), stored("first-kick", arm), model) for arm in seed.ARMS]


def prediction() -> Prediction:
    rows = (Row("packets received", "", 400, 380), Row("kicks", "", 5, 0), Row("receiver p50", "ns", 14_000, 16_500))
    return Prediction("6.12", "6.12.9-amd64", "QEMU 7.2.11 tcg", "rps, 100 times slower", "guest-6.12", rows, ("late by 4 ms.",))


def calibration() -> Calibration:
    rows = (Fitted("alloc_skb", 812, "measured", "__alloc_skb", 40), Fitted("copy", 95, "measured", "tun", 3, per_byte=True))
    return Calibration("6.12", "6.12.9-amd64", RAN, rows, {"udp": {"guest": 41_000, "model": 39_500}})


def first_kick() -> str:
    results = [*pair(), stored("first-kick", "6.12-threads")]
    lines = [line for r in results for line in lab_defects.first_kick_lines(r, experiments.first_kick_at(r.trace), 33, PAPER)]
    return "\n".join([*lines, *lab_defects.first_kick_lines(results[0], None, 33, PAPER)]) + "\n"


def defect() -> str:
    trace = read(FIXTURES / "offline-kick-6.12.jsonl.gz")
    watched = [
        {"name": "before", "defer_count": 0},
        {"name": "after", "defer_count": 64, "defer_ipi_scheduled": 1, "backlog.state": 257},
    ]
    work = {"found": True, "tries": 5, "samples": 662, "holds": 5, "watched": watched}
    result = LabResult("6.12", "6.12.1-amd64", RAN, (), trace, {}, {}, work, {}, {}, [], [], 0.0)
    return "\n".join(lab_defects.defect_lines(DEFECTS["offline-kick"], result, PAPER)) + "\n"


def predictions() -> str:
    told = prediction().as_json()
    attempts = [Attempt("rps ×100", "6.12", told), Attempt("rps ×100", "6.1", None, "the guest was killed")]
    return (
        lab_predictions.predictions_text(attempts, PAPER) + "\n\n" + lab_predictions.document(attempts, "softnet lab predict --all")
    )


def verdicts() -> str:
    from softnet.lab.validate.checker import check

    trace = read(FIXTURES / "first-kick-6.12.jsonl.gz")
    at = next(n for n, record in enumerate(trace.records) if record.event == "kick_defer_list_purge")
    attempt = next(n for n in range(at, len(trace.records)) if trace.records[n].event == "skb_attempt_defer_free")
    late = LabTrace(trace.header, list(trace.records))
    late.records.insert(at, late.records.pop(attempt))
    found = [("good", check(trace)), ("late", check(late)), ("empty", check(LabTrace(trace.header, [])))]
    return "\n".join(line for name, verdict in found for line in lab_verdicts.verdict_lines(name, verdict)) + "\n"


CASES = {
    "results": lambda: lab_tables.results_text(pair(), PAPER) + "\n",
    "results-80": lambda: lab_tables.results_text(five(), Paper(80)) + "\n",
    "results-120": lambda: lab_tables.results_text(five(), Paper(120)) + "\n",
    "conform-80": lambda: conformed(Paper(80)),
    "conform-120": lambda: conformed(Paper(120)),
    "first-kick": first_kick,
    "c4": lambda: "\n".join(lab_defects.c4_lines(_lowered(), PAPER)) + "\n",
    "defect": defect,
    "seed": lambda: lab_seed.seed_text(seeds(), PAPER) + "\n",
    "prediction": lambda: lab_predictions.prediction_text(prediction(), PAPER) + "\n",
    "predictions": predictions,
    "calibration": lambda: lab_predictions.calibration_text(calibration(), Path("guest.toml"), PAPER) + "\n",
    "verdicts": verdicts,
}


def _lowered() -> LabResult:
    """Twenty attempts, the limit lowered, twenty more: nobody kicks."""
    attempts = [LabRecord(n, 1, 0, "skb_attempt_defer_free", n, 0, min(n, 20)) for n in range(40)]
    mark = LabRecord(20, 1, 0, "mark", text="skb_defer_max 16")
    trace = LabTrace({"lowered_to": 16, "release": "6.12"}, [*attempts[:20], mark, *attempts[20:]])
    return LabResult("6.12", "6.12", RAN, (), trace, {}, {}, {}, {}, {}, [], [], 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_text_is_the_golden_one(case: str) -> None:
    held_to_golden("lab", case, CASES[case]())


def test_no_golden_text_is_left_over() -> None:
    assert {path.stem for path in (GOLDEN / "lab").glob("*.txt")} == set(CASES)


def test_a_trace_without_events_is_nothing_to_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, nothing = str(FIXTURES / "first-kick-6.12.jsonl.gz"), tmp_path / "nothing.lab.jsonl"
    write(LabTrace(read(Path(good)).header, []), nothing)
    assert run_cli(["lab", "check", str(nothing)]) == 5
    assert "nothing to check: the trace has not one event" in capsys.readouterr().out
    assert run_cli(["lab", "check", good, str(nothing), "--json"]) == 5
    first, second = json.loads(capsys.readouterr().out)
    assert second["nothing_to_check"]
    assert "nothing_to_check" not in first


def test_a_run_without_events_is_invalid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = [empty()]
    monkeypatch.setattr("softnet.lab.play.run.run_scenario", lambda *args, **more: results[-1])
    monkeypatch.setattr("softnet.lab.vm.kernels.require_machine", lambda: None)
    monkeypatch.setattr("softnet.lab.vm.qemu.qemu_version", lambda: "7.2.11")
    monkeypatch.setattr("softnet.lab.play.arm.guest_arm", lambda name, **more: name)
    scenario = tmp_path / "small.toml"
    scenario.write_text('name = "small"\n[measure]\nduration_ms = 1\n')
    assert run_cli(["lab", "run", str(scenario), "--quiet"]) == 5
    assert "6.12: INVALID: not one event was recorded" in capsys.readouterr().err
    results.append(stored("first-kick", "6.12"))
    assert run_cli(["lab", "run", str(scenario), "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_a_result_comes_back_from_its_json() -> None:
    result = stored("first-kick", "6.12")
    again = LabResult.from_json(json.loads(json.dumps(result.as_json())), result.trace)
    assert again == replace(result, seconds=0.0)
