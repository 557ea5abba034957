# SPDX-License-Identifier: GPL-2.0-or-later
"""What is observed: the functions around, behind stores and at events, as lang.program.observe finds them by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import observer
from softnet.lang.intrinsics import address_of, index_of, ref_at, table, table_len

if TYPE_CHECKING:
    from softnet.linux.include.linux.list import list_head, llist_node
    from softnet.linux.include.linux.netdevice import NAPIF_STATE_SCHED, napi_struct, softnet_data
    from softnet.linux.include.linux.skbuff import sk_buff, sk_buff_head
    from softnet.linux.kernel.smp import call_single_data
    from softnet.machine.globals import hw
    from softnet.machine.state import spinlock_t, task_struct
    from softnet.properties.history.calls import ck_queued, ck_raised, ck_unlocked
    from softnet.properties.history.defer import (
        ck_check_defer,
        ck_coalesced,
        ck_defer_max,
        ck_flushed,
        ck_pushed,
    )
    from softnet.properties.history.locks import ck_acquire, ck_release
    from softnet.properties.history.napi import (
        ck_add,
        ck_check,
        ck_check_backlog,
        ck_check_device,
        ck_claim,
        ck_claimed,
        ck_drop,
        ck_napi_at,
        ck_node_linked,
        ck_polled,
        ck_polling,
        ck_rps_scheduled,
        ck_schedule,
        ck_state_stored,
        ck_waking,
    )
    from softnet.properties.history.skb import (
        CK_IN_CACHE,
        CK_IN_SLAB,
        ck_check_queues,
        ck_put,
        ck_queue_begin,
        ck_queue_end,
        ck_skb_at,
        ck_skb_state,
        ck_taken,
    )
    from softnet.properties.history.words import CK_SAMPLE_SWITCHES, ck_cpu, ck_ctx, ck_env, ck_napi, ck_skb


@observer
def ck_is_cpu(cpu: int) -> bool:
    """Whether an argument is a CPU's number: a patch may hand on anything."""
    return bool(cpu >= 0 and cpu < hw.nr_cpus)


# -- NAPIs


@observer
def stored_napi_struct__state(at: int) -> None:
    n = ck_napi_at(at - table(ck_env, 0).napi_state)
    if n is not None:
        ck_state_stored(n)


@observer
def enter_napi_schedule() -> None:
    ck_claim()


@observer
def leave_napi_schedule() -> None:
    ck_claimed()


@observer
def enter_napi_schedule_irqoff() -> None:
    ck_claim()


@observer
def leave_napi_schedule_irqoff() -> None:
    ck_claimed()


@observer
def enter_napi_watchdog() -> None:
    ck_claim()


@observer
def leave_napi_watchdog() -> None:
    ck_claimed()


@observer
def enter_napi_complete_done() -> None:
    ck_claim()


@observer
def leave_napi_complete_done() -> None:
    ck_claimed()


@observer
def enter_kick_defer_list_purge() -> None:
    ck_claim()


@observer
def leave_kick_defer_list_purge() -> None:
    ck_claimed()


@observer
def enter_____napi_schedule(sd: softnet_data, napi: napi_struct) -> None:
    n = ck_napi_at(address_of(napi))
    if n is not None:
        ck_schedule(n)


@observer
def leave_____napi_schedule(sd: softnet_data, napi: napi_struct) -> None:
    n = ck_napi_at(address_of(napi))
    if n is not None:
        ck_drop(n, hw.ctx)
        ck_check(n)


@observer
def leave_napi_schedule_rps(sd: softnet_data) -> None:
    ck_rps_scheduled(sd)


@observer
def enter_list_add_tail(new: list_head) -> None:
    ck_node_linked(new)


@observer
def enter_wake_up_process(p: task_struct) -> None:
    ck_waking(p)


@observer
def enter___napi_poll(napi: napi_struct) -> None:
    n = ck_napi_at(address_of(napi))
    if n is not None and napi.state & NAPIF_STATE_SCHED != 0:
        ck_add(n, hw.ctx)


