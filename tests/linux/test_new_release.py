# SPDX-License-Identifier: GPL-2.0-or-later
"""A release is added as docs/contributing.md says, in a copy of the source: nothing else needs to know of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from softnet.linux.releases import RELEASES

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SHORT = ("--set", "measure.duration_ms=2", "--set", "measure.warmup_ms=1", "--json", "--quiet")


def blocks() -> tuple[str, str]:
    """The patch file and the entry of the table, from the document."""
    text = (ROOT / "docs/contributing.md").read_text(encoding="utf-8")
    section = text[text.index("## Adding a release") :]
    found = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    patch, entry = (re.sub(r"^ {3}", "", block, flags=re.MULTILINE) for block in found[:2])
    return patch, entry


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source with the release of the document."""
    folder: Path = tmp_path_factory.mktemp("release") / "src"
    shutil.copytree(ROOT / "src", folder, ignore=shutil.ignore_patterns("__pycache__"))
    patch, entry = blocks()
    linux = folder / "softnet" / "linux"
    (linux / "patches" / "softirq_restart_twenty.py").write_text(patch, encoding="utf-8")
    table = (linux / "releases.py").read_text(encoding="utf-8")
    at = table.index("    )\n}\n", table.index("RELEASES: dict"))
    (linux / "releases.py").write_text(table[:at] + entry + table[at:], encoding="utf-8")
    return folder


def softnet(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    return subprocess.run(
        [sys.executable, "-m", "softnet", *arguments], capture_output=True, text=True, check=False, cwd=ROOT, env=environment
    )


def test_it_is_linked_with_its_change(tree: Path) -> None:
    done = softnet(tree, "source", "MAX_SOFTIRQ_RESTART", "--kernel", "7.99")
    assert "MAX_SOFTIRQ_RESTART = 20" in done.stdout, done.stderr
    assert "patches/softirq_restart_twenty.py" in done.stdout
    assert "MAX_SOFTIRQ_RESTART = 10" in softnet(tree, "source", "MAX_SOFTIRQ_RESTART", "--kernel", "6.12").stdout


@pytest.mark.parametrize("kernel", ["7.99", "7.99-rt", "7.99-threads"])
def test_it_runs(kernel: str, tree: Path) -> None:
    done = softnet(tree, "run", "examples/loopback.toml", "--kernel", kernel, "--engine", "reference", *SHORT)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kernel"]["label"] == kernel
    assert "softnet.linux.patches.softirq_restart_twenty" in found["kernel"]["patches"]
    assert any(task["comm"].startswith("backlog_napi/") for task in found["tasks"]) == (kernel != "7.99")


def test_messages_know_it(tree: Path) -> None:
    done = softnet(tree, "run", "examples/loopback.toml", "--kernel", "8.0")
    assert done.returncode == 2
    assert f"{', '.join(RELEASES)}, 7.99, each also with -rt" in done.stderr
    assert "of these 7.99 is the nearest that is not newer" in done.stderr


def test_the_schema_and_the_nearest_release_know_it(tree: Path) -> None:
    schema = json.loads(softnet(tree, "schema").stdout)
    assert "7.99" in schema["$defs"]["Kernel"]["properties"]["release"]["enum"]
    asked = "from softnet.release import nearest; print(nearest('8.2.0-rc1').name, nearest('7.98.3').name, nearest('5.15').name)"
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["7.99", list(RELEASES)[-1], "6.1"]


@pytest.mark.slow
def test_it_is_verified(tree: Path) -> None:
    done = softnet(tree, "verify", "--kernel", "7.99-rt", "--driver", "free:1:1", "--quiet", "--json")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    assert (found["configuration"], found["verdict"]) == ("kernel=7.99-rt,driver=free:1:1:0", "holds (exhausted)")
