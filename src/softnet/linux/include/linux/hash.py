# SPDX-License-Identifier: GPL-2.0-or-later
"""include/linux/hash.h: multiplicative hashing."""

from __future__ import annotations

from softnet.lang import kfunc

GOLDEN_RATIO_32 = 0x61C88647


@kfunc
def hash_32(val: int, bits: int) -> int:
    """include/linux/hash.h: the upper ``bits`` bits of a 32-bit product."""
    return ((val * GOLDEN_RATIO_32) & 0xFFFFFFFF) >> (32 - bits)
