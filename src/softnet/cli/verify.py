# SPDX-License-Identifier: GPL-2.0-or-later
"""Explore every interleaving of small configurations; print the schedule that breaks a property.

Without --driver some 25 to 40 small configurations for each kernel, which share a minute.

Exit status: 0 every property holds but for known findings, all searches exhausted; 1 violated; 2 bad input; 4 inconclusive: a
search did not finish, or was interrupted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from softnet.cli._common import kernels, options, patch_option, schedule_columns, schedule_width_option
from softnet.errors import SoftnetError

if TYPE_CHECKING:
    from softnet.verify.api import Verification, VerifyOptions
    from softnet.verify.model import Config
    from softnet.verify.parallel import Progress
    from softnet.verify.search import Limits

STATUS: Final = {"holds": 0, "violated": 1, "inconclusive": 4}
"""Exit status of a verdict."""
JOBS_MAX: Final = 8
"""As many searches at once as there are CPUs, and no more than this, unless told otherwise."""
LIMITS: Final = 20_000_000, 2048
SWARM_LIMITS: Final = 1_000_000, 64
"""States and MB of a search, and of a member of a swarm."""
PROGRESS_SECONDS: Final = 2.0
"""Between two lines of progress."""

_configuration = options(
    click.option(
        "--kernel",
        "kernels",
        multiple=True,
        metavar="RELEASE[-rt|-threads]",
        shell_complete=kernels,
        help="Default: 6.12, 6.12-threads, 6.12-rt.",
    ),
    patch_option,
    click.option("--thorough", is_flag=True, help="Search larger configurations, too: the standard ones."),
    click.option("--cpus", type=click.IntRange(2, 8), default=2, show_default=True, help="CPUs of --thorough and of --driver."),
    click.option("--skbs", type=click.IntRange(1, 16), default=2, show_default=True, help="skbs that each CPU frees there."),
    click.option(
        "--driver",
        "drivers",
        multiple=True,
        metavar="KIND:CPU[:COUNT[:CPU]]",
        help="One configuration of your own instead: free, netif_rx, rps (to the last CPU), irq, nic, hotplug, call.",
    ),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="KEY=VALUE",
        help="Of every configuration: defer_max, budget, dev_weight, rps, preempt, resched, any_order, ticks, …",
    ),
    click.option(
        "--event",
        "events",
        multiple=True,
        metavar="NAME=VALUE",
        help="A setting that changes while it runs: skb_defer_max, netdev_max_backlog, netdev_budget, dev_weight, rps_cpus.",
    ),
    click.option("--property-file", "property_files", multiple=True, type=click.Path(), help="A file with properties of yours."),
    click.option(
        "--property",
        "properties",
        multiple=True,
        metavar="NAME|NUMBER",
        help="Check only this property, deadlock, and what stops a function; I6 names all of that invariant.",
    ),
    click.option("--without", multiple=True, metavar="NAME|NUMBER", help="Do not check this property."),
    click.option("--strict", is_flag=True, help="Fail, and stop, at what the shipped kernel is known to break, too."),
    click.option("--liveness", is_flag=True, help="Ask the graph of the finished search, too: does anything stay owed for ever?"),
    click.option(
        "--memory-model",
        type=click.Choice(["sc", "tso"]),
        help="tso: x86's, where stores wait in each CPU's store buffer and loads pass them. Default: sc, sequentially consistent.",
    ),
    click.option(
        "--store-buffer", type=click.IntRange(1, 8), metavar="N", help="Stores that a buffer holds, with tso.  [default: 4]"
    ),
    click.option("--no-reduce", is_flag=True, help="Stop at every interaction point."),
)

_limits = options(
    click.option(
        "--max-states", type=click.IntRange(min=1), help="Of one search.  [default: 20000000; of a swarm's member 1000000]"
    ),
    click.option("--memory", "memory_mb", type=click.IntRange(min=64), help="Of one, in MB.  [default: 2048; of a member 64]"),
    click.option(
        "--max-seconds",
        type=click.FloatRange(min=0),
        help="Of one search.  [default: 60; without --driver and --thorough all searches share 60 on each CPU]",
    ),
    click.option(
        "--storage",
        type=click.Choice(["exact", "compact"]),
        default="exact",
        show_default=True,
        help="exact keeps states whole; compact keeps 64 bits of each, for large searches.",
    ),
    click.option(
        "--swarm",
        type=click.IntRange(1, 4096),
        metavar="N",
        help="Search each configuration N times, bounded, in N orders: for what is too large. It finds, and never says that "
        "something holds.",
    ),
    click.option("--seed", type=click.IntRange(0, 1 << 40), default=0, show_default=True, help="Of the first order of a swarm."),
    click.option(
        "--jobs",
        "-j",
        type=click.IntRange(1, 64),
        help="So many configurations at once, each in a process of its own with --memory of its own.  "
        "[default: 1; without --driver, and of a swarm, one for each CPU, at most 8]",
    ),
    click.option(
        "--cores",
        type=click.IntRange(1, 64),
        default=1,
        show_default=True,
        help="Threads of one search, level by level; with --storage compact.",
    ),
    click.option(
        "--cluster",
        default="",
        metavar="WHERE",
        help="Search on a Dask cluster instead: tcp://HOST:PORT of its scheduler, local:N, slurm:N or kubernetes:N workers.",
    ),
    click.option(
        "--save",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Where the one search goes if a limit or Ctrl-C stops it.",
    ),
    click.option(
        "--resume",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Go on with a search that was saved.",
    ),
)

_output = options(
    click.option(
        "--export-promela",
        "promela",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Write the one configuration as a model for SPIN, and FILE with the suffix .h beside it.",
    ),
    click.option("--all-accesses", is_flag=True, help="Show every access of a counterexample, not those that conflict."),
    click.option(
        "--html", "html", type=click.Path(dir_okay=False), help="Write a counterexample as a page with a sequence diagram."
    ),
    click.option("--perfetto", "perfetto", type=click.Path(dir_okay=False), help="Write a counterexample for ui.perfetto.dev."),
    click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON."),
    click.option("--quiet", "-q", is_flag=True, help="No progress."),
    schedule_width_option,
)


@click.command("verify", help=__doc__)
@_configuration
@_limits
@_output
def command(kernels: tuple[str, ...], promela: Path | None, html: str | None, perfetto: str | None, **given: Any) -> None:
    """Verify."""
    from softnet.report import verify as text
    from softnet.verify.api import configurations
    from softnet.verify.search import Limits

    if given["cluster"] and given["jobs"] is not None:
        raise SoftnetError("searches run here or on a cluster", where="--jobs", found=f"--cluster {given['cluster']}",
                           expected="one of them", hint="--cluster local:4 has four processes")  # fmt: skip
    if given["swarm"] and not given["drivers"]:
        raise SoftnetError("a swarm searches what is too large for one search", where="--swarm", found="no --driver",
                           expected="a configuration of your own")  # fmt: skip
    configs = configurations(kernels, _options(given))
    states, memory = SWARM_LIMITS if given["swarm"] else LIMITS
    limits = Limits(
        given["max_states"] or states, (given["memory_mb"] or memory) << 20, given["storage"], cores=given["cores"]
    )  # fmt: skip
    if promela is not None:
        _export(configs, promela, limits)
        return
    found = _searched(configs, limits, given)
    text.write_counterexample(found, html, perfetto, every=given["all_accesses"])
    if given["as_json"]:
        click.echo(json.dumps(text.outcomes_as_json(found), indent=2))
    else:
        click.echo(
            text.summary(found, every=given["all_accesses"], width=schedule_columns(given["width"]), color=sys.stdout.isatty())
        )
    sys.exit(STATUS[found.verdict])


def _options(given: dict[str, Any]) -> VerifyOptions:
    """How configurations are made: the options of that name."""
    from dataclasses import fields

    from softnet.verify.api import VerifyOptions

    return VerifyOptions(
        **{f.name: given[f.name] for f in fields(VerifyOptions) if f.name != "reduce"}, reduce=not given["no_reduce"]
    )


def _searched(configs: list[Config], limits: Limits, given: dict[str, Any]) -> Verification:
    """Search; a line for each outcome as it comes, unless JSON is wanted."""
    from softnet.report import verify as text
    from softnet.verify.api import Verification, searches

    found = Verification()
    table = text.SearchTable(configs, schedule_columns(given["width"]), color=sys.stdout.isatty())
    progress = None if given["quiet"] or given["as_json"] else _progress()
    how = {name: given[name] for name in ("save", "resume", "strict", "cluster", "seed")} | _time_and_jobs(given)
    how["swarm"] = given["swarm"] or 0
    for outcome, seconds in searches(configs, limits, progress=progress, **how):
        found.searches.append((outcome, seconds))
        if not given["as_json"]:
            if len(found.searches) == 1:
                click.echo(table.head())
            click.echo(table.row(outcome, seconds))
    return found


def _time_and_jobs(given: dict[str, Any]) -> dict[str, Any]:
    """How long searches may take, and how many run at once: what was asked, else what suits one search or many."""
    import os

    from softnet.verify.parallel import SECONDS

    many, many_jobs = not given["drivers"], min(len(os.sched_getaffinity(0)), JOBS_MAX)
    return {
        "max_seconds": given["max_seconds"] if given["max_seconds"] is not None else SECONDS,
        "together": SECONDS if many and not given["thorough"] and given["max_seconds"] is None else None,
        "jobs": given["jobs"] or (many_jobs if given["cores"] == 1 and (many or given.get("swarm")) else 1),
    }


def _progress() -> Callable[[Progress], None]:
    """A line every two seconds of a search."""
    from softnet.report.verify import progress_line

    config: Config | None = None
    shown = 0.0

    def report(progress: Progress) -> None:
        nonlocal config, shown
        if progress.config is not config:
            config, shown = progress.config, 0.0
        if progress.seconds - shown > PROGRESS_SECONDS:
            shown = progress.seconds
            click.echo(progress_line(progress), err=True)

    return report


def _export(configs: list[Config], path: Path, limits: Limits) -> None:
    """Write the model for SPIN, and say what SPIN should find."""
    from softnet.report.verify import export_text
    from softnet.verify.promela import export

    if len(configs) != 1:
        raise SoftnetError("a model for SPIN is of one configuration", where="--export-promela", found=f"{len(configs)}",
                           expected="one --kernel and --driver")  # fmt: skip
    click.echo(export_text(export(configs[0], path, limits)))
