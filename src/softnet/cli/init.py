# SPDX-License-Identifier: GPL-2.0-or-later
"""Write a scenario to start from into a folder.

It is one of softnet's examples, with the captures that it names; the command says what to run next. A file of yours is never
overwritten. Exit status: 0 done, 2 bad input.
"""

from __future__ import annotations

from pathlib import Path

import click

from softnet.errors import SoftnetError


@click.command("init", help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path())
@click.option("--template", "name", default="", metavar="NAME", help="Which example; default: rps.")
@click.option("--list", "listed", is_flag=True, help="List the examples, each with the question it answers.")
@click.option("--all", "everything", is_flag=True, help="All examples, with patches, properties and sweeps, as FOLDER/examples.")
def command(folder: Path, name: str, listed: bool, everything: bool) -> None:
    """Copy a template."""
    from softnet.report.templates import render_copied, render_list
    from softnet.scenario import templates

    if sum((bool(name), listed, everything)) > 1:
        raise SoftnetError("these exclude each other", where="--template, --list, --all", expected="one of them")
    if listed:
        click.echo(render_list([templates.template(each) for each in templates.template_names()]), nl=False)
        return
    if everything:
        files = templates.all_files()
        templates.copy_into(folder, files)
        click.echo(f"{folder / templates.FOLDER}: {len(files)} files. Run the documents' commands in the folder that holds it.")
        return
    chosen = templates.template(name or templates.DEFAULT)
    templates.copy_into(folder, chosen.files)
    click.echo(render_copied(chosen, folder), nl=False)
