# SPDX-License-Identifier: GPL-2.0-or-later
"""Check a scenario, its captures and patches without running it.

Says what would run, and what the kernel or the model would do otherwise than written. Exit status: 0 sound, 2 bad input, with every
problem of the file by its line.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from softnet.cli._common import another_kernel_option, columns, echo_json, patch_option, width_option


@click.command("check", help=__doc__)
@click.argument("scenario", type=click.Path(path_type=Path))
@another_kernel_option
@patch_option
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a setting.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@width_option
def command(
    scenario: Path, kernel: str, patches: tuple[str, ...], settings: tuple[str, ...], as_json: bool, width: int | None
) -> None:
    """Check one scenario."""
    from softnet.simulate.checked import check

    checked = check(scenario, kernel=kernel, settings=settings, patches=patches)
    if as_json:
        echo_json(checked.to_dict())
        return
    if width is None and not sys.stdout.isatty():
        click.echo(str(checked))  # a line for each thing, for who searches them
        return
    from softnet.report.table import wrap

    first, *others = str(checked).splitlines()
    lines = wrap(first, columns(width), "", "  ")
    for text in others:
        lines += wrap(text.strip(), columns(width), "  ", "    ")
    click.echo("\n".join(lines))
