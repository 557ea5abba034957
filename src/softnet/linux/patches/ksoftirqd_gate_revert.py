# SPDX-License-Identifier: GPL-2.0-or-later
"""Revert "softirq: Let ksoftirqd do its job".

Softirqs are processed at interrupt exit and at local_bh_enable() again even while ksoftirqd is runnable: leaving all of
them to ksoftirqd had made timers and RCU wait behind network load.
"""

from __future__ import annotations

from softnet.lang import kfunc

PATCH = {
    "commit": "d15121be7485",
    "subject": 'Revert "softirq: Let ksoftirqd do its job"',
    "since": "6.5",
    "link": "https://git.kernel.org/torvalds/c/d15121be7485",
}


@kfunc
def softirq_left_to_ksoftirqd(pending: int) -> bool:
    """kernel/softirq.c: the test is gone from all three places."""
    return False
