# SPDX-License-Identifier: GPL-2.0-or-later
"""`softnet lab check` and `conform`: real traces against the model."""

from __future__ import annotations

from pathlib import Path

import click

from softnet.cli._common import paper, schedule_width_option
from softnet.cli.lab._shared import EXIT_NOTHING_RECORDED, Guests, guest_options, json_option, kernels_option, print_json


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="TRACE...", type=click.Path(path_type=Path))
@click.option("--patch", "patches", multiple=True, metavar="FILE", help="A patch of the model to check with.")
@click.option("--coverage", is_flag=True, help="Say which ways of the model's functions the traces took.")
@json_option
@schedule_width_option
def check(paths: tuple[Path, ...], patches: tuple[str, ...], coverage: bool, as_json: bool, width: int | None) -> int:
    """Say whether a real kernel's trace (ARM.lab.jsonl.gz) is a behaviour of the model. Status 1: one is not; 5: one
    has no event, so there is nothing to check.
    """
    from softnet.lab.errors import LabError
    from softnet.lab.tracing import records
    from softnet.lab.validate.branches import merged
    from softnet.lab.validate.checker import check as check_trace
    from softnet.report import lab_verdicts

    found = []
    for path in paths:
        trace = records.read(path)
        try:
            found.append((path, check_trace(trace, patches=patches)))
        except LabError as error:
            if error.where.endswith("of the trace"):
                error.where = f"{path}: {error.where}"
            raise
    if as_json:
        print_json([lab_verdicts.check_row(path, verdict, coverage=coverage) for path, verdict in found])
    else:
        # What is refused comes first; in a file a line may be as long as it is.
        on = paper(width, 10_000)
        for path, verdict in sorted(found, key=lambda one: one[1].accepted):
            click.echo("\n".join(lab_verdicts.told(str(path), verdict, on)))
        if coverage:
            click.echo("\n" + "\n".join(lab_verdicts.branch_lines(merged(verdict.branches for _, verdict in found), on)))
    if not all(verdict.accepted for _, verdict in found):
        return 1
    return 0 if all(verdict.events for _, verdict in found) else EXIT_NOTHING_RECORDED


@click.command()
@kernels_option()
@click.option("--only", default="", metavar="TEXT", help="Only experiments whose name contains TEXT.")
@click.option(
    "--again",
    is_flag=True,
    help="Boot nothing: hold the traces that an earlier run left in --out against the model.",
)
@guest_options
@json_option
def conform(kernels: tuple[str, ...], only: str, again: bool, guests: Guests, as_json: bool) -> int:
    """Run every experiment on every arm and hold each trace against the model. Status 1: an unknown disagreement."""
    from softnet.lab.play.arm import arms_here
    from softnet.lab.studies import conform as suite
    from softnet.report import conformance, lab_verdicts

    chosen = [experiment for experiment in suite.suite() if only in experiment.name]
    if not chosen:
        names = ", ".join(experiment.name for experiment in suite.suite())
        raise click.BadParameter(f"no experiment is called so; there are: {names}", param_hint="--only")
    if again and guests.out is None:
        raise click.UsageError("--again needs --out: the folder that an earlier run wrote")
    folders = [experiment.folder for experiment in chosen]
    chosen_arms = kernels or arms_here(guests.out if again else None)
    guests.claim([] if again else chosen_arms, folders, others=("conform.json", "conform.md", "conform.html"))
    arms = guests.arms(chosen_arms, boots=not again, below=())
    not_run: dict[str, str] = {}
    outcomes = suite.conform(arms, chosen, options=guests.options, say=guests.say, folder=guests.out, again=again, not_run=not_run)
    for name, why in not_run.items():
        click.echo(f"not run: {name}: {why}", err=True)
    if not outcomes:
        return 1
    arm_names = [arm.label for arm in arms]
    if guests.out is not None:
        command = "softnet lab conform" + (f' --only "{only}"' if only else "") + " --out DIR"
        conformance.write_all(guests.out, outcomes, arm_names, command)
        guests.say(f"tables are in {guests.out}/conform.html, conform.md and conform.json, traces beside them")
    if as_json:
        print_json(suite.as_json(outcomes))
    else:
        click.echo("\n".join(lab_verdicts.conform_lines(outcomes, arm_names, guests.paper)))
    fine = all(outcome.word in ("ok", "known") for outcome in outcomes)
    return 0 if fine and not not_run else 1
