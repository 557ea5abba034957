# SPDX-License-Identifier: GPL-2.0-or-later
"""`softnet lab calibrate` and `predict`: a cost table fitted to a guest, and what the model says with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from softnet.cli.lab._shared import (
    arms_of,
    json_option,
    options_of,
    print_json,
    say_aloud,
    say_nothing,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from softnet.lab.play.run import Options
    from softnet.lab.studies.scenario_prediction import Prediction

_ACCEL = click.option(
    "--accel",
    type=click.Choice(["icount", "kvm", "tcg", "tcg-single"]),
    default="icount",
    show_default=True,
    help="What runs the guest; icount is emulation in which an instruction takes 1 ns, the same on every host.",
)
_TIMEOUT = click.option(
    "--timeout", "timeout_seconds", type=click.FloatRange(min=1), default=600.0, show_default=True,
    help="Seconds after which a guest is killed.",
)  # fmt: skip
_QUIET = click.option("--quiet", is_flag=True, help="No progress on stderr.")


def _guest(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (_ACCEL, _TIMEOUT, _QUIET):
        command = option(command)
    return command


@click.command()
@click.option("--kernel", "kernel", default="6.12", show_default=True, help="6.12, 6.12-rt, 6.12-threads or a vmlinuz.")
@click.option("--out", "out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The table to write.")
@click.option("--note", default="", help="A date or what else the table shall say of its making.")
@_guest
@json_option
def calibrate(kernel: str, out: Path, note: str, accel: str, timeout_seconds: float, quiet: bool, as_json: bool) -> int:
    """Fit a cost table to a guest: softnet run takes it with machine.costs, softnet lab predict with --costs."""
    from softnet.lab import show
    from softnet.lab.studies import calibrate as lab_calibrate
    from softnet.lab.vm import cache

    say = say_nothing if quiet else say_aloud
    lab_calibrate.check_note(note)
    (arm,) = arms_of((kernel,), (), say)
    made = lab_calibrate.calibrate(arm, options=options_of(accel, timeout_seconds), say=say, when=note)
    cache.write_whole(out, lab_calibrate.table_of(made, out.stem).encode())
    if as_json:
        print_json(made.as_json())
        return 0
    rows = [[row.name, f"{row.value} {'ps/byte' if row.per_byte else 'ns'}", row.provenance] for row in made.rows]
    click.echo(show.table(["row", "value", "provenance"], rows))
    fitted = [[name, str(pair["guest"]), str(pair["model"])] for name, pair in made.medians.items()]
    click.echo("\n" + show.table(["experiment, median", "guest ns", "model ns"], fitted))
    click.echo(f"\n{arm.name}: Linux {made.release}, QEMU {made.ran.qemu} {made.ran.accel}; written to {out}")
    return 0


@click.command()
@click.argument("scenario_path", metavar="[SCENARIO]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--kernel",
    "kernels",
    multiple=True,
    help="6.12, 6.12-rt, 6.12-threads or a vmlinuz; may be repeated. Default: 6.12, with --all the five arms.",
)
@click.option(
    "--costs",
    default="",
    help="A table of softnet lab calibrate, or any other, by name or path. Default: the one fitted to the arm.",
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting of the scenario.")
@click.option(
    "--stretch",
    type=click.IntRange(1, 10_000),
    default=1,
    show_default=True,
    help="Play it so many times slower.",
)
@click.option("--all", "everything", is_flag=True, help="Every held-out scenario on every arm, with the errors.")
@click.option("--only", default="", metavar="TEXT", help="With --all: only scenarios whose name contains TEXT.")
@click.option(
    "--examples",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("examples"),
    show_default=True,
    help="With --all: where the scenarios are.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="With --all: write predict.json and predict.md here.",
)
@click.option(
    "--again",
    is_flag=True,
    help="With --all: boot nothing, show and write again what an earlier run left in --out.",
)
@_guest
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
    out: Path | None,
    again: bool,
    accel: str,
    timeout_seconds: float,
    quiet: bool,
    as_json: bool,
) -> int:
    """Say what the model predicts of SCENARIO, and what a real kernel does."""
    say = say_nothing if quiet else say_aloud
    options = options_of(accel, timeout_seconds)
    if everything:
        if scenario_path is not None or costs or overrides or stretch != 1:
            raise click.UsageError("--all has scenarios, settings and costs of its own: give it none")
        if again and out is None:
            raise click.UsageError("--again needs --out: the folder that an earlier run wrote")
        return _predict_all(kernels, only, examples, out, options, say, as_json, again)
    if scenario_path is None:
        raise click.UsageError("which scenario? softnet lab predict SCENARIO, or softnet lab predict --all")
    if only or again or out is not None:
        raise click.UsageError("--only, --again and --out belong to --all")
    return _predict_one(scenario_path, kernels or ("6.12",), costs, overrides, stretch, options, say, as_json)


def _predict_one(
    path: Path, kernels: tuple[str, ...], costs: str, overrides: tuple[str, ...], stretch: int, options: Options,
    say: Callable[[str], None], as_json: bool,
) -> int:  # fmt: skip
    from softnet.lab.play.scenario import refuse_impossible
    from softnet.lab.studies import scenario_prediction as lab_predict
    from softnet.lab.studies.replay import guest_costs
    from softnet.machine.costtable import load_cost_table
    from softnet.scenario import load_scenario

    scenario = load_scenario(path, overrides)
    refuse_impossible(scenario)
    if costs:
        load_cost_table(costs)
    table = costs if not costs or not Path(costs).exists() else str(Path(costs).resolve())
    found = [
        lab_predict.predict(arm, scenario, table or guest_costs(arm), options=options, say=say, stretch=stretch)
        for arm in arms_of(kernels, (), say)
    ]
    if as_json:
        print_json(found[0].as_json() if len(found) == 1 else [told.as_json() for told in found])
        return 0
    for told in found:
        _print_prediction(told)
    return 0


def _print_prediction(told: Prediction) -> None:
    from softnet.lab import show
    from softnet.units import format_ns

    rows = []
    for row in told.rows:
        cells = [format_ns(value) if row.unit else str(value) for value in (row.predicted, row.measured)]
        error = "-" if row.error_permille is None else f"{row.error_permille / 10:+.1f} %"
        rows.append([row.name, *cells, error])
    click.echo(f"{told.scenario} on {told.arm} (Linux {told.release}, {told.ran}), costs {told.costs}\n")
    click.echo(show.table(["", "predicted", "measured", "error"], rows) + "\n")
    for text in told.deviations:
        click.echo(f"deviation: {text}")


def _predict_all(
    kernels: tuple[str, ...], only: str, examples: Path, out: Path | None, options: Options, say: Callable[[str], None],
    as_json: bool, again: bool,
) -> int:  # fmt: skip
    from softnet.lab import show
    from softnet.lab.play.run import ARMS
    from softnet.lab.studies import predict_all as heldout

    chosen = [held for held in heldout.HELD_OUT if only in held.name]
    if not chosen:
        names = ", ".join(held.name for held in heldout.HELD_OUT)
        raise click.BadParameter(f"no held-out scenario is called so; there are: {names}", param_hint="--only")

    def keep(attempts: Sequence[heldout.Attempt]) -> None:
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            told = {"predictions": [attempt.as_json() for attempt in attempts]}
            cache.write_whole(out / "predict.json", (json.dumps(told, indent=1) + "\n").encode())
            cache.write_whole(out / "predict.md", heldout.document(attempts, "softnet lab predict --all").encode())

    from softnet.lab.vm import cache

    if again:
        assert out is not None
        wanted = [held.name for held in chosen]
        kept = heldout.read(out / "predict.json")
        attempts = [one for one in kept if one.scenario in wanted and (not kernels or one.arm in kernels)]
        if attempts == kept:
            keep(attempts)
    else:
        arms = arms_of(kernels or ARMS, (), say)
        attempts = heldout.run_all(arms, chosen, examples, options=options, say=say, keep=keep)
    if out is not None:
        say(f"tables are in {out}/predict.md and predict.json")
    if as_json:
        print_json([attempt.as_json() for attempt in attempts])
    else:
        click.echo(show.table(heldout.FIGURES_HEADER, heldout.rows_of(attempts)))
        click.echo("\n" + show.table(heldout.SUMMARY_HEADER, heldout.summary_rows(attempts)))
    return 1 if any(attempt.told is None for attempt in attempts) else 0
