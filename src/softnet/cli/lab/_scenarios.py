# SPDX-License-Identifier: GPL-2.0-or-later
"""`softnet lab run` and `compare`: a scenario on real kernels."""

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
    print_results,
    say_aloud,
    say_nothing,
    write_results,
)

if TYPE_CHECKING:
    from softnet.lab.play.run import Options


@click.command()
@click.argument("scenario_path", metavar="SCENARIO", type=click.Path(path_type=Path))
@click.option("--kernel", "kernel", default="6.12", show_default=True, help="6.12, 6.12-rt, 6.12-threads or a vmlinuz.")
@click.option("--boot-arg", "boot_args", multiple=True, help="A word for the kernel's command line; may be repeated.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting of the scenario.")
@click.option(
    "--clock",
    type=click.Choice(["counter", "mono"]),
    default="counter",
    show_default=True,
    help="Trace by total order or by time.",
)
@click.option(
    "--stretch",
    type=click.IntRange(1, 10_000),
    default=1,
    show_default=True,
    help="Play it so many times slower, for a guest that cannot keep up.",
)
@guest_options
@json_option
def run(
    scenario_path: Path,
    kernel: str,
    boot_args: tuple[str, ...],
    overrides: tuple[str, ...],
    clock: str,
    stretch: int,
    accel: str,
    timeout_seconds: float,
    out: Path | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Run SCENARIO on a real kernel."""
    return _run_scenario(
        scenario_path,
        (kernel,),
        boot_args,
        overrides,
        clock,
        stretch,
        options_of(accel, timeout_seconds),
        out,
        quiet,
        as_json,
    )


@click.command()
@click.argument("scenario_path", metavar="SCENARIO", type=click.Path(path_type=Path))
@click.option(
    "--kernel",
    "kernels",
    multiple=True,
    help="A kernel to run it on; may be repeated. Default: the five arms.",
)
@click.option("--boot-arg", "boot_args", multiple=True, help="A word for every command line; may be repeated.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting of the scenario.")
@click.option(
    "--stretch",
    type=click.IntRange(1, 10_000),
    default=1,
    show_default=True,
    help="Play it so many times slower, for a guest that cannot keep up.",
)
@guest_options
@json_option
def compare(
    scenario_path: Path,
    kernels: tuple[str, ...],
    boot_args: tuple[str, ...],
    overrides: tuple[str, ...],
    stretch: int,
    accel: str,
    timeout_seconds: float,
    out: Path | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Run SCENARIO on several real kernels and show them side by side."""
    from softnet.lab.play.run import ARMS

    names = kernels or ARMS
    return _run_scenario(
        scenario_path,
        names,
        boot_args,
        overrides,
        "counter",
        stretch,
        options_of(accel, timeout_seconds),
        out,
        quiet,
        as_json,
    )


def _run_scenario(
    path: Path,
    names: tuple[str, ...],
    boot_args: tuple[str, ...],
    overrides: tuple[str, ...],
    clock: str,
    stretch: int,
    options: Options,
    out: Path | None,
    quiet: bool,
    as_json: bool,
) -> int:
    from softnet.lab.play.run import run_scenario
    from softnet.lab.play.scenario import refuse_impossible
    from softnet.scenario import load_scenario

    say = say_nothing if quiet else say_aloud
    scenario = load_scenario(path, overrides)
    refuse_impossible(scenario)
    results = [
        run_scenario(arm, scenario, options=options, say=say, clock=clock, stretch=stretch)
        for arm in arms_of(names, boot_args, say)
    ]
    write_results(results, out, say)
    if as_json:
        print_json([result.as_json() for result in results])
    else:
        click.echo(f"{scenario.name}: {scenario.measure.duration_ms * stretch:g} ms on real kernels\n")
        print_results(results)
    return 0
