# SPDX-License-Identifier: GPL-2.0-or-later
"""Run a scenario with many combinations of settings, kernels and patches, and say which is best and how sure that is.

WHAT is a scenario with --vary, or an experiment's file. A factor is KEY=LEVEL,LEVEL,… with a key as --set has it, kernel or patch;
with --design lhs or sobol also KEY=LOW..HIGH[:log]. The base is the first level of each, or the middle of a range. Finished
runs are kept in --out: after Ctrl-C or kill -9 the same command goes on. Exit status: 0 done, 1 runs failed, 2 bad input, 130
interrupted.
"""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from softnet.cli._common import EXIT_PARTIAL, columns, echo_json, options, progress_bar, width_option
from softnet.errors import SoftnetError

if TYPE_CHECKING:
    from softnet.sweep.api import Swept
    from softnet.sweep.experiment import Asked

EXIT_FAILED = 1

_factors = options(
    click.option("--vary", multiple=True, metavar="KEY=LEVELS", help="A factor: sysctl.netdev_budget=75,150,300."),
    click.option("--kernels", default="", metavar="KERNEL,…", help="The factor kernel: 6.12,6.12-rt."),
    click.option("--patch", "patches", multiple=True, type=click.Path(), help="A patch file, on top of every kernel."),
    click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting of every combination."),
    click.option("--design", type=click.Choice(["grid", "lhs", "sobol", "search"]), default="grid", show_default=True,
                 help="All combinations, a sample of --runs of them, or a search that tries --runs."),
    click.option("--runs", type=click.IntRange(1, 1 << 20), help="Combinations of a sample or a search."),
    click.option("--seeds", type=click.IntRange(1, 1000), default=5, show_default=True, help="Runs of each combination."),
    click.option("--measure", multiple=True, metavar="NAME", help="What to look at, the most important first: web.p99, dropped."),
    click.option("--minimize", default="", metavar="MEASURE", help="What is looked for: the lowest mean of web.p99.9."),
    click.option("--maximize", default="", metavar="MEASURE", help="The same, the highest."),
    click.option("--subject-to", "subject_to", multiple=True, metavar="LIMIT",
                 help="What the means of a recommended combination keep: 'cpu < 40%', 'dropped <= 0'."),
    click.option("--race", is_flag=True, help="Give no more seeds to combinations that are surely not the best."),
    click.option("--until", default="", metavar="MEASURE=PERCENT%", help="Add seeds until differences are known so well."),
    click.option("--max-seeds", type=click.IntRange(2, 1000), default=50, show_default=True, help="At the most, with --until."),
)  # fmt: skip

_ways = options(
    click.option("--out", "-o", type=click.Path(path_type=Path), help="Keep runs and results in this folder, and go on there."),
    click.option("--store", default="", metavar="ADDRESS",
                 help="Keep them at s3://…, gs://… or another address of fsspec's, too, and go on from what is there."),
    click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write the page with the charts to this file."),
    click.option("--jobs", "-j", "processes", type=click.IntRange(1, 256), help="Runs at the same time; default: the CPUs."),
    click.option("--cluster", default="", metavar="WHERE",
                 help="Run on a Dask cluster: tcp://HOST:PORT of its scheduler, local:N, slurm:N or kubernetes:N workers."),
    click.option("--engine", type=click.Choice(["auto", "reference", "native"]), default="auto", show_default=True,
                 help="What runs the functions."),
    click.option("--yes", is_flag=True, help="Yes, more than 100,000 runs."),
    click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON."),
    click.option("--quiet", "-q", is_flag=True, help="No progress."),
    width_option,
)  # fmt: skip


