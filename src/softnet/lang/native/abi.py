# SPDX-License-Identifier: GPL-2.0-or-later
"""What Python and native code agree on: the engine's own words, the numbers of failures, the size of a stack.

Apart from the compiler, so that a start from the cache need not import it.
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
"""The engine's own words, in the line of NULL, which no structure uses: name -> address."""

STACK_BYTES: Final = 1 << 18
"""Of one context; only what is touched takes memory."""
