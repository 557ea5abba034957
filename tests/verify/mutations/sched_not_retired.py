# SPDX-License-Identifier: GPL-2.0-or-later
"""process_backlog() ends a poll without giving SCHED up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.linux.include.linux.netdevice import napi_struct


@kfunc
def process_backlog_retire_sched(napi: napi_struct) -> None:
    """net/core/dev.c:6318 (6.12), in process_backlog(): THREADED survives the end of a poll."""
    pass
