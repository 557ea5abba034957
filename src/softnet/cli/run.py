# SPDX-License-Identifier: GPL-2.0-or-later
"""Run a scenario on the model and say what happened.

A condition of --fail-if is MEASURE OP VALUE: 'p99.web > 50us', 'dropped > 0'. An unknown measure is answered with the list of all.

Exit status: 0 done, 1 a condition of --fail-if is true, 2 bad input, 3 a kernel function stopped the run, 130 interrupted (the
figures so far are printed).
"""

from __future__ import annotations

import shlex
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from softnet.cli._common import (
    EXIT_CONDITION,
    EXIT_PARTIAL,
    SHOWN_RECORDS_MAX,
    another_kernel_option,
    columns,
    condition_options,
    echo_json,
    imports,
    patch_option,
    print_then_write,
    progress_bar,
    read_conditions,
    simulation_options,
    stopped_kernel,
    tell_conditions,
    wanted_checks,
    write_text,
)
from softnet.errors import SoftnetError, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from softnet.simulate.conditions import Condition
    from softnet.simulate.packets import Packet
    from softnet.simulate.result import Result
    from softnet.simulate.simulation import Run


RESULT_FILES = ("result.json", "report.html", "trace.softnet.gz", "perfetto.pftrace.gz")
SHOWN_RECORDS_PARTIAL = 5_000
"""Events of an interrupted run that the report's timeline and the Perfetto file take."""


@click.command("run", help=__doc__)
@click.argument("scenario", type=click.Path(path_type=Path))
@another_kernel_option
@patch_option
@click.option("--seed", type=click.IntRange(min=0), help="Seed of every choice; default: the scenario's.")
@click.option(
    "--trace",
    type=click.Choice(["off", "decisions", "full"]),
    help="Events to record; default: the scenario's.",
)
@click.option("--break", "break_at", metavar="FUNCTION", help="Stop in pdb at every call of this kernel function.")
@click.option("--slowest", type=click.IntRange(1, 1000), metavar="N", help="Say where the time of the N slowest packets went.")
@click.option("--packets", "packets_file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write every packet with its stages as a row: .csv, .csv.gz, .parquet.")  # fmt: skip
@condition_options
@simulation_options
def command(
    scenario: Path,
    kernel: str,
    patches: tuple[str, ...],
    seed: int | None,
    trace: str | None,
    break_at: str | None,
    slowest: int | None,
    packets_file: Path | None,
    fail_if: tuple[str, ...],
    junit: Path | None,
    markdown: Path | None,
    settings: tuple[str, ...],
    engine: str,
    checks: bool,
    strict: bool,
    out: Path | None,
    as_json: bool,
    quiet: bool,
    width: int | None,
) -> None:
    """Run one scenario."""
    with imports():
        from softnet.simulate.api import resolve
        from softnet.simulate.output import OutputFolder
        from softnet.simulate.simulation import Setup, Simulation

    conditions = read_conditions(fail_if, junit)
    with stopped_kernel(), ExitStack() as output:
        trace = wanted_trace(trace, out, slowest, packets_file)
        resolved = resolve(scenario, kernel, settings)
        folder = output.enter_context(OutputFolder(out, names=RESULT_FILES)) if out is not None else None
        setup = Setup(
            patches=patches,
            seed=seed,
            engine="reference" if break_at else engine,
            trace=trace,
            checks=wanted_checks(checks, strict),
            trace_file=folder.path / "trace.softnet.gz" if folder is not None else None,
        )
        sim = Simulation(resolved, setup)
        if sim.engine_note and not quiet:
            click.echo(f"softnet: {sim.engine_note}", err=True)
        if break_at:
            from softnet.simulate.debug import break_in

            break_in(sim, break_at)
        with progress_bar(quiet or bool(break_at), sim.scenario.measure.duration_ns, "virtual time") as tell:
            done = sim.finish(lambda now, total: tell(now, ""))
        if done.result.partial:
            click.echo("softnet: interrupted: the figures are of the part that ran", err=True)
        parts = ["softnet", "run", str(scenario), *([f"--kernel={kernel}"] if kernel else [])]
        parts += [f"--patch={patch}" for patch in patches] + ([] if seed is None else [f"--seed={seed}"])
        parts += [f"--set={setting}" for setting in settings]
        rows = packets_of(done, packets_file) if slowest or packets_file else []
        write = None
        if folder is not None:
            folder.partial = done.result.partial
            write = partial(write_run, folder.path, done, printable(shlex.join(parts)))
        broken = print_then_write(partial(show, done.result, rows, slowest, as_json, columns(width)), write, out, quiet)
    if broken is not None:
        raise broken
    if folder is not None and folder.withheld:
        click.echo(f"softnet: {out} holds a complete result, which stays; this partial one is not written", err=True)
    elif out is not None and not quiet and not as_json:
        click.echo(f"\nreport: {out / 'report.html'}")
    if done.result.partial:
        sys.exit(EXIT_PARTIAL)
    if any_true(conditions, done.result, junit, markdown):
        sys.exit(EXIT_CONDITION)


