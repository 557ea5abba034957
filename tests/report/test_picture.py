# SPDX-License-Identifier: GPL-2.0-or-later
"""The still of the timeline shows what the trace says, on the CPUs that take part."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from tests.report.samples import kick_trace, record

from softnet.report.picture import EVENT_ROWS, Scene, _clusters, draw

ROOT = Path(__file__).resolve().parent.parent.parent


def picture() -> str:
    return draw("A kick", [Scene("6.9-rt", "by IPI", kick_trace(), 300)], 200, 2300)


def test_the_picture_shows_both_cpus_the_arrow_and_the_names() -> None:
    text = picture()
    ET.fromstring(text)
    texts = re.findall(r">([^<]+)</text>", text)
    assert {
        "CPU 0",
        "CPU 1",
        "kick_defer_list_purge",
        "trigger_rx_softirq",
        "skb_defer_free_flush",
        "NET_RX",
    } <= set(texts)
    assert len(re.findall('class="ipi"', text)) == 1
    assert text == picture()


def test_a_cpu_that_takes_no_part_is_left_out() -> None:
    trace = kick_trace()
    busy = (*trace.records, record(50, 2, "sched_switch", 2, 4), record(2400, 2, "sched_switch", 4, 2))
    text = draw("A kick", [Scene("6.9-rt", "", replace(trace, records=busy, cpus=3), 300)], 200, 2300)
    assert "CPU 2" not in text
    assert "CPU 1" in text


@given(st.lists(st.tuples(st.floats(0, 900), st.sampled_from(["a", "bbbbbbbb", "c" * 25])), max_size=30).map(sorted))
def test_names_that_touch_stand_in_different_rows(named: list[tuple[float, str]]) -> None:
    clusters = _clusters(named)
    assert all(1 <= len(c) <= EVENT_ROWS for c in clusters)
    flat = [item for c in clusters for item in c]
    assert flat == sorted(flat)
    assert all(item in named for item in flat)


def test_the_picture_of_the_readme_is_small_and_well_formed() -> None:
    path = ROOT / "docs" / "images" / "kick.svg"
    assert path.stat().st_size < 200_000
    root = ET.parse(path).getroot()
    texts = {t.text for t in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"Linux 6.9-rt", "Linux 6.10-rt", "kick_defer_list_purge"} <= texts
