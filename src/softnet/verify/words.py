# SPDX-License-Identifier: GPL-2.0-or-later
"""The search's own words and constants, and those of the harness."""

from __future__ import annotations

from softnet.lang import Struct, hw
from softnet.machine.state import task_struct

# What vx_explore() returns.
VX_MORE = 0
VX_DONE = 1
VX_FULL = 2
VX_VIOLATION = 3
VX_MACHINE = 4
VX_FAILED = 5

VX_PER_CPU = 4
"""Actions of each CPU."""
VX_BLOCKED = -2
VX_OUTSIDE = 255
"""The CPU number of actions from outside of the machine."""
VX_FUEL = 1 << 20
VX_PHASE_WORD = 3
VX_FUEL_WORD = 4
VX_FRAME_WORD = 12
VX_LIMIT_WORD = 15
VX_FRAME_WORDS_MAX = 96
VX_MULTIPLIER = 0x1E3779B97F4A7C15
VX_COMP_WORDS = 4


class explorer(Struct):  # noqa: N801
    """The search's own words; one. Addresses are of words of S behind the image."""

    stacks: int = hw()
    stack_words: int = hw()
    sp: int = hw()
    nr_comps: int = hw()
    comps: int = hw()
    """Per component: its list of addresses, how many, 1 + the context whose frames they are, unused."""
    cur: int = hw()
    want: int = hw()
    key_words: int = hw()
    store: int = hw()
    store_used: int = hw()
    store_room: int = hw()
    ctable: int = hw()
    ctable_mask: int = hw()
    values: int = hw()
    pool: int = hw()
    max_states: int = hw()
    index: int = hw()
    index_mask: int = hw()
    states: int = hw()
    head: int = hw()
    transitions: int = hw()
    terminals: int = hw()
    depth: int = hw()
    level_end: int = hw()
    nr_actions: int = hw()
    nr_drivers: int = hw()
    at_action: int = hw()
    violated: int = hw()
    """A mask of properties that the last state violates."""
    properties: int = hw()
    """A mask of the properties that count."""
    in_terminal: int = hw()
    blocked: int = hw()


class verify_env(Struct):  # noqa: N801
    """What may happen from outside, and how often; one. Bounds are set before the search."""

    jiffies: int = hw()
    ticks_left: int = hw()
    """How often time may jump past every limit in jiffies."""
    defer_max: int = hw()
    """What skb_defer_max is set to while the system runs; -1 for never."""
    nr_producers: int = hw()


class vx_driver(Struct):  # noqa: N801
    """A task of the harness: which of its actions it does, on skbs ``first`` to ``first + count - 1``."""

    task: task_struct = hw()
    kind: int = hw()
    started: int = hw()
    """Whether the task may go on; of an interrupt, how often it was raised."""
    raised: int = hw()
    first: int = hw()
    count: int = hw()
    target: int = hw()
