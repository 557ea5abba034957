# SPDX-License-Identifier: GPL-2.0-or-later
"""Every command that the documents show is run, in the order in which a reader would run it.

In a block that opens with ```console, each line that starts with ``$ `` is a command (a backslash at the end
continues it). The commands of one document run in one directory that holds a copy of examples/, with the
virtual environment's bin on PATH, and each must leave with 0, or with the status that its line ends in:
``# exit: 2``. A block that cannot run here opens with ```console no-run: REASON, and stands in NO_RUN below.
A block that opens with ```python run is a program, and is run like a command.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.long import sample

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "evidence" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

# (document, first command) of every block that is not run.
NO_RUN = {
    ("docs/lab.md", "softnet lab doctor"),
    ("docs/lab.md", "softnet lab kernels"),
    ("docs/lab.md", "softnet lab kernels --suite trixie-backports"),
    ("docs/lab.md", "softnet lab experiment first-kick"),
    ("docs/lab.md", "softnet lab seed"),
    ("docs/lab.md", "softnet lab run examples/loopback.toml --kernel 6.12-rt --out lab-out"),
    ("docs/lab.md", "softnet lab run examples/seed.toml --kernel 6.12-rt --stretch 30"),
    ("docs/lab.md", "softnet lab calibrate --kernel 6.12 --out guest-6.12.toml"),
    ("docs/lab.md", "softnet lab predict examples/rps.toml --stretch 100 --costs guest-6.12 --set measure.duration_ms=15"),
    ("docs/lab.md", "softnet lab predict --all --out predicted"),
    ("docs/lab.md", "softnet lab reproduce offline-kick --kernel 6.12 --accel tcg-single"),
    ("docs/conformance.md", "softnet lab conform --out conform"),
    ("docs/host.md", "softnet host record --out recorded.dat --seconds 10"),
    ("docs/host.md", "softnet host calibrate --out mine.toml"),
    ("docs/verify.md", "softnet verify"),
    ("docs/verify.md", "softnet verify --kernel 6.1 --kernel 6.12 --kernel 6.18 --kernel 7.3 --patch mine.py --cluster local:2"),
    (
        "docs/verify.md",
        "softnet verify --kernel 6.12-rt --set rps=1 --set resched=0 --cpus 3 --driver rps:0:1:2 --driver hotplug:1:1:2 --swarm 8",
    ),
    (
        "docs/verify-evidence.md",
        "softnet verify --thorough --cpus 3 --storage compact --memory 4096 --max-states 100000000 --max-seconds 3600",
    ),
    ("README.md", "make demo"),
    ("README.md", "pip install .           # or: pipx install .    uv tool install .    in a Dockerfile: RUN pip install ."),
    ("docs/contributing.md", "make check"),
    ("docs/contributing.md", "SOFTNET_EXPLORE=1 make test PYTEST_ARGS='tests/simulate'"),
}

# A bound on what a document's command may take before the test says which one hangs; not an expectation.
COMMAND_SECONDS_MAX = 600


class Block(NamedTuple):
    document: str
    line: int
    commands: list[tuple[int, str]]
    no_run_reason: str | None


def console_blocks(document: str, text: str) -> list[Block]:
    """The ```console blocks of one document."""
    blocks: list[Block] = []
    block: Block | None = None
    program: list[str] | None = None
    inside_other = False
    continued = False
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("```"):
            if block is not None:
                blocks.append(block)
                block = None
            elif program is not None:
                command = shlex.join(["python", "-c", "\n".join(program)])
                blocks.append(Block(document, number - len(program) - 1, [(number - len(program), command)], None))
                program = None
            elif inside_other:
                inside_other = False
            elif line.split()[0] == "```console":
                block = Block(document, number, [], _no_run_reason(document, number, line))
            elif line.split() == ["```python", "run"]:
                program = []
            else:
                inside_other = True
            continued = False
        elif program is not None:
            program.append(line)
        elif block is not None and continued:
            start, command = block.commands[-1]
            block.commands[-1] = (start, f"{command}\n{line}")
            continued = line.endswith("\\")
        elif block is not None and line.startswith("$ "):
            block.commands.append((number, line[2:]))
            continued = line.endswith("\\")
    open_at_end = block is not None or program is not None or inside_other
    assert not open_at_end, f"{document}: the last block is not closed"
    return blocks


