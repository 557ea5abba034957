# SPDX-License-Identifier: GPL-2.0-or-later
"""Show or clear the compiled kernels on disk, and what clusters' clients sent here.

They are kept in $SOFTNET_CACHE, else $XDG_CACHE_HOME/softnet, else ~/.cache/softnet, and can be removed at any time.
"""

from __future__ import annotations

import click


@click.command("cache", help=__doc__)
@click.option("--clear", "clear_all", is_flag=True, help="Remove all of them.")
def command(clear_all: bool) -> None:
    """List the entries or remove them."""
    from softnet.files import distrusted
    from softnet.lang.program import cache

    if clear_all:
        from softnet.cluster.shipped import clear_shipped

        if sent := clear_shipped():
            click.echo(f"{sent} files removed that a cluster's client sent")
        click.echo(f"{cache.clear()} files removed from {cache.cache_dir()}")
        return
    found = list(cache.entries())
    for entry in found:
        options = sorted(k for k, v in entry.about.get("options", {}).items() if v is True and k != "run_ahead")
        label = ", ".join([str(entry.about.get("label", "?")), *options])
        click.echo(f"{entry.path.name[:12]}  {entry.size // 1024:>6} KiB  {label}")
    total = sum(entry.size for entry in found)
    click.echo(f"{len(found)} compiled kernels, {total // 1024} KiB, in {cache.cache_dir()}")
    parsed = [path.stat().st_size for path in cache.derived_files()]
    if reason := distrusted(cache.cache_dir()):
        click.echo(f"not used: {reason}")
    click.echo(f"{len(parsed)} stacks of modules parsed and linked, {sum(parsed) // 1024} KiB")
