# SPDX-License-Identifier: GPL-2.0-or-later
"""A task looks at a counter of this CPU's softirq, turns bottom halves off, and looks again: an interrupt in between may change it."""

from __future__ import annotations

from softnet.lang import Struct, kfunc, private, shared
from softnet.verify import in_the_end


class seen(Struct):
    polls: int = shared(line=0)
    differed: int = private(line=1)


@kfunc
def napi_poll(n: napi_struct, repoll: list_head) -> int:
    s = table(seen, smp_processor_id())
    WRITE_ONCE(s.polls, READ_ONCE(s.polls) + 1)
    list_del_init(n.poll_list)
    work_done = __napi_poll(n)
    if this_cpu_ptr(softnet_data).do_repoll:
        list_add_tail(n.poll_list, repoll)
    return work_done


@kfunc
def verify_task(number: int) -> None:
    s = table(seen, 0)
    before = READ_ONCE(s.polls)
    local_bh_disable()
    if READ_ONCE(s.polls) != before:
        s.differed = 1
    local_bh_enable()


@in_the_end("the counter changed between the look and local_bh_disable()")
def never_differs() -> bool:
    return table(seen, 0).differed == 0
