# SPDX-License-Identifier: GPL-2.0-or-later
"""Show what softnet is for: the patch it was built for, before and after, under real traffic.

Writes the example `seed` and its capture into a folder, compares Linux 6.9 and 6.10 on PREEMPT_RT on it with five seeds, and prints
what the patch changed. The report for the browser stands beside it, in the folder report.
"""

from __future__ import annotations

from pathlib import Path

import click

from softnet.cli import compare
from softnet.cli._common import width_option

TEMPLATE = "seed"


@click.command("demo", help=__doc__)
@click.option("--out", "-o", type=click.Path(path_type=Path), default=Path("softnet-demo"), show_default=True, help="The folder.")
@width_option
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
@click.pass_context
def command(context: click.Context, out: Path, width: int | None, quiet: bool) -> None:
    """Compare the two kernels."""
    from softnet.scenario import templates

    chosen = templates.template(TEMPLATE)
    templates.copy_into(out, chosen.files)
    context.invoke(
        compare.command, scenario=out / chosen.scenario, arms=("6.9-rt", "6.10-rt"), seeds=5, engine="auto", out=out / "report",
        width=width, quiet=quiet,
    )  # fmt: skip
