# SPDX-License-Identifier: GPL-2.0-or-later
"""ksoftirqd always finds something to do: a livelock."""

from __future__ import annotations

from softnet.lang import kfunc


@kfunc
def ksoftirqd_should_run(cpu: int) -> bool:
    """softirq.c:911 (6.1)."""
    return True
