# SPDX-License-Identifier: GPL-2.0-or-later
"""ksoftirqd never finds anything to do."""

from __future__ import annotations

from softnet.lang import kfunc


@kfunc
def ksoftirqd_should_run(cpu: int) -> bool:
    """softirq.c:911 (6.1)."""
    return False