@click.command("sweep", help=__doc__)
@click.argument("what", type=click.Path(path_type=Path))
@_factors
@_ways
def command(
    what: Path,
    out: Path | None,
    html: Path | None,
    processes: int | None,
    cluster: str,
    store: str,
    engine: str,
    yes: bool,
    as_json: bool,
    quiet: bool,
    width: int | None,
    **given: Any,
) -> None:
    """Sweep."""
    from softnet.files import scratch_folder
    from softnet.sweep.analysis import findings
    from softnet.sweep.api import sweep

    if cluster and processes is not None:
        raise SoftnetError("runs are made here or on a cluster", where="--jobs", found=f"--cluster {cluster}",
                           expected="one of them", hint="--cluster local:4 has four processes")  # fmt: skip
    asked = _asked(what, given)
    with ExitStack() as stack:
        folder = out if out is not None else stack.enter_context(scratch_folder())
        progress = stack.enter_context(_progress(quiet))
        done = sweep(asked, folder, processes=processes, engine=engine, yes=yes, progress=progress, cluster=cluster, store=store)
        found = findings(folder)
    if as_json:
        from softnet.report.sweep import sweep_json

        echo_json(sweep_json(found))
    else:
        from softnet.report.sweep import render_sweep

        click.echo(render_sweep(found, columns(width), sys.stdout.isatty()), nl=False)
    if html is not None:
        from softnet.report.sweep_page import write_sweep_page

        write_sweep_page(html, found)
    _say(done, out, store, quiet)
    if done.partial:
        sys.exit(EXIT_PARTIAL)
    if found.failures or done.lost:
        sys.exit(EXIT_FAILED)


def _asked(what: Path, given: dict[str, Any]) -> Asked:
    """The experiment: from its file, or from options."""
    from softnet.sweep.experiment import asked_on_command_line, is_experiment, load_experiment

    if not is_experiment(what):
        return asked_on_command_line(str(what), **given)
    context = click.get_current_context()
    for name in given:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = {"patches": "patch", "settings": "set"}.get(name, name).replace("_", "-")
            raise SoftnetError("an experiment's file says this itself", where=f"--{option}", found=str(what),
                               expected="a scenario, or the file alone", hint=f"write it into {what}")  # fmt: skip
    return load_experiment(what)


def _progress(quiet: bool) -> Any:
    """A context that gives the sweep's progress: a bar, or lines, with an estimate of what is left."""
    from contextlib import contextmanager

    @contextmanager
    def shown() -> Any:
        stack = ExitStack()
        with stack:
            tell: Any = None
            total_shown = 0
            began = time.monotonic()

            def progress(done: int, total: int, there: int) -> None:
                nonlocal tell, total_shown, began
                if total != total_shown:
                    stack.close()
                    tell, total_shown = stack.enter_context(progress_bar(quiet, total, "runs")), total
                    began = time.monotonic()
                    if there and not quiet:
                        click.echo(f"runs: {there:,} of {total:,} were there already", err=True)
                tell(done, _left(done - there, total - done, time.monotonic() - began))

            yield progress

    return shown()


def _left(done: int, left: int, seconds: float) -> str:
    """What is left, in words."""
    if not done or not left:
        return ""
    estimate = seconds / done * left
    if estimate < 90:
        return f"about {max(round(estimate), 1)} s left"
    return f"about {round(estimate / 60)} min left" if estimate < 5400 else f"about {estimate / 3600:.1f} h left"


def _say(done: Swept, out: Path | None, store: str, quiet: bool) -> None:
    """What is not in the report: what was lost, and where the results are."""
    for arm, seed, how in done.lost:
        click.echo(f"softnet: a run's process died twice: {how}\n    {done.planned.command(arm, seed)}", err=True)
    if done.until_missed:
        click.echo(f"softnet: {len(done.seeds)} seeds are the most, and the intervals are wider than asked", err=True)
    if done.unfit and not quiet:
        click.echo(f"softnet: {done.unfit} combinations were proposed whose settings do not fit together", err=True)
    if done.partial:
        kept = (
            f"{done.finished:,} finished runs are in {out or store}; the same command goes on"
            if out is not None or store
            else "nothing is kept without --out"
        )
        click.echo(f"softnet: interrupted: {kept}", err=True)
    elif (out is not None or store) and not quiet:
        where = [str(out / "runs.parquet")] if out is not None else []
        where += [f"{store.rstrip('/')}/runs.parquet"] if store else []
        click.echo(f"softnet: results in {' and '.join(where)}", err=True)
