# SPDX-License-Identifier: GPL-2.0-or-later
"""Nothing lost, nothing twice, nothing stale: the runs of an experiment and the folder that keeps them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from tests.sweep.conftest import VARY

import softnet.sweep
from softnet.errors import SoftnetError
from softnet.simulate.api import resolve, run
from softnet.sweep import api
from softnet.sweep.analysis import findings
from softnet.sweep.experiment import Asked, asked_on_command_line, load_experiment
from softnet.sweep.plan import Planned, plan
from softnet.sweep.reading import query
from softnet.sweep.store import Finished, Journal

FILES = ("experiment.json", "runs.parquet")
READY = sorted((Path(__file__).resolve().parents[2] / "examples" / "sweeps").glob("*.toml"))


def asked(scenario: Path, **given: Any) -> Asked:
    return asked_on_command_line(str(scenario), given.pop("vary", VARY), seeds=given.pop("seeds", 2), **given)


def files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


class Counted:
    """Counts the runs that are really made, and ends the process of it all before or behind one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.runs = 0
        inner = api.run_once

        def counted(*words: Any) -> Any:
            self.runs += 1
            return inner(*words)

        monkeypatch.setattr(api, "run_once", counted)


@pytest.mark.slow
def test_one_process_and_two_give_the_same_bytes_and_the_figures_of_softnet_run(scenario: Path, tmp_path: Path) -> None:
    one = api.sweep(asked(scenario), tmp_path / "one", processes=1)
    api.sweep(asked(scenario), tmp_path / "two", processes=2)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    row = softnet.sweep.load(tmp_path / "one").iloc[5]
    alone = run(resolve(scenario, "", ["sysctl.netdev_budget=300", "nic.rps_cpus=[]"]), seed=2).result
    assert (row["sysctl_netdev_budget"], row["nic_rps_cpus"], row["seed"]) == (300, "[]", 2)
    assert (row["web_p99_ns"], row["web_count"]) == (alone.latency["web"].summary()["p99_ns"], alone.latency["web"].count)
    assert row["delivered"] == alone.counters["delivered"] > 0
    assert [a.label for a in one.planned.arms] == ["2, []", "2, 2", "300, []", "300, 2"]


def test_python_runs_the_experiment_of_a_file(scenario: Path, tmp_path: Path) -> None:
    vary = {"sysctl.netdev_budget": [75, 300]}
    frame = softnet.sweep.run(scenario, vary, tmp_path / "python", processes=1, seeds=1)
    assert sorted(frame.sysctl_netdev_budget) == [75, 300]
    assert softnet.sweep.run(scenario, vary, tmp_path / "python", processes=1, seeds=1).equals(frame)
    with pytest.raises(SoftnetError, match=r"softnet\.sweep\.run\(\): seed: unknown key"):
        softnet.sweep.run(scenario, vary, tmp_path / "python", seed=1)


