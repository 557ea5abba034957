# SPDX-License-Identifier: GPL-2.0-or-later
"""softnet host record."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("record", short_help="The receive path's events of this machine, into a file for softnet replay.")
@click.option(
    "--out", "-o", required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="The file to write."
)
@click.option("--seconds", type=click.FloatRange(0.01, 86400), help="How long. Default: 10, with --until-latency for ever.")
@click.option("--until-latency", type=click.IntRange(1, 10**9), metavar="US",
              help="End when a packet took so long from its arrival to being read; the newest events are kept.")  # fmt: skip
@click.option("--max-mb", type=click.IntRange(1, 4096), default=64, show_default=True, metavar="MB",
              help="The most that is kept, in memory and then in the file.")  # fmt: skip
@click.option("--buffer-kb", type=click.IntRange(64, 1 << 20), default=4096, show_default=True, metavar="KB",
              help="The kernel's buffer for each CPU.")  # fmt: skip
def record(out: Path, seconds: float | None, until_latency: int | None, max_mb: int, buffer_kb: int) -> None:
    """Record tracepoints of the receive path: arrivals, polls, softirqs, wakeups, deliveries, drops.

    Needs root and tracefs. Uses a tracing instance of its own, which is gone at the end, also after Ctrl-C and SIGTERM; one that a
    killed softnet left is found and removed. Nothing else of the machine changes. The file is one of trace-cmd (version 6) with the
    machine's settings in it, without the host's name and addresses; names of tasks and devices are in it.

    Exit status: 0 recorded, 2 it cannot be.
    """
    import signal

    from softnet.host.read import Tree, read_machine
    from softnet.host.recorder import RecordOptions, Stop, record
    from softnet.processes import Ended
    from softnet.report.recording import record_lines

    options = RecordOptions(
        seconds=seconds if seconds is not None or until_latency is not None else 10.0,
        until_ns=until_latency * 1000 if until_latency is not None else None,
        kept_bytes=max_mb << 20,
        buffer_bytes=buffer_kb << 10,
    )

    def end(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise Stop("at SIGTERM")

    before = signal.signal(signal.SIGTERM, end)
    try:
        told = record(out, options, lambda: read_machine(Tree("/"), 0))
    except Stop:  # it came before or after the recording itself
        raise Ended(signal.SIGTERM) from None
    finally:
        signal.signal(signal.SIGTERM, before)
    for line in record_lines(told, str(out)):
        click.echo(line)
