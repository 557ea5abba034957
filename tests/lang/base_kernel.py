# SPDX-License-Identifier: GPL-2.0-or-later
"""A few structures and functions for the tests of the language to stand on; no kernel's behaviour is in it."""

from __future__ import annotations

from softnet.lang.declare import (
    Struct,
    array,
    embed,
    fnptr,
    guarded,
    hw,
    hwfunc,
    kfunc,
    percpu,
    private,
    shared,
)
from softnet.lang.intrinsics import container_of, table, test_and_set_bit

NETDEV_MAX_BACKLOG = 1000
CONFIG_RPS = 1


class spinlock_t(Struct):
    """A lock."""

    owner: int = shared()


class list_head(Struct):
    """A list."""

    next: list_head = shared()
    prev: list_head = shared()


class sk_buff(Struct):
    """A packet."""

    next: sk_buff = private()
    len: int = private()
    cpu: int = private()
    cloned: bool = private()


class napi_struct(Struct):
    """A poll context."""

    poll_list: list_head = embed()
    state: int = shared()
    weight: int = private()
    poll: fnptr = private()


class softnet_data(Struct):
    """One per CPU."""

    backlog: napi_struct = embed()
    input_lock: spinlock_t = embed(line=1)
    input_qlen: int = guarded("input_lock", line=1)
    input_head: sk_buff = guarded("input_lock", line=1)
    processed: int = percpu(line=2)
    defer_count: int = shared(line=3)
    history: int = array(128)


class nic_queue(Struct):
    """A queue of the device."""

    pending: int = hw()


@hwfunc(visible="all", x86="plain load")
def nic_rx_pending(q: int) -> int:
    """Packets that wait in the ring."""
    return table(nic_queue, q).pending


@kfunc
def spin_lock(lock: spinlock_t) -> None:
    """Take the lock."""
    lock.owner = 1


@kfunc
def spin_unlock(lock: spinlock_t) -> None:
    """Release the lock."""
    lock.owner = 0


@kfunc
def napi_schedule_prep(napi: napi_struct) -> bool:
    """Take SCHED; whether it was clear."""
    return not test_and_set_bit(0, napi.state)


@kfunc
def process_backlog(napi: napi_struct, quota: int) -> int:
    """Poll the backlog."""
    sd = container_of(napi, softnet_data, "backlog")
    work = 0
    while work < quota:
        spin_lock(sd.input_lock)
        skb = sd.input_head
        if skb is None:
            spin_unlock(sd.input_lock)
            break
        sd.input_head = skb.next
        sd.input_qlen -= 1
        spin_unlock(sd.input_lock)
        sd.history[skb.cpu] += 1
        work += 1
    return work
