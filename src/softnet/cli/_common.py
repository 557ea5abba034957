# SPDX-License-Identifier: GPL-2.0-or-later
"""What run and compare have in common: options, progress, the way out for a stopped kernel."""

from __future__ import annotations

import codecs
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from softnet.errors import InvariantError, SoftnetError
from softnet.release import DEFAULT

if TYPE_CHECKING:
    from softnet.report.table import Paper
    from softnet.simulate.conditions import Condition, Judged

Command = TypeVar("Command", bound=Callable[..., Any])

EXIT_KERNEL_STOP = 3
"""A kernel function stopped the run: BUG_ON, a lock rule, an invariant."""

DEFAULT_WIDTH = 100
"""Columns of a summary that goes to a file or a pipe."""

SCHEDULE_WIDTH = 110
"""The same where each CPU has a column of its own."""

SHOWN_RECORDS_MAX = 1_000_000
"""Events that the report's timeline and the Perfetto file take of a trace; all of them are in the trace file."""

EXIT_PARTIAL = 130
"""Interrupted; what ran is reported as partial."""


def options(*given: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several click options as one decorator, in the order given."""

    def decorate(command: Command) -> Command:
        for option in reversed(given):
            command = option(command)
        return command

    return decorate


width_option = click.option("--width", type=click.IntRange(60, 400), help="Columns of the text; default: the terminal's, else 100.")
schedule_width_option = click.option(
    "--width", type=click.IntRange(80, 400), help="Columns of the text; default: the terminal's, 80 at the least, else 110."
)

simulation_options = options(
    click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a setting: sysctl.skb_defer_max=128."),
    click.option("--engine", type=click.Choice(["auto", "reference", "native"]), default="auto", show_default=True,
                 help="What runs the functions."),
    click.option("--checks", is_flag=True, help="Hold the run to the invariants and the lock rules (1.4 to 1.8 times as long)."),
    click.option("--strict", is_flag=True, help="With --checks: stop at the first that does not hold, with exit status 3."),
    click.option("--out", "-o", type=click.Path(path_type=Path), help="Write result, report and trace into this folder."),
    click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
    click.option("--quiet", "-q", is_flag=True, help="No progress."),
    width_option,
)  # fmt: skip


condition_options = options(
    click.option("--fail-if", "fail_if", multiple=True, metavar="CONDITION",
                 help="Exit with status 1 if it is true: MEASURE OP VALUE[%], as 'p99.web > 50us', 'dropped > 0'."),
    click.option("--junit", type=click.Path(path_type=Path, dir_okay=False),
                 help="Write what the conditions came to into this file, for CI systems."),
    click.option("--markdown", type=click.Path(path_type=Path, dir_okay=False),
                 help="Write the report into this file as Markdown: what a CI system shows beside a change."),
)  # fmt: skip

EXIT_CONDITION = 1
"""A condition of --fail-if is true."""


def read_conditions(fail_if: tuple[str, ...], junit: Path | None) -> list[Condition]:
    """The conditions that were given. Raises SoftnetError."""
    if not fail_if and junit is None:
        return []
    from softnet.simulate.conditions import parse_condition

    if not fail_if:
        raise SoftnetError("nothing to write into it", where="--junit", found="no --fail-if", expected="a condition at least")
    return [parse_condition(text) for text in fail_if]


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all. Raises SoftnetError."""
    from softnet.files import write_whole

    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise SoftnetError("the file cannot be written", where=str(path), found=error.strerror or str(error)) from None


def tell_conditions(judged: list[Judged], scenario: str, base: str, junit: Path | None) -> bool:
    """Say on standard error which conditions are true, and write the file for CI systems; whether any is true."""
    if not judged:
        return False
    from softnet.report.conditions import condition_text, junit_document

    for one in judged:
        if one.true:
            click.echo(f"softnet: {condition_text(one, base)}", err=True)
    if junit is not None:
        write_text(junit, junit_document(judged, scenario, base))
    return any(one.true for one in judged)


def echo_json(document: dict[str, Any] | list[dict[str, Any]]) -> None:
    """Print a document; where the output cannot say every character, as JSON escapes it."""
    from softnet.simulate.output import to_json

    unicode = codecs.lookup(sys.stdout.encoding or "utf-8").name.startswith("utf")
    click.echo(to_json(document, ascii_only=not unicode), nl=False)


def kernels(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """The kernels that a shell may complete a word to."""
    from softnet.linux.releases import RELEASES

    names = [f"{name}{flavour}" for name, one in RELEASES.items() for flavour in ("", "-rt", "-threads")
             if flavour != "-threads" or one.has("backlog_threads")]  # fmt: skip
    return [name for name in names if name.startswith(incomplete)]


patch_option = click.option(
    "--patch", "patches", multiple=True, type=click.Path(), help="A patch file of yours, on top of the release."
)
another_kernel_option = click.option(
    "--kernel",
    default="",
    metavar="RELEASE[-rt|-threads]",
    shell_complete=kernels,
    help="Another kernel: 6.1, 6.9-rt, 6.12-threads, …",
)
of_kernel_option = click.option(
    "--kernel", default=DEFAULT, show_default=True, metavar="RELEASE[-rt|-threads]", shell_complete=kernels, help="Of which kernel."
)


def wanted_checks(checks: bool, strict: bool) -> bool | Literal["strict"]:
    """What ``--checks`` and ``--strict`` ask for."""
    return "strict" if strict else checks


def columns(width: int | None) -> int:
    """The width to print in: the one asked for, a terminal's own, or 100."""
    if width is not None:
        return width
    if not sys.stdout.isatty():
        return DEFAULT_WIDTH
    import shutil

    return min(max(shutil.get_terminal_size((DEFAULT_WIDTH, 24)).columns, 60), 160)


def paper(width: int | None, wide: int | None = None) -> Paper:
    """What a text is printed on: standard output, in ``wide`` columns where nothing says how many."""
    from softnet.report.table import Paper

    known = width is not None or sys.stdout.isatty()
    return Paper(columns(width) if known or wide is None else wide, sys.stdout.isatty())


def schedule_columns(width: int | None) -> int:
    """The same for what has a column for each CPU."""
    if width is not None or sys.stdout.isatty():
        return max(columns(width), 80)
    return SCHEDULE_WIDTH


@contextmanager
def imports() -> Iterator[None]:
    """Around imports: what they make stays, so nobody looks through it for garbage, now or later."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def stopped_kernel() -> Iterator[None]:
    """A run that a kernel function stopped ends with the place in that function and exit status 3, not with a traceback."""
    from softnet.lang.python.stop import KernelStop

    try:
        yield
    except InvariantError as error:
        click.echo(f"softnet: an invariant does not hold: {error}", err=True)
        sys.exit(EXIT_KERNEL_STOP)
    except KernelStop as stop:
        click.echo(f"softnet: the kernel stopped: {stop.message}\n  where:    {stop.where}", err=True)
        sys.exit(EXIT_KERNEL_STOP)


def print_then_write(
    show: Callable[[], None], write: Callable[[], None] | None, out: Path | None, quiet: bool
) -> BrokenPipeError | None:
    """Print a result before its files are written, which may take a while; they are, too, where nobody listens any more.

    The error of that comes back: it is raised when the files are in place.
    """
    broken = None
    try:
        show()
    except BrokenPipeError as error:
        broken = error
    if write is not None:
        if not quiet and broken is None:
            click.echo(f"softnet: writing {out}", err=True)
        write()
    return broken


@contextmanager
def progress_bar(quiet: bool, total: int, what: str) -> Iterator[Callable[[int, str], None]]:
    """A progress bar on a terminal, a line per tenth elsewhere, nothing when quiet; called with (done, what just ended)."""
    if quiet:
        yield lambda done, text: None
        return
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda done, text: bar.update(task, completed=done, description=f"{what}: {text}" if text else what)
        return
    shown = -1

    def line(done: int, text: str) -> None:
        nonlocal shown
        tenth = done * 10 // max(total, 1)
        if tenth != shown:
            shown = tenth
            click.echo(f"{what}: {done * 100 // max(total, 1)} %{' (' + text + ')' if text else ''}", err=True)

    yield line
