# SPDX-License-Identifier: GPL-2.0-or-later
"""What drives the kernel's functions in a small configuration, and what stands for its allocator, timers and lock checks.

A driver is a task that sleeps until the search lets it start, then calls the shipped functions as their callers do, on skbs
of its own, and sleeps for good. Only the allocator below the network stack is replaced: an skb that is freed is cleared.
A patch of the user's that defines one of the names of this module, of properties.py or explorer.py is an
error (softnet.verify.codegen.guard), because the explorer would not run it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import hwfunc, kfunc
from softnet.lang.intrinsics import (
    IS_ENABLED,
    READ_ONCE,
    WARN_ON_ONCE,
    address_of,
    cmpxchg,
    container_of,
    index_of,
    mem,
    mem_set,
    raw_smp_processor_id,
    smp_processor_id,
    smp_store_release,
    table,
    table_len,
)

if TYPE_CHECKING:
    from softnet.linux.config import CONFIG_PREEMPT_RT
    from softnet.linux.drivers.net.softnet_nic import nic_vector, softnet_close, softnet_open, softnet_poll
    from softnet.linux.fs.eventpoll import eventpoll
    from softnet.linux.include.linux.list import llist_head, llist_node
    from softnet.linux.include.linux.netdevice import (
        NAPIF_STATE_NPSVC,
        NAPIF_STATE_SCHED,
        napi_struct,
        net_hotdata,
        netdev_rx_queue,
        rps_map,
        softnet_data,
    )
    from softnet.linux.include.linux.preempt import local_bh_disable, local_bh_enable
    from softnet.linux.include.linux.skbuff import SKB_STATE_IN_USE, sk_buff
    from softnet.linux.kernel.cpu import cpu_down, cpu_stopper, cpu_up
    from softnet.linux.kernel.sched.core import rcu_read_lock, rcu_read_unlock, schedule
    from softnet.linux.kernel.smp import CSD_FLAG_LOCK, call_single_data
    from softnet.linux.kernel.smpboot import smp_hotplug_thread, smpboot_thread_data
    from softnet.linux.kernel.softirq import (
        NET_RX_SOFTIRQ,
        SCHED_SOFTIRQ,
        do_softirq,
        invoke_softirq,
        irq_cpustat_t,
        local_softirq_pending,
    )
    from softnet.linux.net.core.dev_backlog import (
        enqueue_to_backlog,
        netif_rx,
        process_backlog,
        rps_trigger_softirq,
    )
    from softnet.linux.net.core.dev_busy_poll import napi_busy_loop
    from softnet.linux.net.core.skbuff import skb_attempt_defer_free
    from softnet.machine.globals import hw
    from softnet.machine.hotplug import cpu_is_dead, cpu_preemptible, rq_has_pinned
    from softnet.machine.interrupts import cpu_irq_line, cpu_online, irq_post
    from softnet.machine.locks import lock_error
    from softnet.machine.nic import ARRIVAL_WORDS, nic_receive
    from softnet.machine.sched import current, set_task_state, task_inactive, try_to_wake_up
    from softnet.machine.state import (
        CTX_TASK,
        ERROR_SLEEP_IN_ATOMIC,
        ERROR_SPIN_RECURSION,
        TASK_INTERRUPTIBLE,
        TASK_PARKED,
        TASK_RUNNING,
        VECTOR_TIMER,
        cpu_hw,
        hrtimer,
        spinlock_t,
    )
    from softnet.properties.kick import ck_must_free_at_home
    from softnet.properties.numbers import VX_CSD_TWICE, VX_FREED_AWAY, VX_RX_FROM_IPI, VX_TWO_OWNERS, VX_WARN, VX_WRONG_CPU
    from softnet.verify.inside.open_accesses import VX_RACES, vx_poison, vx_stopped_machine, vx_taken
    from softnet.verify.inside.user_task import verify_task
    from softnet.verify.inside.words import (
        VX_BH_UNLOCKED,
        VX_BUSY,
        VX_CALL,
        VX_CLOSE,
        VX_FREE,
        VX_IRQ,
        VX_NETIF_RX,
        VX_NIC,
        VX_PLUG,
        explorer,
        verify_env,
        vx_driver,
        vx_event,
        vx_saw,
        vx_sd,
        vx_skb,
    )

VX_RESCHED = 1
VX_ORDER = 0
VX_TICKS = 0
VX_HOTPLUG = 0
VX_CLOSES = 0
VX_POLLS_BUSY = 0
VX_TIMERS = 0
# Whether a setting may change while the system runs.
VX_SET_DEFER_MAX = 0
VX_SET_BACKLOG = 0
VX_SET_BUDGET = 0
VX_SET_WEIGHT = 0
VX_SET_RPS = 0

VX_EVENT_DEFER_MAX = 0
VX_EVENT_BACKLOG = 1
VX_EVENT_BUDGET = 2
VX_EVENT_WEIGHT = 3
VX_EVENT_RPS = 4


@hwfunc(visible="search", x86="none")
def vx_break(number: int) -> None:
    """A function of the harness found the property violated."""
    table(verify_env, 0).broken |= 1 << number


@hwfunc
def vx_warn(line: int, site: int) -> None:
    """A WARN_ON_ONCE of the kernel fired."""
    table(explorer, 0).warned = site
    vx_break(VX_WARN)


@kfunc
def vx_driver_task(data: int) -> None:
    """The body of a driver; ``data`` is its row."""
    d = table(vx_driver, data)
    while d.started == 0:
        set_task_state(TASK_INTERRUPTIBLE)
        schedule()
    set_task_state(TASK_RUNNING)
    if VX_HOTPLUG != 0:
        if d.kind == VX_PLUG:
            cpu_down(d.target)
            if d.count > 1:
                cpu_up(d.target)
            return
    if VX_CLOSES != 0:
        if d.kind == VX_CLOSE:
            vx_stop_card(d.first, d.count)
            return
    if VX_POLLS_BUSY != 0:
        if d.kind == VX_BUSY:
            e = table(verify_env, 0)
            napi_busy_loop(d.first + 1, None, bool(e.prefer_busy_poll), e.busy_poll_budget)
            return
    if d.kind == VX_CALL:
        verify_task(d.count)
        return
    for i in range(d.count):
        skb = table(sk_buff, d.first + i)
        if d.kind == VX_FREE:
            d.busy = 1
            skb_attempt_defer_free(skb)
            d.busy = 0
            vx_deferred(skb)
        elif d.kind == VX_NETIF_RX:
            netif_rx(skb)
        else:
            local_bh_disable()
            vx_steer(skb, d.target)
            local_bh_enable()


@kfunc
def vx_stop_card(card: int, count: int) -> None:
    """Stop the card, and with a count of 2 start it again. In between the task that stopped it owns its NAPI."""
    v = table(nic_vector, card)
    softnet_close(v)
    vx_closed(card, 1)
    if count > 1:
        vx_closed(card, 0)
        softnet_open(v)


@hwfunc(visible="search", x86="none")
def vx_closed(card: int, now: int) -> None:
    """Note who owns the card's NAPI."""
    e = table(verify_env, 0)
    e.closed = (e.closed & ~(1 << card)) | now << card


