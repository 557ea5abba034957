# SPDX-License-Identifier: GPL-2.0-or-later
"""The binary interface between Python and native code: the engine's own words, the numbers of failures, the size of a stack.

It is a file of its own so that a start from the cache does not import the compiler.
"""

from __future__ import annotations

from typing import Final

FAILURES: Final = (
    "none", "bug-on", "null", "index", "divide", "shift", "overflow", "fuel", "lockdep", "guard", "pointer", "stack",
    "ended", "memory", "freed",
)  # fmt: skip
"""Why ``fail`` stops a run; the number is the index."""

RUN_WORDS: Final = {
    name: 1 + index
    for index, name in enumerate(
        ("outer", "resume", "stack_of", "fuel", "fuel_full", "code", "where", "value", "trace", "trace_fill",
         "trace_room", "slice", "size", "stacks", "points")
    )
}  # fmt: skip
"""The engine's own words: name -> address. They are in the line of NULL, where no structure is."""

STACK_BYTES: Final = 1 << 18
"""The stack of one context; only the pages that are touched take memory."""
