# SPDX-License-Identifier: GPL-2.0-or-later
"""set_current_state() without its barrier: the sleeper looks whether there is work while its state is still on the way, the
waker provides work and finds it running. On x86 nobody wakes it; with sequentially consistent memory nothing is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.machine.sched import set_task_state


@kfunc
def set_current_state(state: int) -> None:
    """include/linux/sched.h: WRITE_ONCE() in the place of smp_store_mb()."""
    set_task_state(state)
