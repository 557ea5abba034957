# SPDX-License-Identifier: GPL-2.0-or-later
"""mm/slub.c (6.1), as far as a free on another CPU differs from one at home: one cache, skbuff_head_cache.

SLUB keeps for each CPU a lock-less freelist of its current slab; who frees an object of another CPU's slab pushes it on
that slab's own freelist by an atomic operation on a line that both CPUs write (__slab_free()), and the owner takes that
list over when its own is empty (___slab_alloc() -> get_freelist()). Here a CPU has one freelist and one such remote
list; partial lists of slabs, the buddy allocator and NUMA policy are not modelled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, embed, guarded, kfunc, percpu, shared

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.include.linux.skbuff import *
    from softnet.linux.kernel.locking.spinlock import *
    from softnet.machine.state import *


OO_OBJECTS = 32
"""Objects per slab of skbuff_head_cache (256 bytes each, order 1)."""


class kmem_cache_cpu(Struct, per_cpu=True):
    """include/linux/slub_def.h: one per CPU. ``remote`` is its slab's freelist, the one others push to."""

    freelist: sk_buff = percpu(line=0)
    remote: sk_buff = shared(line=1)


class kmem_cache_node(Struct):
    """mm/slab.h: where slabs come from; ``next_object`` is the first skb of table(sk_buff, ...) never handed out."""

    list_lock: raw_spinlock_t = embed()
    next_object: int = guarded("list_lock", line=1)


@kfunc
def kmem_cache_alloc() -> sk_buff:
    """slub.c:3420 (6.1) slab_alloc_node(): from this CPU's freelist; None when all memory is in use."""
    flags = local_irq_save()
    c = this_cpu_ptr(kmem_cache_cpu)
    object = c.freelist
    if not object:
        object = ___slab_alloc(c)
    else:
        work("skb_alloc")
    if object:
        c.freelist = object.next
        object.next = None
    local_irq_restore(flags)
    return object


@kfunc
def ___slab_alloc(c: kmem_cache_cpu) -> sk_buff:
    """slub.c:3050 (6.1): what other CPUs gave back (get_freelist()), or a new slab (new_slab())."""
    work("skb_alloc_slow")
    objects = xchg(c.remote, None)
    if objects:
        return objects
    n = table(kmem_cache_node, 0)
    raw_spin_lock(n.list_lock)
    first = n.next_object
    count = min(OO_OBJECTS, table_len(sk_buff) - first)
    n.next_object = first + count
    raw_spin_unlock(n.list_lock)
    cpu = smp_processor_id()
    objects = None
    while count > 0:
        count -= 1
        skb = table(sk_buff, first + count)
        skb.id = first + count + 1
        skb.slab_cpu = cpu
        skb.next = objects
        objects = skb
    return objects


@kfunc
def kmem_cache_free(skb: sk_buff) -> None:
    """slub.c:3660 (6.1) do_slab_free(): on this CPU's freelist, or by __slab_free() on the owner's."""
    if skb.slab_cpu == raw_smp_processor_id():
        flags = local_irq_save()
        if skb.slab_cpu == smp_processor_id():
            work("skb_free_local")
            c = this_cpu_ptr(kmem_cache_cpu)
            skb.next = c.freelist
            c.freelist = skb
            local_irq_restore(flags)
            return
        local_irq_restore(flags)
    work("skb_free_remote")
    owner = per_cpu(kmem_cache_cpu, skb.slab_cpu)
    while True:
        first = READ_ONCE(owner.remote)
        skb.next = first
        if cmpxchg(owner.remote, first, skb) == first:
            return
