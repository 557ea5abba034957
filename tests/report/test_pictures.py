# SPDX-License-Identifier: GPL-2.0-or-later
"""Golden pictures: where everything stands on the pages, at 400 and 1400 pixels, light and dark, and what the pages look like.

``golden/pictures/PAGE.txt`` lists the boxes of headings, tables and charts. They are compared where the fonts are those of the list
(its first line says which), to a few pixels; that nothing is wider than the page, cut off or too faint is asked with any fonts.
``SOFTNET_UPDATE_GOLDEN=1`` writes lists and pictures anew.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.report.browser import CHROMEDRIVER, CHROMIUM, Browser, browser
from tests.report.golden import GOLDEN
from tests.report.samples import comparison, result
from tests.report.test_browser import contrast_failures
from tests.report.test_sweep import sample

from softnet.lang.native.compile import available
from softnet.report import counterexample
from softnet.report.html import write_html
from softnet.report.sweep_page import write_sweep_page
from softnet.verify.replay.schedule import decode, replay
from softnet.verify.standard import from_text

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM or not CHROMEDRIVER, reason="needs Debian's chromium and chromium-driver"),
]

FOLDER = GOLDEN / "pictures"
NEAR = 4
"""Pixels by which a box may differ: another browser rounds otherwise."""
DIFFERENT = 0.03
"""Of a picture's pixels, at most, that may differ."""
NO_LOCK = str(Path(__file__).parents[2] / "examples" / "patches" / "no_backlog_lock.py")


def _verify(path: Path) -> None:
    what = from_text("kernel=6.12-threads,driver=free:1:2:0,driver=irq:0:1:0", (NO_LOCK,))
    schedule = replay(what, decode("8.4x31.9.1.0x3.4.0x5.4x4.0x15.4x5"))
    text = counterexample.page(schedule, "violated: phantom SCHED", "SCHED is set on a backlog", "softnet replay-schedule 'x'")
    counterexample.write_page(path, re.sub(r"\.py:\d+", ".py:100", text))


PAGES: dict[str, Callable[[Path], None]] = {
    "run": lambda path: write_html(path, result(), command="softnet run sample.toml"),
    "compare": lambda path: write_html(path, comparison(), command="softnet compare sample.toml --arm 6.9-rt --arm 6.10-rt"),
    "sweep": lambda path: write_sweep_page(path, sample()),
    "verify": _verify,
}
VIEWS = [(width, dark) for width in (400, 1400) for dark in (False, True)]

