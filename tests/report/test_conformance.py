# SPDX-License-Identifier: GPL-2.0-or-later
"""The conformance suite's pages, of a suite of two: a real trace that the model explains and one that a wrong model does not.

``SOFTNET_SCREENSHOTS=DIR`` keeps pictures of the pages, to be looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.report.browser import CHROMEDRIVER, CHROMIUM, Browser, browser

from softnet.lab.studies.conform import ExperimentOutcome
from softnet.lab.tracing.records import read
from softnet.lab.validate.checker import check
from softnet.report.conformance import closeness, refusal_name, write_conformance

pytestmark = pytest.mark.slow

FIXTURES = Path(__file__).parents[1] / "lab" / "fixtures"
WRONG = Path(__file__).parents[2] / "examples" / "patches" / "kick_at_max.py"
KICK, DROPS = "skb_defer_max 64", "flow <limit>"
ARMS = ["6.12"]


def _outcome(experiment: str, fixture: str, figures: dict[str, tuple[int, int]], patch: Path | None = None) -> ExperimentOutcome:
    trace = read(FIXTURES / f"{fixture}.jsonl.gz")
    verdict = check(trace, patches=[str(patch)] if patch is not None else [])
    return ExperimentOutcome(
        experiment, "6.12", trace.header["release"], "linux-image-test 1", verdict,
        {name: pair[0] for name, pair in figures.items()}, {name: pair[1] for name, pair in figures.items()},
        False, {}, 0, 1_000_000, rate="391 of 400 sent, replayed as sent; guest-6.12 × 31.0",
    )  # fmt: skip


@pytest.fixture(scope="module")
def outcomes() -> list[ExperimentOutcome]:
    return [
        _outcome(KICK, "first-kick-6.12", {"kicks": (0, 1)}, WRONG),
        _outcome(DROPS, "flow-limit-6.12", {"dropped": (136, 136), "polls": (371, 391), "rps_ipis": (380, 309)}),
    ]


@pytest.fixture(scope="module")
def pages(outcomes: list[ExperimentOutcome], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conform")
    traces = folder / outcomes[0].folder
    traces.mkdir()
    (traces / "6.12.lab.jsonl.gz").write_bytes((FIXTURES / "first-kick-6.12.jsonl.gz").read_bytes())
    write_conformance(folder, outcomes, ARMS, "softnet lab conform --out DIR")
    return folder


def test_a_refused_trace_has_a_page(pages: Path, outcomes: list[ExperimentOutcome]) -> None:
    assert sorted(path.name for path in pages.glob("*.html")) == ["conform.html", refusal_name(outcomes[0])]
    page = (pages / refusal_name(outcomes[0])).read_text()
    assert "the kernel kicked; the model does not" in page
    assert "net/core/skbuff.c:7237 (6.12)" in page
    # The event stands marked among those around it, with its line in the trace's file.
    assert f'<tr class=here><th scope="row">{outcomes[0].verdict.line}</th>' in page


def test_the_page_without_its_trace_says_so(outcomes: list[ExperimentOutcome], tmp_path: Path) -> None:
    write_conformance(tmp_path, outcomes, ARMS, "softnet lab conform --out DIR")
    assert "The trace is not beside this page any more" in (tmp_path / refusal_name(outcomes[0])).read_text()


def test_the_same_outcomes_give_the_same_bytes(pages: Path, outcomes: list[ExperimentOutcome], tmp_path: Path) -> None:
    write_conformance(tmp_path, outcomes, ARMS, "softnet lab conform --out DIR")
    assert (tmp_path / "conform.html").read_bytes() == (pages / "conform.html").read_bytes()


def test_names_are_escaped_and_errors_have_their_word(pages: Path, outcomes: list[ExperimentOutcome]) -> None:
    text = (pages / "conform.html").read_text()
    assert "flow &lt;limit&gt;" in text
    assert "<limit>" not in text
    assert '<td class="near">371 / 391 (−5 %)</td>' in text
    assert '<td class="off">380 / 309 (+23 %)</td>' in text
    assert '<td class="far">0 / 1 (−100 %)</td>' in text
    assert "1 of 2 traces are behaviours of the model" in text
    accepted = [replace(outcome, verdict=outcomes[1].verdict) for outcome in outcomes]
    write_conformance(pages.parent, accepted, ARMS, "x")
    assert "REFUSED" not in (pages.parent / "conform.html").read_text()


@pytest.mark.parametrize(
    ("predicted", "measured", "word"),
    [(0, 0, ""), (None, None, "near"), (5, 5, "near"), (105, 100, "near"), (94, 100, "off"), (126, 100, "far"), (1, 0, "far"),
     (None, 3, "far")],
)  # fmt: skip
def test_how_close_a_prediction_is(predicted: int | None, measured: int | None, word: str) -> None:
    assert closeness(predicted, measured) == word


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM or not CHROMEDRIVER, reason="needs Debian's chromium and chromium-driver")
def test_the_pages_in_a_browser(window: Browser, pages: Path, outcomes: list[ExperimentOutcome]) -> None:
    window.open(pages / "conform.html")
    assert window.errors() == []
    assert {url for url in window.requests() if not url.startswith("data:")} == {(pages / "conform.html").as_uri()}
    far, near = (
        window.js(f"return getComputedStyle(document.querySelector('td.{kind}')).backgroundColor") for kind in ("far", "near")
    )
    assert far != near
    # Nothing is wider than the window but what scrolls by itself.
    assert window.js("return document.documentElement.scrollWidth <= window.innerWidth")
    if os.environ.get("SOFTNET_SCREENSHOTS"):
        window.screenshot(Path(os.environ["SOFTNET_SCREENSHOTS"]) / "conform-test.png")
    window.driver.find_element("css selector", "section.mind a").click()
    assert window.driver.current_url == (pages / refusal_name(outcomes[0])).as_uri()
    assert window.errors() == []
    assert window.js("return document.querySelectorAll('tr.here').length") == 1
    window.driver.find_element("link text", "The whole suite").click()
    assert window.driver.current_url == (pages / "conform.html").as_uri()