@kfunc
def vx_softnet_poll(napi: napi_struct, budget: int) -> int:
    """The card's poll, with its condition: nobody polls a NAPI whose owner has disabled it (I3)."""
    v = container_of(napi, nic_vector, "napi")
    vx_saw(VX_TWO_OWNERS)
    if table(verify_env, 0).closed >> v.queue & 1 != 0:
        vx_break(VX_TWO_OWNERS)
    return softnet_poll(napi, budget)


@hwfunc(visible="own context", x86="none")
def busy_loop_end(ep: eventpoll, start_time: int) -> bool:
    """In napi_busy_loop(): here time does not pass, so the driver's COUNT says how often it may ask before it stops."""
    for i in range(table_len(vx_driver)):
        d = table(vx_driver, i)
        if d.kind == VX_BUSY and d.task == current():
            d.asked += 1
            return d.asked >= d.count
    return True


@hwfunc(visible="all", x86="locked")
def hrtimer_start(timer: hrtimer, expires: int) -> None:
    """machine/timers.py: a NAPI's timer, which may expire at any time from now on. Armed anew, it has not."""
    vx_timer_stop(timer)
    timer.cpu = hw.cpu
    timer.active = True


@hwfunc(visible="all", x86="locked")
def hrtimer_cancel(timer: hrtimer) -> int:
    """machine/timers.py."""
    return 1 if vx_timer_stop(timer) else 0


@hwfunc
def vx_timer_stop(timer: hrtimer) -> bool:
    """Disarm; whether it was armed, or its interrupt has yet to come."""
    e = table(verify_env, 0)
    was = timer.active
    timer.active = False
    for i in range(table_len(nic_vector)):
        if table(nic_vector, i).napi.timer == timer and e.expired >> i & 1 != 0:
            e.expired &= ~(1 << i)
            was = True
    return was


