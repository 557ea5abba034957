# SPDX-License-Identifier: GPL-2.0-or-later
"""An skb that is not deferred is freed as from a poll, with bottom halves on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.linux.include.linux.skbuff import sk_buff
    from softnet.linux.net.core.skbuff import napi_consume_skb


@kfunc
def kfree_skb_napi_cache(skb: sk_buff) -> None:
    """net/core/skbuff.c (6.12)."""
    napi_consume_skb(skb, 1)
