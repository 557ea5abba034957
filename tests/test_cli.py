# SPDX-License-Identifier: GPL-2.0-or-later
"""How the command line speaks and leaves, whatever the command."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from softnet.cli import cli, run_cli
from softnet.errors import ScenarioError


@pytest.fixture
def probe() -> Iterator[None]:
    """A command that ends in the way that its argument names."""

    @click.command("probe")
    @click.argument("way")
    def command(way: str) -> int | None:
        """End in some way."""
        if way == "error":
            raise ScenarioError("no such CPU", where="a.toml:4", found="9", expected="0 to 3")
        if way == "interrupt":
            raise KeyboardInterrupt
        if way == "bug":
            raise ZeroDivisionError
        if way == "exit":
            click.get_current_context().exit(7)
        return 1 if way == "no" else None

    cli.add_command(command)
    yield
    del cli.commands["probe"]


@pytest.mark.parametrize(
    ("way", "status", "message"),
    [
        ("fine", 0, ""),
        ("no", 1, ""),
        ("exit", 7, ""),
        ("error", 2, "softnet: a.toml:4: no such CPU\n  found:    9\n  expected: 0 to 3\n"),
        ("interrupt", 130, "softnet: interrupted\n"),
    ],
)
@pytest.mark.usefixtures("probe")
def test_each_end_has_its_status(way: str, status: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["probe", way]) == status
    printed = capsys.readouterr()
    assert printed.err.lstrip("\n") == message
    assert printed.out == ""


@pytest.mark.usefixtures("probe")
def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_cli(["probe", "bug"])


@pytest.mark.parametrize("argument", ["no-such-command", "--no-such-option", "_private", "__init__"])
def test_what_is_not_there_is_refused(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli([argument]) == 2
    printed = capsys.readouterr()
    assert "No such" in printed.err
    assert printed.out == ""


def _command_names() -> list[str]:
    return cli.list_commands(click.Context(cli))


@pytest.mark.parametrize("name", _command_names())
def test_every_command_is_listed_with_a_line_about_it(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(f"softnet.cli.{name.replace('-', '_')}")
    assert isinstance(module.command, click.Command)
    assert (module.__doc__ or "").partition("\n")[0], f"{module.__name__} has no docstring"
    assert run_cli(["--help"]) == 0
    assert f"  {name} " in capsys.readouterr().out
    assert run_cli([name, "--help"]) == 0
    assert f"Usage: softnet {name} " in capsys.readouterr().out


def test_ctrl_c_ends_a_process_with_130() -> None:
    program = (
        "import signal, sys; import click; from softnet.cli import cli, main\n"
        "@cli.command()\n"
        "def wait(): print('ready', flush=True); signal.pause()\n"
        "main(['wait'])\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGINT)
        _, error = process.communicate()
    assert process.returncode == 130
    assert error.strip() == "softnet: interrupted"


def _process(program: str, **how: Any) -> subprocess.CompletedProcess[bytes]:
    """A command of one function in a process of its own."""
    whole = f"import sys, click\nfrom softnet.cli import cli, main\n@cli.command()\ndef probe(): {program}\nmain(['probe'])\n"
    return subprocess.run([sys.executable, "-c", whole], stderr=subprocess.PIPE, check=False, **how)


def test_a_bug_is_no_violation_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Status 1 means that the answer is no."""
    done = _process("1 / 0")
    assert done.returncode == 70
    assert b"please report it" in done.stderr
    assert b"ZeroDivisionError: division by zero" in done.stderr
    assert b"Traceback" not in done.stderr
    monkeypatch.setenv("SOFTNET_TRACEBACK", "1")
    assert b"Traceback" in _process("1 / 0").stderr


WRITING = (
    "click.echo('x' * 100)",
    "click.echo('x' * 100_000)",
    "print('x' * 100)",
    "print('x' * 100_000)",
    "print('x' * 100_000); sys.exit(1)",
)


@pytest.mark.parametrize("program", WRITING)
def test_an_output_on_a_full_device_is_an_error(program: str) -> None:
    with open("/dev/full", "wb") as full:
        done = _process(program, stdout=full)
    assert (done.returncode, done.stderr) == (2, b"softnet: No space left on device\n")


@pytest.mark.parametrize("program", WRITING)
def test_a_reader_that_goes_away_is_no_error(program: str) -> None:
    read, write = os.pipe()
    os.close(read)
    done = _process(program, stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("closed", ["0", "1", "2", "0 1", "1 2", "0 1 2"])
def test_closed_streams_are_read_and_written_as_nothing(closed: str, tmp_path: Path) -> None:
    """And no file that is opened later takes their place."""
    file = tmp_path / "f"
    program = (
        f"sys.stdin.read(); print('out', sys.stdout.isatty()); click.echo('err', err=True);open({str(file)!r}, 'w').write('mine')"
    )
    whole = f"import click, sys\nfrom softnet.cli import cli, main\n@cli.command()\ndef probe(): {program}\nmain(['probe'])\n"
    close = f"import os\nfor fd in {list(map(int, closed.split()))}: os.close(fd)\n"
    start = f"{close}os.execv({sys.executable!r}, [{sys.executable!r}, '-c', {whole!r}])"
    done = subprocess.run([sys.executable, "-c", start], capture_output=True, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (b"" if "1" in closed else b"out False\n")
    assert done.stderr == (b"" if "2" in closed else b"err\n")
    assert file.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("encoding", "said"),
    [("cp437", b"? caf\x82 ?"), ("latin-1", b"? caf\xe9 ?"), ("utf-8", "→ café \\udcff".encode())],
)
def test_every_text_can_be_printed(encoding: str, said: bytes) -> None:
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = _process(r"click.echo('\u2192 caf\xe9 \udcff')", stdout=subprocess.PIPE, env=environment)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, said, b"")
