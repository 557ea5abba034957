# SPDX-License-Identifier: GPL-2.0-or-later
"""The seed without its lock: rps_lock_*() as before the patch, while kick_defer_list_purge() uses the threads.

With RPS off and threads on, another CPU writes the backlog's NAPI state, and nothing but disabled interrupts on either CPU
protects it. The functions are called rps_lock_*() in 6.10 and backlog_lock_*() from 6.12 on. Must break I3 and I5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.config import *
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.linux.kernel.sched.core import *
    from softnet.linux.patches.process_queue_bh_lock import softnet_data


@kfunc
def rps_lock_irqsave(sd: softnet_data) -> int:
    """Before the patch."""
    if IS_ENABLED(CONFIG_RPS):
        return spin_lock_irqsave(sd.input_pkt_queue.lock)
    elif not IS_ENABLED(CONFIG_PREEMPT_RT):
        return local_irq_save()
    return 0


@kfunc
def rps_lock_irq_disable(sd: softnet_data) -> None:
    """Before the patch."""
    if IS_ENABLED(CONFIG_RPS):
        spin_lock_irq(sd.input_pkt_queue.lock)
    elif not IS_ENABLED(CONFIG_PREEMPT_RT):
        local_irq_disable()


@kfunc
def rps_unlock_irq_restore(sd: softnet_data, flags: int) -> None:
    """Before the patch."""
    if IS_ENABLED(CONFIG_RPS):
        spin_unlock_irqrestore(sd.input_pkt_queue.lock, flags)
    elif not IS_ENABLED(CONFIG_PREEMPT_RT):
        local_irq_restore(flags)


@kfunc
def rps_unlock_irq_enable(sd: softnet_data) -> None:
    """Before the patch."""
    if IS_ENABLED(CONFIG_RPS):
        spin_unlock_irq(sd.input_pkt_queue.lock)
    elif not IS_ENABLED(CONFIG_PREEMPT_RT):
        local_irq_enable()


@kfunc
def backlog_lock_irq_save(sd: softnet_data) -> int:
    """Before the patch."""
    if IS_ENABLED(CONFIG_RPS):
        return spin_lock_irqsave(sd.input_pkt_queue.lock)
    elif not IS_ENABLED(CONFIG_PREEMPT_RT):
        return local_irq_save()
    return 0


@kfunc
def backlog_lock_irq_disable(sd: softnet_data) -> None:
    """Before the patch."""
    if IS_ENABLED(CONFIG_RPS):
        spin_lock_irq(sd.input_pkt_queue.lock)
    elif not IS_ENABLED(CONFIG_PREEMPT_RT):
        local_irq_disable()


@kfunc
def backlog_unlock_irq_restore(sd: softnet_data, flags: int) -> None:
    """Before the patch."""
    if IS_ENABLED(CONFIG_RPS):
        spin_unlock_irqrestore(sd.input_pkt_queue.lock, flags)
    elif not IS_ENABLED(CONFIG_PREEMPT_RT):
        local_irq_restore(flags)


@kfunc
def backlog_unlock_irq_enable(sd: softnet_data) -> None:
    """Before the patch."""
    if IS_ENABLED(CONFIG_RPS):
        spin_unlock_irq(sd.input_pkt_queue.lock)
    elif not IS_ENABLED(CONFIG_PREEMPT_RT):
        local_irq_enable()
