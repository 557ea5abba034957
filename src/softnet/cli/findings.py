# SPDX-License-Identifier: GPL-2.0-or-later
"""List what the real kernel is known to break, release by release, and which release mended it.

docs/findings.md has each with its schedule and a judgement. softnet verify finds them again: the last column of --verbose is how.
"""

from __future__ import annotations

import click

from softnet.cli._common import columns, width_option


@click.command("findings", help=__doc__)
@click.option("--json", "as_json", is_flag=True, help="As JSON, with the kernels and how the explorer finds each.")
@click.option("--verbose", is_flag=True, help="With each finding's sentence and the command that finds it.")
@width_option
def command(as_json: bool, verbose: bool, width: int | None) -> None:
    """Print a row for each finding."""
    from softnet.report.findings import findings_data, render_findings

    if as_json:
        from softnet.cli._common import echo_json

        echo_json({"findings": findings_data()})
    else:
        click.echo(render_findings(columns(width), verbose=verbose), nl=False)