def _no_run_reason(document: str, number: int, fence: str) -> str | None:
    mark = fence.removeprefix("```console").strip()
    if not mark:
        return None
    match = re.fullmatch(r"no-run: (\S.+)", mark)
    assert match is not None, f"{document}:{number}: say ```console or ```console no-run: REASON"
    return match[1]


def expected_status(command: str) -> int:
    match = re.search(r"\s# exit: (\d+)\s*\Z", command)
    return int(match[1]) if match else 0


def run_block(block: Block, directory: Path) -> None:
    """Run a block's commands; the first that leaves with a wrong status fails, with its output."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path, "COLUMNS": "100", "NO_COLOR": "1"}
    for number, command in block.commands:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=COMMAND_SECONDS_MAX,
            check=False,
        )
        status = expected_status(command)
        printed = done.stdout[-4000:]
        assert done.returncode == status, (
            f"{block.document}:{number}: $ {command}\nleft with {done.returncode}, not {status}:\n{printed}"
        )


def _blocks(path: Path) -> list[Block]:
    return console_blocks(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))


RUN_DOCUMENTS = [path for path in DOCUMENTS if any(b.no_run_reason is None for b in _blocks(path))]


@pytest.mark.slow
@pytest.mark.parametrize("path", RUN_DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_command_of_a_document_runs(path: Path, tmp_path: Path) -> None:
    for folder in ("examples", "tests/lab/fixtures"):
        if (ROOT / folder).is_dir():
            shutil.copytree(ROOT / folder, tmp_path / folder)
    shown = [block for block in _blocks(path) if block.no_run_reason is None]
    # Searches of findings are asked by tests/report/test_findings.py and tests/verify, too.
    for block in sample(shown, shown[1::2]) if path.name == "findings.md" else shown:
        run_block(block, tmp_path)


def test_no_block_is_without_a_command() -> None:
    empty = [f"{b.document}:{b.line}" for path in DOCUMENTS for b in _blocks(path) if not b.commands]
    assert not empty


def test_only_listed_blocks_are_not_run() -> None:
    marked = {
        (block.document, block.commands[0][1]) for path in DOCUMENTS for block in _blocks(path) if block.no_run_reason is not None
    }
    assert marked == NO_RUN


def anchors(path: Path) -> set[str]:
    """What a link may name behind ``#``: the headings, as GitHub makes anchors of them."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_the_links_between_documents_lead_somewhere() -> None:
    link = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
    broken = []
    for path in DOCUMENTS:
        for target, anchor in link.findall(path.read_text(encoding="utf-8")):
            to = path.parent / target if target else path
            if "://" not in target and (not to.exists() or (anchor and anchor not in anchors(to))):
                broken.append(f"{path.relative_to(ROOT)}: {target}#{anchor}")
    assert not broken


EXAMPLE = """\
```python
$ not a command
```
```console
$ echo one > file && echo \\
  two
printed
$ test -s file
$ exit 3  # exit: 3
```
```console no-run: needs hardware
$ reboot
```
```python run
import sys

sys.stdout.write("it's run")
```
"""


def test_blocks_are_read_and_run(tmp_path: Path) -> None:
    first, second, third = console_blocks("a.md", EXAMPLE)
    assert [number for number, _ in first.commands] == [5, 8, 9]
    assert (third.line, third.commands[0][0]) == (14, 15)
    run_block(third, tmp_path)
    assert (first.no_run_reason, second.no_run_reason) == (None, "needs hardware")
    run_block(first, tmp_path)
    assert (tmp_path / "file").read_text() == "one\n"


@pytest.mark.parametrize("command", ["false", "true  # exit: 1", "false | true", "no-such-command"])
def test_a_command_that_fails_is_found(command: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"a\.md:2: \$ "):
        run_block(console_blocks("a.md", f"```console\n$ {command}\n```\n")[0], tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "```console\n$ true\n",
        "```python run\npass\n",
        "```\n",
        "```console norun\n```\n",
        "```console no-run:\n```\n",
    ],
)
def test_a_malformed_block_is_refused(text: str) -> None:
    with pytest.raises(AssertionError, match=r"a\.md"):
        console_blocks("a.md", text)
