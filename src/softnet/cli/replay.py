# SPDX-License-Identifier: GPL-2.0-or-later
"""Replay a recording of a machine: how well the model reproduces it, and what a change would do.

RECORDING is a file of softnet host record, of trace-cmd (version 6), or the text of cat trace or perf script. First the model
runs what was recorded: the same packets at the same times, the same other tasks. Each figure is printed beside the recorded one,
with its error; costs are fitted to the recording's first half, and figures are of the second. With --set, --kernel or --patch the
model then runs the same with the change, and each figure stands beside the error that it had without.

Exit status: 0 done, 2 bad input, 3 a kernel function stopped the model's run.
"""

from __future__ import annotations

from pathlib import Path

import click

from softnet.cli._common import another_kernel_option, columns, echo_json, patch_option, progress_bar, stopped_kernel, width_option


@click.command("replay", help=__doc__)
@click.argument("recording", type=click.Path(path_type=Path))
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE",
              help="A change: sysctl.skb_defer_max=0, loopback.rps_cpus=[1], application.0.cpu=1.")  # fmt: skip
@another_kernel_option
@patch_option
@click.option("--engine", type=click.Choice(["auto", "reference", "native"]), default="auto", show_default=True,
              help="What runs the functions.")  # fmt: skip
@click.option("--scenario", "scenario_out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Also write the scenario into this file, as JSON.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
@width_option
def command(
    recording: Path, settings: tuple[str, ...], kernel: str, patches: tuple[str, ...], engine: str, scenario_out: Path | None,
    as_json: bool, quiet: bool, width: int | None,
) -> None:  # fmt: skip
    """Replay."""
    from softnet.files import atomic
    from softnet.host.replay import replay
    from softnet.report.recording import replay_lines

    with stopped_kernel(), progress_bar(quiet or as_json, 100, "replaying") as shown:
        found = replay(
            recording, settings=settings, kernel=kernel, patches=patches, engine=engine,
            progress=lambda done, total, text: shown(done * 100 // max(total, 1), text),
        )  # fmt: skip
    if scenario_out is not None:
        from softnet.simulate.output import to_json

        with atomic(scenario_out) as stream:
            stream.write(to_json(found.scenario).encode())
    if as_json:
        echo_json(found.to_dict())
        return
    for line in replay_lines(found, columns(width)):
        click.echo(line)
