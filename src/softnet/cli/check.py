# SPDX-License-Identifier: GPL-2.0-or-later
"""Check a scenario, its captures and patches without running it.

Says what would run, and what the kernel or the model would do otherwise than written. Exit status: 0 sound, 2 bad input, with every
problem of the file by its line.
"""

from __future__ import annotations

from pathlib import Path

import click

from softnet.cli._common import another_kernel_option, echo_json, patch_option


@click.command("check", help=__doc__)
@click.argument("scenario", type=click.Path(path_type=Path))
@another_kernel_option
@patch_option
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a setting.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def command(scenario: Path, kernel: str, patches: tuple[str, ...], settings: tuple[str, ...], as_json: bool) -> None:
    """Check one scenario."""
    from softnet.image.plan import SKB_POOL_MAX, skbs_needed
    from softnet.scenario.traffic import capture_notes
    from softnet.simulate.api import resolve
    from softnet.simulate.program import load_program, scenario_costs

    made = resolve(scenario, kernel, settings)
    costs = scenario_costs(made)
    program = load_program(made, patches, costs)
    captures = capture_notes(made)
    notes = list(made.notes())
    if skbs_needed(made) > SKB_POOL_MAX:
        notes.append(
            f"up to {skbs_needed(made):,} skbs may be in use at once, and the model holds {SKB_POOL_MAX:,}: a run that"
            " needs more stops"
        )
    patched = [name for name in program.modules if not name.startswith("softnet.")]
    found = {
        "scenario": made.name,
        "kernel": f"{made.kernel.release} {made.kernel.flavour}",
        "cpus": made.machine.cpus,
        "duration_ns": made.measure.duration_ns,
        "costs": costs.name,
        "functions": len(program.functions),
        "patches": patched,
        "captures": captures,
        "notes": notes,
    }
    if as_json:
        echo_json(found)
        return
    click.echo(
        f"{made.name}: sound. {made.kernel.release} {made.kernel.flavour}, {made.machine.cpus} CPUs,"
        f" {made.measure.duration_ns / 1e6:g} ms, costs {costs.name}, {len(program.functions)} functions"
        + (f", patched by {', '.join(patched)}" if patched else "")
    )
    for line in captures:
        click.echo(f"  {line}")
    for note in notes:
        click.echo(f"  not as written: {note}")
