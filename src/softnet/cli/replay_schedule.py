# SPDX-License-Identifier: GPL-2.0-or-later
"""Show a schedule that softnet verify found once more, from its line of text.

With --engine reference the kernel's functions run as plain Python, and --break and --at stop in Python's debugger at the
function's own line; with --engine both two engines do each step, and every word of memory is compared after it.

Exit status: 0 shown, 2 the text is no schedule, or does not fit the kernel with these patches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from softnet.cli._common import schedule_columns, schedule_width_option

if TYPE_CHECKING:
    from softnet.verify.replay.schedule import Step


@click.command("replay-schedule", help=__doc__)
@click.argument("text", metavar="CONFIGURATION/SCHEDULE")
@click.option("--patch", "patches", multiple=True, type=click.Path(), help="The patch files of the search.")
@click.option("--property-file", "property_files", multiple=True, type=click.Path(), help="The property files of the search.")
@click.option("--engine", type=click.Choice(["native", "reference", "both"]), default="native", show_default=True,
              help="What runs it: the search's native code, plain Python, or both, compared after every step.")  # fmt: skip
@click.option("--all-accesses", is_flag=True, help="Show every access, not only those that conflict.")
@click.option("--break", "function", metavar="FUNCTION",
              help="Stop after the first step in FUNCTION; show where every context is. "
                   "With --engine reference: stop in pdb at every call of FUNCTION.")  # fmt: skip
@click.option("--at", "at", type=click.IntRange(min=1), metavar="STEP",
              help="Stop after that step, likewise. With --engine reference: in pdb where its context goes on.")  # fmt: skip
@click.option("--html", "html", type=click.Path(dir_okay=False), help="Write it as a page with a sequence diagram.")
@click.option("--perfetto", "perfetto", type=click.Path(dir_okay=False), help="Write it for ui.perfetto.dev.")
@schedule_width_option
def command(
    text: str,
    patches: tuple[str, ...],
    property_files: tuple[str, ...],
    engine: str,
    all_accesses: bool,
    function: str | None,
    at: int | None,
    html: str | None,
    perfetto: str | None,
    width: int | None,
) -> None:
    """Replay."""
    from softnet.report import verify as written
    from softnet.verify.api import replay_schedule, schedule_of

    config, actions, repeats = schedule_of(text, patches, property_files)
    if engine == "reference" and (function is not None or at is not None):
        from softnet.verify.replay.debugger import debug

        debug(config, actions, function, at)
        return
    replayed = replay_schedule(config, actions, repeats, engine=engine, stop=_stop(function, at))
    click.echo(written.schedule_text(replayed, schedule_columns(width), every=all_accesses))
    again = f"softnet replay-schedule{written.file_options(patches, property_files)} '{text}'"
    what = text.rpartition("/")[0]
    written.write_schedule(
        replayed.schedule, html, perfetto, "a schedule", what, again, every=all_accesses, repeats=replayed.repeats
    )
    if remarks := written.remarks_text(replayed):
        click.echo(remarks)


def _stop(function: str | None, at: int | None) -> Callable[[Step], bool] | None:
    """Where the replay stops: at the step, or at the first that does something in the function."""
    if function is None and at is None:
        return None
    return lambda step: step.number == at or any(a.function == function for a in step.accesses)
