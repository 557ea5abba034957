# SPDX-License-Identifier: GPL-2.0-or-later
"""A command, a cost row and a property are added as docs/contributing.md says, in a copy of the source.

tests/linux/test_new_release.py does so with a release.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from softnet.lang.native.compile import available

ROOT = Path(__file__).resolve().parents[1]


def blocks(section: str) -> list[str]:
    """The code blocks of a section of the document, without the indentation of a list."""
    text = (ROOT / "docs/contributing.md").read_text(encoding="utf-8").split(f"## {section}\n", 1)[1].split("\n## ", 1)[0]
    found = re.findall(r"^( *)```[a-z]*\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def insert(file: Path, before: str, text: str) -> None:
    """Put text before a line that occurs once."""
    old = file.read_text(encoding="utf-8")
    assert old.count(before) == 1, (file, before)
    file.write_text(old.replace(before, text + before), encoding="utf-8")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source with all that the document adds."""
    folder: Path = tmp_path_factory.mktemp("adding") / "src"
    shutil.copytree(ROOT / "src", folder, ignore=shutil.ignore_patterns("__pycache__"))
    softnet = folder / "softnet"

    (command,) = blocks("Adding a command")
    (softnet / "cli" / "releases.py").write_text(command, encoding="utf-8")

    row, charge = blocks("Adding a cost row")
    costs = softnet / "machine/costs/default.toml"
    costs.write_text(costs.read_text(encoding="utf-8") + "\n" + row, encoding="utf-8")
    tcp = softnet / "linux/net/ipv4/tcp_ipv4.py"
    first, second = charge.splitlines(keepends=True)
    insert(tcp, second, first)

    number, statement, test = blocks("Adding a property")
    numbers = softnet / "properties/numbers.py"
    numbers.write_text(numbers.read_text(encoding="utf-8") + number, encoding="utf-8")
    insert(softnet / "properties/statements.py", "VX_WARN | no warning |", statement)
    inside = softnet / "verify/inside/properties.py"
    insert(inside, "        if e.list_unknown == 0:\n            if ck_over_limit(", test)
    insert(inside, "        VX_TWO_OWNERS,\n    )", "        VX_THREE_QUEUED,\n")
    return folder


def softnet(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    return subprocess.run(
        [sys.executable, "-m", "softnet", *arguments], capture_output=True, text=True, check=False, cwd=ROOT, env=environment
    )


def test_the_command_is_listed_and_runs(tree: Path) -> None:
    assert "List the kernel releases that the model has." in softnet(tree, "--help").stdout
    assert softnet(tree, "releases").stdout.split()[:2] == ["6.1", "6.6"]


@pytest.mark.slow
def test_the_cost_is_charged(tree: Path) -> None:
    # So few packets that none waits for another: under load a slower softirq merges more of them and may cost less in all.
    rare = ("--set", "traffic.0.rate_pps=2000", "--set", "traffic.0.train=1")
    short = (*rare, "--set", "measure.duration_ms=5", "--set", "measure.warmup_ms=0", "--engine", "reference", "--json", "--quiet")
    found = [softnet(where, "run", "examples/rps.toml", *short) for where in (tree, ROOT / "src")]
    assert [done.returncode for done in found] == [0, 0], found[0].stderr
    softirq = [sum(row["softirq"] for row in json.loads(done.stdout)["cpu_time_ns"]) for done in found]
    assert softirq[0] > softirq[1]


@pytest.mark.slow
@pytest.mark.skipif(bool(available()), reason=f"no native code: {available()}")
@pytest.mark.parametrize(("packets", "status"), [("1", 0), ("2", 1)])
def test_the_property_is_asked(packets: str, status: int, tree: Path) -> None:
    done = softnet(
        tree, "verify", "--kernel", "6.12", "--driver", f"netif_rx:0:{packets}", "--driver", f"irq:0:{packets}", "--quiet",
        "--property", "three queued", "--without", "deadlock",
    )  # fmt: skip
    expected = {0: "three queued", 1: "violated: three queued: three packets wait on one backlog"}[status]
    assert (done.returncode, expected in done.stdout) == (status, True), done.stdout + done.stderr
