# SPDX-License-Identifier: GPL-2.0-or-later
"""Show a schedule that softnet verify found once more, from its line of text.

With --engine reference the kernel's functions run as plain Python, and --break and --at stop in Python's debugger at the
function's own line; with --engine both two engines do each step, and every word of memory is compared after it.

Exit status: 0 shown, 2 the text is no schedule, or does not fit the kernel with these patches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from softnet.verify.replay.schedule import Replay, Step


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
@click.option("--width", type=click.IntRange(80, 400), default=110, show_default=True, help="Columns.")
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
    width: int,
) -> None:
    """Replay."""
    from softnet.errors import SoftnetError
    from softnet.verify.columns import render
    from softnet.verify.replay.schedule import NativeReplay, decode, repeats_of, replay
    from softnet.verify.standard import from_text

    what, slash, encoded = text.rpartition("/")
    if not slash:
        raise SoftnetError("not a schedule", found=repr(text), expected="CONFIGURATION/SCHEDULE as softnet verify prints it")
    actions, repeats = decode(encoded), repeats_of(encoded)
    config = replace(from_text(what, patches), property_files=property_files)
    if engine == "reference" and (function is not None or at is not None):
        from softnet.verify.replay.debugger import debug

        debug(config, actions, function, at)
        return
    said: list[str] = []
    runs: Replay = NativeReplay(config)
    if engine != "native":
        from softnet.verify.replay.agreement import PairedReplay
        from softnet.verify.replay.reference import ReferenceReplay, watched

        runs = ReferenceReplay(config) if engine == "reference" else PairedReplay(config)
        reference = runs.reference if isinstance(runs, PairedReplay) else runs
        assert isinstance(reference, ReferenceReplay)
        schedule, said = watched(reference, runs, actions, repeats, _stop(function, at))
        if isinstance(runs, PairedReplay):
            said.append(runs.summary(schedule))
    else:
        schedule = replay(config, actions, _stop(function, at), runs)
    if len(schedule.steps) != len(schedule.actions):
        repeats = 0
    click.echo(render(schedule, width, every=all_accesses, repeats=repeats))
    click.echo("\n".join([*schedule.ends, *(["", *schedule.stacks] if schedule.stacks else [])]))
    if html is not None or perfetto is not None:
        from softnet.report import counterexample as files

        files_of = "".join(f" --patch {p}" for p in patches) + "".join(f" --property-file {p}" for p in property_files)
        if html is not None:
            command_text = f"softnet replay-schedule{files_of} '{text}'"
            files.write_page(html, files.page(schedule, "a schedule", what, command_text, every=all_accesses, repeats=repeats))
        if perfetto is not None:
            files.write_perfetto(perfetto, schedule, repeats=repeats)
    if schedule.failure is not None:
        click.echo(f"\nstopped: {schedule.failure.text} {schedule.failure.where}")
    if said:
        click.echo("\n" + "\n".join(said))


def _stop(function: str | None, at: int | None) -> Callable[[Step], bool] | None:
    """Where the replay stops: at the step, or at the first that does something in the function."""
    if function is None and at is None:
        return None
    return lambda step: step.number == at or any(a.function == function for a in step.accesses)
