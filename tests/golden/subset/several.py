# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from softnet.lang.declare import Struct, hwfunc, kfunc, private


@kfunc
def my_change(sd: softnet_data, skb: sk_buff) -> None:
    n = sd.input_qlenn
    if n > 3 and sd.backlog:
        spin_lok(sd.input_lock)
    sd.processed = n / 2.5


@kfunc
def second_change(sd: softnet_data, skb: sk_buff) -> int:
    while True:
        pass
