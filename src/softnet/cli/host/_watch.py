# SPDX-License-Identifier: GPL-2.0-or-later
"""softnet host watch."""

from __future__ import annotations

import codecs
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from softnet.cli._common import columns, width_option
from softnet.processes import Ended

if TYPE_CHECKING:
    from softnet.host.watch import WatchSample
    from softnet.report.watch import View


@click.command("watch", short_help="Its counters as they run: for each CPU, protocol and thread.")
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How far apart samples are.",
)
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after so many samples; default: at Ctrl-C.")
@click.option(
    "--top",
    type=click.IntRange(1),
    metavar="N",
    help="Show the N busiest CPUs; default: as many as have room on the terminal, all elsewhere.",
)
@click.option("--json", "as_json", is_flag=True, help="Print each sample as a line of JSON, with all CPUs.")
@click.option("--prometheus", is_flag=True, help="Print the counters since boot once, as Prometheus reads them, and end.")
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    default=Path("/"),
    metavar="DIR",
    help="Where the machine's proc stands, as in a container that has it at /host.",
)
@width_option
def watch(
    interval: float, count: int | None, top: int | None, as_json: bool, prometheus: bool, root: Path, width: int | None
) -> None:  # fmt: skip
    """Show the counters of the receive path as they run.

    For each CPU: packets, drops, squeezes, RPS, flow limit, backlog, softirqs and their share of its time, ksoftirqd, backlog_napi,
    IPIs; then drops of UDP and TCP, and other threads of the receive path. Figures are per second, between two readings.

    On a terminal it is one view, elsewhere a table for each sample. Only reads, as any user. Ctrl-C and SIGTERM end it, with
    exit status 0.
    """
    if prometheus and (as_json or count is not None):
        raise click.UsageError("--prometheus prints one text: without --json and --count")
    try:
        _watch(interval, count, top, as_json, prometheus, root, width)
    except KeyboardInterrupt:
        pass
    except Ended as ended:
        if ended.number != signal.SIGTERM:
            raise


def _watch(
    interval: float, count: int | None, top: int | None, as_json: bool, prometheus: bool, root: Path, width: int | None
) -> None:
    from softnet.host.tree import Tree
    from softnet.host.watch import Watch, samples
    from softnet.report.watch import View, plain, prometheus_text

    tree = Tree(root)
    watcher = Watch(tree)
    if prometheus:
        click.echo(prometheus_text(watcher.read()), nl=False)
        return
    if as_json:
        for sample in samples(watcher, interval, count):
            click.echo(json.dumps(sample.to_dict(), ensure_ascii=True, allow_nan=False))
        return
    name = " ".join(filter(None, (tree.line("/proc/sys/kernel/hostname"), tree.line("/proc/sys/kernel/osrelease"))))
    unicode = codecs.lookup(sys.stdout.encoding or "utf-8").name.startswith("utf")
    view = View(name[:200] or "a machine", unicode=unicode)
    if sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown"):
        _live(samples(watcher, interval, count, first=True), view, top, width)
        return
    for at, sample in enumerate(samples(watcher, interval, count)):
        view.add(sample)
        text = plain(view.lines(sample, columns(width), top))
        click.echo(f"\n{text}" if at else text, nl=False)


def _live(found: Iterator[WatchSample], view: View, top: int | None, width: int | None) -> None:
    """One view on the terminal's other screen, so that what stood there is there again afterwards."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    live = Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
    try:
        with _unbroken():
            live.start()
        for sample in found:
            if sample.seconds is not None:
                view.add(sample)
            wide = min(width or console.width, console.width)
            rows = max(console.height - view.rows_beside(sample, wide) - 1, 1)
            lines = view.lines(sample, wide, min(top or rows, rows))
            text = Text(no_wrap=True, overflow="crop", end="")
            for at, line in enumerate(lines[: console.height]):
                text.append("\n" if at else "")
                for cell, style in line:
                    text.append(cell, style)
            live.update(text, refresh=True)
    finally:
        with _unbroken():
            live.stop()


@contextmanager
def _unbroken() -> Iterator[None]:
    """Changing the terminal and changing it back is not interrupted: a signal waits until it is done."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
