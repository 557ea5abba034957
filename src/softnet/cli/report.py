# SPDX-License-Identifier: GPL-2.0-or-later
"""Show the results of an experiment once more: as text, or as a page with charts.

EXPERIMENT is a folder that softnet sweep --out wrote, or an address of --store; an interrupted experiment is shown as far
as it went.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from softnet.cli._common import columns, echo_json, width_option


@click.command("report", help=__doc__)
@click.argument("experiment")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write the page with the charts to this file.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@width_option
def command(experiment: str, html: Path | None, as_json: bool, width: int | None) -> None:
    """Report."""
    from softnet.report.sweep import render_sweep, sweep_json
    from softnet.sweep.analysis import findings
    from softnet.sweep.remote import here

    with here(experiment) as folder:
        found = findings(folder)
    if html is not None:
        from softnet.report.sweep_page import write_sweep_page

        write_sweep_page(html, found)
        click.echo(f"softnet: page in {html}", err=True)
    if as_json:
        echo_json(sweep_json(found))
    elif html is None:
        click.echo(render_sweep(found, columns(width), sys.stdout.isatty()), nl=False)
