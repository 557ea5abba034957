# SPDX-License-Identifier: GPL-2.0-or-later
"""The conformance suite without guests: its list, its tables, and what an earlier run's traces are held against."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from softnet.cli import run_cli
from softnet.lab.errors import LabError, LabTimeout
from softnet.lab.play.arm import GuestArm
from softnet.lab.play.run import LabResult, write_out
from softnet.lab.studies import conform, experiments
from softnet.lab.studies.experiment_prediction import expected_drops, expected_kick, expected_kicks
from softnet.lab.studies.replay import Achieved, replayed
from softnet.lab.tracing.counts import count
from softnet.lab.tracing.records import LabTrace, read
from softnet.lab.validate.checker import check
from softnet.lab.vm.kernels import Kernel
from softnet.lab.vm.qemu import Ran
from softnet.report import lab_verdicts as verdicts
from softnet.report.table import Paper

FIXTURES = Path(__file__).parent / "fixtures"


def _arm(name: str) -> GuestArm:
    release = {"6.1": "6.1.0-56", "6.12": "6.12.117+deb12", "6.18": "6.18.15+deb13", "7.3": "7.3.4+deb13"}[name.split("-")[0]]
    kernel = Kernel(name, f"{release}{'-rt' if name.endswith('-rt') else ''}-amd64", Path("vmlinuz"), None, {})
    boot_args = ("thread_backlog_napi",) if name.endswith("-threads") else ()
    return GuestArm(name, name, boot_args=boot_args, image=kernel)


def test_the_suite_has_what_it_must_have() -> None:
    suite = conform.suite()
    assert len(suite) >= 12
    assert len({experiment.folder for experiment in suite}) == len(suite)
    for experiment in suite:
        assert (experiment.exact is None) != (experiment.scenario is None)
        if experiment.scenario is not None:
            assert experiment.scenario().machine.cpus == 4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["6.1", "6.1-rt", "6.12-threads"])
def test_exact_answers_are_the_models(name: str) -> None:
    kicks = [expected_kick(_arm(name), limit, experiments.reads_at(limit)) for limit in experiments.LIMITS]
    assert kicks == [None, 1, 2, 33, 501]
    assert expected_kick(_arm(name), 64, 110, lowered_to=16, after=20) is None
    # The 65th packet of a flow among the last 128 is one too many.
    assert expected_drops(_arm(name), experiments.DATAGRAMS) == experiments.DATAGRAMS - 64


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kicks"),
    [
        ("6.12", (None, 1, 2, 33, 501)),
        # Measured on 6.18.15, 2026-11-30: 110 refused frees at each of four limits are counted and stay so (C10); 61 more make 501.
        ("6.18", (None, None, None, None, 61)),
    ],
)
def test_one_limit_after_the_other_counts_what_no_list_took(name: str, kicks: tuple[int | None, ...]) -> None:
    found = expected_kicks(_arm(name), [(limit, experiments.reads_at(limit)) for limit in experiments.LIMITS])
    assert tuple(found.values()) == kicks


@pytest.mark.slow
def test_a_prediction_is_of_the_arms_kernel() -> None:
    scenario = next(e.scenario for e in conform.suite() if e.name == "UDP, RPS to CPU 2")
    assert scenario is not None
    told = Achieved((tuple(range(0, 400_000_000, 1_000_000)),), (400,), True, 1000, "guest-6.12")
    ipis = replayed(scenario(), _arm("6.12"), told).counters
    threads = replayed(scenario(), _arm("6.12-threads"), told).counters
    assert ipis["rps_ipis"] == 400
    assert ipis["backlog_napi_wakeups"] == threads["rps_ipis"] == 0
    assert threads["backlog_napi_wakeups"] == 400


def _kept(folder: Path, arm: str) -> None:
    """A result as ``softnet lab conform --out`` leaves it, with a committed trace."""
    write_out(_result(read(FIXTURES / "flow-limit-6.12.jsonl.gz"), arm), folder)


def _result(trace: LabTrace, arm: str) -> LabResult:
    return LabResult(
        arm=arm, release="6.12.117+deb12-amd64", ran=Ran("tcg", "multi", "7.2", ""), boot_args=(), trace=trace,
        counts=count(trace.records), softnet_stat={}, work={}, refused={}, lost={}, complaints=[], threads_set=[],
        seconds=1.0, provenance={"package": "linux-image-test", "package_version": "1"},
    )  # fmt: skip


@pytest.mark.slow
def test_an_earlier_run_is_held_against_the_model_again(tmp_path: Path) -> None:
    experiment = next(e for e in conform.suite() if e.name.startswith("flow limit"))
    _kept(tmp_path / experiment.folder, "6.12")
    said: list[str] = []
    outcomes = conform.conform(
        [_arm("6.12")], [experiment], options=conform.GuestOptions(), say=said.append, folder=tmp_path, again=True
    )
    assert [outcome.word for outcome in outcomes] == ["ok"]
    assert outcomes[0].predicted == outcomes[0].measured == {"backlog drops": 136}
    text = "\n".join(verdicts.conform_lines(outcomes, ["6.12"], Paper()))
    assert "136 / 136" in text
    document = verdicts.conform_document(outcomes, ["6.12"], "softnet lab conform --out DIR")
    assert "linux-image-test 1" in document
    assert "| flow limit, 200 of one flow | ok" in document
    told = json.loads(json.dumps(outcomes[0].as_json()))
    assert told["verdict"]["events_checked"] == outcomes[0].verdict.events_checked
    assert said[0].startswith("flow limit, 200 of one flow on 6.12: ok")


@pytest.mark.slow
def test_a_lost_guest_is_tried_once_more_and_an_experiment_that_stays_lost_is_left_out() -> None:
    trace = read(FIXTURES / "flow-limit-6.12.jsonl.gz")
    lost: list[str] = []

    def run(arm: GuestArm, options: conform.GuestOptions, say: conform.Say) -> LabResult:
        lost.append(arm.label)
        if lost.count(arm.label) == 1 or arm.label == "6.1":
            raise LabTimeout("the guest was not done")
        return _result(trace, arm.label)

    exact = next(e for e in conform.suite() if e.name.startswith("flow limit")).exact
    for arms, words in ((["6.12"], ["ok"]), (["6.12", "6.1"], [])):
        lost.clear()
        not_run: dict[str, str] = {}
        outcomes = conform.conform(
            [_arm(name) for name in arms],
            [conform.Experiment("mine", run, exact)],
            options=conform.GuestOptions(),
            say=lambda text: None,
            not_run=not_run,
        )
        assert [outcome.word for outcome in outcomes] == words
        assert lost == [name for name in arms for _ in range(2)]
        assert not_run == ({} if words else {"mine": "6.1: the guest was not done"})
        assert all("a first guest was lost" in outcome.deviations[0] for outcome in outcomes)


def test_what_no_run_left_is_said(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no result of an earlier run") as caught:
        conform.stored(tmp_path, "6.12")
    assert "--again" in caught.value.hint


@pytest.mark.slow
def test_coverage_names_functions_lines_and_ways_never_taken() -> None:
    verdict = check(read(FIXTURES / "first-kick-6.12.jsonl.gz"))
    lines = verdicts.branch_lines(verdict.branches, Paper(400))
    taken, ways = verdicts.branch_totals(verdict.branches)
    assert 0 < taken < ways
    assert lines[0].startswith(f"{taken} of {ways} ways")
    assert any(line.startswith("skb_attempt_defer_free()") for line in lines)
    assert any("-" in line and "net/core/" in line for line in lines[2:])


def test_conform_again_needs_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["lab", "conform", "--again"]) == 2
    assert "--again needs --out" in capsys.readouterr().err
