# SPDX-License-Identifier: GPL-2.0-or-later
"""A backlog's thread polls the next CPU's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import per_cpu
    from softnet.linux.include.linux.netdevice import softnet_data
    from softnet.linux.patches.backlog_napi_threads import napi_threaded_poll_loop


@kfunc
def run_backlog_napi(cpu: int) -> None:
    """net/core/dev.c:12407 (6.12)."""
    napi_threaded_poll_loop(per_cpu(softnet_data, 1 - cpu).backlog)
