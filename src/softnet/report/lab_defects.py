# SPDX-License-Identifier: GPL-2.0-or-later
"""Experiments and defects on real kernels, for the terminal: the order of events, and what the kernel's memory held."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from softnet.lab.studies.experiments import OWNER_CPU, c4_seen, held_at_end
from softnet.lab.studies.experiments import story as kick_story
from softnet.lab.studies.reproduce import CAUGHT, RACE, seen, story
from softnet.report.table import BETTER, WORSE, Paper, styled, wrapped

if TYPE_CHECKING:
    from softnet.lab.play.run import LabResult
    from softnet.lab.studies.experiments import StoryStep
    from softnet.lab.studies.reproduce import Defect


def story_text(steps: Sequence[StoryStep]) -> str:
    """The order of events in one line."""
    words = []
    for step in steps:
        if step.what == "attempt":
            words.append(f"{step.count} attempts" if step.count > 1 else "1 attempt")
        else:
            words.append(step.what if step.count == 1 else f"{step.what} x{step.count}")
    return ", ".join(words)


def first_kick_lines(result: LabResult, at: int | None, expected: int | None, paper: Paper) -> list[str]:
    """What one arm answered: at which skb it kicked first, and the order of events."""
    verdict = "as expected" if at == expected else f"EXPECTED {expected}"
    head = styled(f"{result.arm}: first kick at {at or 'no skb'}, {verdict}", BETTER if at == expected else WORSE, paper.color)
    return [head, *wrapped([f"    {story_text(kick_story(result.trace))}"], paper.width)]


def c4_lines(result: LabResult, paper: Paper) -> list[str]:
    """What happened on one arm, for a terminal."""
    word = "seen" if c4_seen(result.trace) else "NOT SEEN"
    return wrapped(
        [
            f"{result.arm}: {word}; {held_at_end(result.trace)} skbs stay on CPU {OWNER_CPU}'s list",
            f"    {story_text(kick_story(result.trace))}",
        ],
        paper.width,
    )


def phase_text(steps: Sequence[StoryStep]) -> str:
    """The order of events of a phase in one line."""
    words = []
    for step in steps:
        if step.what == "free":
            words.append(f"{step.count} frees" if step.count > 1 else "1 free")
        else:
            words.append(step.what if step.count == 1 else f"{step.what} x{step.count}")
    return ", ".join(words) or "nothing"


_STATE = "backlog.state"
_STEPS_SHOWN = 14
# include/linux/netdevice.h (6.12), enum; SCHED is bit 0 in 6.1 too.
_STATE_BITS = {0: "SCHED", 8: "THREADED", 9: "SCHED_THREADED"}


def _bits(state: int) -> str:
    names = [name for bit, name in _STATE_BITS.items() if state >> bit & 1]
    return "|".join(names) or f"{state:#x}"


def _shortened(line: str) -> str:
    steps = line.split(", ")
    more = len(steps) - _STEPS_SHOWN
    return line if more <= 1 else ", ".join([*steps[:_STEPS_SHOWN], f"… and {more} more"])


def _wrapped(text: str, paper: Paper) -> list[str]:
    return textwrap.wrap(text, paper.width, initial_indent="    ", subsequent_indent="      ")


def defect_lines(defect: Defect, result: LabResult, paper: Paper) -> list[str]:
    """What happened on one arm, for a terminal: the phases in their order, of many tries the last; what memory held."""
    work, owner = result.work, defect.work["owner"]
    tries = f"{work['tries']} tries" if work["tries"] != 1 else "1 try"
    word = f"reproduced, after {tries}" if seen(defect, result) else f"NOT reproduced in {tries}"
    if work["samples"]:
        word += f"; the task was in the window at {work['holds']} of {work['samples']} looks at it"
    lines = wrapped([f"{result.arm}: {word}"], paper.width)
    phases = story(result.trace, owner)
    # Where a task was caught, and the race that was held open then, belong together.
    tried = [at for at, (name, _) in enumerate(phases) if name == RACE or name.startswith(CAUGHT)]
    shown = set(tried[-1:]) if work["found"] else set()
    shown |= {at - 1 for at in shown if phases[at - 1][0].startswith(CAUGHT)}
    for at, (name, steps) in enumerate(phases):
        if at in tried and at not in shown:
            continue
        if name.startswith(CAUGHT):
            lines += _wrapped(" < ".join(name.split(" < ")[:5]), paper)
        if not name.startswith(CAUGHT) or steps:
            lines += _wrapped(f"{RACE if name.startswith(CAUGHT) else name}: {_shortened(phase_text(steps))}", paper)
    for row in work["watched"]:
        told = ", ".join(
            f"{key} {_bits(value) if key == _STATE else value}"
            for key, value in row.items()
            if key not in ("name", "read") and value
        )
        lines += _wrapped(f"CPU {owner}'s softnet_data, {row['name']}: {told or 'all zero'}", paper)
    return lines
