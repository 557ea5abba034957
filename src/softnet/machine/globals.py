# SPDX-License-Identifier: GPL-2.0-or-later
"""The name ``hw`` for the reader and the type checker; linking puts the singleton in its place."""

from __future__ import annotations

from typing import Any, cast

from softnet.machine.state import engine_state

hw: engine_state = cast(Any, None)


def do_interrupt(vector: int, data: int) -> None:
    """The kernel's entry for an interrupt; linking puts linux/arch/x86/kernel/irq.py in its place."""
    raise TypeError("do_interrupt() has a meaning only when linked")
