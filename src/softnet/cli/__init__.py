# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: arguments, one call, an exit status.

A command ``softnet NAME`` is the module ``softnet.cli.NAME`` with an attribute ``command`` (a click command).
It is imported only when it is invoked, so ``softnet --help`` stays quick: its line in the list of commands is
the first line of the module's docstring, read from the source without importing anything.

Exit statuses: 0 done; 1 done, and the answer is no (a verdict, a regression); 2 bad input, told in one
message on stderr; 130 interrupted.
"""

from __future__ import annotations

import ast
import importlib
import os
import sys
from pathlib import Path

import click

from softnet import __version__
from softnet.errors import SoftnetError

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

_COMMANDS_DIR = Path(__file__).parent

LIBRARY_SETTINGS = {"OPENBLAS_NUM_THREADS": "1", "PYDANTIC_DISABLE_PLUGINS": "__all__"}
"""What two libraries read from the environment when they are imported. numpy's linear algebra, which softnet does not use,
starts a thread for every CPU, which takes longer than the rest of importing numpy; pydantic reads the metadata of every
installed package in search of plugins. What the user has set stays."""


class LazyGroup(click.Group):
    """A group whose commands are the modules beside this file."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        modules = [path.stem for path in _COMMANDS_DIR.glob("*.py")]
        packages = [path.parent.name for path in _COMMANDS_DIR.glob("*/__init__.py")]
        names = {*super().list_commands(ctx), *modules, *packages}
        return sorted(name.replace("_", "-") for name in names if not name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"{__name__}.{cmd_name.replace('-', '_')}")
        command = module.command
        assert isinstance(command, click.Command), f"{module.__name__}.command is not a click command"
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, self._summary(name)) for name in self.list_commands(ctx)]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    def _summary(self, cmd_name: str) -> str:
        """What the list of commands says about one, without importing it."""
        if cmd_name in self.commands:
            return self.commands[cmd_name].get_short_help_str(limit=80)
        return _first_docstring_line(cmd_name)


def _first_docstring_line(cmd_name: str) -> str:
    stem = cmd_name.replace("-", "_")
    path = _COMMANDS_DIR / f"{stem}.py"
    if not path.exists():
        path = _COMMANDS_DIR / stem / "__init__.py"
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", package_name="softnet")
def cli() -> None:
    """A laboratory for the Linux receive path."""


def main(argv: list[str] | None = None) -> None:
    """Run the command line and leave with its exit status."""
    sys.exit(run_cli(argv))


def run_cli(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status; every message for the user is printed here."""
    for name, value in LIBRARY_SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        status = cli.main(args=argv, prog_name="softnet", standalone_mode=False)
    except SoftnetError as error:
        click.echo(f"softnet: {error}", err=True)
        return EXIT_BAD_INPUT
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("softnet: interrupted", err=True)
        return EXIT_INTERRUPTED
    return status if isinstance(status, int) else 0
