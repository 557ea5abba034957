# SPDX-License-Identifier: GPL-2.0-or-later
"""The page in a real browser: nothing in the console, no request, and the timeline moves as its keys and buttons say.

``SOFTNET_SCREENSHOTS=DIR`` keeps pictures of the page, to be looked at.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.report.browser import CHROMEDRIVER, CHROMIUM, Browser, browser

from softnet.lab.tracing import export, records
from softnet.report.html import write_html
from softnet.report.tracefile import read_trace
from softnet.simulate.api import Compared

KERNELS = Path(__file__).parents[1] / "lab" / "fixtures"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM or not CHROMEDRIVER, reason="needs Debian's chromium and chromium-driver"),
]


@pytest.fixture(scope="module")
def report(kicked: Compared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_html(path, kicked.comparison, kicked.traces, command="softnet compare kick.toml --arm 6.9-rt --arm 6.10-rt")
    return path


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.fixture
def opened(window: Browser, report: Path) -> Browser:
    window.open(report)
    return window


def click(page: Browser, element: str) -> None:
    page.driver.find_element("id", element).click()


def press(page: Browser, *keys: str) -> None:
    page.driver.find_element("id", "timeline-canvas").send_keys(*keys)


def test_the_console_is_empty_and_nothing_is_requested(opened: Browser, report: Path) -> None:
    assert opened.errors() == []
    asked = {url for url in opened.requests() if not url.startswith("data:")}
    assert asked == {report.as_uri()}


def test_a_script_from_outside_would_be_refused(opened: Browser) -> None:
    opened.js("const s = document.createElement('img'); s.src = 'https://example.invalid/x.png'; document.body.append(s)")
    opened.until("return performance.now() > 0")
    assert any("Content Security Policy" in message for message in opened.errors())


def test_the_tables_hold_the_numbers_of_the_json(opened: Browser, kicked: Compared) -> None:
    figures = json.loads(opened.js("return document.getElementById('softnet-figures').textContent"))
    cells = opened.js(
        "return [...document.querySelectorAll('td[data-metric]')].map(c => [c.dataset.metric, c.dataset.arm, c.innerText])"
    )
    shown = {(metric, arm): text for metric, arm, text in cells}
    assert figures["seeds"] == list(kicked.comparison.seeds)
    counters = [m for m in figures["metrics"] if not m["unit"]]
    assert len(counters) > 10
    for metric in counters:
        for arm, values in metric["arms"].items():
            results = kicked.comparison.results[arm]
            assert values["values"] == [r.counters[metric["name"]] for r in results]
            if any(any(a["values"]) for a in metric["arms"].values()):
                shown_mean = float(shown[metric["name"], arm].replace(",", ""))
                assert shown_mean == pytest.approx(values["mean"], abs=0.5)


def test_the_timeline_opens_at_the_first_kick(opened: Browser, kicked: Compared) -> None:
    start, end = opened.view()
    names = opened.js("return document.getElementById('event-kind').value")
    assert names == "kick_defer_list_purge"
    warmup = kicked.comparison.results["6.9-rt"][0].warmup_ns
    from softnet.trace import EVENT_ID

    kick = EVENT_ID["kick_defer_list_purge"]
    first = min(r.time_ns for t in kicked.traces.values() for r in t.records if r.event == kick and r.time_ns >= warmup)
    assert start < first < end
    assert {"task", "backlog_napi", "ksoftirqd", "wakeup"} <= opened.shown()


def test_zoom_and_pan_by_button_and_key(opened: Browser) -> None:
    start, end = opened.view()
    click(opened, "tl-in")
    inner = opened.view()
    assert start < inner[0] < inner[1] < end
    assert inner[1] - inner[0] == pytest.approx((end - start) / 2, abs=2)
    press(opened, "\ue014")  # right arrow
    assert opened.view()[0] > inner[0]
    press(opened, "\ue012", "-")  # left arrow, zoom out
    assert opened.view()[1] - opened.view()[0] > inner[1] - inner[0]
    click(opened, "tl-home")
    assert opened.view() == (start, end)
    press(opened, "a")
    whole = opened.view()
    assert whole[0] <= start
    assert whole[1] >= end
    assert whole[1] - whole[0] > 10_000_000


def test_the_wheel_zooms_only_with_the_focus_and_a_drag_pans(opened: Browser) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    canvas = opened.driver.find_element("id", "timeline-canvas")
    opened.js("arguments[0].scrollIntoView({block: 'center'})", canvas)
    before = opened.view()
    ActionChains(opened.driver).scroll_from_origin(ScrollOrigin.from_element(canvas), 0, -50).perform()
    assert opened.view() == before
    opened.js("arguments[0].scrollIntoView({block: 'center'}); arguments[0].focus({preventScroll: true})", canvas)
    ActionChains(opened.driver).scroll_from_origin(ScrollOrigin.from_element(canvas), 0, -50).perform()
    opened.until(f"return +document.getElementById('timeline-canvas').dataset.end !== {before[1]}")
    zoomed = opened.view()
    assert zoomed[1] - zoomed[0] < before[1] - before[0]
    ActionChains(opened.driver).drag_and_drop_by_offset(canvas, -200, 0).perform()
    panned = opened.view()
    assert panned[0] > zoomed[0]
    assert panned[1] - panned[0] == pytest.approx(zoomed[1] - zoomed[0], abs=2)


def test_n_and_p_step_through_the_chosen_events_and_read_them_out(opened: Browser) -> None:
    press(opened, "n")
    first = opened.js("return document.getElementById('said').innerText")
    assert first.startswith("kick_defer_list_purge")
    assert "cpu=0" in first
    press(opened, "n")
    second = opened.js("return document.getElementById('said').innerText")
    assert second.startswith("kick_defer_list_purge")
    assert second != first
    press(opened, "p")
    assert opened.js("return document.getElementById('said').innerText") == first


def test_a_trace_without_times_is_drawn_by_places(window: Browser, kicked: Compared, tmp_path: Path) -> None:
    export.write(records.read(KERNELS / "load-6.12.jsonl.gz"), tmp_path / "load.trace.gz")
    trace = read_trace(tmp_path / "load.trace.gz")
    write_html(tmp_path / "order.html", kicked.comparison, {kicked.comparison.arms[0]: trace})
    window.open(tmp_path / "order.html")
    assert window.errors() == []
    start, end = window.view()
    assert end - start <= 240
    press(window, "n")
    said = window.js("return document.getElementById('said').innerText")
    place = int(said.partition(", at record ")[2].split()[0])
    assert place in [record.time_ns for record in trace.records]
    assert " ms" not in said
    if os.environ.get("SOFTNET_SCREENSHOTS"):
        window.screenshot(Path(os.environ["SOFTNET_SCREENSHOTS"]) / "order.png")


def test_pointing_at_a_slice_says_what_it_is(opened: Browser) -> None:
    from selenium.webdriver import ActionChains

    canvas = opened.driver.find_element("id", "timeline-canvas")
    opened.js("arguments[0].scrollIntoView({block: 'center'})", canvas)
    box = canvas.size
    found = set()
    # Across every lane at the middle of the picture: something runs somewhere.
    for y in range(30, box["height"], 12):
        for x in (0, 150, 300):
            ActionChains(opened.driver).move_to_element_with_offset(canvas, x - box["width"] // 8, y - box["height"] // 2).perform()
            tip = opened.js("const t = document.getElementById('tip'); return t.style.display === 'block' ? t.innerText : ''")
            found.add(tip.split(" ")[0])
        if {"reader/0", "reader/1"} & found:
            break
    assert {"reader/0", "reader/1"} & found


@pytest.mark.parametrize(("name", "width", "dark"), [("light", 1280, False), ("dark", 1280, True), ("narrow", 390, False)])
def test_every_size_and_scheme_fits(name: str, width: int, dark: bool, report: Path, tmp_path: Path) -> None:
    with browser(tmp_path / "profile", width, 900, dark) as page:
        page.open(report)
        assert page.js("return document.documentElement.scrollWidth") <= width
        background = page.js("return getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(255, 255, 255)") != dark
        assert page.errors() == []
        assert contrast_failures(page) == []
        if "SOFTNET_SCREENSHOTS" in os.environ:
            page.screenshot(Path(os.environ["SOFTNET_SCREENSHOTS"]) / f"{name}.png")


def contrast_failures(page: Browser) -> list[str]:
    """Visible text whose contrast to what lies under it is below 4.5 (WCAG AA)."""
    found: list[str] = page.js(
        """
        const channel = (v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
        const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
        const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
        const under = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
          if (c.length === 3 || c[3] > 0.5) return c; } return [255, 255, 255]; };
        const bad = [];
        for (const e of document.querySelectorAll("p, li, td, th, h1, h2, h3, a, button, code, pre, svg text, summary")) {
          if (!e.textContent.trim()) continue;
          const style = getComputedStyle(e), ink = e.namespaceURI.includes("svg") ? style.fill : style.color;
          const a = light(parse(ink)), b = light(under(e));
          const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
          if (ratio < 4.5) bad.push(`${e.tagName} ${e.getAttribute("class")} ${e.textContent.slice(0, 30)}: ${ratio.toFixed(2)}`);
        }
        return [...new Set(bad)];
        """
    )
    return found


def test_without_scripts_all_but_the_timeline_is_there(report: Path, tmp_path: Path) -> None:
    with browser(tmp_path / "profile") as page:
        page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        page.driver.get(report.as_uri())
        assert "What 6.10-rt changes against 6.9-rt" in page.driver.find_element("tag name", "body").text
        assert len(page.driver.find_elements("css selector", "svg.chart")) >= 5
        assert "The timeline needs scripts." in page.driver.find_element("tag name", "body").text
