# SPDX-License-Identifier: GPL-2.0-or-later
"""The findings by release; the explorer finds each where the table has it, and not where it says that it was mended."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace

import pytest
from click.testing import CliRunner
from tests.long import sample

from softnet.cli.findings import command as findings_command
from softnet.cli.verify import command as verify_command
from softnet.lang.native.compile import available
from softnet.properties.findings import FINDINGS, Finding
from softnet.release import releases
from softnet.report.findings import asked, cells, mended_in, render_findings
from softnet.verify.search import Limits, search
from softnet.verify.standard import from_text
from softnet.verify.verdict import Verdict

SMALL = Limits(states=3_000_000)
native = pytest.mark.skipif(bool(available()), reason=f"no native code: {available()}")


def test_the_table_has_a_column_for_each_release_and_a_row_for_each_finding() -> None:
    lines = render_findings().splitlines()
    assert lines[0].split() == [*releases(), "mended", "by"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[1 : 1 + len(FINDINGS)]}
    assert list(rows) == list(FINDINGS)
    assert rows["C6"][-2:] == ["mended", "06e3f54e8b22"]
    assert rows["C10"][: list(releases()).index("6.18") + 1] == [*"–––––", "itr"]
    for number, finding in FINDINGS.items():
        assert rows[number][: len(releases())] == cells(finding)


def test_what_was_mended_and_where() -> None:
    assert {number: mended_in(f) for number, f in FINDINGS.items() if mended_in(f)} == {
        "C6": "7.3",
        "C7": "7.3",
        "C12": "7.3",
        "I13": "6.10",
    }


def test_the_command() -> None:
    done = CliRunner().invoke(findings_command, [])
    assert (done.exit_code, done.output) == (0, render_findings())
    done = CliRunner().invoke(findings_command, ["--json"])
    found = json.loads(done.output)["findings"]
    assert [row["number"] for row in found] == list(FINDINGS)
    assert found[3]["mended_in"] == "7.3"
    done = CliRunner().invoke(findings_command, ["--verbose"])
    for finding in FINDINGS.values():
        said = " ".join(done.output.split())
        assert f"{finding.number}: {finding.sentence}. {asked(finding)}" in said
    for width in (80, 100):
        narrow = CliRunner().invoke(findings_command, ["--width", str(width)]).output
        assert max(map(len, narrow.splitlines())) <= width


@pytest.mark.parametrize("finding", FINDINGS.values(), ids=lambda f: f.number)
def test_the_command_that_is_told_is_one(finding: Finding) -> None:
    words = shlex.split(asked(finding))
    assert words[:2] == ["softnet", "verify"]
    made = verify_command.make_context("verify", words[2:])
    assert finding.kernels[-1] in made.params["kernels"]


MENDED = [
    ("C6", "6.19", "7.3"),
    ("C6", "6.18-threads", "7.3-threads"),
    ("C7", "6.19", "7.3"),
    ("C12", "6.19", "7.3"),  # a million states, which docs/findings.md searches, too
    ("I13", "6.9-rt", "6.10-rt"),
]


@native
@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "before", "after"),
    sample(MENDED, [MENDED[0], MENDED[4]]),
)
def test_it_is_there_before_and_mended_after(number: str, before: str, after: str) -> None:
    finding = FINDINGS[number]
    (name, *_) = finding.properties
    for kernel, verdict in ((before, Verdict.VIOLATED), (after, Verdict.HOLDS)):
        assert (kernel in finding.kernels) == (verdict is Verdict.VIOLATED)
        assert search(replace(from_text(finding.on(kernel)), properties=(name,)), SMALL).verdict is verdict


@native
@pytest.mark.slow
@pytest.mark.parametrize("number", ["C10", "C11"])
def test_a_counter_that_follows_its_list_mends_both(number: str) -> None:
    finding = FINDINGS[number]
    config = replace(from_text(finding.on("6.18")), patches=(finding.fix,))
    assert search(config, SMALL).verdict is Verdict.HOLDS
