# SPDX-License-Identifier: GPL-2.0-or-later
"""What a user installs is what the tree holds: the wheel carries the data files, and its softnet runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import softnet

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [path] = directory.glob("*.whl")
    return path


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    package = ROOT / "src" / "softnet"
    expected = {
        path.relative_to(base).as_posix()
        for base in (ROOT / "src", ROOT)
        for path in (package if base != ROOT else ROOT / "examples").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    expected = {name if name.startswith("softnet/") else f"softnet/{name}" for name in expected}
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("softnet/")}
        metadata_name = next(name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = archive.read(metadata_name).decode()
    assert packed == expected
    assert re.search(r"^License-Expression: GPL-2\.0-or-later$", metadata, re.MULTILINE)


@pytest.mark.slow
def test_the_softnet_of_the_wheel_runs(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    command = [sys.executable, "-m", "softnet", "--version"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    where = [sys.executable, "-c", "import softnet; print(softnet.__file__)"]
    for arguments, expected in ((where, str(tmp_path)), (command, softnet.__version__)):
        done = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout


@pytest.mark.slow
def test_the_wheel_is_all_a_user_needs_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    place, empty = tmp_path / "installed", tmp_path / "empty"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
    empty.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(place)}

    def softnet_says(*words: str) -> str:
        command = [sys.executable, "-m", "softnet", *words]
        done = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    commands = re.findall(r"^  softnet (.+)$", softnet_says("init", "--template", "seed"), re.MULTILINE)
    assert commands[:2] == ["check seed.toml", "run seed.toml"]
    assert softnet_says("check", "seed.toml").startswith("seed: sound.")
    run = softnet_says("run", "seed.toml", "--set", "measure.duration_ms=2", "--set", "measure.warmup_ms=0", "--json")
    assert json.loads(run)["engine"] == "native"


def test_the_version_is_said_once() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r'^version = "(.*)"$', pyproject, re.MULTILINE) is None
    assert re.fullmatch(r"\d+\.\d+\.\d+", softnet.__version__)
