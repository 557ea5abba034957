# SPDX-License-Identifier: GPL-2.0-or-later
"""include/linux/netdevice.h, include/net/hotdata.h and include/net/rps.h: the structures of the receive path.

Releases before 6.9 keep the sysctls in global variables; they stand in net_hotdata here for every release, under the
names that struct net_hotdata (26722dc74bf0, v6.9) gave them. Field order and cache lines follow 6.12.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, array, embed, fnptr, guarded, kfunc, percpu, private, shared

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.config import *
    from softnet.linux.include.linux.list import *
    from softnet.linux.include.linux.skbuff import sk_buff, sk_buff_head
    from softnet.linux.kernel.smp import call_single_data
    from softnet.linux.net.core.dev import __napi_schedule, __napi_schedule_irqoff, napi_schedule_prep
    from softnet.machine.state import *


NAPI_STATE_SCHED = 0
NAPI_STATE_MISSED = 1
NAPI_STATE_DISABLE = 2
NAPI_STATE_NPSVC = 3
NAPI_STATE_LISTED = 4
NAPI_STATE_NO_BUSY_POLL = 5
NAPI_STATE_IN_BUSY_POLL = 6
NAPI_STATE_PREFER_BUSY_POLL = 7
NAPI_STATE_THREADED = 8
NAPI_STATE_SCHED_THREADED = 9

NAPIF_STATE_SCHED = 1 << 0
NAPIF_STATE_MISSED = 1 << 1
NAPIF_STATE_DISABLE = 1 << 2
NAPIF_STATE_NPSVC = 1 << 3
NAPIF_STATE_LISTED = 1 << 4
NAPIF_STATE_NO_BUSY_POLL = 1 << 5
NAPIF_STATE_IN_BUSY_POLL = 1 << 6
NAPIF_STATE_PREFER_BUSY_POLL = 1 << 7
NAPIF_STATE_THREADED = 1 << 8
NAPIF_STATE_SCHED_THREADED = 1 << 9

NAPI_POLL_WEIGHT = 64
GRO_HASH_BUCKETS = 8
FLOW_LIMIT_HISTORY = 1 << 7
NET_RX_SUCCESS = 0
NET_RX_DROP = 1
RX_NOT_IP = 0x10000
ETH_P_ARP = 0x0806
RPS_NO_CPU = 0xFFFF
RPS_MAP_CPUS = 256
MAX_FLOW_LIMIT_BUCKETS = 4096


class net_hotdata(Struct, settings=True):
    """include/net/hotdata.h (6.12): the sysctls the fast path reads; one, at ``table(net_hotdata, 0)``."""

    max_backlog: int = shared(line=0, init=1000)
    """net.core.netdev_max_backlog"""
    netdev_budget: int = shared(line=0, init=300)
    netdev_budget_usecs: int = shared(line=0, init=2000)
    """2 * USEC_PER_SEC / HZ by default: boot() writes it."""
    dev_rx_weight: int = shared(line=0, init=64)
    dev_tx_weight: int = shared(line=0, init=64)
    gro_normal_batch: int = shared(line=0, init=8)
    sysctl_skb_defer_max: int = shared(line=1, init=64)
    netdev_tstamp_prequeue: int = shared(line=1, init=1)
    rps_cpu_mask: int = shared(line=1)
    rps_sock_flow_entries: int = shared(line=1)
    """Entries of rps_sock_flow_table, a power of two; 0: RFS is off."""
    rps_needed: int = private()
    """The static key: some queue has an RPS map or RFS is on."""
    rfs_needed: int = private()
    use_backlog_threads_key: int = private()
    """The static key that the boot argument thread_backlog_napi sets."""
    force_irqthreads: int = private()
    """The static key that the boot argument threadirqs sets; always on with PREEMPT_RT."""
    sysctl_net_busy_poll: int = private()
    """net.core.busy_poll, of net/socket.c, in us: how long epoll polls the card before it sleeps. 0: it does not."""
    sysctl_net_busy_read: int = private()
    """net.core.busy_read, of net/core/sock.c, in us: what a new socket's sk_ll_usec is."""


class net_device(Struct):
    """include/linux/netdevice.h: index 0 is the loopback device."""

    ifindex: int = private()
    state: int = shared(line=0, init=1)
    """__LINK_STATE_START: running."""
    gro_flush_timeout: int = shared(line=0)
    napi_defer_hard_irqs: int = shared(line=0)
    gro_max_size: int = shared(line=0, init=65536)
    gro_on: int = private()
    """NETIF_F_GRO."""
    threaded: int = private()
    rx_base: int = private()
    """The device's first receive queue in table(netdev_rx_queue, …)."""
    real_num_rx_queues: int = private(init=1)
    nr_rx_dropped: int = shared(line=1, statistic=True)
    """dev_core_stats rx_dropped; one counter per device instead of one per CPU."""


class rps_map(Struct, settings=True):
    """include/net/rps.h: the CPUs of one queue's rps_cpus."""

    len: int = private()
    cpus: int = array(RPS_MAP_CPUS)


class rps_dev_flow(Struct):
    """include/net/rps.h: the CPU a flow's packets were last sent to, and that backlog's tail then."""

    cpu: int = shared(init=RPS_NO_CPU)
    last_qtail: int = shared()


class rps_dev_flow_table(Struct):
    """include/net/rps.h: ``mask + 1`` flows from ``base`` on in table(rps_dev_flow, …)."""

    mask: int = private()
    base: int = private()


