# SPDX-License-Identifier: GPL-2.0-or-later
"""Two tasks on two CPUs add to one counter of CPU 0, declared shared: a lost update."""

from __future__ import annotations

from softnet.lang import Struct, kfunc, shared
from softnet.verify import in_the_end


class counter(Struct):
    n: int = shared(line=0)
    finished: int = shared(line=1)


@kfunc
def verify_task(number: int) -> None:
    c = table(counter, 0)
    c.n = c.n + 1
    atomic_inc(c.finished)


@in_the_end("an update was lost")
def none_lost() -> bool:
    c = table(counter, 0)
    return c.finished != 2 or c.n == 2