def wanted_trace(trace: str | None, out: Path | None, slowest: int | None, packets_file: Path | None) -> str | None:
    """What to record: all, where packets are followed or results written. Raises SoftnetError where another was asked for."""
    if not slowest and packets_file is None:
        return "full" if out is not None and trace is None else trace
    if trace not in (None, "full"):
        raise SoftnetError("packets are followed by the whole trace", where="--slowest, --packets", found=f"--trace {trace}",
                           expected="--trace full, or none")  # fmt: skip
    if packets_file is not None:
        from softnet.report.packets import check_format

        check_format(packets_file)
    return "full"


def packets_of(done: Run, packets_file: Path | None) -> list[Packet]:
    """The packets of a run, written into the file if there is one."""
    from softnet.report.packets import write_packets
    from softnet.simulate.packets import packets

    if done.trace.dropped:
        told = f"the trace is cut: {done.trace.dropped:,} events were left out, and packets from then on; --out FOLDER keeps all"
        click.echo(f"softnet: {told}", err=True)
    rows = packets(done.trace, done.result)
    if packets_file is not None:
        write_packets(packets_file, rows)
    return rows


def show(result: Result, rows: Sequence[Packet], slowest: int | None, as_json: bool, width: int) -> None:
    """Print a run, and where its slowest packets' time went if that is asked for."""
    from softnet.report.terminal import render_result

    if slowest:
        from softnet.report.packets import render_packets, slowest_data
    if as_json:
        echo_json(result.to_dict() | ({"packets": slowest_data(rows, slowest)} if slowest else {}))
        return
    color = sys.stdout.isatty()
    click.echo(render_result(result, width=width, color=color), nl=False)
    if slowest:
        click.echo("\n" + render_packets(rows, slowest, width=width, color=color), nl=False)


def any_true(conditions: Sequence[Condition], result: Result, junit: Path | None, markdown: Path | None) -> bool:
    """Tell which conditions are true of a run, and write what was asked for; whether any is."""
    if not conditions and markdown is None:
        return False
    from softnet.simulate.conditions import judge_run

    judged = judge_run(conditions, result)
    if markdown is not None:
        from softnet.report.markdown import result_document

        write_text(markdown, result_document(result, judged))
    return tell_conditions(judged, result.scenario, str(result.kernel["label"]), junit)


def write_run(folder: Path, done: Run, command: str = "") -> None:
    """result.json, report.html and perfetto.pftrace.gz beside the trace that the run has written."""
    from softnet.report.html import write_html
    from softnet.report.perfetto import write_perfetto
    from softnet.simulate.output import to_json

    (folder / "result.json").write_text(to_json(done.result.to_dict()), encoding="utf-8")
    # Who interrupted a run does not want to wait for it.
    shown = done.trace.head(SHOWN_RECORDS_PARTIAL if done.result.partial else SHOWN_RECORDS_MAX)
    traces = {str(done.result.kernel["label"]): shown} if shown.records else {}
    write_html(folder / "report.html", done.result, traces, command=command)
    if shown.records:
        write_perfetto(folder / "perfetto.pftrace.gz", shown)
