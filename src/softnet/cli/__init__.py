# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: arguments, one call, an exit status.

A command ``softnet NAME`` is the module ``softnet.cli.NAME`` with an attribute ``command`` (a click command).
It is imported only when it is invoked, so ``softnet --help`` stays quick: its line in the list of commands is
the first line of the module's docstring, read from the source without importing anything.

Exit statuses: 0 done; 1 done, and the answer is no (a verdict, a regression); 2 bad input, told in one
message on stderr, or an output that cannot be written; 70 a mistake of softnet's own; 130 interrupted;
141 nobody reads the output any more.
"""

from __future__ import annotations

import ast
import codecs
import contextlib
import importlib
import io
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType

import click

from softnet import __version__
from softnet.errors import SoftnetError
from softnet.processes import Ended, collect_less, ended_by_signals, unheard

EXIT_BAD_INPUT = 2
EXIT_BUG = 70
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

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
    """Run the command line and leave with its exit status; a mistake of softnet's own has one, too, which means nothing else."""
    collect_less()
    try:
        with ended_by_signals():
            status = run_cli(argv)
    except Ended as ended:
        # As any program that does not hear the signal, but with everything put away.
        os.kill(os.getpid(), ended.number)
        status = 128 + ended.number
    except Exception as error:
        if os.environ.get("SOFTNET_TRACEBACK"):
            raise
        status = _say(_bug(error), EXIT_BUG)
    if unheard():
        os._exit(status)  # nothing waits to be written, and what native code still stands on stays
    sys.exit(status)


def _without_plugins() -> None:
    """What looks for pydantic's plugins finds none, as the setting says, and is not imported: it brings importlib.metadata, email
    and zipfile with it, which nothing else needs, for some 20 ms.
    """
    name = "pydantic.plugin._loader"
    if os.environ["PYDANTIC_DISABLE_PLUGINS"] == "__all__" and name not in sys.modules:
        loader = ModuleType(name)
        loader.__dict__["get_plugins"] = tuple
        sys.modules[name] = loader


def run_cli(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status; every message for the user is printed here."""
    for name, value in LIBRARY_SETTINGS.items():
        os.environ.setdefault(name, value)
    _without_plugins()
    standard_streams()
    status = _run(argv)
    try:
        sys.stdout.flush()
    except OSError as error:
        status = _no_output(error)
    return status


def _run(argv: list[str] | None) -> int:
    try:
        if "_SOFTNET_COMPLETE" in os.environ:
            cli.main(args=argv, prog_name="softnet")  # of the shell's words; it leaves by itself
        # Not click's main(), which ends with status 1 when nobody reads the output.
        with cli.make_context("softnet", list(sys.argv[1:] if argv is None else argv)) as context:
            status = cli.invoke(context)
    except click.exceptions.Exit as left:
        return left.exit_code
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else EXIT_BAD_INPUT if left.code else 0
    except SoftnetError as error:
        return _say(str(error), EXIT_BAD_INPUT)
    except click.ClickException as error:
        with contextlib.suppress(OSError):
            error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return _say("interrupted", EXIT_INTERRUPTED)
    except MemoryError:
        return _say("out of memory\n  hint:     a smaller scenario or search, or a machine with more", EXIT_BAD_INPUT)
    except OSError as error:
        return _no_output(error)
    return status if isinstance(status, int) else 0


def standard_streams() -> None:
    """Make every text printable, and open /dev/null for a standard stream that is closed.

    What the output's encoding cannot say becomes a question mark; half a character, which no encoding can, its number.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            # The lowest free number is the stream's own: no other file comes to stand there and is written into.
            stream = os.fdopen(os.open(os.devnull, os.O_RDWR), mode)
            setattr(sys, name, stream)
        elif number and isinstance(stream, io.TextIOWrapper):
            unicode = codecs.lookup(stream.encoding).name.startswith("utf")
            stream.reconfigure(errors="backslashreplace" if unicode else "replace")


def _say(text: str, status: int) -> int:
    """A message on stderr, if that can be written."""
    with contextlib.suppress(OSError):
        click.echo(f"softnet: {text}", err=True)
    return status


def _no_output(error: OSError) -> int:
    """The status after an error of the operating system: a reader that went away is none to speak of."""
    with contextlib.suppress(OSError, ValueError):
        # What still waits to be written would fail once more when the interpreter ends.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    if isinstance(error, BrokenPipeError):
        return EXIT_BROKEN_PIPE
    where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
    return _say(f"{where}{error.strerror or error}", EXIT_BAD_INPUT)


def _bug(error: Exception) -> str:
    """What to say of an exception that nobody foresaw."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    found = f"{type(error).__name__}: {error}".replace("\n", " ")[:300]
    return (
        f"this is a mistake of softnet's own, please report it\n  found:    {found}\n"
        f"  where:    {frame.filename}:{frame.lineno} in {frame.name}()\n  hint:     SOFTNET_TRACEBACK=1 shows all of it"
    )
