# SPDX-License-Identifier: GPL-2.0-or-later
"""Compiled kernels on disk: whole or not there, whoever writes or dies meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from click.testing import CliRunner

from softnet import files
from softnet.cli.cache import command
from softnet.lang.program import cache

KEY = "a" * 64


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SOFTNET_CACHE", str(tmp_path))
    return tmp_path / "native"


def write_many(seed: int) -> None:
    for i in range(50):
        assert cache.store(KEY, {"label": f"writer {seed}"}, bytes([seed]) * (1000 + i))


def test_what_is_stored_comes_back() -> None:
    assert cache.load(KEY) is None
    assert cache.store(KEY, {"label": "x", "positions": [["f", 1, 2, ""]]}, b"code")
    assert cache.load(KEY) == ({"label": "x", "positions": [["f", 1, 2, ""]]}, b"code")


def test_concurrent_writers_leave_one_whole_entry(folder: Path) -> None:
    context = get_context("fork")
    writers = [context.Process(target=write_many, args=(seed,)) for seed in (1, 2)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        found = cache.load(KEY)
        if found is not None:
            assert len(set(found[1])) == 1
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert [path.name for path in folder.iterdir()] == [KEY + cache.SUFFIX]


def build_if_nobody_has(said: Connection) -> None:
    """What native_code() does, telling what it does."""
    time.sleep = lambda seconds: said.send("waits")
    with cache.turn(KEY):
        said.send("found" if cache.load(KEY) else "builds")


@pytest.mark.parametrize("stays_away", [False, True])
def test_who_needs_what_another_builds_waits_for_it_and_not_for_ever(stays_away: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if stays_away:
        monkeypatch.setattr(files, "LOOKS_MAX", 3)
    ours, theirs = Pipe()
    other = get_context("fork").Process(target=build_if_nobody_has, args=(theirs,))
    with cache.turn(KEY):
        other.start()
        assert ours.recv() == "waits"
        if stays_away:
            assert [ours.recv() for _ in range(3)] == ["waits", "waits", "builds"]
        assert cache.store(KEY, {}, b"code")
    if not stays_away:
        assert next(word for word in iter(ours.recv, None) if word != "waits") == "found"
    other.join()
    assert other.exitcode == 0


def test_others_build_other_things_meanwhile() -> None:
    ours, theirs = Pipe()
    with cache.turn("b" * 64):
        other = get_context("fork").Process(target=build_if_nobody_has, args=(theirs,))
        other.start()
        assert ours.recv() == "builds"
    other.join()


@pytest.mark.parametrize("keep", [0, 10, 40, 60])
def test_a_cut_or_changed_file_is_no_entry(folder: Path, keep: int) -> None:
    cache.store(KEY, {"label": "x"}, b"code" * 100)
    path = folder / (KEY + cache.SUFFIX)
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    assert cache.load(KEY) is None
    path.write_bytes(whole[:-1] + b"?")
    assert cache.load(KEY) is None
    assert list(cache.entries()) == []


@pytest.mark.parametrize("unnamed", [True, False])
def test_a_killed_writer_leaves_no_entry_and_clear_takes_its_rest(unnamed: bool, folder: Path) -> None:
    """Where the file system knows files without a name there is no rest."""
    script = (
        "import os\n"
        "from softnet.lang.program import cache\n"
        + ("" if unnamed else "del os.O_TMPFILE\n")
        + "os.link = os.replace = lambda *a, **k: os._exit(9)\n"
        f"cache.store('{KEY}', {{}}, b'code')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], env=os.environ, check=False)
    assert done.returncode == 9
    assert cache.load(KEY) is None
    rest = 0 if unnamed else 1
    assert len(list(folder.iterdir())) == rest
    assert cache.clear() == rest
    assert list(folder.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("SOFTNET_CACHE", str(file))
    assert cache.store(KEY, {}, b"code") is False
    assert cache.load(KEY) is None


def test_the_least_recently_used_entries_go(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(cache, "ENTRIES_MAX", 3)
    for i in range(5):
        cache.store(f"{i:064}", {}, b"code")
        path = folder / f"{i:064}{cache.SUFFIX}"
        if path.exists():
            os.utime(path, ns=(i, i))
    # The newest file is written with today's time, the others were set back one by one.
    kept = sorted(path.name[63] for path in folder.iterdir())
    assert kept == ["2", "3", "4"]


def test_the_command_shows_and_clears() -> None:
    cache.store(KEY, {"label": "52 modules", "options": {"checks": True, "optimise": 2}}, b"code" * 1000)
    shown = CliRunner().invoke(command, [])
    assert shown.exit_code == 0
    assert "aaaaaaaaaaaa" in shown.output
    assert "52 modules, checks" in shown.output
    assert "1 compiled kernels" in shown.output
    cleared = CliRunner().invoke(command, ["--clear"])
    assert "1 files removed" in cleared.output
    assert cache.load(KEY) is None


def test_a_program_is_checked_once_for_each_text(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.lang.world import program_with

    from softnet.lang.check import subset
    from softnet.lang.check.diagnostic import SubsetErrors
    from softnet.lang.check.once import ensure_checked

    golden = Path(__file__).parent.parent / "golden" / "subset"
    checks = []
    real = subset.typed_program
    monkeypatch.setattr(subset, "typed_program", lambda *a, **k: (checks.append(1), real(*a, **k))[1])
    sound, wrong = program_with(), program_with(golden / "unknown_field.py")
    for _ in range(2):
        ensure_checked(sound)
    assert len(checks) == 1
    for _ in range(2):
        with pytest.raises(SubsetErrors):
            ensure_checked(wrong)
    assert len(checks) == 3
    assert cache.clear() == 1
