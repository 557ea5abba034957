# SPDX-License-Identifier: GPL-2.0-or-later
"""softnet host calibrate."""

from __future__ import annotations

from pathlib import Path

import click

from softnet.cli._common import columns, echo_json, progress_bar, width_option


@click.command("calibrate", short_help="A cost table of this machine, in under a minute.")
@click.option(
    "--out", "-o", required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="The table to write."
)
@click.option(
    "--trace/--no-trace", "trace", default=None, help="With or without tracepoints. Default: with, where the rights are there."
)
@click.option("--json", "as_json", is_flag=True, help="Print all that was measured as JSON.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
@width_option
def calibrate(out: Path, trace: bool | None, as_json: bool, quiet: bool, width: int | None) -> None:
    """Measure what system calls, copies, atomics, cache lines, switches, wakeups, interrupts and a packet's stages cost here.

    As any user, by small programs in user space; with root and tracefs, also by tracepoints around packets that go over the
    loopback device of a network namespace of its own. Two CPUs are used for some seconds, nothing is set, and nothing stays. The
    table is whole: what was not measured has the default table's value, is called assumed and says why. Put its name into a
    scenario: machine.costs = "table.toml".

    Exit status: 0 written, 2 it cannot be.
    """
    from softnet.errors import HostError
    from softnet.files import atomic
    from softnet.host.calibrate.api import ALL_STEPS, CalibrateOptions
    from softnet.host.calibrate.api import calibrate as measure
    from softnet.host.calibrate.table import table_text
    from softnet.report.calibration import calibration_lines

    with atomic(out) as stream:  # where it cannot be written, that is said before anything is measured
        with progress_bar(quiet or as_json, ALL_STEPS, "calibrating") as shown:
            try:
                made = measure(CalibrateOptions(trace=trace), shown)
            except OSError as error:  # not one of writing the table
                raise HostError(
                    "it cannot be measured", where=str(error.filename or ""), found=error.strerror or str(error)
                ) from None
        stream.write(table_text(made.rows, out.stem, made.where, made.date, made.marks).encode())
    if as_json:
        echo_json(made.to_dict())
        return
    for line in calibration_lines(made, str(out), columns(width)):
        click.echo(line)