FONTS = """
const pen = document.createElement('canvas').getContext('2d');
const wide = (font) => { pen.font = font; return Math.round(pen.measureText('softnet 0123 ksoftirqd').width); };
return `fonts: ${wide('15px system-ui, "DejaVu Sans", sans-serif')} ${wide('12px ui-monospace, "DejaVu Sans Mono", monospace')}`;
"""
BOXES = """
const shown = 'h1, h2, h3, nav, section, table, figure, svg.chart, .scroll > svg, pre, figcaption';
return [...document.querySelectorAll(shown)].map((e) => {
  const b = e.getBoundingClientRect(), name = [e.localName, ...e.classList].join('.');
  const text = /^h\\d$/.test(e.localName) ? ' ' + e.textContent : '';
  return [b.x, b.y + scrollY, b.width, b.height].map(Math.round).join(' ') + ' ' + name + text;
});
"""
OUTSIDE = """
const width = document.documentElement.clientWidth;
const scrolled = (e) => e && (getComputedStyle(e).overflowX === 'auto' || scrolled(e.parentElement));
return [...document.querySelectorAll('p, li, h1, h2, h3, figcaption, svg text, button')].filter((e) => {
  const b = e.getBoundingClientRect();
  return b.width && !scrolled(e) && (b.left < 0 || b.right > width + 0.5);
}).map((e) => e.textContent);
"""
COMPARE = """
const [first, second, done] = arguments;
const load = (data) => new Promise((resolve) => { const i = new Image(); i.onload = () => resolve(i); i.src = data; });
Promise.all([first, second].map(load)).then(([a, b]) => {
  if (Math.abs(a.width - b.width) > 4 || Math.abs(a.height - b.height) > 4) return done(1);
  const pixels = (i) => { const c = document.createElement('canvas'); c.width = a.width; c.height = a.height;
    const pen = c.getContext('2d'); pen.drawImage(i, 0, 0); return pen.getImageData(0, 0, a.width, a.height).data; };
  const x = pixels(a), y = pixels(b);
  let differ = 0;
  for (let i = 0; i < x.length; i += 4) differ += Math.abs(x[i] - y[i]) + Math.abs(x[i + 1] - y[i + 1]) > 96;
  done(differ / (x.length / 4));
});
"""


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.fixture(scope="module", params=PAGES)
def shown(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A page's name and its file."""
    if request.param == "verify" and available():
        pytest.skip(f"no native code: {available()}")
    path = tmp_path_factory.mktemp("pages") / f"{request.param}.html"
    PAGES[request.param](path)
    return request.param, path


def _boxes(window: Browser, path: Path) -> list[str]:
    """The fonts, and every box in each view: x, y, width, height, what it is."""
    window.open(path)
    lines = [window.js(FONTS)]
    for width, dark in VIEWS:
        window.view_as(width, dark)
        lines.append(f"{width} {'dark' if dark else 'light'}")
        lines += window.js(BOXES)
    return lines


def test_nothing_is_cut_off_or_faint(window: Browser, shown: tuple[str, Path]) -> None:
    name, path = shown
    window.open(path)
    for width, dark in VIEWS:
        window.view_as(width, dark)
        assert window.js("return document.documentElement.scrollWidth") <= width
        assert window.js(OUTSIDE) == [], f"{name} at {width}"
        assert contrast_failures(window) == []


def _far(lines: list[str], golden: list[str]) -> list[str]:
    """Where two lists of boxes differ by more than what rounding does."""
    found = [f"{len(lines)} boxes instead of {len(golden)}"] * (len(lines) != len(golden))
    for line, expected in zip(lines, golden, strict=False):
        (a, what), (b, wanted) = (re.match(r"((?:-?\d+ )*)(.*)", text).groups() for text in (line, expected))  # type: ignore[union-attr]
        near = all(abs(int(x) - int(y)) <= NEAR for x, y in zip(a.split(), b.split(), strict=True))
        if what != wanted or not near:
            found.append(f"{line}, expected {expected}")
    return found


def test_boxes_stand_where_they_stood(window: Browser, shown: tuple[str, Path]) -> None:
    name, path = shown
    lines, file = _boxes(window, path), FOLDER / f"{name}.txt"
    if os.environ.get("SOFTNET_UPDATE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    golden = file.read_text(encoding="utf-8").splitlines()
    if lines[0] != golden[0]:
        pytest.skip(f"the browser has other fonts: {lines[0]}, not {golden[0]}")
    assert _far(lines, golden) == []


def test_the_page_looks_as_it_did(window: Browser, shown: tuple[str, Path], tmp_path: Path) -> None:
    name, path = shown
    window.open(path)
    window.view_as(1400, False)
    fonts, file = window.js(FONTS), FOLDER / f"{name}.png"
    now = tmp_path / "now.png"
    window.screenshot(now, 0.3)
    if os.environ.get("SOFTNET_UPDATE_GOLDEN"):
        file.write_bytes(now.read_bytes())
    if fonts != (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines()[0]:
        pytest.skip(f"the browser has other fonts: {fonts}")
    pictures = ["data:image/png;base64," + base64.b64encode(one.read_bytes()).decode() for one in (file, now)]
    window.driver.get("about:blank")
    assert window.driver.execute_async_script(COMPARE, *pictures) < DIFFERENT


def test_a_picture_that_differs_would_be_seen(window: Browser) -> None:
    pictures = ["data:image/png;base64," + base64.b64encode((FOLDER / f"{name}.png").read_bytes()).decode() for name in PAGES]
    window.driver.get("about:blank")
    assert window.driver.execute_async_script(COMPARE, pictures[0], pictures[0]) == 0
    assert window.driver.execute_async_script(COMPARE, pictures[0], pictures[1]) > DIFFERENT
    assert _far(["1 2 3 4 h1 A"], ["1 2 9 4 h1 A"])
    assert not _far(["1 2 3 4 h1 A"], ["1 2 5 4 h1 A"])


def test_no_picture_is_left_over_or_large() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.{kind}" for name in PAGES for kind in ("txt", "png")}
    assert max(path.stat().st_size for path in FOLDER.glob("*.png")) < 100_000
