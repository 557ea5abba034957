# SPDX-License-Identifier: GPL-2.0-or-later
"""The end of a poll clears SCHED and not SCHED_THREADED."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.linux.include.linux.netdevice import NAPIF_STATE_SCHED, napi_struct


@kfunc
def process_backlog_retire_sched(napi: napi_struct) -> None:
    """net/core/dev.c:6318 (6.12), in process_backlog(): THREADED survives the end of a poll."""
    napi.state &= ~NAPIF_STATE_SCHED
