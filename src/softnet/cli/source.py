# SPDX-License-Identifier: GPL-2.0-or-later
"""Print a function or a whole file of a kernel, as its release has it.

Each definition says where it comes from and what it replaces. The text of a function is a patch file as it stands: change it, and
give it to --patch.
"""

from __future__ import annotations

import click

from softnet.cli._common import of_kernel_option, patch_option
from softnet.errors import SoftnetError


@click.command("source", help=__doc__)
@click.argument("what", metavar="FUNCTION|FILE", required=False)
@of_kernel_option
@patch_option
@click.option("--list", "list_all", is_flag=True, help="The kernel's files, with the number of their definitions.")
def command(what: str | None, kernel: str, patches: tuple[str, ...], list_all: bool) -> None:
    """Print a part of a kernel."""
    from softnet.linux.source import linked_source
    from softnet.scenario import parse_kernel
    from softnet.workload import WORKLOAD_MODULES

    choice = parse_kernel(kernel)
    source = linked_source(choice.release, choice.flavour, patches, label=kernel, beside=WORKLOAD_MODULES)
    if list_all:
        for file, names in source.files.items():
            click.echo(f"{len(names):>5}  {file}")
    elif what is None:
        raise SoftnetError("which function or file?", hint="softnet source FUNCTION, or softnet source --list")
    else:
        click.echo(source.text(what), nl=False)
