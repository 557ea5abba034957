# SPDX-License-Identifier: GPL-2.0-or-later
"""Names from scenarios, tables, traces and arms reach a terminal with control characters written out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from softnet.cli import run_cli
from softnet.errors import SoftnetError, printable
from softnet.lab.tracing import records
from softnet.machine.costtable import load_cost_table
from softnet.report.table import untitled
from softnet.scenario import scenario_from_dict
from softnet.simulate.arms import parse_arm
from softnet.simulate.tracefile import read_trace
from softnet.trace import EVENTS

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eback\u2066\r\x00\u2028"
ROOT = Path(__file__).resolve().parents[1]


def harmless(text: str) -> bool:
    return not any(c in text for c in EVIL if not c.isalnum() and c not in "[];")


def test_what_is_written_out_says_what_it_was() -> None:
    assert printable(EVIL).startswith(r"\x1b]0;owned\x07\x1b[2J\x9b31m\u202eback")
    assert harmless(printable(EVIL))
    assert printable("plain → café 日本\u00a0") == "plain → café 日本\\xa0"
    assert printable("two\nlines\t") == r"two\x0alines\x09"
    assert printable("two\nlines\t", keep="\n\t") == "two\nlines\t"


def test_an_error_is_harmless_wherever_the_text_comes_from() -> None:
    error = SoftnetError(EVIL, where=EVIL, found=EVIL, expected=EVIL, hint=EVIL)
    assert harmless(str(error).replace("\n", ""))
    assert error.found == EVIL


def test_a_scenarios_name_and_question_are_harmless() -> None:
    made = scenario_from_dict({"name": EVIL, "description": f"a\nb{EVIL}"})
    assert harmless(made.name)
    assert made.description.startswith("a\nb")
    assert harmless(made.description)
    assert scenario_from_dict(made.to_dict()) == made
    assert len(scenario_from_dict({"name": "\x1b" * 80}).name) == 80


def test_an_arms_label_is_harmless() -> None:
    assert harmless(parse_arm(f"{EVIL}:6.12").label)


def test_a_cost_table_is_harmless(tmp_path: Path) -> None:
    path = tmp_path / "costs.toml"
    row = {"ns": 1, "provenance": "assumed"}
    text = f"name = {json.dumps(EVIL)}\nabout = {json.dumps(EVIL)}\n[kernel.x]\nsource = {json.dumps(EVIL)}\n"
    path.write_text(text + "".join(f"{k} = {json.dumps(v)}\n" for k, v in row.items()), encoding="utf-8")
    found = load_cost_table(str(path))
    assert harmless(found.name + found.about + found.rows["x"].source)


def test_a_traces_tasks_are_harmless(tmp_path: Path) -> None:
    header = {"schema": "softnet-trace/2", "cpus": 1, "tasks": [[1, EVIL]], "events": [[e.name, list(e.args)] for e in EVENTS]}
    path = tmp_path / "trace"
    path.write_text(json.dumps(header) + '\n{"records":0,"dropped":0,"partial":false}\n', encoding="utf-8")
    assert harmless(read_trace(path).tasks[0][1])


def test_the_labs_tables_and_verdicts_are_harmless(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert harmless(untitled(["a"], [[EVIL]], 100, False).replace("\n", ""))
    trace = records.read(ROOT / "tests" / "lab" / "fixtures" / "first-kick-6.12.jsonl.gz")
    path = tmp_path / "evil.lab.jsonl.gz"
    lines = [json.dumps(trace.header | {"release": f"6.12.1{EVIL}"}), *(json.dumps(record.line()) for record in trace.records)]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    run_cli(["lab", "check", str(path)])
    said = capsys.readouterr()
    assert harmless(said.out.replace("\n", "") + said.err.replace("\n", ""))
    assert "x1b" in said.out
