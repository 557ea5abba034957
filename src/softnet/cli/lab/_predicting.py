# SPDX-License-Identifier: GPL-2.0-or-later
"""`softnet lab calibrate` and `predict`: a cost table fitted to a guest, and what the model says with it."""

from __future__ import annotations

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
    from collections.abc import Callable
    from typing import Any

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
@click.option(
    "--kernel", "kernel", default="6.12", show_default=True, help="6.12, 6.12-rt, 6.12-threads or a vmlinuz."
)
@click.option(
    "--out", "out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The table to write."
)
@click.option("--note", default="", help="A date or what else the table shall say of its making.")
@_guest
@json_option
def calibrate(
    kernel: str, out: Path, note: str, accel: str, timeout_seconds: float, quiet: bool, as_json: bool
) -> int:
    """Fit a cost table to a guest: softnet run takes it with machine.costs, softnet lab predict with --costs."""
    from softnet.lab import cache, show
    from softnet.lab import calibrate as lab_calibrate

    say = say_nothing if quiet else say_aloud
    lab_calibrate.check_note(note)
    (arm,) = arms_of((kernel,), (), say)
    made = lab_calibrate.calibrate(arm, options=options_of(accel, timeout_seconds), say=say, when=note)
    cache.write_whole(out, lab_calibrate.table_of(made, out.stem).encode())
    if as_json:
        print_json(made.as_json())
        return 0
    rows = [
        [row.name, f"{row.value} {'ps/byte' if row.per_byte else 'ns'}", row.provenance] for row in made.rows
    ]
    click.echo(show.table(["row", "value", "provenance"], rows))
    fitted = [[name, str(pair["guest"]), str(pair["model"])] for name, pair in made.medians.items()]
    click.echo("\n" + show.table(["experiment, median", "guest ns", "model ns"], fitted))
    click.echo(f"\n{arm.name}: Linux {made.release}, QEMU {made.ran.qemu} {made.ran.accel}; written to {out}")
    return 0


@click.command()
@click.argument("scenario_path", metavar="SCENARIO", type=click.Path(path_type=Path))
@click.option(
    "--kernel", "kernel", default="6.12", show_default=True, help="6.12, 6.12-rt, 6.12-threads or a vmlinuz."
)
@click.option(
    "--costs", required=True, help="A table of softnet lab calibrate, or any other, by name or path."
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting of the scenario."
)
@click.option(
    "--stretch",
    type=click.IntRange(1, 10_000),
    default=1,
    show_default=True,
    help="Play it so many times slower.",
)
@_guest
@json_option
def predict(
    scenario_path: Path,
    kernel: str,
    costs: str,
    overrides: tuple[str, ...],
    stretch: int,
    accel: str,
    timeout_seconds: float,
    quiet: bool,
    as_json: bool,
) -> int:
    """Say what the model predicts of SCENARIO, and what a real kernel does."""
    from softnet.lab import prediction as lab_predict
    from softnet.lab import show
    from softnet.lab.scenario import refuse_impossible
    from softnet.machine.costtable import load_cost_table
    from softnet.scenario import load_scenario
    from softnet.units import format_ns

    say = say_nothing if quiet else say_aloud
    scenario = load_scenario(scenario_path, overrides)
    refuse_impossible(scenario)
    load_cost_table(costs)
    table = costs if not Path(costs).exists() else str(Path(costs).resolve())
    (arm,) = arms_of((kernel,), (), say)
    told = lab_predict.predict(
        arm, scenario, table, options=options_of(accel, timeout_seconds), say=say, stretch=stretch
    )
    if as_json:
        print_json(told.as_json())
        return 0
    rows = []
    for row in told.rows:
        cells = [format_ns(value) if row.unit else str(value) for value in (row.predicted, row.measured)]
        error = "-" if row.error_permille is None else f"{row.error_permille / 10:+.1f} %"
        rows.append([row.name, *cells, error])
    click.echo(f"{told.scenario} on {told.arm} (Linux {told.release}, {told.ran}), costs {told.costs}\n")
    click.echo(show.table(["", "predicted", "measured", "error"], rows) + "\n")
    for text in told.deviations:
        click.echo(f"deviation: {text}")
    return 0