@hwfunc
def vx_timer_expires(card: int) -> None:
    """The timer's interrupt is on its way."""
    timer = table(nic_vector, card).napi.timer
    timer.active = False
    table(verify_env, 0).expired |= 1 << card
    irq_post(cpu_irq_line(timer.cpu, VECTOR_TIMER), timer.cpu, 0)


@hwfunc(visible="all", x86="locked")
def vx_take_expired() -> hrtimer:
    """hrtimer_take_expired() of machine/timers.py."""
    e = table(verify_env, 0)
    for i in range(table_len(nic_vector)):
        timer = table(nic_vector, i).napi.timer
        if e.expired >> i & 1 != 0 and timer.cpu == hw.cpu:
            e.expired &= ~(1 << i)
            return timer
    return None


@kfunc
def usleep_range(min_us: int, max_us: int) -> None:
    """kernel/time/timer.c: the search wakes who waits when there is something to see (vx_napi_free())."""
    set_task_state(TASK_INTERRUPTIBLE)
    schedule()


@hwfunc
def vx_napi_free(d: vx_driver) -> bool:
    """Whether nobody owns the NAPI of the card that the driver stops."""
    return table(nic_vector, d.first).napi.state & (NAPIF_STATE_SCHED | NAPIF_STATE_NPSVC) == 0


@hwfunc(visible="search", x86="none")
def vx_deferred(skb: sk_buff) -> None:
    """skb_attempt_defer_free() has returned: an skb that is in use still was deferred, wherever the kernel keeps it."""
    if skb.state == SKB_STATE_IN_USE:
        table(vx_skb, index_of(skb)).deferred = 1


@kfunc
def vx_steer(skb: sk_buff, cpu: int) -> None:
    """netif_rx_internal() with a map of one CPU: get_rps_cpu() takes no CPU that is offline."""
    rcu_read_lock()
    if not cpu_online(cpu):
        cpu = smp_processor_id()
    enqueue_to_backlog(skb, cpu, None)
    rcu_read_unlock()


@kfunc
def hotplug_wait() -> None:
    """kernel/cpu.c: where C waits for a completion; the search wakes the task when it has come (vx_plug_ready())."""
    set_task_state(TASK_INTERRUPTIBLE)
    schedule()


@hwfunc
def vx_plug_ready(d: vx_driver) -> bool:
    """Whether what the hotplug task waits for has come: its CPU's threads are parked, or the CPU is dead."""
    stopper = table(cpu_stopper, d.target)
    if stopper.work == 0 and table(cpu_hw, d.target).online != 0:
        for i in range(table_len(smp_hotplug_thread)):
            td = table(smpboot_thread_data, i * hw.nr_cpus + d.target)
            if td.task is not None and td.task.kthread_flags != 0 and not task_inactive(td.task, TASK_PARKED):
                return False
        return True
    return cpu_is_dead(d.target)


@hwfunc(visible="stop machine", x86="none")
def vx_stop_machine() -> bool:
    """Hold all other CPUs, if their stoppers could preempt what they run now and no task of this CPU may not be moved."""
    if rq_has_pinned(hw.cpu):
        return False
    for cpu in range(hw.nr_cpus):
        c = table(cpu_hw, cpu)
        if cpu != hw.cpu and c.online != 0 and not cpu_preemptible(c):
            return False
    table(verify_env, 0).stopped_by = hw.cpu + 1
    if VX_RACES != 0:
        vx_stopped_machine()
    return True


@hwfunc(visible="start machine", x86="none")
def vx_start_machine() -> None:
    """Let the other CPUs go on."""
    table(verify_env, 0).stopped_by = 0


@kfunc
def stop_machine_begin() -> None:
    """kernel/stop_machine.c: wait until every other CPU's stopper has it, which is one step here."""
    while not vx_stop_machine():
        hotplug_wait()


@kfunc
def stop_machine_end() -> None:
    """kernel/stop_machine.c."""
    vx_start_machine()


