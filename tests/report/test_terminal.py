# SPDX-License-Identifier: GPL-2.0-or-later
"""The report in the terminal: golden texts of results made by hand, its width, and that each sentence follows the figures.

``SOFTNET_UPDATE_GOLDEN=1`` writes the golden texts anew.
"""

from __future__ import annotations

import ast
import os
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.linux.support import loopback_scenario
from tests.report.samples import US, comparison, histogram, result

from softnet.lang.program.program import warn_site
from softnet.lang.python.text import find_function
from softnet.linux.releases import RELEASES, change_of
from softnet.report import story
from softnet.report.names import number, percent
from softnet.report.table import _grid_by_rich, _grid_that_fits, folded, table
from softnet.report.terminal import (
    render_comparison,
    render_result,
)
from softnet.simulate.comparison import Comparison
from softnet.simulate.measure import warning_sites
from softnet.simulate.program import load_program
from softnet.simulate.result import Conservation, Result

GOLDEN = Path(__file__).parent.parent / "golden" / "report"


def partial_run() -> Result:
    """Interrupted, with drops, warnings and notes."""
    return result(
        partial=True,
        duration_ns=40_000_000,
        counters={
            "dropped": 250,
            "time_squeeze": 12,
            "time_squeeze_budget": 9,
            "time_squeeze_time": 3,
            "ksoftirqd_wakeups": 30,
            "ipis": 4,
            "ipis_reschedule": 4,
        },
        conservation=Conservation(5200, 10, 4900, 0, {"CPU_BACKLOG": 200, "rx_missed": 50}, {"backlog": 60}),
        warnings=["WARN_ON_ONCE fired 3 times at kernel.net.core.dev:12"],
        notes=["XDP is not modelled"],
        latency={
            "web": histogram("web", "packet", {}),
            "cyclictest": histogram("cyclictest", "wakeup", {3 * US: 90}),
        },
    )


CASES = {
    "comparison": lambda: render_comparison(comparison()),
    "comparison-80": lambda: render_comparison(comparison(), width=80),
    "comparison-one-seed": lambda: render_comparison(comparison((7,))),
    "result": lambda: render_result(result()),
    "result-partial": lambda: render_result(partial_run()),
}


@pytest.mark.parametrize("case", CASES)
def test_the_text_is_the_golden_one(case: str) -> None:
    text = CASES[case]()
    golden = GOLDEN / f"{case}.txt"
    if os.environ.get("SOFTNET_UPDATE_GOLDEN"):
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_no_golden_text_is_left_over() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    others = {path.stem for path in GOLDEN.glob("*.txt")} - set(CASES)
    assert others == {name for name in others if f'held_to_golden("report", "{name}"' in tests}


def columns(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


def with_long_arms() -> Comparison:
    names = ("6.10-rt,sysctl.skb_defer_max=128,sysctl.netdev_budget=600", "a" * 40, "6.12-threads")
    results = list(comparison().results.values())
    return replace(comparison(), arms=names, results=dict(zip(names, [*results, results[0]], strict=True)))


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_no_line_is_wider_than_asked(width: int) -> None:
    many = [render_comparison(c, width) for c in (comparison(), with_long_arms())]
    for text in (*many, render_result(partial_run(), width)):
        assert max(map(columns, text.splitlines())) <= width


@given(st.text("abc,=.-", max_size=60))
def test_a_folded_name_loses_nothing(name: str) -> None:
    lines = folded(name).split("\n")
    assert "".join(lines) == name
    assert max(map(len, lines)) <= 14


cells = st.text("ab3–µ%", max_size=12)


@pytest.mark.slow
@given(
    st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=4),
    st.tuples(cells, cells),
    st.integers(60, 70),
)
def test_a_table_that_fits_is_the_one_that_rich_would_make(
    rows: list[tuple[str, str, str]], names: tuple[str, str], width: int
) -> None:
    head = ["", folded(names[0], 4), names[1]]
    own = _grid_that_fits(head, rows, width, False)
    assert own is not None
    assert own == _grid_by_rich(head, rows, width, False)


def test_words_that_do_not_fit_go_on_in_the_next_line() -> None:
    assert table("", ["", "a", "reason"], [["x" * 10, "1", "some words " * 6]], 60, False)[2:] == [
        "xxxxxxxxxx  1  some words some words some words some words",
        "               some words some words",
    ]


def test_figures_that_do_not_fit_go_on_in_a_table_below() -> None:
    assert table("", ["", *("abcd" * 3)], [["row", *(["9" * 9] * 12)]], 60, False) == [
        "", "             a          b          c          d          a",
        "row  999999999  999999999  999999999  999999999  999999999",
        "", "             b          c          d          a          b",
        "row  999999999  999999999  999999999  999999999  999999999",
        "", "             c          d",
        "row  999999999  999999999",
    ]  # fmt: skip


