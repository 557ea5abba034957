# SPDX-License-Identifier: GPL-2.0-or-later
"""Print the man page of a command, or write all of them into a folder.

Without --out it prints one page, of the command whose words are given: softnet man lab run | man -l -

With --out it writes softnet.1, softnet-run.1, ... For man to find them, name a folder of its path, for one user
~/.local/share/man/man1.
"""

from __future__ import annotations

from pathlib import Path

import click

from softnet.errors import SoftnetError


@click.command("man", help=__doc__)
@click.argument("words", nargs=-1, metavar="[COMMAND]...")
@click.option("--out", "-o", type=click.Path(path_type=Path, file_okay=False), help="Write every page into this folder.")
def command(words: tuple[str, ...], out: Path | None) -> None:
    """Print or write man pages."""
    from softnet.cli import cli
    from softnet.cli._manual import pages

    if words and out is not None:
        raise SoftnetError("--out writes every page", where="softnet man", found=" ".join(words), expected="no command beside it")
    made = pages(cli, "softnet")
    if out is None:
        name = "-".join(("softnet", *words))
        if name not in made:
            raise SoftnetError("no such page", where="softnet man", found=name, expected=", ".join(made))
        click.echo(made[name], nl=False)
        return
    from softnet.files import atomic

    out.mkdir(parents=True, exist_ok=True)
    for name, text in made.items():
        with atomic(out / f"{name}.1") as stream:
            stream.write(text.encode("ascii"))
    click.echo(f"{len(made)} pages in {out}; for instance: man -l {out / 'softnet-run.1'}")
