# SPDX-License-Identifier: GPL-2.0-or-later
"""Man pages: one for every command, with every option, and what groff and mandoc read is what the help says.

Completion: click's own, as a shell runs it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from softnet.cli import cli, run_cli
from softnet.cli._manual import escaped, pages

COMMANDS = Path(__file__).resolve().parent.parent / "src" / "softnet" / "cli"


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return pages(cli, "softnet")


def formatted(text: str, *options: str) -> str:
    """A page as a terminal shows it, by groff; any warning of groff's is an error here."""
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    # A warning would name the place; -P-c: no escapes of the terminal.
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-P-cbou", *options],
        input=text, capture_output=True, text=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_every_command_has_a_page(made: dict[str, str]) -> None:
    """What the folder of commands holds, and the members that the two groups register, not what the pages were made from."""
    names = {"softnet"}
    for path in COMMANDS.glob("[!_]*"):
        if path.suffix == ".py" or (path / "__init__.py").exists():
            names.add("softnet-" + path.stem.replace("_", "-"))
    for group in ("lab", "host"):
        command = cli.get_command(click.Context(cli), group)
        assert isinstance(command, click.Group)
        names |= {f"softnet-{group}-{member}" for member in command.commands}
    assert set(made) == names


def test_a_page_says_what_the_help_says(made: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """Every option's switches and every word of its help, in the formatted page."""
    for name in ("softnet-diff", "softnet-lab-run", "softnet-host-doctor", "softnet-verify"):
        assert run_cli([*name.split("-")[1:], "--help"]) == 0
        told = capsys.readouterr().out
        page = formatted(made[name], "-rLL=400n")
        assert set(re.findall(r"--[a-z][a-z-]+", told)) - set(re.findall(r"--[a-z][a-z-]+", page)) == set()
        words = re.sub(r"\s+", " ", page)
        for paragraph in told.partition("Options:")[0].split("\n\n")[1:]:
            if not paragraph.strip().startswith("Exit status:"):
                assert re.sub(r"\s+", " ", paragraph).strip().removesuffix(".") in words, (name, paragraph)


def test_groff_and_mandoc_have_nothing_to_say(made: dict[str, str], tmp_path: Path) -> None:
    assert "SOFTNET_CACHE" in formatted("".join(made.values()))
    assert all(text.isascii() for text in made.values())
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed")
    for name, text in made.items():
        (tmp_path / f"{name}.1").write_text(text, encoding="ascii")
    # The pages have no date: the same release gives the same bytes.
    lint = ["mandoc", "-Tlint", "-Wwarning", *sorted(map(str, tmp_path.glob("*.1")))]
    said = subprocess.run(lint, capture_output=True, text=True, check=False).stdout.splitlines()
    assert [line for line in said if 'missing date, using "": TH' not in line] == []


def test_no_text_is_a_request_of_roff() -> None:
    texts = (".TH x 1", "'br", "a\\fBb\\n(.$", "--fail-if 'p99 > 5%'", "50 µs – “costs” … −100 %", '~ ^ ` " x', "\\", "a . b")
    page = ".TH x 1\n.nf\n" + "".join(escaped(text) + "\n" for text in texts)
    assert [line.strip() for line in formatted(page, "-rLL=200n").splitlines() if line.strip()][1:-1] == list(texts)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "man" / "man1"
    assert run_cli(["man", "--out", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == {f"{name}.1" for name in pages(cli, "softnet")}
    capsys.readouterr()
    assert run_cli(["man", "lab", "run"]) == 0
    assert capsys.readouterr().out == (out / "softnet-lab-run.1").read_text(encoding="ascii")
    assert run_cli(["man", "labb"]) == 2
    assert "no such page" in capsys.readouterr().err
    assert run_cli(["man", "run", "--out", str(out)]) == 2
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert run_cli(["man", "--out", str(tmp_path / "file" / "x")]) == 2


# -- completion

WORDS = [
    ("lab re", "reproduce"),
    ("re", "replay"),
    ("diff --ju", "--junit"),
    ("run x.toml --kernel 6.12-", "6.12-rt"),
    ("run x.toml --engine na", "native"),
]


def environment() -> dict[str, str]:
    return {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])}


@pytest.mark.parametrize(("typed", "expected"), WORDS)
def test_bash_completes(typed: str, expected: str) -> None:
    """With the function that README.md's line gives bash, called as bash calls it."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    words = ["softnet", *typed.split()]
    script = f"""
        eval "$(_SOFTNET_COMPLETE=bash_source softnet)" || exit 9
        complete -p softnet >/dev/null || exit 8
        COMP_WORDS=({" ".join(words)}); COMP_CWORD={len(words) - 1}
        _softnet_completion softnet
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, env=environment(), check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert expected in done.stdout.split()
    assert all(word.startswith(words[-1]) for word in done.stdout.split())


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_zsh_and_fish_are_answered(shell: str, tmp_path: Path) -> None:
    """The script that they source, which they must find well formed where they are installed, and the answer to its question."""
    softnet = [sys.executable, "-m", "softnet"]
    asked = {"_SOFTNET_COMPLETE": f"{shell}_source"}
    source = subprocess.run(softnet, capture_output=True, text=True, env={**environment(), **asked}, check=True).stdout
    assert f"_SOFTNET_COMPLETE={shell}_complete" in source
    if (program := shutil.which(shell)) is not None:
        (tmp_path / "script").write_text(source, encoding="utf-8")
        subprocess.run([program, "-n", str(tmp_path / "script")], check=True)
    asked = {
        "_SOFTNET_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": "softnet lab re",
        "COMP_CWORD": "re" if shell == "fish" else "2",
    }
    told = subprocess.run(softnet, capture_output=True, text=True, env={**environment(), **asked}, check=True).stdout
    assert "reproduce" in told
    assert "calibrate" not in told