def test_what_may_be_two_columns_wide_is_left_to_rich() -> None:
    assert _grid_that_fits(["", "a"], [["x" * 50, "y" * 20]], 70, False) is None
    assert _grid_that_fits(["", "a"], [["二", "y"]], 70, False) is None


def test_colour_adds_escapes_and_nothing_else() -> None:
    import re

    coloured = render_comparison(comparison(), color=True)
    assert "\x1b[" in coloured
    plain = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert [line.rstrip() for line in plain.splitlines()] == render_comparison(comparison()).splitlines()


def sentences(c: Comparison) -> str:
    return " ".join(s.text for part in story.comparison_story(c).values() for s in part)


def test_the_way_of_the_kick_is_told_from_the_counters() -> None:
    assert "In 6.10-rt defer lists are kicked by waking a backlog_napi thread; in 6.9-rt by IPI." in sentences(comparison())
    swapped = comparison()
    swapped = replace(swapped, arms=("6.10-rt", "6.9-rt"))
    assert "In 6.9-rt defer lists are kicked by IPI; in 6.10-rt by waking a backlog_napi thread." in sentences(swapped)


def test_a_tail_that_shortens_is_told_with_its_change() -> None:
    text = sentences(comparison())
    assert "web p99.9 from 41.2 µs to 21 µs (−49 %, more than noise)" in text


def test_equal_arms_differ_in_nothing() -> None:
    same = comparison()
    same = replace(same, results=dict.fromkeys(same.arms, same.results["6.9-rt"]))
    assert "Nothing differs: every figure of 6.10-rt equals that of 6.9-rt in every seed." in sentences(same)


def test_one_seed_claims_nothing_beyond_itself() -> None:
    text = sentences(comparison((7,)))
    assert "more than noise" not in text
    assert "One seed (7)" in text
    shown = render_comparison(comparison((7,)))
    assert "better" not in shown
    assert "one seed" in shown


def test_lost_packets_are_called_a_defect() -> None:
    broken = result(conservation=Conservation(5200, 0, 5000, 50, {}, {}))
    kinds = {s.kind: s.text for s in story.result_story(broken)}
    assert "150 packets are unaccounted for" in kinds["defect"]


def test_opposite_defects_do_not_cancel() -> None:
    c = comparison((1, 2))
    off = [
        replace(r, conservation=replace(r.conservation, arrived=5200 + d))
        for r, d in zip(c.results["6.9-rt"], (3, -3), strict=True)
    ]
    text = render_comparison(replace(c, results={**c.results, "6.9-rt": tuple(off)}))
    [line] = [line for line in text.splitlines() if line.startswith("unaccounted for")]
    assert line.split()[-2:] == ["6", "0"]


def test_a_warning_of_several_seeds_is_told_once() -> None:
    c = comparison()
    warned = tuple(replace(r, warnings=[f"WARN_ON_ONCE fired {50 + r.seed} times"]) for r in c.results["6.9-rt"])
    text = sentences(replace(c, results={**c.results, "6.9-rt": warned}))
    assert "6.9-rt: in every seed: WARN_ON_ONCE fired 51 to 53 times" in text


def warning(times: int, line: int) -> list[str]:
    return [
        f"WARN_ON_ONCE fired {times} times at kernel.softirq:{line} in do_softirq_post_smp_call_flush(): was_pending != is_pending"
    ]


def test_a_warning_that_only_one_arm_gives_is_what_the_comparison_says_first() -> None:
    c = comparison()
    warned = tuple(replace(r, warnings=warning(50 + r.seed, 274)) for r in c.results["6.9-rt"])
    one = tuple(replace(r, warnings=warning(7, 274) if r.seed == 2 else []) for r in c.results["6.10-rt"])
    first = "in do_softirq_post_smp_call_flush(), WARN_ON_ONCE(was_pending != is_pending) fired"
    gone = story.comparison_story(replace(c, results={**c.results, "6.9-rt": warned}))["6.10-rt"][0].text
    assert gone == f"A warning of the kernel is gone: {first} 51 to 53 times in each run of 6.9-rt, and never in 6.10-rt."
    new = story.comparison_story(replace(c, results={**c.results, "6.10-rt": one}))["6.10-rt"][0].text
    assert new == f"A warning of the kernel is new: {first} 7 times in 1 of 3 runs of 6.10-rt, and never in 6.9-rt."


def test_a_warning_of_both_arms_is_no_difference_even_on_another_line() -> None:
    c = comparison()
    results = {
        arm: tuple(replace(r, warnings=warning(5, line)) for r in c.results[arm])
        for arm, line in (("6.9-rt", 274), ("6.10-rt", 280))
    }
    told = story.comparison_story(replace(c, results={**c.results, **results}))["6.10-rt"]
    assert not [each.text for each in told if "A warning" in each.text]


