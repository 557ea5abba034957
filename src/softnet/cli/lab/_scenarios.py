# SPDX-License-Identifier: GPL-2.0-or-later
"""`softnet lab run` and `compare`: a scenario on real kernels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from softnet.cli.lab._shared import (
    Guests,
    boot_arg_option,
    guest_options,
    json_option,
    kernels_option,
    one_kernel_option,
    possible_scenario,
    print_json,
    scenario_argument,
    set_option,
    status_of,
    stretch_option,
)

_SLOWER = ", for a guest that cannot keep up"


@dataclass(frozen=True)
class _Asked:
    """What both commands are given: the scenario, and how it is played."""

    path: Path
    overrides: tuple[str, ...]
    boot_args: tuple[str, ...]
    stretch: int
    as_json: bool
    clock: str = "counter"


@click.command()
@scenario_argument
@one_kernel_option
@boot_arg_option("the kernel's command line")
@set_option
@click.option(
    "--clock",
    type=click.Choice(["counter", "mono"]),
    default="counter",
    show_default=True,
    help="Trace by total order or by time.",
)
@stretch_option(_SLOWER)
@guest_options
@json_option
def run(
    scenario_path: Path,
    kernel: str,
    boot_args: tuple[str, ...],
    overrides: tuple[str, ...],
    clock: str,
    stretch: int,
    guests: Guests,
    as_json: bool,
) -> int:
    """Run SCENARIO on a real kernel. Status 5: not one event was recorded."""
    return _run(_Asked(scenario_path, overrides, boot_args, stretch, as_json, clock), (kernel,), guests)


@click.command()
@scenario_argument
@kernels_option()
@boot_arg_option("every command line")
@set_option
@stretch_option(_SLOWER)
@guest_options
@json_option
def compare(
    scenario_path: Path,
    kernels: tuple[str, ...],
    boot_args: tuple[str, ...],
    overrides: tuple[str, ...],
    stretch: int,
    guests: Guests,
    as_json: bool,
) -> int:
    """Run SCENARIO on several real kernels and show them side by side. Status 5: one recorded not one event."""
    from softnet.lab.play.arm import arms_here

    return _run(_Asked(scenario_path, overrides, boot_args, stretch, as_json), kernels or arms_here(), guests)


def _run(asked: _Asked, names: tuple[str, ...], guests: Guests) -> int:
    from softnet.lab.play.run import run_scenario
    from softnet.report.lab_tables import results_text

    scenario = possible_scenario(asked.path, asked.overrides)
    results = [
        run_scenario(arm, scenario, options=guests.options, say=guests.say, clock=asked.clock, stretch=asked.stretch)
        for arm in guests.arms(names, asked.boot_args)
    ]
    guests.write(results)
    if asked.as_json:
        print_json([result.as_json() for result in results])
    else:
        click.echo(f"{scenario.name}: {scenario.measure.duration_ms * asked.stretch:g} ms on real kernels\n")
        click.echo(results_text(results, guests.paper))
    return status_of(results)
