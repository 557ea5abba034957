# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from softnet.lang.declare import Struct, hwfunc, kfunc, private


@hwfunc
def read_the_card(queue: int) -> int:
    return queue


@kfunc
def my_change(sd: softnet_data, skb: sk_buff) -> None:
    n = read_the_card(0)
    sd.processed += n
