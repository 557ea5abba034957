# SPDX-License-Identifier: GPL-2.0-or-later
"""`softnet lab check` and `conform`: real traces against the model."""

from __future__ import annotations

import json
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
    from softnet.lab.studies.conform import Outcome


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="TRACE...", type=click.Path(path_type=Path))
@click.option("--patch", "patches", multiple=True, metavar="FILE", help="A patch of the model to check with.")
@click.option("--coverage", is_flag=True, help="Say which ways of the model's functions the traces took.")
@json_option
def check(paths: tuple[Path, ...], patches: tuple[str, ...], coverage: bool, as_json: bool) -> int:
    """Say whether a real kernel's trace (ARM.lab.jsonl.gz) is a behaviour of the model. Status 1: one is not."""
    from softnet.lab import verdicts
    from softnet.lab.tracing import records
    from softnet.lab.validate.branches import merged
    from softnet.lab.validate.verdict import check as check_trace

    found = [(path, check_trace(records.read(path), patches=patches)) for path in paths]
    if as_json:
        rows = [{"trace": str(path), **verdict.as_json()} for path, verdict in found]
        for row in rows:
            if not coverage:
                del row["branches"]
        print_json(rows)
        return 0 if all(verdict.accepted for _, verdict in found) else 1
    for path, verdict in found:
        click.echo("\n".join(verdicts.verdict_lines(str(path), verdict)))
    if coverage:
        click.echo("\n" + "\n".join(verdicts.branch_lines(merged(verdict.branches for _, verdict in found))))
    return 0 if all(verdict.accepted for _, verdict in found) else 1


@click.command()
@click.option(
    "--kernel",
    "kernels",
    multiple=True,
    help="A kernel to run it on; may be repeated. Default: the five arms.",
)
@click.option("--only", default="", metavar="TEXT", help="Only experiments whose name contains TEXT.")
@click.option(
    "--again",
    is_flag=True,
    help="Boot nothing: hold the traces that an earlier run left in --out against the model.",
)
@guest_options
@json_option
def conform(
    kernels: tuple[str, ...],
    only: str,
    again: bool,
    accel: str,
    timeout_seconds: float,
    out: Path | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Run every experiment on every arm and hold each trace against the model. Status 1: an unknown disagreement."""
    from softnet.lab import verdicts
    from softnet.lab.play.run import ARMS
    from softnet.lab.studies import conform as suite

    say = say_nothing if quiet else say_aloud
    chosen = [experiment for experiment in suite.suite() if only in experiment.name]
    if not chosen:
        names = ", ".join(experiment.name for experiment in suite.suite())
        raise click.BadParameter(f"no experiment is called so; there are: {names}", param_hint="--only")
    if again and out is None:
        raise click.UsageError("--again needs --out: the folder that an earlier run wrote")
    arms = arms_of(kernels or ARMS, (), say, boots=not again)
    options = options_of(accel, timeout_seconds)
    not_run: dict[str, str] = {}
    outcomes = suite.conform(arms, chosen, options=options, say=say, folder=out, again=again, not_run=not_run)
    for name, why in not_run.items():
        click.echo(f"not run: {name}: {why}", err=True)
    if not outcomes:
        return 1
    arm_names = [arm.name for arm in arms]
    if out is not None:
        _write(out, outcomes, arm_names, only)
        say(f"tables are in {out}/conform.html, conform.md and conform.json, traces beside them")
    if as_json:
        print_json(_told(outcomes))
    else:
        click.echo("\n".join(verdicts.conform_lines(outcomes, arm_names)))
    fine = all(outcome.word in ("ok", "known") for outcome in outcomes)
    return 0 if fine and not not_run else 1


def _told(outcomes: list[Outcome]) -> dict[str, object]:
    from softnet.lab.studies import conform as suite

    return {
        "outcomes": [outcome.as_json() for outcome in outcomes],
        "decisions": suite.coverage(outcomes),
        "branches": {arm: suite.branches(outcomes, arm) for arm in dict.fromkeys(o.arm for o in outcomes)},
    }


def _write(out: Path, outcomes: list[Outcome], arms: list[str], only: str) -> None:
    from softnet.lab import verdicts
    from softnet.lab.vm import cache
    from softnet.report.conformance import write_conformance

    command = "softnet lab conform" + (f' --only "{only}"' if only else "") + " --out DIR"
    out.mkdir(parents=True, exist_ok=True)
    cache.write_whole(out / "conform.json", (json.dumps(_told(outcomes), indent=1) + "\n").encode())
    cache.write_whole(out / "conform.md", verdicts.conform_document(outcomes, arms, command).encode())
    write_conformance(out, outcomes, arms, command)
