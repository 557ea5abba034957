# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from softnet.lang.declare import Struct, hwfunc, kfunc, private


def loud(function):
    return function


@kfunc
@loud
def my_change(sd: softnet_data) -> None:
    sd.processed = 0
