# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from softnet.lang.declare import Struct, hwfunc, kfunc, private


@kfunc
def my_change(sd: softnet_data, skb: sk_buff) -> None:
    if None:
        sd.processed = 1
