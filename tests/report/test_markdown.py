# SPDX-License-Identifier: GPL-2.0-or-later
"""Reports as Markdown: golden texts, and a Markdown parser's word that names mark nothing up."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

from markdown_it import MarkdownIt
from tests.report.golden import held_to_golden
from tests.report.samples import comparison, result

from softnet.cli import run_cli
from softnet.report.markdown import comparison_document, plain, result_document
from softnet.simulate.conditions import judge, judge_run, parse_condition

CONDITIONS = [parse_condition(text) for text in ("p99.web > -60%", "dropped > 0")]


def html(text: str) -> str:
    """What a parser of Markdown makes of it."""
    rendered: str = MarkdownIt("commonmark").enable("table").render(text)
    return rendered


def test_a_comparison_and_a_run_are_the_golden_texts() -> None:
    compared = comparison()
    held_to_golden("report", "markdown-comparison", comparison_document(compared, judge(CONDITIONS, compared)))
    held_to_golden("report", "markdown-run", result_document(result(), judge_run(CONDITIONS[1:], result())))


def test_names_mark_nothing_up() -> None:
    hostile = "<script>alert(1)</script> | **b** [x](http://y) `c` _d_ # ~~e~~ \\ \x1b[31m\nnew"
    page = html(result_document(replace(result(), scenario=hostile, description=hostile)))
    assert not re.search("<script|<a |<strong|<code|<em>|<h1|\x1b", page)
    (heading,) = re.findall("<h2>(.*)</h2>", page)
    assert heading.startswith("&lt;script&gt;alert(1)&lt;/script&gt; | **b** [x](http://y) `c` _d_ # ~~e~~ ")
    assert plain("a | b") == "a \\| b"


def test_every_table_has_its_columns() -> None:
    page = html(comparison_document(comparison()))
    tables = page.split("<table>")[1:]
    assert len(tables) == comparison_document(comparison()).count("<details>") == 3
    for text in tables:
        rows = [row.count("<td") for row in text.split("</table>")[0].split("<tr>")[2:]]
        assert rows
        assert set(rows) == {5}


def test_the_commands_write_it(tmp_path: Path, capfd: object) -> None:
    written, scenario = tmp_path / "run.md", Path(__file__).parent / "kick.toml"
    assert run_cli(["run", str(scenario), "--json", "--markdown", str(written), "--fail-if", "dropped >= 0"]) == 1
    text = written.read_text()
    assert "- ❌ dropped \\>= 0: true of" in text
    assert text.startswith("## ")
    kept = [tmp_path / name for name in ("a.json", "b.json")]
    for number, path in enumerate(kept):
        path.write_text(json.dumps(result(seed=1).to_dict() | {"partial": False, "seed": 1 + 0 * number}))
    assert run_cli(["diff", *map(str, kept), "--markdown", str(tmp_path / "diff.md")]) == 0
    assert " against " in (tmp_path / "diff.md").read_text().splitlines()[0]
    assert run_cli(["diff", "6.9", "6.10", "--markdown", "x.md"]) == 2
    assert run_cli(["run", str(scenario), "--markdown", str(tmp_path / "none" / "x.md")]) == 2
