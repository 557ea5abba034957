# SPDX-License-Identifier: GPL-2.0-or-later
"""`softnet lab calibrate` and `predict`: a cost table fitted to a guest, and what the model says with it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from softnet.cli.lab._shared import (
    Guests,
    calibrated_guest_options,
    json_option,
    kernels_option,
    one_kernel_option,
    out_option,
    possible_scenario,
    print_json,
    set_option,
    stretch_option,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from softnet.lab.studies.predict_all import Attempt, HeldOut


@click.command()
@one_kernel_option
@click.option("--out", "-o", "table", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The table to write.")
@click.option("--note", default="", help="A date or what else the table shall say of its making.")
@calibrated_guest_options
@json_option
def calibrate(kernel: str, table: Path, note: str, guests: Guests, as_json: bool) -> int:
    """Fit a cost table to a guest: softnet run takes it with machine.costs, softnet lab predict with --costs."""
    from softnet.files import atomic
    from softnet.lab.studies import calibrate as lab_calibrate
    from softnet.report.lab_predictions import calibration_text

    lab_calibrate.check_note(note)
    (arm,) = guests.arms((kernel,))
    made = lab_calibrate.calibrate(arm, options=guests.options, say=guests.say, when=note)
    with atomic(table) as written:
        written.write(lab_calibrate.table_of(made, table.stem).encode())
    if as_json:
        print_json(made.as_json())
    else:
        click.echo(calibration_text(made, table, guests.paper))
    return 0


@dataclass(frozen=True)
class _Wanted:
    """What is to be predicted: of one scenario, or with --all of which."""

    kernels: tuple[str, ...]
    costs: str
    overrides: tuple[str, ...]
    stretch: int
    only: str
    examples: Path
    again: bool
    as_json: bool


@click.command()
@click.argument("scenario_path", metavar="[SCENARIO]", required=False, type=click.Path(path_type=Path))
@kernels_option("6.12, with --all the arms of the lab that can be had", "6.12, 6.12-rt, 6.12-threads or a vmlinuz")
@click.option(
    "--costs",
    default="",
    help="A table of softnet lab calibrate, or any other, by name or path. Default: the one fitted to the arm.",
)
@set_option
@stretch_option()
@click.option("--all", "everything", is_flag=True, help="Every held-out scenario on every arm, with the errors.")
@click.option("--only", default="", metavar="TEXT", help="With --all: only scenarios whose name contains TEXT.")
@click.option(
    "--examples",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("examples"),
    show_default=True,
    help="With --all: where the scenarios are.",
)
@out_option("With --all: write predict.json and predict.md here.")
@click.option(
    "--again",
    is_flag=True,
    help="With --all: boot nothing, show and write again what an earlier run left in --out.",
)
@calibrated_guest_options
@json_option
def predict(
    scenario_path: Path | None,
    kernels: tuple[str, ...],
    costs: str,
    overrides: tuple[str, ...],
    stretch: int,
    everything: bool,
    only: str,
    examples: Path,
    again: bool,
    guests: Guests,
    as_json: bool,
) -> int:
    """Say what the model predicts of SCENARIO, and what a real kernel does."""
    wanted = _Wanted(kernels, costs, overrides, stretch, only, examples, again, as_json)
    if everything:
        if scenario_path is not None or costs or overrides or stretch != 1:
            raise click.UsageError("--all has scenarios, settings and costs of its own: give it none")
        if again and guests.out is None:
            raise click.UsageError("--again needs --out: the folder that an earlier run wrote")
        return _predict_all(wanted, guests)
    if scenario_path is None:
        raise click.UsageError("which scenario? softnet lab predict SCENARIO, or softnet lab predict --all")
    if only or again or guests.out is not None:
        raise click.UsageError("--only, --again and --out belong to --all")
    return _predict_one(scenario_path, wanted, guests)


def _predict_one(path: Path, wanted: _Wanted, guests: Guests) -> int:
    from softnet.lab.studies import scenario_prediction
    from softnet.lab.studies.replay import guest_costs
    from softnet.machine.costtable import load_cost_table
    from softnet.report.lab_predictions import prediction_text

    scenario = possible_scenario(path, wanted.overrides)
    table = wanted.costs
    if table:
        load_cost_table(table)
        table = str(Path(table).resolve()) if os.path.exists(table) else table
    found = [
        scenario_prediction.predict(
            arm, scenario, table or guest_costs(arm), options=guests.options, say=guests.say, stretch=wanted.stretch
        )
        for arm in guests.arms(wanted.kernels or ("6.12",))
    ]
    if wanted.as_json:
        print_json(found[0].as_json() if len(found) == 1 else [prediction.as_json() for prediction in found])
    else:
        for prediction in found:
            click.echo(prediction_text(prediction, guests.paper))
    return 0


def _predict_all(wanted: _Wanted, guests: Guests) -> int:
    from softnet.lab.studies.predict_all import HELD_OUT
    from softnet.report.lab_predictions import predictions_text

    chosen = [held for held in HELD_OUT if wanted.only in held.name]
    if not chosen:
        names = ", ".join(held.name for held in HELD_OUT)
        raise click.BadParameter(f"no held-out scenario is called so; there are: {names}", param_hint="--only")
    guests.claim((), others=("predict.json", "predict.md"))
    attempts = _kept_attempts(chosen, wanted, guests) if wanted.again else _attempts(chosen, wanted, guests)
    if guests.out is not None:
        guests.say(f"tables are in {guests.out}/predict.md and predict.json")
    if wanted.as_json:
        print_json([attempt.as_json() for attempt in attempts])
    else:
        click.echo(predictions_text(attempts, guests.paper))
    return 1 if any(attempt.told is None for attempt in attempts) else 0


def _attempts(chosen: Sequence[HeldOut], wanted: _Wanted, guests: Guests) -> Sequence[Attempt]:
    """Predict and run; what there is is written after each, so that an interrupted run is not lost."""
    from softnet.lab.play.arm import arms_here
    from softnet.lab.studies.predict_all import run_all
    from softnet.report.lab_predictions import write_attempts

    def keep(attempts: Sequence[Attempt]) -> None:
        if guests.out is not None:
            write_attempts(guests.out, attempts)

    arms = guests.arms(wanted.kernels or arms_here(), below=())
    return run_all(arms, chosen, wanted.examples, options=guests.options, say=guests.say, keep=keep)


def _kept_attempts(chosen: Sequence[HeldOut], wanted: _Wanted, guests: Guests) -> Sequence[Attempt]:
    """What an earlier run left; its tables are written again if nothing of it is left out."""
    from softnet.lab.studies.predict_all import read
    from softnet.report.lab_predictions import write_attempts

    assert guests.out is not None
    names = [held.name for held in chosen]
    kept = read(guests.out / "predict.json")
    attempts = [one for one in kept if one.scenario in names and (not wanted.kernels or one.arm in wanted.kernels)]
    if attempts == kept:
        write_attempts(guests.out, attempts)
    return attempts
