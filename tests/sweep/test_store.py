# SPDX-License-Identifier: GPL-2.0-or-later
"""Results at an address: the same files, read from there, gone on from there, and an address that cannot be used is one message."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.report.golden import held_to_golden
from tests.sweep.conftest import VARY
from tests.sweep.test_sweep import FILES, Counted, asked, files

from softnet.cli import run_cli
from softnet.errors import SoftnetError
from softnet.sweep import api, remote
from softnet.sweep.remote import Store

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed: pip install 'softnet[sweep]'")
ADDRESS = "memory://bucket/place"
GIVEN: dict[str, Any] = {"vary": VARY[:1], "seeds": 2, "settings": ("measure.duration_ms=1",)}


@pytest.fixture(autouse=True)
def empty() -> Iterator[None]:
    fsspec.filesystem("memory").store.clear()
    yield
    fsspec.filesystem("memory").store.clear()


def there() -> dict[str, bytes]:
    """What stands at the address."""
    memory = fsspec.filesystem("memory")
    return {name.rpartition("/")[2]: memory.cat_file(name) for name in memory.find("/bucket")}


def test_an_address_has_the_files_of_the_folder_and_is_read_like_it(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    api.sweep(asked(scenario, **GIVEN), tmp_path / "alone", processes=1)
    api.sweep(asked(scenario, **GIVEN), tmp_path / "out", processes=1, store=ADDRESS + "/")
    stored = there()
    assert sorted(stored) == sorted(["runs.journal", *FILES]), "nothing under another name is left"
    assert {name: stored[name] for name in FILES} == files(tmp_path / "alone")

    # On another machine, without the folder: nothing is run again, and the same is written.
    counted = Counted(monkeypatch)
    done = api.sweep(asked(scenario, **GIVEN), tmp_path / "elsewhere", processes=1, store=ADDRESS)
    assert (counted.runs, done.reused) == (0, 4)
    assert there() == stored

    for words in (["query", "{}", "select count(*) as n, sum(seed) as s from runs", "--json"], ["report", "{}", "--json"]):
        told = []
        for where in (str(tmp_path / "alone"), ADDRESS):
            assert run_cli([word.format(where) for word in words]) == 0
            told.append(json.loads(capsys.readouterr().out))
        assert told[0] == told[1]
    assert api.load(ADDRESS).equals(api.load(tmp_path / "alone"))


def test_who_goes_on_takes_up_what_a_lost_machine_left(scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal is written now and then. A machine that has some runs of its own adds to them what it does not have."""
    monkeypatch.setattr(remote, "PUBLISH_RUNS", 3)
    with monkeypatch.context() as patch:
        patch.setattr(api, "write_results", lambda *_: pytest.skip("the machine is lost"))
        with pytest.raises(pytest.skip.Exception):
            api.sweep(asked(scenario, **GIVEN), tmp_path / "lost", processes=1, store=ADDRESS)
    assert sorted(there()) == ["runs.journal"]
    lines = there()["runs.journal"].splitlines(keepends=True)
    assert len(lines) == 4  # its head, and three of four runs

    own = tmp_path / "own"
    own.mkdir()
    (own / "runs.journal").write_bytes(lines[0] + lines[2])
    counted = Counted(monkeypatch)
    done = api.sweep(asked(scenario, **GIVEN), own, processes=1, store=ADDRESS)
    assert (counted.runs, done.reused) == (1, 3)
    api.sweep(asked(scenario, **GIVEN), tmp_path / "alone", processes=1)
    assert {name: there()[name] for name in FILES} == files(own) == files(tmp_path / "alone")


@pytest.mark.parametrize("name", ["file", "memory"])
def test_a_reader_sees_a_whole_file_or_none(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(f"file://{tmp_path}/a/b" if name == "file" else ADDRESS)
    store.check()
    (tmp_path / "runs.parquet").write_bytes(b"first")
    store.publish(tmp_path)
    (tmp_path / "runs.parquet").write_bytes(b"second")
    with monkeypatch.context() as patch:
        patch.setattr(type(store._fs), "mv", _broken)
        with pytest.raises(SoftnetError, match="the results cannot be written to the store") as raised:
            store.publish(tmp_path)
    assert raised.value.found == "the line is cut"
    assert store.read("runs.parquet") == b"first"
    assert [path.rpartition("/")[2] for path in store._fs.find(store._path)] == ["runs.parquet"]
    store.publish(tmp_path)
    assert store.read("runs.parquet") == b"second"
    assert store.read("experiment.json") is None


def _broken(*_: Any, **__: Any) -> None:
    raise OSError("the line is cut")


BAD = {
    "store-no-address": "results",
    "store-unknown": "nowhere://bucket/place",
    "store-unreachable": "memory://bucket/place",
}


@pytest.mark.parametrize("case", BAD)
def test_a_store_that_cannot_be_used_is_one_message_before_anything_runs(
    case: str, scenario: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(scenario.parent)
    if case == "store-unreachable":
        monkeypatch.setattr(type(fsspec.filesystem("memory")), "pipe_file", _broken)
    counted = Counted(monkeypatch)
    assert run_cli(["sweep", scenario.name, f"--vary={VARY[0]}", "--out=out", f"--store={BAD[case]}"]) == 2
    printed = capsys.readouterr()
    assert (printed.out, counted.runs) == ("", 0)
    assert not Path("out").exists()
    held_to_golden("sweep", case, printed.err)


def test_an_address_without_results_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["query", ADDRESS, "select 1"]) == 2
    assert "no results of an experiment" in capsys.readouterr().err
