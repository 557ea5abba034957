# SPDX-License-Identifier: GPL-2.0-or-later
"""Run arms (kernels, settings, patches) on the same arrivals, side by side.

An arm is [LABEL:]PART[,PART…]: a kernel (6.10-rt), a setting (sysctl.skb_defer_max=128), a patch (patch=FILE). Every arm
runs with every seed, so each difference comes with its spread and says whether it is more than noise.

A condition of --fail-if is MEASURE OP VALUE[%]. With a per cent sign it is about the change of an arm's mean against the first
arm's, 'p99.web > +5%'; without, about the mean of each arm, 'max.web > 2ms', 'dropped > 0'. An unknown measure is answered with
the list of all.

Exit status: 0 done, 1 a condition of --fail-if is true, 2 bad input, 3 a kernel function stopped a run, 130 interrupted.
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
    SHOWN_RECORDS_MAX,
    columns,
    condition_options,
    echo_json,
    print_then_write,
    progress_bar,
    read_conditions,
    simulation_options,
    stopped_kernel,
    tell_conditions,
    wanted_checks,
    write_text,
)
from softnet.errors import printable

if TYPE_CHECKING:
    from softnet.simulate.api import Compared
    from softnet.simulate.comparison import Comparison


@click.command("compare", help=__doc__)
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option(
    "--arm",
    "arms",
    multiple=True,
    required=True,
    metavar="ARM",
    help="An arm; the first is the base. Give two or more.",
)
@click.option(
    "--seeds",
    type=click.IntRange(1, 1000),
    default=5,
    show_default=True,
    help="Runs of each arm, from the scenario's seed on.",
)
@click.option(
    "--jobs",
    "-j",
    "processes",
    type=click.IntRange(1, 256),
    help="Runs at the same time; default: the CPUs there are, where it pays.",
)
@condition_options
@simulation_options
def command(
    scenario: Path,
    arms: tuple[str, ...],
    seeds: int,
    processes: int | None,
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
    """Compare arms."""
    from softnet.simulate.api import compare, resolve, trace_names
    from softnet.simulate.arms import parse_arms
    from softnet.simulate.native import choose_engine
    from softnet.simulate.output import OutputFolder

    conditions = read_conditions(fail_if, junit)
    with stopped_kernel(), ExitStack() as output:
        chosen = parse_arms(arms)
        base = resolve(scenario, "", settings)
        names = ["comparison.json", "report.html", *trace_names([arm.label for arm in chosen]).values()]
        folder = output.enter_context(OutputFolder(out, names=names)) if out is not None else None
        note = choose_engine(engine)[1]
        if note and not quiet:
            click.echo(f"softnet: {note}", err=True)
        first = base.measure.seed
        with progress_bar(quiet, len(chosen) * seeds, "runs") as tell:
            done = compare(
                base,
                chosen,
                seeds=range(first, first + seeds),
                engine=engine,
                checks=wanted_checks(checks, strict),
                processes=processes,
                trace="full" if out is not None else "off",
                trace_folder=folder.path if folder is not None else None,
                progress=lambda n, total, what: tell(n, what),
            )
        parts = [
            "softnet", "compare", str(scenario), *(f"--arm={arm}" for arm in arms), f"--seeds={seeds}",
            *(f"--set={setting}" for setting in settings),
        ]  # fmt: skip
        write = partial(write_comparison, folder.path, done, printable(shlex.join(parts))) if folder is not None else None
        broken = print_then_write(partial(show, done.comparison, as_json, columns(width)), write, out, quiet)
    if broken is not None:
        raise broken
    if out is not None and not quiet and not as_json:
        click.echo(f"\nreport: {out / 'report.html'}")
    if conditions or markdown is not None:
        from softnet.simulate.conditions import judge

        comparison = done.comparison
        judged = judge(conditions, comparison)
        if markdown is not None:
            from softnet.report.markdown import comparison_document

            write_text(markdown, comparison_document(comparison, judged))
        if tell_conditions(judged, comparison.scenario, comparison.arms[0], junit):
            sys.exit(EXIT_CONDITION)


def show(comparison: Comparison, as_json: bool, width: int) -> None:
    """Print a comparison."""
    if as_json:
        echo_json(comparison.to_dict())
        return
    from softnet.report.terminal import render_comparison

    click.echo(render_comparison(comparison, width=width, color=sys.stdout.isatty()), nl=False)


def write_comparison(folder: Path, done: Compared, command: str = "") -> None:
    """comparison.json, report.html, and per arm its first seed for Perfetto, beside the traces that the runs have written."""
    from softnet.report.html import write_html
    from softnet.report.perfetto import write_perfetto
    from softnet.simulate.api import trace_names
    from softnet.simulate.output import to_json

    (folder / "comparison.json").write_text(to_json(done.comparison.to_dict()), encoding="utf-8")
    shown = {arm: trace.head(SHOWN_RECORDS_MAX // len(done.traces)) for arm, trace in done.traces.items()}
    write_html(folder / "report.html", done.comparison, shown, command=command)
    names = trace_names(list(shown))
    for arm, trace in shown.items():
        name = names[arm].removeprefix("trace-").removesuffix(".softnet.gz")
        write_perfetto(folder / f"perfetto-{name}.pftrace.gz", trace)
