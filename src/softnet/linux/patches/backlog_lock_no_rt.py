# SPDX-License-Identifier: GPL-2.0-or-later
"""dev: Remove PREEMPT_RT ifdefs from backlog_lock.*().

PREEMPT_RT has backlog threads, so its branch without a lock could never be taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.config import *
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.patches.backlog_napi_threads import use_backlog_threads


PATCH = {
    "commit": "a8760d0d1497",
    "subject": "dev: Remove PREEMPT_RT ifdefs from backlog_lock.*().",
    "since": "6.11",
    "link": "https://lore.kernel.org/r/20240619072253.504963-10-bigeasy@linutronix.de",
}


@kfunc
def backlog_lock_irq_save(sd: softnet_data) -> int:
    """net/core/dev.c:229 (6.12), void backlog_lock_irq_save(struct softnet_data *sd, unsigned long *flags)."""
    if IS_ENABLED(CONFIG_RPS) or use_backlog_threads():
        return spin_lock_irqsave(sd.input_pkt_queue.lock)
    return local_irq_save()


@kfunc
def backlog_lock_irq_disable(sd: softnet_data) -> None:
    """net/core/dev.c:238 (6.12)."""
    if IS_ENABLED(CONFIG_RPS) or use_backlog_threads():
        spin_lock_irq(sd.input_pkt_queue.lock)
    else:
        local_irq_disable()


@kfunc
def backlog_unlock_irq_restore(sd: softnet_data, flags: int) -> None:
    """net/core/dev.c:246 (6.12), void backlog_unlock_irq_restore(struct softnet_data *sd, unsigned long *flags)."""
    if IS_ENABLED(CONFIG_RPS) or use_backlog_threads():
        spin_unlock_irqrestore(sd.input_pkt_queue.lock, flags)
    else:
        local_irq_restore(flags)


@kfunc
def backlog_unlock_irq_enable(sd: softnet_data) -> None:
    """net/core/dev.c:255 (6.12)."""
    if IS_ENABLED(CONFIG_RPS) or use_backlog_threads():
        spin_unlock_irq(sd.input_pkt_queue.lock)
    else:
        local_irq_enable()