@hwfunc
def vx_stopper_ready(d: vx_driver) -> bool:
    """Whether the stopper of the CPU waits, for tasks that may not move or for the other CPUs, and need not any more."""
    stopper = table(cpu_stopper, d.target)
    if stopper.work == 0 or stopper.thread.state != TASK_INTERRUPTIBLE or stopper.thread.on_rq != 0 or stopper.thread.on_cpu != 0:
        return False
    for cpu in range(hw.nr_cpus):
        if cpu != d.target and table(cpu_hw, cpu).online != 0 and not cpu_preemptible(table(cpu_hw, cpu)):
            return False
    return not rq_has_pinned(d.target) and table(cpu_hw, d.target).task.migrate_disabled == 0


@hwfunc
def vx_driver_enabled(number: int) -> bool:
    """Whether the driver may be started, or its device raise its next interrupt."""
    d = table(vx_driver, number)
    if d.kind == VX_IRQ:
        return bool(d.started < d.count and d.raised == 0)
    if d.kind == VX_NIC:
        return bool(d.started < d.count)
    if VX_HOTPLUG != 0:
        if d.kind == VX_PLUG and d.started != 0:
            if vx_stopper_ready(d):
                return True
            return bool(d.task.state == TASK_INTERRUPTIBLE and vx_plug_ready(d))
    if VX_CLOSES != 0:
        if d.kind == VX_CLOSE and d.started != 0:
            return bool(d.task.state == TASK_INTERRUPTIBLE and vx_napi_free(d))
    return bool(d.started == 0 and d.task.state == TASK_INTERRUPTIBLE)


@hwfunc
def vx_driver_perform(number: int) -> None:
    """Start the driver, or let its device raise its interrupt; a waiting hotplug task or stopper goes on."""
    d = table(vx_driver, number)
    if VX_HOTPLUG != 0:
        if d.kind == VX_PLUG and d.started != 0:
            if vx_stopper_ready(d):
                try_to_wake_up(table(cpu_stopper, d.target).thread, TASK_INTERRUPTIBLE)
            else:
                try_to_wake_up(d.task, TASK_INTERRUPTIBLE)
            return
    if VX_CLOSES != 0:
        if d.kind == VX_CLOSE and d.started != 0:
            try_to_wake_up(d.task, TASK_INTERRUPTIBLE)
            return
    d.started += 1
    if d.kind == VX_NIC:
        nic_receive(hw.arrivals + number * ARRIVAL_WORDS)
    elif d.kind == VX_IRQ:
        d.raised = 1
        irq_post(cpu_irq_line(d.target, VECTOR_TIMER), d.target, 0)
    else:
        try_to_wake_up(d.task, TASK_INTERRUPTIBLE)


@kfunc
def hrtimer_interrupt() -> None:
    """The timer's interrupt: NAPIs' timers; and a device without NAPI whose handler calls netif_rx()."""
    if VX_TIMERS != 0:
        while timer := vx_take_expired():
            timer.function(timer)
    for i in range(table_len(vx_driver)):
        d = table(vx_driver, i)
        if d.kind == VX_IRQ and d.raised != 0 and d.target == smp_processor_id():
            d.raised = 0
            skb = table(sk_buff, d.first + d.started - 1)
            netif_rx(skb)


@kfunc
def rps_input_queue_tail_incr(sd: softnet_data) -> int:
    """include/net/rps.h (6.12): a position for RFS, which nobody looks at here. In a local it would tell equal states apart."""
    return 0


@hwfunc(visible="search", x86="none")
def vx_has_its_worker(cpu: int) -> bool:
    """Whether the CPU can flush its own list."""
    return ck_must_free_at_home(cpu)


@kfunc
def vx_forget(skb: sk_buff) -> None:
    """A free skb's fields mean nothing. Deferred, it must die where it was allocated, unless that CPU is offline (I2)."""
    note = table(vx_skb, index_of(skb))
    if note.deferred != 0:
        vx_saw(VX_FREED_AWAY)
    if note.deferred != 0 and skb.alloc_cpu != raw_smp_processor_id() and vx_has_its_worker(skb.alloc_cpu):
        vx_break(VX_FREED_AWAY)
    note.deferred = 0
    vx_poison(address_of(skb))
    skb.next = None
    skb.prev = None
    skb.alloc_cpu = 0
    skb.len = 0
    skb.users = 0
    skb.hdr = 0
    skb.dev = None
    skb.nr_packets = 0


@kfunc
def kmem_cache_free(skb: sk_buff) -> None:
    """mm/slub.c, as the end of an skb: state FREE was set before; a second free trips over it."""
    vx_forget(skb)


