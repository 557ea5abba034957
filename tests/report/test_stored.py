# SPDX-License-Identifier: GPL-2.0-or-later
"""Kept results: read back they are what was written, set side by side they say what ``softnet compare`` says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.report.golden import held_to_golden
from tests.report.samples import comparison, histogram, result

from softnet.errors import SoftnetError
from softnet.report.terminal import render_comparison, render_difference
from softnet.simulate.api import Compared
from softnet.simulate.comparison import Comparison
from softnet.simulate.output import to_json
from softnet.simulate.result import Result
from softnet.simulate.stored import difference, differing_keys, read_stored, short_names, stored_path

ASKED = {"name": "sample", "machine": {"cpus": 2}, "traffic": [{"kind": "constant", "rate_pps": 1000}], "measure": {"seed": 1}}


def kept(path: Path, made: Result | Comparison) -> Path:
    path.write_text(to_json(made.to_dict()), encoding="utf-8")
    return path


def test_a_result_read_back_is_the_one_that_was_written(tmp_path: Path) -> None:
    made = result(asked=ASKED, wakeup_latency={"ksoftirqd": histogram("ksoftirqd", "sched", {5000: 3})})
    stored = read_stored(kept(tmp_path / "a.json", made))
    (again,) = stored.results["6.10-rt"]
    # Everything but the sums of histograms, which the document has as means.
    assert again.to_dict() == made.to_dict()
    assert (stored.scenario, stored.description) == ("sample", "Two CPUs, made by hand.")


def test_the_difference_of_two_results_is_their_comparison(tmp_path: Path) -> None:
    """An independent way to the same text: the comparison made in memory, of results that never were in a file."""
    old, new = (kept(tmp_path / f"{name}.json", result(f"{name}-rt", asked=ASKED)) for name in ("6.9", "6.10"))
    found = difference(read_stored(old), read_stored(new))
    arms = {label: (result(label, asked=ASKED),) for label in ("6.9-rt", "6.10-rt")}
    direct = Comparison("sample", "Two CPUs, made by hand.", ("6.9-rt", "6.10-rt"), (1,), arms)
    assert render_difference(found, 100) == render_comparison(direct, 100)
    assert found.to_dict()["comparisons"][0]["metrics"] == direct.to_dict()["metrics"]


def test_a_real_comparison_read_back(kicked: Compared, tmp_path: Path) -> None:
    made = kicked.comparison
    stored = read_stored(kept(tmp_path / "comparison.json", made))
    assert replace(made, results=stored.results).to_dict() == made.to_dict()
    assert {r.asked["kernel"]["release"] for r in stored.results["6.9-rt"]} == {"6.9"}
    assert [r.asked["measure"]["seed"] for r in made.results["6.10-rt"][1:]] == list(made.seeds[1:])
    assert differing_keys(made.results["6.9-rt"][0], made.results["6.10-rt"][0]) == {}


def changed(made: Comparison, asked: dict[str, Any], seeds: tuple[int, ...]) -> Comparison:
    """Other seeds, another scenario, a slower application, and a warning of the kernel."""
    slow = histogram("web", "packet", {15_000: 4000, 30_000: 1000})
    warning = "WARN_ON_ONCE fired 3 times at net.core.dev:9 in net_rx_action(): list_empty(list)"
    rows = {
        arm: tuple(replace(r, latency={"web": slow}, asked=asked, warnings=[warning]) for r in results if r.seed in seeds)
        for arm, results in made.results.items()
    }
    return replace(made, seeds=seeds, results=rows)


def test_two_comparisons_are_told_arm_by_arm(tmp_path: Path) -> None:
    before = changed(comparison((1, 2, 3, 4)), ASKED, (1, 2, 3))
    quick = result().latency
    before = replace(before, results={
        arm: tuple(replace(r, warnings=[], latency=quick) for r in rows) for arm, rows in before.results.items()
    })  # fmt: skip
    other = {**ASKED, "traffic": [{"kind": "poisson", "rate_pps": 1000}], "kernel": {"sysctl": {"skb_defer_max": 128}}}
    after = changed(comparison((1, 2, 3, 4)), other, (2, 3, 4))
    after = replace(after, arms=(*after.arms, "mine"), results={**after.results, "mine": after.results["6.10-rt"]})
    found = difference(read_stored(kept(tmp_path / "old.json", before)), read_stored(kept(tmp_path / "new.json", after)))
    held_to_golden("report", "difference", render_difference(found, 100))
    assert [one.arms for one in found.comparisons] == [
        ("old.json:6.9-rt", "new.json:6.9-rt"), ("old.json:6.10-rt", "new.json:6.10-rt"),
    ]  # fmt: skip
    assert found.left_out == ("Only new.json has mine.",)
    assert {one.seeds for one in found.comparisons} == {(2, 3)}
    assert not any(one.same_arrivals for one in found.comparisons)


def test_a_file_against_itself_says_that_nothing_differs(tmp_path: Path) -> None:
    stored = read_stored(kept(tmp_path / "a.json", result(asked=ASKED)))
    found = difference(stored, stored)
    assert "Nothing differs" in render_difference(found)
    assert found.comparisons[0].remarks == ()
    assert found.comparisons[0].same_arrivals


def test_which_settings_differ() -> None:
    one = result(asked={**ASKED, "nic": [{"irq_cpus": [0]}], "kernel": {"release": "6.9"}})
    two = result(asked={**ASKED, "machine": {}, "nic": [{"irq_cpus": [0, 1]}], "kernel": {"release": "6.10"}}, costs="mine")
    assert differing_keys(one, two) == {
        "machine.cpus": (2, None), "nic.0.irq_cpus": ([0], [0, 1]), "costs": ("default", "mine"),
    }  # fmt: skip
    assert differing_keys(one, replace(one, seed=9)) == {}
    # A file of an earlier softnet has no scenario in it: a few of the result's own fields stand for it.
    assert differing_keys(result(), result(cpus=3)) == {"machine.cpus": (2, 3)}


def test_a_latency_that_one_file_alone_has_is_shown(tmp_path: Path) -> None:
    extra = {"web": result().latency["web"], "dns": histogram("dns", "packet", {5000: 40})}
    old = read_stored(kept(tmp_path / "a.json", result("6.9-rt", asked=ASKED)))
    new = read_stored(kept(tmp_path / "b.json", result("6.10-rt", asked=ASKED, latency=extra)))
    (row,) = [line for line in render_difference(difference(old, new)).splitlines() if line.startswith("dns p99 ")]
    assert row.split() == ["dns", "p99", "–", "5", "µs", "no", "samples"]


def test_an_unknown_change_of_the_kernel_is_told_by_its_name(tmp_path: Path) -> None:
    made = result("9.9")
    kernel = {**made.kernel, "patches": [*made.kernel["patches"], "softnet.linux.patches.of_tomorrow", "softnet.linux.patches.x.y"]}
    old = read_stored(kept(tmp_path / "a.json", result("6.10-rt")))
    new = read_stored(kept(tmp_path / "b.json", replace(made, kernel=kernel)))
    assert "of_tomorrow, which this version of softnet does not have" in render_difference(difference(old, new))


def test_two_files_are_called_by_what_tells_them_apart() -> None:
    assert short_names(Path("a/result.json"), Path("b/result.json")) == ("a", "b")
    assert short_names(Path("x/a.json"), Path("y/b.json")) == ("a.json", "b.json")
    assert short_names(Path("result.json"), Path("b/result.json")) == ("result.json", "b")
    assert short_names(Path("old/result.json"), Path("new/comparison.json")) == ("old", "new")
    assert short_names(Path("c/result.json"), Path("c/comparison.json")) == ("result.json", "comparison.json")
    assert short_names(Path("c/result.json"), Path("c/result.json")) == ("c", "c again")
    assert short_names(Path("a.json"), Path("a.json")) == ("a.json", "a.json again")


def test_what_names_a_file_of_results(tmp_path: Path) -> None:
    (tmp_path / "6.9").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "comparison.json").write_text("{}", encoding="utf-8")
    assert stored_path(tmp_path / "6.9") is None
    assert stored_path(tmp_path / "out") == tmp_path / "out" / "comparison.json"
    assert stored_path("missing.json") == Path("missing.json")
    assert stored_path("6.12-rt") is None


def spoilt(change: Callable[[dict[str, Any]], object]) -> bytes:
    document = result(asked=ASKED).to_dict()
    change(document)
    return json.dumps(document).encode()


def _two_seeds_alike() -> bytes:
    document = comparison((1,)).to_dict()
    document["results"]["6.9-rt"] *= 2
    return json.dumps(document).encode()


BAD: dict[str, bytes] = {
    "not JSON": b'{"schema"',
    "a list": b"[1]",
    "no schema": b'{"a": 1}',
    "of a sweep": b'{"schema": "softnet-sweep-findings/1"}',
    "of another version": b'{"schema": "softnet-result/2"}',
    "a field is missing": spoilt(lambda d: d.pop("events")),
    "a field is wrong": spoilt(lambda d: d["latency"]["web"].__setitem__("buckets", [[1, 2]])),
    "a counter is missing": spoilt(lambda d: d["counters"].pop("kicks")),
    "a class of time is new": spoilt(lambda d: d["cpu_time_ns"][1].__setitem__("dreams", 1)),
    "endless": spoilt(lambda d: d.__setitem__("seed", 1 << 70)),
    "not a number": spoilt(lambda d: d.__setitem__("asked", {"x": float("nan")})),
    "buckets and count": spoilt(lambda d: d["latency"]["web"].__setitem__("count", 3)),
    "arms": json.dumps({**comparison((1,)).to_dict(), "arms": ["6.9-rt"]}).encode(),
    "two seeds alike": _two_seeds_alike(),
    "deep": b'{"schema": "softnet-result/1", "a": ' + b"[" * 99 + b"]" * 99 + b"}",
}


def test_what_is_no_stored_result_is_told_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = []
    for case, data in BAD.items():
        Path("bad.json").write_bytes(data)
        with pytest.raises(SoftnetError) as caught:
            read_stored("bad.json")
        told.append(f"-- {case}\n{caught.value}\n")
    with pytest.raises(SoftnetError) as caught:
        read_stored("missing.json")
    told.append(f"-- missing\n{caught.value}\n")
    one, two = kept(Path("a.json"), result(seed=1)), kept(Path("b.json"), result(seed=2))
    with pytest.raises(SoftnetError) as caught:
        difference(read_stored(one), read_stored(two))
    told.append(f"-- no seed in common\n{caught.value}\n")
    with pytest.raises(SoftnetError) as caught:
        difference(read_stored(kept(Path("c.json"), comparison())), read_stored(kept(Path("d.json"), result("6.12"))))
    told.append(f"-- no arm in common\n{caught.value}\n")
    held_to_golden("report", "stored-errors", "".join(told))


def test_texts_of_a_file_do_not_reach_the_terminal_raw(tmp_path: Path) -> None:
    made = result("6.9\x1b[31m", asked=ASKED, latency={"\x1b]0;x\x07": histogram("", "packet", {1000: 5})})
    stored = read_stored(kept(tmp_path / "a.json", made))
    assert "\x1b" not in render_difference(difference(stored, stored))
