# SPDX-License-Identifier: GPL-2.0-or-later
"""`softnet lab check` and `conform`: real traces against the model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from softnet.cli.lab._shared import (
    arms_of,
    guest_options,
    json_option,
    options_of,
    print_json,
    say_aloud,
    say_nothing,
)

if TYPE_CHECKING:
    from softnet.lab.conform import Outcome
    from softnet.lab.run import LabResult


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="TRACE...", type=click.Path(path_type=Path))
@click.option("--patch", "patches", multiple=True, metavar="FILE", help="A patch of the model to check with.")
@json_option
def check(paths: tuple[Path, ...], patches: tuple[str, ...], as_json: bool) -> int:
    """Say whether a real kernel's trace (ARM.lab.jsonl.gz) is a behaviour of the model. Status 1: one is not."""
    from softnet.lab import records, show
    from softnet.lab.validate.verdict import check as check_trace

    verdicts = [(path, check_trace(records.read(path), patches=patches)) for path in paths]
    if as_json:
        print_json([{"trace": str(path), **verdict.as_json()} for path, verdict in verdicts])
    else:
        for path, verdict in verdicts:
            click.echo("\n".join(show.verdict_lines(str(path), verdict)))
    return 0 if all(verdict.accepted for _, verdict in verdicts) else 1


@click.command()
@click.option(
    "--kernel",
    "kernels",
    multiple=True,
    help="A kernel to run it on; may be repeated. Default: the five arms.",
)
@click.option("--only", default="", metavar="TEXT", help="Only experiments whose name contains TEXT.")
@guest_options
@json_option
def conform(
    kernels: tuple[str, ...],
    only: str,
    accel: str,
    timeout_seconds: float,
    out: Path | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Run every experiment on every arm and hold each trace against the model. Status 1: an unknown disagreement."""
    from softnet.lab import conform as suite
    from softnet.lab import show
    from softnet.lab.run import ARMS, write_out

    say = say_nothing if quiet else say_aloud
    chosen = [experiment for experiment in suite.suite() if only in experiment.name]
    if not chosen:
        names = ", ".join(experiment.name for experiment in suite.suite())
        raise click.BadParameter(f"no experiment is called so; there are: {names}", param_hint="--only")

    def keep(outcome: Outcome, result: LabResult) -> None:
        if out is not None:
            write_out(result, out / outcome.experiment.replace(" ", "-").replace(",", "").replace(":", ""))

    arms = arms_of(kernels or ARMS, (), say)
    outcomes = suite.conform(arms, chosen, options=options_of(accel, timeout_seconds), say=say, each=keep)
    if as_json:
        print_json(
            {"outcomes": [outcome.as_json() for outcome in outcomes], "coverage": suite.coverage(outcomes)}
        )
    else:
        click.echo("\n".join(show.conform_lines(outcomes, [arm.name for arm in arms])))
    return 0 if all(outcome.word in ("ok", "known") for outcome in outcomes) else 1