@kfunc
def napi_skb_cache_put(skb: sk_buff) -> None:
    """net/core/skbuff.c, as the end of an skb."""
    vx_forget(skb)


@kfunc
def napi_skb_cache_get() -> sk_buff:
    """net/core/skbuff.c: an skb that was never used, in the order in which they are asked for."""
    e = table(verify_env, 0)
    if e.next_skb >= table_len(sk_buff):
        return None
    e.next_skb += 1
    return table(sk_buff, e.next_skb - 1)


@hwfunc(visible="search", x86="plain load")
def vx_on_list(new: llist_node, node: llist_node) -> bool:
    """Whether a node is on the list that begins with another one."""
    while node is not None:
        if node == new:
            return True
        node = node.next
    return False


@kfunc
def llist_add(new: llist_node, head: llist_head) -> bool:
    """include/linux/llist.h, with the test that a node is not on the list already: I9, a csd is queued at most once."""
    vx_saw(VX_CSD_TWICE)
    while True:
        first = READ_ONCE(head.first)
        if vx_on_list(new, first):
            vx_break(VX_CSD_TWICE)
            return False
        new.next = first
        if cmpxchg(head.first, first, new) == first:
            return first is None


@kfunc
def csd_unlock(csd: call_single_data) -> None:
    """kernel/smp.c, whose WARN_ON_ONCE says that somebody else has used the csd meanwhile: I9, in flight at most once."""
    if csd.u_flags & CSD_FLAG_LOCK == 0:
        vx_break(VX_CSD_TWICE)
    smp_store_release(csd.u_flags, 0)


@kfunc
def do_softirq_post_smp_call_flush(was_pending: int) -> None:
    """kernel/softirq.c:317 (6.1); what its WARN_ON_ONCE says of NET_RX is I13, as in a function call from an interrupt."""
    if IS_ENABLED(CONFIG_PREEMPT_RT):
        vx_saw(VX_RX_FROM_IPI)
        is_pending = local_softirq_pending()
        if was_pending != is_pending:
            if is_pending & ~was_pending & (1 << NET_RX_SOFTIRQ) != 0:
                vx_break(VX_RX_FROM_IPI)
            else:
                WARN_ON_ONCE(was_pending != is_pending & ~(1 << SCHED_SOFTIRQ))
            invoke_softirq()
    else:
        do_softirq()


@kfunc
def vx_process_backlog(napi: napi_struct, quota: int) -> int:
    """process_backlog() with its two conditions: on its own CPU (I4), and by one owner only (I3)."""
    sd = container_of(napi, softnet_data, "backlog")
    note = table(vx_sd, sd.cpu)
    vx_saw(VX_WRONG_CPU)
    if sd.cpu != smp_processor_id():
        vx_break(VX_WRONG_CPU)
    if note.polling != 0:
        vx_break(VX_TWO_OWNERS)
    if VX_BH_UNLOCKED != 0:
        vx_poll_begins(note)
    else:
        note.polling = 1
    done = process_backlog(napi, quota)
    if VX_BH_UNLOCKED != 0:
        vx_poll_ends(note)
    else:
        note.polling = 0
    return done


@hwfunc(visible="search", x86="none")
def vx_poll_begins(note: vx_sd) -> None:
    """Where BH off does not keep a CPU's tasks apart, who polls owns the backlog until SCHED is given up (verify_after())."""
    note.polling = hw.ctx + 1


@hwfunc(visible="search", x86="none")
def vx_poll_ends(note: vx_sd) -> None:
    """Another task may poll by now."""
    if note.polling == hw.ctx + 1:
        note.polling = 0


@hwfunc(visible="search", x86="plain load")
def vx_rx_pending() -> int:
    """Whether NET_RX is pending on this CPU."""
    return table(irq_cpustat_t, hw.cpu).softirq_pending >> NET_RX_SOFTIRQ & 1


@kfunc
def vx_rps_trigger_softirq(sd: softnet_data) -> None:
    """The RPS function call: on PREEMPT_RT it must not raise NET_RX (I13)."""
    before = vx_rx_pending()
    rps_trigger_softirq(sd)
    if IS_ENABLED(CONFIG_PREEMPT_RT):
        vx_saw(VX_RX_FROM_IPI)
        if vx_rx_pending() != before:
            vx_break(VX_RX_FROM_IPI)


