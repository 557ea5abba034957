# SPDX-License-Identifier: GPL-2.0-or-later
"""`softnet lab doctor`, `kernels` and `fetch`: what is needed and what is here."""

from __future__ import annotations

import click

from softnet.cli._common import paper, width_option
from softnet.cli.lab._shared import json_option, print_json, say_aloud


@click.command()
@json_option
@width_option
def doctor(as_json: bool, width: int | None) -> int:
    """Say what the lab needs here, what is missing, and the command that gets it. Status 1: something is."""
    from softnet.lab.vm.doctor import examine

    checks = examine()
    if as_json:
        print_json([check.as_json() for check in checks])
    else:
        from softnet.report.table import BETTER, WORSE, untitled

        rows = []
        # What is missing comes first.
        for check in sorted(checks, key=lambda check: check.ok or not check.needed):
            mark = ("ok", BETTER) if check.ok else ("MISSING", WORSE) if check.needed else ("–", "")
            rows.append([mark, (check.name, ""), (check.found, "")])
            if check.fix:
                rows.append([("", ""), ("", ""), (check.fix, "")])
        on = paper(width)
        click.echo(untitled(["", "what", "found"], rows, on.width, on.color))
    missing = [check.name for check in checks if check.needed and not check.ok]
    if not as_json:
        said = f"missing: {', '.join(missing)}; the commands stand above" if missing else "ready: softnet lab run SCENARIO"
        click.echo(f"\n{said}")
    return 1 if missing else 0


suite_option = click.option(
    "--suite", default="", metavar="NAME",
    help="Look in this suite of the machine's own mirror, such as trixie-backports; the machine's apt stays as it is.",
)  # fmt: skip


@click.command()
@suite_option
@json_option
@width_option
def kernels(suite: str, as_json: bool, width: int | None) -> int:
    """List the kernels that can be had and those that are here."""
    from softnet.lab.errors import LabMissing
    from softnet.lab.vm import kernels as lab_kernels
    from softnet.lab.vm import suites
    from softnet.report.table import untitled

    here = {kernel.name: kernel for kernel in lab_kernels.all_cached()}
    try:
        config = suites.lists_of(suite, say=say_aloud) if suite else None
        offers = {offer.name: offer.package for offer in lab_kernels.available(config)}
    except LabMissing as error:
        # What was fetched earlier runs without the tools that fetched it.
        if not here:
            raise
        offers = {}
        say_aloud(f"{error.message}; these are here already")
    names = [*offers, *(name for name in here if name not in offers)]
    rows = [
        {
            "name": name,
            "package": offers.get(name, ""),
            "fetched": here[name].release if name in here else "",
            "vmlinuz_sha256": here[name].provenance["vmlinuz_sha256"] if name in here else "",
        }
        for name in names
    ]
    if as_json:
        print_json(rows)
    else:
        on = paper(width)
        cells = [[row["name"], row["package"] or "–", row["fetched"] or "no"] for row in rows]
        click.echo(untitled(["name", "package", "fetched"], cells, on.width, on.color))
        click.echo("\nsoftnet lab fetch NAME gets one; every --kernel also takes the path of a vmlinuz.")
    return 0


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@suite_option
@json_option
def fetch(names: tuple[str, ...], suite: str, as_json: bool) -> int:
    """Download kernels, such as 6.12-rt, into the cache, and the guest's programs with them."""
    from softnet.lab.vm import kernels as lab_kernels
    from softnet.lab.vm import userland

    lab_kernels.require_machine()
    got = [lab_kernels.fetch(name, say=say_aloud, suite=suite) for name in names]
    _, programs = userland.build(say=say_aloud)
    if as_json:
        print_json({"kernels": [kernel.provenance for kernel in got], "userland": programs})
    else:
        for kernel in got:
            click.echo(f"{kernel.name}: {kernel.release}, SHA-256 {kernel.provenance['vmlinuz_sha256']}")
    return 0
