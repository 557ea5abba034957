# SPDX-License-Identifier: GPL-2.0-or-later
"""include/linux/spinlock.h: initialisation; the operations stand in kernel/locking/spinlock.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.machine.state import *


@kfunc
def spin_lock_init(lock: spinlock_t) -> None:
    """include/linux/spinlock.h. Memory starts as zeros, and a lock of zeros is a free one."""
