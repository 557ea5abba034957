# SPDX-License-Identifier: GPL-2.0-or-later
"""How the command line speaks and leaves, whatever the command."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

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
