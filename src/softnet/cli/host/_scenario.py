# SPDX-License-Identifier: GPL-2.0-or-later
"""softnet host scenario."""

from __future__ import annotations

from pathlib import Path

import click

from softnet.cli.host._doctor import from_option


@click.command("scenario", short_help="The machine as a scenario; what was guessed says so.")
@from_option
@click.option("--out", "-o", type=click.Path(path_type=Path), help="Write it into this file; default: print it.")
def scenario(given: tuple[Path, ...], seconds: float, out: Path | None) -> None:
    """Write the scenario of a machine, with a comment at everything that was guessed.

    softnet check accepts it as it is, and softnet run, compare and diff take it. Changes nothing on the machine.
    """
    from softnet.files import atomic
    from softnet.host.scenario import scenario_of
    from softnet.host.sources import read_sources

    text = scenario_of(read_sources(given, seconds))
    if out is None:
        click.echo(text, nl=False)
        return
    with atomic(out) as stream:
        stream.write(text.encode())
