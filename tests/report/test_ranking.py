# SPDX-License-Identifier: GPL-2.0-or-later
"""Many arms in one table: which is best is seen at once, and no arm lies off the page."""

from __future__ import annotations

from dataclasses import replace

from tests.report import samples

from softnet.report.html import page as html_page
from softnet.report.ranking import ranking
from softnet.report.terminal import render_comparison
from softnet.simulate.comparison import Comparison

US = 1000


def arms(latencies: dict[str, tuple[int, ...]], dropped: dict[str, int] | None = None) -> Comparison:
    """Arms whose packets all take so long, in us, with each seed."""
    seeds = tuple(range(1, len(next(iter(latencies.values()))) + 1))
    results = {}
    for arm, values in latencies.items():
        made = []
        for seed, us in zip(seeds, values, strict=True):
            one = samples.result(arm, seed, {"dropped": (dropped or {}).get(arm, 0)})
            made.append(replace(one, latency={"web": samples.histogram("web", "packet", {us * US: 1000})}))
        results[arm] = tuple(made)
    return Comparison("four", "", tuple(latencies), seeds, results)


def marked(comparison: Comparison, column: str) -> list[str]:
    found = ranking(comparison)
    assert found is not None
    at = found.columns.index(column)
    return [arm for arm, cells in found.cells.items() if cells[at][1]]


def test_the_best_is_marked_and_what_is_not_told_from_it() -> None:
    slow, fast, noisy, near = (50, 51, 52), (20, 21, 22), (10, 21, 34), (20, 21, 22)
    comparison = arms(
        {"slow": slow, "fast": fast, "noisy": noisy, "near": near}, dropped={"slow": 0, "fast": 9, "noisy": 9, "near": 9}
    )
    assert marked(comparison, "web p99") == ["fast", "noisy", "near"]
    assert marked(comparison, "dropped") == ["slow"]


def test_with_one_seed_only_the_best_is_marked() -> None:
    assert marked(arms({"a": (50,), "b": (20,), "c": (21,)}), "web p50") == ["b"]


def test_what_is_the_same_in_every_arm_is_no_column() -> None:
    comparison = arms({"a": (50, 50), "b": (20, 20), "c": (30, 30)})
    found = ranking(comparison)
    assert found is not None
    assert "dropped" not in found.columns
    assert ranking(arms({"a": (50, 50), "b": (50, 50), "c": (50, 50)})) is None
    assert ranking(arms({"a": (50, 51), "b": (20, 21)})) is None


def test_terminal_and_page_show_it() -> None:
    comparison = arms({"fe": (50, 51), "ff": (20, 21), "0e": (30, 31), "off": (40, 41), "<b>": (60, 61)})
    for width in (80, 120):
        text = render_comparison(comparison, width)
        assert max(map(len, text.splitlines())) <= width
        lines = text.splitlines()
        start = next(number for number, line in enumerate(lines) if line.startswith("All arms, mean per run; * marks the best"))
        rows = {line.split()[0]: line for line in lines[start:] if line.split()[:1] and line.split()[0] in comparison.arms}
        assert set(rows) == set(comparison.arms)
        assert rows["ff"].count("*") == len(ranking(comparison).columns)  # type: ignore[union-attr]
        assert "*" not in rows["fe"]
    page = html_page(comparison)
    table = page[page.index('<section class="ranking">') : page.index("</section>", page.index('<section class="ranking">'))]
    assert table.count("<tr><th>") == 6
    assert "&lt;b&gt;" in table
    assert "<b>" not in table
    assert 'class="better"' in table
    # With so many arms the figures keep to means and verdicts: 1 title, 5 means, 4 verdicts.
    figures = page[page.index('<h2 id="figures">') :]
    assert figures[: figures.index("</thead>")].count("<th") == 1 + 1 + 5 + 4
    assert "<th>change</th>" not in figures
