# SPDX-License-Identifier: GPL-2.0-or-later
"""The counterexample as a page and as a Perfetto trace: what they hold, and the page in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.report.browser import CHROMEDRIVER, CHROMIUM, browser

from softnet.cli import run_cli
from softnet.lang.native.compile import available
from softnet.report.counterexample import diagram, page, perfetto_packets
from softnet.report.perfetto import whole
from softnet.verify.replay.schedule import Schedule, decode, replay
from softnet.verify.standard import from_text

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(available()), reason=f"no native code: {available()}")]

NO_LOCK = str(Path(__file__).parents[2] / "examples" / "patches" / "no_backlog_lock.py")
WHAT = "kernel=6.12-threads,driver=free:1:2:0,driver=irq:0:1:0"
ACTIONS = "8.4x31.9.1.0x3.4.0x5.4x4.0x15.4x5"


@pytest.fixture(scope="module")
def phantom() -> Schedule:
    """The phantom SCHED of docs/findings.md."""
    return replay(from_text(WHAT, (NO_LOCK,)), decode(ACTIONS))


def test_the_diagram_has_a_box_for_each_step_that_shows_something(phantom: Schedule) -> None:
    d = diagram(phantom)
    assert [box.step.number for box in d.boxes] == sorted(box.step.number for box in d.boxes)
    assert all(a.y + a.height < b.y for a, b in zip(d.boxes, d.boxes[1:], strict=False))
    kinds = {(arrow.kind, arrow.start.cpu, arrow.end.cpu) for arrow in d.arrows}
    assert kinds == {("data", 1, 0), ("wake", 1, 0)}
    assert len(diagram(phantom, every=True).boxes) > len(d.boxes)


def test_the_page_stands_alone(phantom: Schedule) -> None:
    text = page(phantom, "violated: <phantom>", "why & how", "softnet replay-schedule 'x'")
    assert "violated: &lt;phantom&gt;" in text
    assert "why &amp; how" in text
    assert "kick_defer_list_purge" in text
    assert "http" not in text.replace("http-equiv", "")
    assert "<script" not in text
    assert page(phantom, "a", "b", "c") == page(phantom, "a", "b", "c")


def decoded(packets: Iterable[bytes]) -> Any:
    """Perfetto's packets, by its published schema."""
    trace = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2").Trace()
    trace.ParseFromString(b"".join(map(whole, packets)))
    return trace


def test_perfetto_reads_every_step(phantom: Schedule) -> None:
    packets = decoded(perfetto_packets(phantom)).packet
    begun = [p for p in packets if p.track_event.type == 1]
    assert [p.timestamp for p in begun] == [1000 * step.number for step in phantom.steps]
    assert len([p for p in packets if p.track_event.type == 2]) == len(begun)
    tracks = {p.track_descriptor.uuid: p.track_descriptor for p in packets if p.track_descriptor.uuid}
    groups = {
        tracks[tracks[p.track_event.track_uuid].parent_uuid].name for p in begun if tracks[p.track_event.track_uuid].parent_uuid
    }
    assert groups == {"CPU 0", "CPU 1"}
    starts = {flow: p.timestamp for p in begun for flow in p.track_event.flow_ids}
    ends = {flow: p.timestamp for p in begun for flow in p.track_event.terminating_flow_ids}
    assert starts
    assert starts.keys() == ends.keys()
    assert all(starts[i] < ends[i] for i in starts)


def test_what_repeats_is_marked(phantom: Schedule) -> None:
    d = diagram(phantom, repeats=3)
    assert d.again_from > 0
    assert "from here on for ever" in page(phantom, "a", "b", "c", repeats=3)
    packets = decoded(perfetto_packets(phantom, repeats=3)).packet
    assert sum(a.string_value == "for ever" for p in packets for a in p.track_event.debug_annotations) == 3


def test_the_commands_write_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    html, trace = tmp_path / "ce.html", tmp_path / "ce.pftrace"
    files = ("--html", str(html), "--perfetto", str(trace))
    assert run_cli(["replay-schedule", "--patch", NO_LOCK, f"{WHAT}/{ACTIONS}", *files]) == 0
    assert "backlog.state" in html.read_text()
    assert trace.read_bytes().startswith(b"\x0a")
    capsys.readouterr()
    c4 = ["verify", "--kernel", "6.12", "--driver", "free:1:4", "--set", "defer_max=8", "--event", "skb_defer_max=4"]
    assert run_cli([*c4, "--strict", "--quiet", "--html", str(tmp_path / "c4.html")]) == 1
    assert "skb_defer_max = 4" in (tmp_path / "c4.html").read_text()


def test_a_replay_stops_where_it_is_told_and_shows_every_stack(capsys: pytest.CaptureFixture[str]) -> None:
    common = ("replay-schedule", "--patch", NO_LOCK, f"{WHAT}/{ACTIONS}")
    assert run_cli([*common, "--break", "enqueue_to_backlog"]) == 0
    text = capsys.readouterr().out
    assert "hardirq of CPU0, which CPU0 runs:\n  enqueue_to_backlog (" in text
    assert re.search(r"kick_defer_list_purge \(backlog_lock_rename\.py:\d+\).*; sd = &softnet_data\[0\]", text)
    assert " 44 " not in text
    assert run_cli([*common, "--at", "1"]) == 0
    assert "vx_driver_task" in capsys.readouterr().out
    assert run_cli([*common, "--break", "tcp_rcv_established"]) == 2
    assert "does not come there" in capsys.readouterr().err


@pytest.mark.browser
@pytest.mark.skipif(not (CHROMIUM and CHROMEDRIVER), reason="no chromium")
@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_shows_the_page(phantom: Schedule, dark: bool, tmp_path: Path) -> None:
    file = tmp_path / "ce.html"
    file.write_text(page(replace(phantom), "violated: phantom SCHED", "text", "command"))
    with browser(tmp_path / "profile", 1280, 900, dark) as window:
        window.open(file)
        assert window.errors() == []
        shown = window.js("return [...document.querySelectorAll('svg rect')].map(r => r.getBoundingClientRect().width > 100)")
        assert len(shown) == len(diagram(phantom).boxes)
        assert all(shown)
        # No line of text leaves its box.
        wide = window.js(
            "return [...document.querySelectorAll('svg text:not(.number):not(.head)')].filter(t => t.getBBox().width > 380).length"
        )
        assert wide == 0