@observer
def leave___napi_poll(napi: napi_struct) -> None:
    n = ck_napi_at(address_of(napi))
    if n is not None:
        ck_drop(n, hw.ctx)
        if n.polled_by == hw.ctx:
            n.polled_by = -1


@observer
def enter_poll(napi: napi_struct) -> None:
    n = ck_napi_at(address_of(napi))
    if n is not None:
        ck_polling(n)


@observer
def leave_poll(napi: napi_struct) -> None:
    n = ck_napi_at(address_of(napi))
    if n is not None:
        ck_polled(n)


@observer
def enter_net_rps_send_ipi() -> None:
    table(ck_env, 0).sending += 1


@observer
def leave_net_rps_send_ipi() -> None:
    table(ck_env, 0).sending -= 1


# -- function calls


@observer
def enter___flush_smp_call_function_queue() -> int:
    table(ck_cpu, hw.cpu).calling += 1
    table(ck_ctx, hw.ctx).calling += 1
    return hw.cpu


@observer
def leave___flush_smp_call_function_queue(token: int) -> None:
    table(ck_cpu, token).calling -= 1
    table(ck_ctx, hw.ctx).calling -= 1


@observer
def event_queue_work_on(cpu: int, b: int, c: int) -> None:
    """6.1-rt kicks by a work item: from here on it is under way (I8)."""
    if ck_is_cpu(cpu):
        table(ck_cpu, cpu).works += 1


@observer
def enter_process_one_work() -> int:
    """The worker has it: it clears the flag, and flushes as soon as bottom halves let it (I6)."""
    it = table(ck_cpu, hw.cpu)
    it.works -= 1
    it.calling += 1
    it.flushing += 1
    return hw.cpu


@observer
def leave_process_one_work(token: int) -> None:
    it = table(ck_cpu, token)
    it.calling -= 1
    it.flushing -= 1


@observer
def enter___smp_call_single_queue(cpu: int, node: llist_node) -> None:
    ck_queued(cpu, node)


@observer
def enter_csd_unlock(csd: call_single_data) -> None:
    ck_unlocked(csd)


@observer
def event_net_rx_raise(a: int, b: int, c: int) -> None:
    ck_raised()


# -- packets


@observer
def stored_sk_buff__state(at: int) -> None:
    ck_skb_state(ck_skb_at(at))


@observer
def enter_napi_skb_cache_put(skb: sk_buff) -> None:
    ck_put(skb, CK_IN_CACHE)


@observer
def enter_kmem_cache_free(skb: sk_buff) -> None:
    ck_put(skb, CK_IN_SLAB)


@observer
def leave_kmem_cache_alloc(result: sk_buff) -> None:
    ck_taken(result)


@observer
def leave_napi_skb_cache_get(result: sk_buff) -> None:
    ck_taken(result)


@observer
def leave_napi_skb_cache_take(result: sk_buff) -> None:
    ck_taken(result)


@observer
def enter_enqueue_to_backlog(skb: sk_buff, cpu: int) -> int:
    ck_claim()
    if not ck_is_cpu(cpu):
        return -1
    table(ck_cpu, cpu).enqueueing += 1
    return cpu


@observer
def leave_enqueue_to_backlog(token: int) -> None:
    if token >= 0:
        table(ck_cpu, token).enqueueing -= 1
    ck_claimed()


@observer
def event_enqueue_to_backlog(skb: int, cpu: int, qlen: int) -> None:
    if ck_is_cpu(cpu):
        table(ck_cpu, cpu).accepted += 1


@observer
def enter___skb_dequeue(queue: sk_buff_head) -> int:
    return ck_queue_begin(queue)


@observer
def leave___skb_dequeue(token: int, result: sk_buff) -> None:
    if token >= 0 and result is not None:
        table(ck_cpu, token).dequeued += 1
    ck_queue_end(token)


@observer
def enter_skb_queue_splice_tail_init(queue: sk_buff_head, head: sk_buff_head) -> int:
    return ck_queue_begin(head)


