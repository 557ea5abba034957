# SPDX-License-Identifier: GPL-2.0-or-later
"""kernel/time/time.c (6.1): jiffies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.linux.config import *


@kfunc
def usecs_to_jiffies(u: int) -> int:
    """time.c:651 (6.1): rounded up."""
    return (u + (1000000 // HZ) - 1) // (1000000 // HZ)


@kfunc
def msecs_to_jiffies(m: int) -> int:
    """time.c:591 (6.1): rounded up: 2 ms are 2 jiffies at HZ=1000, 1 at 300, 250 and 100."""
    return (m * HZ + 999) // 1000
