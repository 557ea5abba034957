# SPDX-License-Identifier: GPL-2.0-or-later
"""The page without a browser: it holds what it should, asks for nothing, stays small, and is the same every time."""

from __future__ import annotations

import base64
import gzip
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tests.report.samples import comparison, kick_trace, record, result

from softnet.errors import SoftnetError
from softnet.report import charts, window
from softnet.report.html import page, write_html
from softnet.simulate.api import Compared
from softnet.simulate.result import Trace

VOID = {"meta", "link", "br"}


class Checker(HTMLParser):
    """Collects the tags, and fails where one is closed that is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag


def checked(text: str) -> Checker:
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert not checker.open
    return checker


PAGES = {
    "comparison": lambda: page(comparison(), {"6.9-rt": kick_trace(), "6.10-rt": kick_trace()}),
    "no traces": lambda: page(comparison()),
    "one run": lambda: page(result(), {"6.10-rt": kick_trace()}),
    "one seed": lambda: page(comparison((1,))),
}


@pytest.mark.parametrize("case", PAGES)
def test_the_page_is_well_formed_and_asks_for_nothing(case: str) -> None:
    checker = checked(PAGES[case]())
    links = [v for tag, name, v in checker.attributes if name in ("src", "href", "action", "data", "xlink:href")]
    assert all(link.startswith(("#", "data:,")) for link in links)
    assert len(set(checker.ids)) == len(checker.ids)
    for link in links:
        assert not link.startswith("#") or link[1:] in checker.ids
    policy = [v for tag, name, v in checker.attributes if tag == "meta" and name == "content" and "default-src" in v]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"]


def test_the_same_comparison_gives_the_same_page() -> None:
    assert PAGES["comparison"]() == PAGES["comparison"]()


def test_names_from_outside_cannot_become_markup() -> None:
    evil = '</script><b onclick="x">&amp;'
    made = replace(comparison(), scenario=evil, description=evil)
    warned = {arm: tuple(replace(r, warnings=[evil], notes=[evil]) for r in rs) for arm, rs in made.results.items()}
    text = page(replace(made, results=warned), command=evil)
    checker = checked(text)
    assert not [name for _, name, _ in checker.attributes if name == "onclick"]
    assert text.count("<script") == text.count("</script>")


@pytest.mark.slow
def test_the_figures_of_the_tables_are_those_of_the_json(kicked: Compared) -> None:
    text = page(kicked.comparison, kicked.traces)
    [embedded] = re.findall(r'<script type="application/json" id="softnet-figures">(.*?)</script>', text)
    figures = json.loads(embedded)
    wanted = kicked.comparison.to_dict()
    assert figures["metrics"] == json.loads(json.dumps(wanted["metrics"]))
    cells = dict(re.findall(r'data-metric="(\w+)" data-arm="6.9-rt">([^<]*)<', text))
    for metric in figures["metrics"]:
        mean = metric["arms"]["6.9-rt"]["mean"]
        if not metric["unit"] and any(any(a["values"]) for a in metric["arms"].values()):
            assert float(cells[metric["name"]].replace(",", "")) == pytest.approx(mean, abs=0.5)


@pytest.mark.slow
def test_a_real_comparison_fits_in_a_small_file(kicked: Compared, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_html(path, kicked.comparison, kicked.traces, command="softnet compare kick.toml")
    assert 50_000 < path.stat().st_size < 1_500_000
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    assert "softnet compare kick.toml" in path.read_text()


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SoftnetError, match="cannot be written"):
        write_html(tmp_path / "none" / "report.html", comparison())


def unpacked(text: str) -> dict[str, Any]:
    [data] = re.findall(r'<script type="text/plain" id="timeline-data">(.*?)</script>', text)
    document: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(data)))
    return document


def test_the_window_keeps_its_bound_and_holds_the_first_kick(kicked: Compared) -> None:
    text = page(kicked.comparison, kicked.traces, records_max=500)
    data = unpacked(text)
    assert all(0 < len(arm["records"][0]) <= 250 for arm in data["arms"])
    assert data["focusEvent"] == "kick_defer_list_purge"
    assert data["start"] <= data["focus"] <= data["end"]
    kicks = [r.time_ns for t in kicked.traces.values() for r in t.records if window.EVENTS[r.event].name == data["focusEvent"]]
    warmup = kicked.comparison.results["6.9-rt"][0].warmup_ns
    assert data["focus"] == min(t for t in kicks if t >= warmup)


@pytest.mark.slow
def test_the_columns_of_the_window_are_the_records(kicked: Compared) -> None:
    data = unpacked(page(kicked.comparison, kicked.traces))
    for arm in data["arms"]:
        trace = kicked.traces[arm["name"]]
        time, rows = data["start"], []
        for delta, lane, event, a, b, c in zip(*arm["records"], strict=True):
            time += delta
            rows.append((time, lane // 3, event, a, b, c))
        records = sorted(trace.records, key=lambda r: r.time_ns)
        assert rows == [(r.time_ns, r.cpu, r.event, r.a, r.b, r.c) for r in records]


def test_a_window_larger_than_the_trace_is_all_of_it() -> None:
    part = window.choose([kick_trace()], 0)
    assert (part.start_ns, part.end_ns, part.whole) == (100, 2500, True)
    assert (part.focus_ns, part.focus_event) == (300, "kick_defer_list_purge")


def test_a_trace_without_anything_of_interest_opens_at_its_start() -> None:
    trace = Trace((record(7, 0, "nic_rx"), record(9, 0, "nic_rx")), (), 1)
    assert window.choose([trace], 0)[2:4] == (7, "")


@pytest.mark.parametrize("low_high", [(900, 2000), (1, 10**9), (3000, 3700), (5, 6), (40_000, 45_000)])
def test_every_axis_has_ticks_inside(low_high: tuple[int, int]) -> None:
    low, high = low_high
    ticks = charts.log_ticks(low, high)
    assert len(ticks) >= 2 or high - low < 2
    assert all(low <= t <= high for t in ticks)


def test_charts_are_xml_and_stay_inside_their_frame(kicked: Compared) -> None:
    svgs = re.findall(r'<svg class="chart.*?</svg>', page(kicked.comparison))
    assert len(svgs) >= 5
    for text in svgs:
        root = ET.fromstring(text)
        _, _, width, height = map(float, root.attrib["viewBox"].split())
        for path in root.iter("path"):
            for x, y in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path.attrib["d"]):
                assert 0 <= float(x) <= width
                assert 0 <= float(y) <= height
        for circle in root.iter("circle"):
            assert circle.find("title") is not None


def test_thinning_keeps_the_extremes() -> None:
    values = [i % 7 for i in range(10_000)]
    values[4321] = 99
    points = charts.thinned(list(range(10_000)), values)
    assert len(points) <= charts.POINTS_MAX + 2
    assert (4321, 99) in points
    assert points == sorted(points)


def test_every_arm_of_many_has_a_colour_that_the_style_knows() -> None:
    base = comparison()
    arms = tuple(f"arm {i}" for i in range(9))
    results = [base.results[base.arms[i % 2]] for i in range(9)]
    text = page(replace(base, arms=arms, results=dict(zip(arms, results, strict=True))))
    used = set(re.findall(r'class="(?:curve|area|mark|quantile)[a-z ]* (a\d+)"', text))
    style = text[: text.index("</style>")]
    assert len(used) == 6
    assert all(f".area.{name}" in style for name in used)
