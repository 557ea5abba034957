# SPDX-License-Identifier: GPL-2.0-or-later
"""Two CPUs each store to one variable and read the other's: whether both may read the old value is the memory model.

softnet verify --driver call:0:1 --driver call:1:2 --patch examples/properties/store_buffering.py --memory-model tso
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, kfunc, private, shared
from softnet.verify import in_the_end

if TYPE_CHECKING:
    from softnet.lang.intrinsics import READ_ONCE, WRITE_ONCE, table


class message(Struct):
    """Two variables, each on a cache line of its own, and what was read."""

    x: int = shared(line=0)
    y: int = shared(line=1)
    read_y: int = private(line=2)
    read_x: int = private(line=2)
    done: int = private(line=2)
    also_done: int = private(line=2)


@kfunc
def verify_task(number: int) -> None:
    """Driver call:0:1 is the first task, call:1:2 the second. An smp_mb() in each between store and load forbids it."""
    m = table(message, 0)
    if number == 1:
        WRITE_ONCE(m.x, 1)
        m.read_y = READ_ONCE(m.y)
        m.done = 1
    else:
        WRITE_ONCE(m.y, 1)
        m.read_x = READ_ONCE(m.x)
        m.also_done = 1


@in_the_end("both tasks read the value from before the other's store")
def one_sees_the_other() -> bool:
    """What every interleaving of the four accesses gives, and a processor with store buffers does not."""
    m = table(message, 0)
    return not (m.done != 0 and m.also_done != 0 and m.read_x == 0 and m.read_y == 0)