@observer
def leave_skb_queue_splice_tail_init(token: int) -> None:
    ck_queue_end(token)


# -- the defer list


@observer
def enter_skb_attempt_defer_free(skb: sk_buff) -> int:
    me = table(ck_ctx, hw.ctx)
    me.entry_max = ck_defer_max()
    me.deferred = address_of(skb)
    ck_claim()
    cpu = skb.alloc_cpu
    if not ck_is_cpu(cpu):
        return -1
    table(ck_cpu, cpu).deferring += 1
    return cpu


@observer
def leave_skb_attempt_defer_free(token: int) -> None:
    if token >= 0:
        table(ck_cpu, token).deferring -= 1
    table(ck_ctx, hw.ctx).deferred = 0
    ck_claimed()


@observer
def event_skb_attempt_defer_free(skb: int, cpu: int, count: int) -> None:
    at = table(ck_ctx, hw.ctx).deferred
    if not ck_is_cpu(cpu) or at == 0:
        return
    ck_pushed(cpu, count)
    table(ck_skb, index_of(ref_at(sk_buff, at))).home = cpu + 1


@observer
def event_skb_defer_free_flush(a: int, b: int, c: int) -> None:
    ck_flushed(hw.cpu)


@observer
def event_kick_coalesced(cpu: int, b: int, c: int) -> None:
    if ck_is_cpu(cpu):
        ck_coalesced(cpu)


@observer
def event_kick_defer_list_purge(cpu: int, b: int, c: int) -> None:
    if ck_is_cpu(cpu):
        table(ck_cpu, cpu).on_softirq = 0


@observer
def enter_net_rx_action() -> int:
    return ck_flushing()


@observer
def leave_net_rx_action(token: int) -> None:
    table(ck_cpu, token).flushing -= 1


@observer
def enter_handle_softirqs() -> int:
    return ck_flushing()


@observer
def leave_handle_softirqs(token: int) -> None:
    table(ck_cpu, token).flushing -= 1


@observer
def enter_napi_threaded_poll_loop() -> int:
    return ck_flushing()


@observer
def leave_napi_threaded_poll_loop(token: int) -> None:
    table(ck_cpu, token).flushing -= 1


@observer
def ck_flushing() -> int:
    """A context begins on this CPU what flushes the defer list on its way."""
    table(ck_cpu, hw.cpu).flushing += 1
    return hw.cpu


# -- locks


@observer
def enter_spin_acquire(lock: spinlock_t) -> None:
    ck_acquire(lock, True, False)


@observer
def enter_rt_spin_lock(lock: spinlock_t) -> None:
    ck_acquire(lock, True, True)


@observer
def leave_spin_trylock(result: bool, lock: spinlock_t) -> None:
    if result:
        ck_acquire(lock, False, False)


@observer
def enter_spin_release(lock: spinlock_t) -> None:
    ck_release(lock)


@observer
def enter_rt_release(lock: spinlock_t) -> None:
    ck_release(lock)


# -- between contexts


@observer
def before_switch() -> None:
    e = table(ck_env, 0)
    check_cpu(hw.cpu, hw.now)
    e.switches += 1
    if e.switches % CK_SAMPLE_SWITCHES == 0:
        turn = e.switches // CK_SAMPLE_SWITCHES
        check_cpu(turn % hw.nr_cpus, hw.now)
        devices = table_len(ck_napi) - hw.nr_cpus
        if devices > 0:
            ck_check_device(hw.nr_cpus + turn % devices, hw.now)


@observer
def check_cpu(cpu: int, now: int) -> None:
    """Everything that is looked at between contexts, for one CPU."""
    ck_check_backlog(cpu, now)
    ck_check_defer(cpu, now)
    ck_check_queues(cpu, now)


@observer
def check_all(now: int) -> None:
    """The same for all CPUs and devices, at the end of a run."""
    for cpu in range(hw.nr_cpus):
        check_cpu(cpu, now)
    for i in range(hw.nr_cpus, table_len(ck_napi)):
        ck_check_device(i, now)
