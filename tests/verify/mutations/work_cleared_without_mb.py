# SPDX-License-Identifier: GPL-2.0-or-later
"""The work item's pending bit is cleared without the barrier behind it: safe for this item, whose local_bh_disable() takes a lock
on PREEMPT_RT before it looks at the list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import atomic_set
    from softnet.linux.kernel.workqueue import work_struct


@kfunc
def set_work_pool_and_clear_pending(item: work_struct) -> None:
    """workqueue.c:656 (6.1)."""
    atomic_set(item.data, 0)
