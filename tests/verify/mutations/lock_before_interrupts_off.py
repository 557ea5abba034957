# SPDX-License-Identifier: GPL-2.0-or-later
"""The backlog lock is taken before interrupts go off, and a device's interrupt takes it, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.linux.include.linux.netdevice import softnet_data
    from softnet.linux.kernel.locking.spinlock import (
        local_irq_restore,
        local_irq_save,
        spin_lock,
        spin_unlock,
    )


@kfunc
def backlog_lock_irq_save(sd: softnet_data) -> int:
    """net/core/dev.c:229 (6.12)."""
    spin_lock(sd.input_pkt_queue.lock)
    return local_irq_save()


@kfunc
def backlog_unlock_irq_restore(sd: softnet_data, flags: int) -> None:
    """net/core/dev.c:247 (6.12)."""
    local_irq_restore(flags)
    spin_unlock(sd.input_pkt_queue.lock)
