# SPDX-License-Identifier: GPL-2.0-or-later
"""Print how the linked source of two kernels differs: the patches, then function by function.

A unified diff of what `softnet source` prints, in the order of the kernel's files.
"""

from __future__ import annotations

import click


@click.command("diff", help=__doc__)
@click.argument("old", metavar="KERNEL")
@click.argument("new", metavar="KERNEL")
@click.option("--patch", "patches", multiple=True, type=click.Path(), help="A patch file of yours, on top of the second.")
def command(old: str, new: str, patches: tuple[str, ...]) -> None:
    """Compare two kernels."""
    from softnet.linux.source import difference, linked_source
    from softnet.scenario import parse_kernel
    from softnet.workload import WORKLOAD_MODULES

    before, after = parse_kernel(old), parse_kernel(new)
    label = "+".join((new, *patches))
    click.echo(
        difference(
            linked_source(before.release, before.flavour, label=old, beside=WORKLOAD_MODULES),
            linked_source(after.release, after.flavour, patches, label=label, beside=WORKLOAD_MODULES),
        ),
        nl=False,
    )
