# SPDX-License-Identifier: GPL-2.0-or-later
"""Each program is checked once: a text that has passed is remembered on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection

from softnet.lang.program import cache
from softnet.lang.program.digest import program_digest
from softnet.lang.program.program import Program


def ensure_checked(program: Program, costs: Collection[str] | None = None) -> None:
    """Hold the functions to the subset, once for each text. Raises SubsetErrors with all mistakes.

    ``costs`` are the rows of the cost table that they may name; None leaves the names unchecked.
    """
    key = check_key(program, costs)
    if cache.marked(key):
        return
    from softnet.lang.check.subset import typed_program
    from softnet.trace import EVENTS

    events = {event.name: len(event.args) for event in EVENTS}
    program.typed.value = typed_program(program, costs=costs, events=events)
    cache.mark(key)


def check_key(program: Program, costs: Collection[str] | None = None) -> str:
    """Under what it is remembered that this text has passed with these costs."""
    rows = json.dumps(None if costs is None else sorted(costs))
    return hashlib.sha256(f"{program_digest(program)} {rows}".encode()).hexdigest()
