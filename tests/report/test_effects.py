# SPDX-License-Identifier: GPL-2.0-or-later
"""The picture of a comparison's effects: what is in it, what is sure, and what lies beyond its scale."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

from tests.report.samples import comparison, result

from softnet.report.effects import effects, effects_chart
from softnet.simulate.comparison import Comparison

SVG = "{http://www.w3.org/2000/svg}"


def of(first: dict[str, list[int]], second: dict[str, list[int]]) -> Comparison:
    """Two arms with these counters, a value for each seed."""
    seeds = range(1, 1 + len(next(iter(first.values()))))
    arms = {
        arm: tuple(result(arm, seed, {name: values[seed - 1] for name, values in counters.items()}) for seed in seeds)
        for arm, counters in (("a", first), ("b", second))
    }
    return Comparison("made", "", ("a", "b"), tuple(seeds), arms)


def test_a_change_is_a_ratio_with_its_interval() -> None:
    made = of(
        {"ipis": [100, 100, 100], "ksoftirqd_wakeups": [50, 60, 70]}, {"ipis": [49, 50, 51], "ksoftirqd_wakeups": [60, 50, 70]}
    )
    found = {row.name: row for row in effects(made)}
    ipis = found["IPIs, all causes"]
    assert (ipis.ratio, ipis.sure) == (0.5, True)
    assert 0.45 < ipis.low < 0.5 < ipis.high < 0.55
    assert ipis.tip == "IPIs, all causes, b: 100 → 50 (−50 %; 95 %: −52.5 % to −47.5 %)"
    assert not found["ksoftirqd wakeups"].sure
    picture = effects_chart(made)
    assert 'class="effect better"><title>IPIs' in picture
    assert 'class="effect calm"><title>ksoftirqd' in picture


def test_what_is_equal_or_begins_at_zero_is_left_out_and_one_seed_has_no_picture() -> None:
    made = of({"ipis": [5, 5], "dropped": [0, 0]}, {"ipis": [5, 5], "dropped": [7, 8]})
    assert {row.name for row in effects(made)}.isdisjoint({"IPIs, all causes", "packets dropped"})
    assert effects_chart(comparison((1,))) == ""


def test_what_lies_beyond_the_scale_points_there() -> None:
    made = of({"ipis": [10, 10], "time_squeeze": [40, 40]}, {"ipis": [9000, 9001], "time_squeeze": [0, 0]})
    svg = ET.fromstring(effects_chart(made).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))
    pointers = [path for path in svg.iter(f"{SVG}path") if path.get("class") == "dot"]
    assert len(pointers) == 2
    x = [float(circle.get("cx", "nan")) for circle in svg.iter(f"{SVG}circle")]
    width = float(svg.get("viewBox", "").split()[2])
    assert all(0 <= at <= width for at in x)


def test_arms_of_any_number_are_named_in_every_row() -> None:
    three = of({"ipis": [10, 12]}, {"ipis": [20, 22]})
    three = replace(three, arms=("a", "b", "<c>"), results={**three.results, "<c>": three.results["b"]})
    picture = effects_chart(three)
    assert "IPIs, all causes: b" in picture
    assert "IPIs, all causes: &lt;c&gt;" in picture