class rps_sock_flow_entry(Struct):
    """include/net/rps.h, an entry of struct rps_sock_flow_table: upper hash bits and the CPU of the reader."""

    ent: int = shared(init=RPS_NO_CPU)


class netdev_rx_queue(Struct, settings=True):
    """include/net/netdev_rx_queue.h: what steers the packets of one receive queue."""

    map: rps_map = private()
    """rps_map."""
    flow_table: rps_dev_flow_table = private()
    """rps_flow_table."""


class gro_list(Struct):
    """include/linux/netdevice.h: one bucket of held packets."""

    list: list_head = embed()
    count: int = private()


class napi_struct(Struct):
    """include/linux/netdevice.h. ``state`` belongs to everybody, the rest to who holds NAPI_STATE_SCHED."""

    poll_list: list_head = embed(line=0)
    state: int = shared(line=0)
    weight: int = private()
    defer_hard_irqs_count: int = private()
    gro_bitmask: int = private()
    poll: fnptr = private()
    list_owner: int = private()
    dev: net_device = private()
    napi_id: int = private()
    gro_hash: gro_list = embed(line=1, count=GRO_HASH_BUCKETS)
    rx_list: list_head = embed(line=4)
    rx_count: int = private()
    rx_sublist: list_head = embed(line=4)
    """The on-stack sublist of netif_receive_skb_list_internal()."""
    timer: hrtimer = embed(line=5)
    thread: task_struct = shared(line=0)


class softnet_data(Struct, per_cpu=True):
    """include/linux/netdevice.h (6.12): one per CPU."""

    poll_list: list_head = embed(line=0)
    process_queue: sk_buff_head = embed(line=1)
    processed: int = percpu(line=3, statistic=True)
    time_squeeze: int = percpu(line=3, statistic=True)
    received_rps: int = percpu(line=3, statistic=True)
    rps_ipi_list: softnet_data = percpu(line=3)
    flow_limit: sd_flow_limit = shared(line=3)
    cpu: int = private()
    completion_queue: sk_buff = percpu(line=3)
    csd: call_single_data = embed(line=4)
    rps_ipi_next: softnet_data = private()
    input_queue_head: int = shared(line=3, statistic=True)
    input_queue_tail: int = shared(line=6, statistic=True)
    dropped: int = shared(line=6, statistic=True)
    input_pkt_queue: sk_buff_head = embed(line=6)
    backlog: napi_struct = embed(line=8)
    defer_lock: spinlock_t = embed(line=16)
    defer_count: int = guarded("defer_lock", line=16)
    defer_list: sk_buff = guarded("defer_lock", line=16)
    defer_ipi_scheduled: int = shared(line=16)
    defer_csd: call_single_data = embed(line=18)
    local_list: list_head = embed(line=20)
    """The on-stack ``list`` of net_rx_action()."""
    local_repoll: list_head = embed(line=20)
    """The on-stack ``repoll`` of net_rx_action()."""
    do_repoll: bool = private(line=20)
    """Where __napi_poll() leaves its ``bool *repoll``: the subset has no pointer to a local."""


class sd_flow_limit(Struct):
    """include/linux/netdevice.h: the flows that queued most lately; one per CPU, used where the sysctl allows."""

    count: int = private()
    num_buckets: int = private(init=MAX_FLOW_LIMIT_BUCKETS)
    history_head: int = private()
    history: int = array(FLOW_LIMIT_HISTORY)
    buckets: int = array(MAX_FLOW_LIMIT_BUCKETS)


@kfunc
def netif_running(dev: net_device) -> bool:
    """include/linux/netdevice.h: test_bit(__LINK_STATE_START, &dev->state)."""
    return bool(READ_ONCE(dev.state) & 1)


@kfunc
def napi_disable_pending(n: napi_struct) -> bool:
    """include/linux/netdevice.h."""
    return test_bit(NAPI_STATE_DISABLE, n.state)


@kfunc
def napi_prefer_busy_poll(n: napi_struct) -> bool:
    """include/linux/netdevice.h."""
    return test_bit(NAPI_STATE_PREFER_BUSY_POLL, n.state)


@kfunc
def napi_is_scheduled(n: napi_struct) -> bool:
    """include/linux/netdevice.h."""
    return test_bit(NAPI_STATE_SCHED, n.state)


@kfunc
def napi_schedule(n: napi_struct) -> bool:
    """include/linux/netdevice.h: schedule unless somebody owns the NAPI; then they are told by MISSED."""
    if napi_schedule_prep(n):
        __napi_schedule(n)
        return True
    return False


@kfunc
def napi_schedule_irqoff(n: napi_struct) -> None:
    """include/linux/netdevice.h: the same from a hard interrupt."""
    if napi_schedule_prep(n):
        __napi_schedule_irqoff(n)


@kfunc
def input_queue_head_incr(sd: softnet_data) -> None:
    """include/linux/netdevice.h (6.1); rps_input_queue_head_add() of include/net/rps.h since v6.10."""
    if IS_ENABLED(CONFIG_RPS):
        sd.input_queue_head += 1


@kfunc
def input_queue_tail_incr_save(sd: softnet_data, rflow: rps_dev_flow) -> None:
    """include/linux/netdevice.h (6.1), void input_queue_tail_incr_save(struct softnet_data *sd, unsigned int *qtail).

    Note for RFS how long the queue must drain before the flow may move.

    ``unsigned int *qtail`` is the flow entry whose last_qtail it points at; None for the caller's throw-away word.
    """
    if IS_ENABLED(CONFIG_RPS):
        sd.input_queue_tail += 1
        if rflow:
            rflow.last_qtail = sd.input_queue_tail
