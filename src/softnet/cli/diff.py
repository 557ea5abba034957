# SPDX-License-Identifier: GPL-2.0-or-later
"""Compare two kept results, or print how the source of two kernels differs.

OLD and NEW are both files of results, as softnet run and softnet compare write them with --out or print them with --json (or the
folders of --out), or both kernels.

Of results it shows what softnet compare shows: every figure with its change, the warnings of the kernel that are gone or new, and
what the two scenarios do not have in common. Runs are paired by their seeds, arms by their labels.

Of kernels it prints the patches, then a unified diff of what softnet source prints, function by function.

Exit status: 0 done, 1 a condition of --fail-if is true, 2 bad input.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import click

from softnet.cli._common import (
    EXIT_CONDITION,
    columns,
    condition_options,
    echo_json,
    read_conditions,
    tell_conditions,
    width_option,
    write_text,
)
from softnet.errors import SoftnetError


@click.command("diff", help=__doc__)
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@click.option(
    "--patch", "patches", multiple=True, type=click.Path(), help="Of kernels: a patch file of yours, on top of the second."
)
@condition_options
@click.option("--json", "as_json", is_flag=True, help="Of results: print the comparison as JSON.")
@width_option
def command(
    old: str,
    new: str,
    patches: tuple[str, ...],
    fail_if: tuple[str, ...],
    junit: Path | None,
    markdown: Path | None,
    as_json: bool,
    width: int | None,
) -> None:
    """Compare two results or two kernels."""
    if files := files_of(old, new):
        if patches:
            raise SoftnetError("a patch is for kernels", where="--patch", found=patches[0], expected="two kernels beside it")
        compare_files(*files, fail_if, Written(junit, markdown), as_json, width)
        return
    if fail_if or junit is not None or markdown is not None or as_json:
        given = (("--fail-if", fail_if), ("--junit", junit), ("--markdown", markdown), ("--json", as_json))
        option = next(name for name, value in given if value)
        raise SoftnetError("two kernels have no figures", where=option, found=f"{old}, {new}", expected="two files of results")
    compare_kernels(old, new, patches)


def files_of(old: str, new: str) -> tuple[Path, Path] | None:
    """The two files of results; None where both arguments are kernels. Raises SoftnetError where one is either."""
    from softnet.linux.releases import RELEASES
    from softnet.simulate.stored import stored_path

    words = [text.partition("-") for text in (old, new)]
    kernels = [release in RELEASES and flavour in ("", "rt", "threads") for release, _, flavour in words]
    if all(kernels):
        return None
    before, after = stored_path(old), stored_path(new)
    if before is not None and after is not None:
        return before, after
    if before is None and after is None:
        return None
    lacking, has = (old, new) if before is None else (new, old)
    raise SoftnetError(
        "one is a file of results, the other is not",
        where=f"softnet diff {old} {new}",
        found=f"{lacking}: {'a kernel' if kernels[lacking == new] else 'no such file'}",
        expected=f"a file of results as {has}, or two kernels",
    )


class Written(NamedTuple):
    """Files that are written beside what is printed."""

    junit: Path | None
    markdown: Path | None


def compare_files(old: Path, new: Path, fail_if: tuple[str, ...], written: Written, as_json: bool, width: int | None) -> None:
    """Print the comparison of two results, and leave with 1 if a condition is true."""
    from softnet.simulate.stored import difference, read_stored

    conditions = read_conditions(fail_if, written.junit)
    found = difference(read_stored(old), read_stored(new))
    if as_json:
        echo_json(found.to_dict())
    else:
        from softnet.report.terminal import render_difference

        click.echo(render_difference(found, width=columns(width), color=sys.stdout.isatty()), nl=False)
    if conditions or written.markdown is not None:
        from softnet.simulate.conditions import judge

        base = found.comparisons[0].arms[0] if len(found.comparisons) == 1 else found.names[0]
        judged = [one for comparison in found.comparisons for one in judge(conditions, comparison)]
        if written.markdown is not None:
            from softnet.report.markdown import difference_document

            write_text(written.markdown, difference_document(found, judged))
        if tell_conditions(judged, found.comparisons[0].scenario, base, written.junit):
            sys.exit(EXIT_CONDITION)


def compare_kernels(old: str, new: str, patches: tuple[str, ...]) -> None:
    """Print how the linked text of two kernels differs."""
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
