# SPDX-License-Identifier: GPL-2.0-or-later
"""Show a kernel function as the compiler sees it.

Its intermediate form beside its source lines: every place where the CPU may be lost, every access to memory with its kind,
every cost.
"""

from __future__ import annotations

import click

from softnet.cli._common import of_kernel_option, patch_option
from softnet.errors import SoftnetError


@click.command("explain", help=__doc__)
@click.argument("function", required=False)
@of_kernel_option
@patch_option
@click.option("--list", "list_all", is_flag=True, help="All functions of the kernel, with their sizes.")
def command(function: str | None, kernel: str, patches: tuple[str, ...], list_all: bool) -> None:
    """Explain one function."""
    from softnet.simulate.explain import explain_function, list_functions

    if list_all:
        click.echo(list_functions(kernel, patches))
    elif function is None:
        raise SoftnetError("which function?", hint="softnet explain FUNCTION, or softnet explain --list")
    else:
        click.echo(explain_function(kernel, patches, function))
