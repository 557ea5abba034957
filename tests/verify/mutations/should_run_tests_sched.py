# SPDX-License-Identifier: GPL-2.0-or-later
"""The backlog thread runs when SCHED is set, whoever owns it: version 1 of the series. Must break I3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import per_cpu, test_bit
    from softnet.linux.include.linux.netdevice import NAPI_STATE_SCHED
    from softnet.linux.patches.process_queue_bh_lock import softnet_data


@kfunc
def backlog_napi_should_run(cpu: int) -> bool:
    """net/core/dev.c:12399 (6.12): SCHED_THREADED; SCHED alone may be the softirq's."""
    return test_bit(NAPI_STATE_SCHED, per_cpu(softnet_data, cpu).backlog.state)
