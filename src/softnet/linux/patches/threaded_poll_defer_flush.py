# SPDX-License-Identifier: GPL-2.0-or-later
"""net: make napi_threaded_poll() aware of sd->defer_list.

A poll in a thread frees what was deferred to its CPU. Before, a CPU whose NAPIs all run in threads freed it only when somebody
raised NET_RX there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.drivers.net.softnet_nic import nic_vector
    from softnet.linux.include.linux.netdevice import *
    from softnet.linux.include.linux.preempt import *
    from softnet.linux.kernel.sched.core import *
    from softnet.linux.net.core.dev import __napi_poll, napi_thread_wait, skb_defer_free_flush


PATCH = {
    "commit": "a1aaee7f8f79",
    "subject": "net: make napi_threaded_poll() aware of sd->defer_list",
    "since": "6.4",
    "link": "https://lore.kernel.org/r/20230421094357.1693410-5-edumazet@google.com",
}


@kfunc(entry=True)
def napi_threaded_poll(data: int) -> None:
    """net/core/dev.c: flush after each poll."""
    napi = table(nic_vector, data).napi
    while True:
        napi_thread_wait(napi)
        while True:
            local_bh_disable()
            sd = this_cpu_ptr(softnet_data)
            __napi_poll(napi)
            repoll = sd.do_repoll
            skb_defer_free_flush(sd)
            local_bh_enable()
            if not repoll:
                break
            cond_resched()
