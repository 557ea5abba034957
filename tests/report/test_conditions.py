# SPDX-License-Identifier: GPL-2.0-or-later
"""Conditions of --fail-if: what they mean, what they say, and what a CI system reads of them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from tests.report.golden import held_to_golden
from tests.report.samples import comparison, histogram, result

from softnet.errors import SoftnetError
from softnet.report.conditions import condition_text, junit_document
from softnet.simulate.comparison import Comparison
from softnet.simulate.conditions import judge, judge_run, parse_condition

GIVEN = (
    "p99.web > +5%", "p99.web < -50%", "kicks != 0%", "ipis > 100", "max.web >= 90us", "latency_web_p50_ns == 10.3us",
    "backlog_napi_wakeups > 5%", "dropped > 0", "delivered<5000",
)  # fmt: skip


def test_each_condition_is_held_against_each_arm() -> None:
    judged = judge([parse_condition(text) for text in GIVEN], comparison())
    held_to_golden("report", "conditions", "".join(condition_text(one, "6.9-rt") + "\n" for one in judged))
    held_to_golden("report", "conditions-junit", junit_document(judged, "sample", "6.9-rt"))


def test_a_run_has_no_change_but_figures() -> None:
    judged = judge_run([parse_condition("dropped > 0"), parse_condition("p50.web > 1us")], result())
    assert [one.true for one in judged] == [False, True]
    with pytest.raises(SoftnetError, match="a single run has nothing to change from"):
        judge_run([parse_condition("dropped > 0%")], result())


def test_the_change_is_the_comparisons_own() -> None:
    """Metamorphic: a condition at the ratio that the comparison states is true just below and not above."""
    (metric,) = [m for m in comparison().metrics() if m.name == "net_rx_raises"]
    ratio = metric.difference("6.9-rt", "6.10-rt").ratio
    assert ratio is not None
    change = (ratio - 1) * 100
    for value, expected in ((change - 0.1, True), (change + 0.1, False)):
        (judged,) = judge([parse_condition(f"net_rx_raises > {value:+.3f}%")], comparison())
        assert judged.true is expected


BAD = (
    "", "dropped", "dropped >", "> 0", "dropped = 0", "dropped => 0", "dropped > x", "dropped > 1e9", "p99.web > 5 %% ",
    "dropped > 0 or 1", "p99.web > +5us", "p99.web > -5", "x" * 400 + " > 0", "dropped > ５",
)  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(SoftnetError, match="--fail-if"):
        parse_condition(text)


def test_an_unknown_measure_is_answered_with_all_of_them() -> None:
    with pytest.raises(SoftnetError) as caught:
        judge([parse_condition("p99.webb > 5%")], comparison())
    held_to_golden("report", "conditions-unknown", f"{caught.value}\n")
    with pytest.raises(SoftnetError, match="a time for a measure that is none"):
        judge([parse_condition("dropped > 5us")], comparison())


def test_without_a_sample_nothing_is_judged() -> None:
    made = comparison()
    empty = tuple(replace(one, latency={"web": histogram("web", "packet", {})}) for one in made.results["6.10-rt"])
    without = Comparison(made.scenario, "", made.arms, made.seeds, {**made.results, "6.10-rt": empty})
    for text in ("p99.web > 5%", "p99.web > 5us"):
        with pytest.raises(SoftnetError, match="no run took a sample of this measure"):
            judge([parse_condition(text)], without)


def test_names_are_harmless_in_xml() -> None:
    judged = judge_run([parse_condition("dropped<1")], result('<a "b"\x1b&c'))
    suite = ET.fromstring(junit_document(judged, 'x" y="<>', "base"))[0]
    assert suite.attrib["name"] == 'x" y="<>'
    assert suite[0][0].attrib["message"].startswith("dropped<1: true")


SMALL = """
[machine]
cpus = 1
[[nic]]
[[traffic]]
kind = "constant"
rate_pps = 100000
[[application]]
name = "sink"
kind = "udp"
cpu = 0
[measure]
duration_ms = 1
warmup_ms = 0
"""


@pytest.mark.slow
def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from softnet.cli import main

    scenario, junit = tmp_path / "small.toml", tmp_path / "out.xml"
    scenario.write_text(SMALL, encoding="utf-8")

    def status(*args: str) -> tuple[int, str]:
        capsys.readouterr()
        code = 0
        try:
            main(["run", str(scenario), "--quiet", "--engine", "reference", *args])
        except SystemExit as end:
            code = int(end.code or 0)
        return code, capsys.readouterr().err

    assert status("--fail-if", "dropped > 0", "--fail-if", "delivered < 1", "--junit", str(junit)) == (0, "")
    assert ET.fromstring(junit.read_bytes()).attrib == {"tests": "2", "failures": "0"}
    code, said = status("--fail-if", "delivered > 0", "--junit", str(junit))
    assert (code, said.startswith("softnet: delivered > 0: true of 6.")) == (1, True)
    assert ET.fromstring(junit.read_bytes()).attrib == {"tests": "1", "failures": "1"}
    assert [status(*args)[0] for args in (("--fail-if", "nothing > 0"), ("--junit", str(junit)))] == [2, 2]