def test_the_sentence_reads_what_the_simulation_writes() -> None:
    program = load_program(loopback_scenario("6.9-rt"))
    definition = program.functions["do_softirq_post_smp_call_flush"]
    [node] = [n for n in ast.walk(find_function(definition)) if isinstance(n, ast.Call) and ast.unparse(n.func) == "WARN_ON_ONCE"]
    written = warning_sites(program, {warn_site(definition.name, node.lineno): 3})
    c = comparison()
    warned = tuple(replace(r, warnings=written) for r in c.results["6.9-rt"])
    first = story.comparison_story(replace(c, results={**c.results, "6.9-rt": warned}))["6.10-rt"][0].text
    assert first.startswith("A warning of the kernel is gone: in do_softirq_post_smp_call_flush(), WARN_ON_ONCE(")


def test_every_counter_that_is_not_zero_stands_in_the_table() -> None:
    text = render_comparison(comparison())
    for metric in comparison().metrics():
        if not metric.unit and any(metric.values["6.9-rt"]) and metric.name != "ipis_call_function":
            [line] = [line for line in text.splitlines() if line.startswith(f"{metric.title} ")]
            assert number(metric.mean("6.9-rt")) in line


@given(st.integers(1, 10**9), st.integers(0, 10**9))
def test_a_change_in_per_cent_has_the_sign_of_the_difference(base: int, other: int) -> None:
    text = percent(other / base)
    assert text
    if other < base and text != "0 %":
        assert text.startswith("−")
    if other > base and text != "0 %":
        assert text[0] in "+×"
    if other:
        assert text != "−100 %"


def noisy() -> Comparison:
    """Both arms kick by IPI; every figure goes up with one seed and down with the next."""
    arms: dict[str, tuple[Result, ...]] = {}
    for arm, shift in (("a", 1), ("b", -1)):
        runs = []
        for seed in (1, 2, 3, 4):
            up = shift * (-1) ** seed * 10
            counters = {"kicks": 50, "trigger_rx_softirq": 50, "ipis_call_function": 50, "ipis": 100 + up,
                        "ksoftirqd_wakeups": 200 + up, "delivered": 5000 + up, "context_switches": 4000 + up}  # fmt: skip
            latency = {"web": histogram("web", "packet", {(10 + up // 10) * US: 2000})}
            run = result(arm, seed, counters, latency=latency)
            times = [{**row, "softirq": row["softirq"] + up * 1000} for row in run.cpu_time_ns]
            runs.append(replace(run, cpu_time_ns=times))
        arms[arm] = tuple(runs)
    return Comparison("noisy", "", ("a", "b"), (1, 2, 3, 4), arms)


def test_noise_is_never_told_as_a_difference() -> None:
    text = sentences(noisy())
    for claim in ("Fewer", "More", "more than noise", "lower", "higher", " → 2", "by class"):
        assert claim not in text
    assert "No difference of 1 % or more, beyond noise, in the latency of web (p99 10 µs in both)." in text
    assert "CPU time outside idle does not differ beyond noise" in text
    assert "better" not in render_comparison(noisy())


def test_what_is_the_same_in_both_arms_is_no_finding() -> None:
    assert "kicked" not in sentences(noisy())


def test_a_comparison_says_in_words_what_the_kernels_differ_in() -> None:
    """From the patch modules' own docstrings, each with its commit; nothing where the arms have the same kernel."""
    same = comparison()
    assert story.kernel_changes(same, "6.10-rt")[1] == []
    later = tuple(
        replace(r, kernel={**r.kernel, "patches": [*r.kernel["patches"], "softnet.linux.patches.defer_nodes", "mine.py"]})
        for r in same.results["6.10-rt"]
    )
    text = render_comparison(replace(same, results={**same.results, "6.10-rt": later}), width=300)
    told = "• A CPU has a list for each node, and who frees pushes on that of its own node: an atomic counter, then an llist"
    assert f"Between 6.9-rt and 6.10-rt the kernel changed in this path:\n{told}" in text
    assert text.index("What 6.10-rt changes against 6.9-rt:") < text.index(told)
    swapped = replace(same, arms=("6.10-rt", "6.9-rt"), results={**same.results, "6.10-rt": later})
    (line,) = story.kernel_changes(swapped, "6.9-rt")[1]
    assert line.startswith("not in 6.9-rt: A CPU has a list for each node")


@pytest.mark.parametrize("release", list(RELEASES))
def test_every_patch_says_what_it_changes_in_one_sentence(release: str) -> None:
    for name in RELEASES[release].patches:
        text, commit, since = change_of(f"softnet.linux.patches.{name}")
        assert 20 < len(text) < 240, name
        assert not text.startswith("Before"), name
        assert commit
        assert since
