# SPDX-License-Identifier: GPL-2.0-or-later
"""What may happen next, by number: the numbers of softnet.verify.inside.explorer, read in plain Python.

Each CPU has VX_PER_CPU actions of its own; then come the drivers, that time passes, the settings that change, the timers of cards
that have one, and, where CPUs have store buffers, the oldest store of each.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final, NamedTuple

from softnet.verify.inside.words import VX_PER_CPU
from softnet.verify.model import nr_settings, nr_timers

if TYPE_CHECKING:
    from softnet.verify.model import Config


class ActionKind(Enum):
    """What happens."""

    STEP = auto()
    """The context that a CPU runs goes on."""
    INTERRUPT = auto()
    TICK = auto()
    """NEED_RESCHED is set on a CPU."""
    PREFER = auto()
    """The scheduler prefers another task on a CPU."""
    DRIVER = auto()
    """A driver starts, or receives, or goes on."""
    TIME = auto()
    """Time passes every limit."""
    EVENT = auto()
    """A setting changes."""
    TIMER = auto()
    """The timer of a card's NAPI expires."""
    STORE = auto()
    """The oldest store in a CPU's buffer reaches memory."""


OF_A_CPU: Final = (ActionKind.STEP, ActionKind.INTERRUPT, ActionKind.TICK, ActionKind.PREFER)


class Action(NamedTuple):
    """An action: of which CPU (-1 for what comes from outside), and of which driver or event by its number."""

    kind: ActionKind
    cpu: int = -1
    number: int = 0


def decode_action(config: Config, action: int) -> Action:
    """What the action with this number is. Raises IndexError for a number that there is not."""
    if action < VX_PER_CPU * config.cpus:
        return Action(OF_A_CPU[action % VX_PER_CPU], action // VX_PER_CPU)
    number = action - VX_PER_CPU * config.cpus
    if number < len(config.drivers):
        return Action(ActionKind.DRIVER, number=number)
    number -= len(config.drivers)
    if number == 0:
        return Action(ActionKind.TIME)
    number -= 1
    if number < len(config.events):
        return Action(ActionKind.EVENT, number=number)
    number -= nr_settings(config)
    if 0 <= number < nr_timers(config):
        return Action(ActionKind.TIMER, number=number)
    number -= nr_timers(config)
    if not 0 <= number < config.cpus:
        raise IndexError(f"there is no action {action}")
    return Action(ActionKind.STORE, number)
