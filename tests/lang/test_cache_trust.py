# SPDX-License-Identifier: GPL-2.0-or-later
"""What the cache keeps is run, so it is believed only where nobody but the user can write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from softnet.errors import SoftnetError
from softnet.files import distrusted, own_folder, users_key
from softnet.lab.errors import LabError
from softnet.lab.vm import cache as lab_cache
from softnet.lang.program import cache

KEY = "a" * 64


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SOFTNET_CACHE", str(tmp_path))
    before = os.umask(0o002)
    cache.store(KEY, {"label": "x"}, b"code")
    cache.store_derived(KEY, b"derived")
    cache.mark(KEY)
    os.umask(before)
    return cache.cache_dir()


def found() -> tuple[bool, bool, bool]:
    return cache.load(KEY) is not None, cache.load_derived(KEY) is not None, cache.marked(KEY)


def test_what_softnet_writes_is_the_users_alone_whatever_the_umask(folder: Path) -> None:
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert found() == (True, True, True)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o777])
def test_a_file_that_others_could_write_is_none(folder: Path, mode: int) -> None:
    for path in folder.iterdir():
        path.chmod(mode)
    assert found() == (False, False, False)
    cache.store(KEY, {"label": "x"}, b"code")
    assert cache.load(KEY) is not None


def test_a_folder_that_others_could_write_serves_nobody_until_it_is_closed(folder: Path) -> None:
    folder.chmod(0o777)
    assert found() == (False, False, False)
    cache.store("b" * 64, {}, b"new")
    assert folder.stat().st_mode & 0o777 == 0o755
    assert found() == (True, True, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_belongs_to_another_user_is_none(folder: Path) -> None:
    for path in folder.iterdir():
        os.chown(path, 12345, 12345)
    assert found() == (False, False, False)
    os.chown(folder, 12345, 12345)
    assert "another user" in own_folder(folder)
    assert cache.store(KEY, {}, b"code") is False


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_labs_cache_is_refused_where_it_is_anothers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTNET_CACHE", str(tmp_path))
    os.chown(lab_cache.cache_dir(), 12345, 12345)
    with pytest.raises(LabError, match="not yours alone"):
        lab_cache.cache_dir()


def test_the_users_key_is_made_once_and_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    key = users_key()
    file = tmp_path / "state" / "softnet" / "key"
    assert (len(key), users_key(), file.stat().st_mode & 0o777) == (32, key, 0o600)
    file.chmod(0o644)
    with pytest.raises(SoftnetError, match="not the user's alone"):
        users_key()
    assert distrusted(tmp_path / "none") == ""


def test_a_state_folder_that_cannot_be_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(SoftnetError, match="no place for the user's key"):
        users_key()