@pytest.mark.slow
def test_whatever_a_killed_process_leaves_of_the_journal_the_rest_is_run_and_no_more(
    scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole"
    api.sweep(asked(scenario), whole, processes=1)
    journal = (whole / "runs.journal").read_bytes()
    lines = journal.splitlines(keepends=True)
    assert len(lines) == 9
    wanted = files(whole)
    counted = Counted(monkeypatch)
    # The head alone, half of the head, between two runs, within a run, one byte short of all.
    for keep in (len(lines[0]), 10, 0, sum(map(len, lines[:4])), sum(map(len, lines[:4])) + 25, len(journal) - 1):
        folder = tmp_path / f"cut-{keep}"
        folder.mkdir()
        (folder / "runs.journal").write_bytes(journal[:keep])
        counted.runs = 0
        api.sweep(asked(scenario), folder, processes=1)
        there = max(journal[:keep].count(b"\n") - 1, 0)
        assert counted.runs == 8 - there
        assert files(folder) == wanted


def test_a_damaged_line_is_run_again(scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api.sweep(asked(scenario), tmp_path / "out", processes=1)
    wanted = files(tmp_path / "out")
    path = tmp_path / "out" / "runs.journal"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].replace(b'"v":[', b'"v":[1', 1)
    path.write_bytes(b"".join(lines))
    counted = Counted(monkeypatch)
    api.sweep(asked(scenario), tmp_path / "out", processes=1)
    assert counted.runs == 1
    assert files(tmp_path / "out") == wanted


KILLED = """
import os, signal, sys
from softnet.cli import main
from softnet.sweep import store
left, half = int(sys.argv[1]), int(sys.argv[2])
add = store.Journal.add
def last(self, run_id, finished):
    global left
    if left == 0:
        if half:
            os.write(self._fd, b"0123abcd {half of a")
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    add(self, run_id, finished)
store.Journal.add = last
main(sys.argv[3:])
"""
"""Ends like kill -9 before it keeps a certain run, or in the middle of it."""


@pytest.mark.slow
@pytest.mark.parametrize(("before", "half"), [(0, 0), (5, 1)])
def test_kill_9_loses_no_finished_run(
    scenario: Path, tmp_path: Path, before: int, half: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["sweep", str(scenario), *(f"--vary={text}" for text in VARY), "--seeds=2", f"--out={tmp_path / 'out'}", "--quiet"]
    done = subprocess.run([sys.executable, "-c", KILLED, str(before), str(half), *words, "--jobs=2"], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "out" / "runs.parquet").exists()
    counted = Counted(monkeypatch)
    api.sweep(asked(scenario), tmp_path / "out", processes=1)
    assert counted.runs == 8 - before
    api.sweep(asked(scenario), tmp_path / "whole", processes=1)
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    assert sorted(os.listdir(tmp_path / "out")) == ["experiment.json", "runs.journal", "runs.parquet"]


def test_ctrl_c_keeps_what_is_finished(scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner, left = api.run_once, [3]

    def interrupted(*words: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return inner(*words)

    monkeypatch.setattr(api, "run_once", interrupted)
    swept = api.sweep(asked(scenario), tmp_path / "out", processes=1)
    assert swept.partial
    found = findings(tmp_path / "out")
    assert found.missing == 5
    assert any("5 runs are missing" in text for text in found.warnings())
    monkeypatch.setattr(api, "run_once", inner)
    assert api.sweep(asked(scenario), tmp_path / "out", processes=1).reused == 3
    assert findings(tmp_path / "out").missing == 0


def ids(scenario: Path, **given: Any) -> list[str]:
    planned: Planned = plan(asked(scenario, **given))
    return [arm.run_id(seed) for arm in planned.arms for seed in planned.seeds]


def test_what_determines_a_run_changes_its_hash_and_nothing_else_does(scenario: Path, tmp_path: Path) -> None:
    before = ids(scenario)
    assert len(set(before)) == 8
    text = scenario.read_text()
    scenario.write_text(text.replace('name = "small"', 'name = "other"\ndescription = "renamed"'))
    assert ids(scenario) == before
    scenario.write_text(text.replace("flows = 8", "flows = 9"))
    assert not set(ids(scenario)) & set(before)
    scenario.write_text(text)
    # More levels and seeds keep the runs that there were.
    assert set(before) < set(ids(scenario, vary=("sysctl.netdev_budget=2,300,7", VARY[1]), seeds=3))
    # A cost table that is named or changed.
    costs = tmp_path / "mine.toml"
    row = '[machine.ipi]\nns = {}\nprovenance = "assumed"\nsource = "a test"\n'
    costs.write_text('base = "default"\n' + row.format(700))
    first = ids(scenario, settings=("machine.costs=mine.toml",))
    costs.write_text('base = "default"\n' + row.format(701))
    second = ids(scenario, settings=("machine.costs=mine.toml",))
    assert len({*before, *first, *second}) == 24


def test_a_patch_counts_by_what_it_says_and_not_by_where_it_is(scenario: Path, tmp_path: Path) -> None:
    source = Path(__file__).resolve().parents[2] / "examples" / "patches" / "kick_at_max.py"
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
        shutil.copy(source, folder)
    first, second = (ids(scenario, patches=(str(folder / source.name),)) for folder in folders)
    assert first == second
    assert not set(first) & set(ids(scenario))
    changed = folders[1] / source.name
    changed.write_text(changed.read_text() + "\nANOTHER = 1\n")
    assert not set(ids(scenario, patches=(str(changed),))) & set(first)
    # As a factor, the level without it is the kernel itself.
    levels = ids(scenario, vary=(*VARY, f"patch=none,{folders[0] / source.name}"))
    assert set(levels) == {*first, *ids(scenario)}


def test_equal_combinations_run_once(scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    swept = api.sweep(asked(scenario, vary=('nic.rps_cpus="2",[1]',)), tmp_path / "out", processes=1)
    assert (counted.runs, swept.finished) == (2, 4)


def test_a_failed_run_is_kept_and_named_with_its_command(scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = api.run_once

    def failing(job: Any) -> Any:
        found = inner(job)
        failed = job.scenario.kernel.sysctl.netdev_budget == 300 and job.seed == 2
        return type(found)([], "the kernel stopped") if failed else found

    monkeypatch.setattr(api, "run_once", failing)
    api.sweep(asked(scenario), tmp_path / "out", processes=1)
    found = findings(tmp_path / "out")
    assert [(arm.label, seed, why) for arm, seed, why, _ in found.failures] == [
        ("300, []", 2, "the kernel stopped"),
        ("300, 2", 2, "the kernel stopped"),
    ]
    assert found.failures[0][3] == (
        f"softnet run {scenario} --set=sysctl.netdev_budget=300 '--set=nic.rps_cpus=[]' --seed=2"
    )  # fmt: skip
    assert found.best(found.shown[0]) in (0, 1)


def test_seeds_are_added_until_the_intervals_are_narrow(scenario: Path, tmp_path: Path) -> None:
    swept = api.sweep(asked(scenario, until="delivered=30%", max_seeds=8), tmp_path / "wide", processes=1)
    assert (len(swept.seeds), swept.until_missed) == (2, False)
    swept = api.sweep(asked(scenario, until="web.p99=0.01%", max_seeds=4), tmp_path / "narrow", processes=1)
    assert (len(swept.seeds), swept.until_missed) == (4, True)
    assert findings(tmp_path / "narrow").seeds == [1, 2, 3, 4]


def test_of_a_finished_run_only_its_place_is_in_memory(tmp_path: Path) -> None:
    """Figures are read from the file, also those that another version wrote with other columns."""
    columns = [f"m{i}" for i in range(100)]
    with Journal(tmp_path, columns[::-1]) as journal:
        journal.load(None)
        journal.add("old", Finished(list(range(100)), ""))
    with Journal(tmp_path, columns) as journal:
        journal.load(None)
        tracemalloc.start()
        for run in range(1000):
            journal.add(f"{run:032}", Finished([run * 1_000_003 + i for i in range(100)], ""))
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert held < 1000 * 300
        assert journal["old"].values == list(range(100))[::-1]
        assert journal[f"{7:032}"].values[99] == 7 * 1_000_003 + 99
        assert len(journal) == 1001


def test_only_one_sweep_writes_into_a_folder(tmp_path: Path) -> None:
    with Journal(tmp_path, ["a"]), pytest.raises(SoftnetError, match="another sweep"):
        Journal(tmp_path, ["a"])


def test_a_query_reads_the_runs_and_nothing_else(scenario: Path, tmp_path: Path) -> None:
    api.sweep(asked(scenario), tmp_path / "out", processes=1)
    found = query(tmp_path / "out", "select nic_rps_cpus, count(*) as n, sum(delivered) from runs group by 1 order by 1")
    assert found.column("n").to_pylist() == [4, 4]
    other = tmp_path / "other.csv"
    other.write_text("a\n1\n")
    for sql in (f"select * from '{other}'", f"copy runs to '{tmp_path / 'x.csv'}'", "select", "install httpfs", "set threads=1"):
        with pytest.raises(SoftnetError):
            query(tmp_path / "out", sql)
    assert not (tmp_path / "x.csv").exists()
    with pytest.raises(SoftnetError, match="no results"):
        query(tmp_path, "select 1")


@pytest.mark.parametrize("path", READY, ids=lambda path: path.stem)
def test_a_ready_experiment_can_be_run_and_its_document_names_it(path: Path) -> None:
    """Worked out to its last arm; what each said is in docs/sweep.md."""
    planned = plan(load_experiment(path))
    assert len(planned.arms) * len(planned.seeds) <= 60, "a cup of coffee long"
    assert planned.shown[0].better, "it ends in a recommendation"
    text = path.read_text()
    assert f"softnet sweep examples/sweeps/{path.name} --out {path.stem}" in text
    assert path.name in (path.parents[2] / "docs" / "sweep.md").read_text()
