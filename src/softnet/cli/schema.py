# SPDX-License-Identifier: GPL-2.0-or-later
"""Print the JSON Schema of scenario files, for editors and other programs."""

from __future__ import annotations

import click


@click.command("schema", help=__doc__)
def command() -> None:
    """Print it exactly as docs/scenario.schema.json has it."""
    from softnet.scenario.reference import schema_text

    click.echo(schema_text(), nl=False)
