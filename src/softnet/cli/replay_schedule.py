# SPDX-License-Identifier: GPL-2.0-or-later
"""Show a schedule that softnet verify found once more, from its line of text.

Exit status: 0 shown, 2 the text is no schedule, or does not fit the kernel with these patches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from softnet.verify.schedule import Step


@click.command("replay-schedule", help=__doc__)
@click.argument("text", metavar="CONFIGURATION/SCHEDULE")
@click.option("--patch", "patches", multiple=True, type=click.Path(), help="The patch files of the search.")
@click.option("--property-file", "property_files", multiple=True, type=click.Path(), help="The property files of the search.")
@click.option("--all-accesses", is_flag=True, help="Show every access, not only those that conflict.")
@click.option("--break", "function", metavar="FUNCTION", help="Stop after the first step in FUNCTION; show where every context is.")
@click.option("--at", "at", type=click.IntRange(min=1), metavar="STEP", help="Stop after that step, likewise.")
@click.option("--html", "html", type=click.Path(dir_okay=False), help="Write it as a page with a sequence diagram.")
@click.option("--perfetto", "perfetto", type=click.Path(dir_okay=False), help="Write it for ui.perfetto.dev.")
@click.option("--width", type=click.IntRange(80, 400), default=110, show_default=True, help="Columns.")
def command(text: str, patches: tuple[str, ...], property_files: tuple[str, ...], all_accesses: bool, function: str | None,
            at: int | None, html: str | None, perfetto: str | None, width: int) -> None:
    """Replay."""
    from softnet.errors import SoftnetError
    from softnet.verify.columns import render
    from softnet.verify.schedule import decode, repeats_of, replay
    from softnet.verify.standard import from_text

    what, slash, actions = text.rpartition("/")
    if not slash:
        raise SoftnetError("not a schedule", found=repr(text), expected="CONFIGURATION/SCHEDULE as softnet verify prints it")
    schedule = replay(replace(from_text(what, patches), property_files=property_files), decode(actions), _stop(function, at))
    repeats = repeats_of(actions) if len(schedule.steps) == len(schedule.actions) else 0
    click.echo(render(schedule, width, every=all_accesses, repeats=repeats))
    click.echo("\n".join([*schedule.ends, *(["", *schedule.stacks] if schedule.stacks else [])]))
    if html is not None or perfetto is not None:
        from softnet.report import counterexample as files

        files_of = "".join(f" --patch {p}" for p in patches) + "".join(f" --property-file {p}" for p in property_files)
        if html is not None:
            command_text = f"softnet replay-schedule{files_of} '{text}'"
            files.write_page(html, files.page(schedule, "a schedule", what, command_text, every=all_accesses,
                                              repeats=repeats))  # fmt: skip
        if perfetto is not None:
            files.write_perfetto(perfetto, schedule, repeats=repeats)
    if schedule.failure is not None:
        click.echo(f"\nstopped: {schedule.failure.text} {schedule.failure.where}")


def _stop(function: str | None, at: int | None) -> Callable[[Step], bool] | None:
    """Where the replay stops: at the step, or at the first that does something in the function."""
    if function is None and at is None:
        return None
    return lambda step: step.number == at or any(a.function == function for a in step.accesses)