@hwfunc(visible="acquire", x86="locked")
def spin_acquire(lock: spinlock_t) -> bool:
    """machine/locks.py: a lock that another context holds disables its taker here, so there is no queue to join."""
    me = table(cpu_hw, hw.cpu).cur
    if lock.owner == me.id + 1:
        lock_error(ERROR_SPIN_RECURSION, lock)
        return True
    vx_lock_order(lock)
    if VX_RACES != 0:
        vx_taken(lock)
    lock.owner = me.id + 1
    return True


@hwfunc(visible="try", x86="locked")
def spin_try(lock: spinlock_t) -> bool:
    """machine/locks.py: take the lock if it is free."""
    if lock.owner != 0:
        return False
    if VX_RACES != 0:
        vx_taken(lock)
    lock.owner = table(cpu_hw, hw.cpu).cur.id + 1
    return True


@hwfunc(visible="own context", x86="none")
def rt_spin_lock_checks(lock: spinlock_t) -> None:
    """kernel/locking/spinlock_rt.c: rtlock_might_resched() and lockdep's share of rt_spin_lock(), contended or not (I11)."""
    c = table(cpu_hw, hw.cpu)
    if c.cur.kind != CTX_TASK or c.preempt_count != 0 or c.cur.irqs_off != 0:
        hw.error = ERROR_SLEEP_IN_ATOMIC
        hw.error_arg = address_of(lock)
    vx_lock_order(lock)


@hwfunc
def vx_lock_order(lock: spinlock_t) -> None:
    """Note which classes of locks this context holds while it takes the lock. It is no part of a state: it only grows."""
    v = table(explorer, 0)
    me = table(cpu_hw, hw.cpu).cur.id + 1
    taken = -1
    for i in range(v.nr_locks):
        if mem(v.locks + 2 * i) == address_of(lock):
            taken = mem(v.locks + 2 * i + 1)
    if taken < 0:
        return
    for i in range(v.nr_locks):
        if mem(mem(v.locks + 2 * i)) == me:
            at = v.lock_order + mem(v.locks + 2 * i + 1) * v.lock_classes + taken
            if mem(at) < 0:
                mem_set(at, (v.head << 8) | v.at_action)


@hwfunc(visible="all", x86="plain load", reads="verify_env.jiffies")
def jiffies() -> int:
    """Ticks that the search lets pass."""
    return table(verify_env, 0).jiffies


@hwfunc
def vx_env_enabled(action: int) -> bool:
    """What happens from outside: 0 time passes, 1 + n the n-th change of a setting; those of one setting in their order.

    Behind the settings the timers of the cards' NAPIs: there is at least one row of settings.
    """
    if action == 0:
        return bool(VX_TICKS != 0 and table(verify_env, 0).ticks_left > 0)
    if VX_TIMERS != 0:
        if action > table_len(vx_event):
            return table(nic_vector, action - 1 - table_len(vx_event)).napi.timer.active
    e = table(vx_event, action - 1)
    if e.kind < 0 or e.done != 0:
        return False
    for i in range(action - 1):
        if table(vx_event, i).kind == e.kind and table(vx_event, i).done == 0:
            return False
    return True


@hwfunc
def vx_env_perform(action: int) -> None:
    """Do it."""
    if action == 0:
        if VX_TICKS != 0:
            table(verify_env, 0).ticks_left -= 1
            table(verify_env, 0).jiffies += 1000
        return
    if VX_TIMERS != 0:
        if action > table_len(vx_event):
            vx_timer_expires(action - 1 - table_len(vx_event))
            return
    e = table(vx_event, action - 1)
    e.done = 1
    nh = table(net_hotdata, 0)
    if VX_SET_DEFER_MAX != 0:
        if e.kind == VX_EVENT_DEFER_MAX:
            nh.sysctl_skb_defer_max = e.value
    if VX_SET_BACKLOG != 0:
        if e.kind == VX_EVENT_BACKLOG:
            nh.max_backlog = e.value
    if VX_SET_BUDGET != 0:
        if e.kind == VX_EVENT_BUDGET:
            nh.netdev_budget = e.value
    if VX_SET_WEIGHT != 0:
        if e.kind == VX_EVENT_WEIGHT:
            nh.dev_rx_weight = e.value
    if VX_SET_RPS != 0:
        if e.kind == VX_EVENT_RPS:
            nh.rps_needed = 1 if e.value != 0 else 0
            for i in range(table_len(netdev_rx_queue)):
                if e.value != 0:
                    table(netdev_rx_queue, i).map = table(rps_map, e.row)
                else:
                    table(netdev_rx_queue, i).map = None
