# SPDX-License-Identifier: GPL-2.0-or-later
"""User space: applications that receive, senders over loopback, cyclictest, hogs. Each is the body of a task.

Their system calls run the kernel's functions; their own work is user_work_ns(). ``data`` is a row of the task's table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, embed, kfunc, private

if TYPE_CHECKING:
    from softnet.lang.intrinsics import hist_add, table, trace, work, work_bytes
    from softnet.linux.fs.eventpoll import ep_poll, ep_send_events_requeue, eventpoll
    from softnet.linux.include.linux.netdevice import net_device
    from softnet.linux.include.linux.skbuff import sk_buff
    from softnet.linux.kernel.sched.core import (
        exit_to_user_mode,
        schedule,
        schedule_hrtimeout_abs,
        set_current_state,
        user_work_ns,
    )
    from softnet.linux.net.core.dev_receive import dev_queue_xmit
    from softnet.linux.net.core.gro import IPPROTO_UDP
    from softnet.linux.net.core.skbuff import alloc_skb
    from softnet.linux.net.core.sock import SOCK_STREAM, sock
    from softnet.linux.net.ipv4.tcp import tcp_readable, tcp_recvmsg
    from softnet.linux.net.ipv4.udp import udp_readable, udp_recvmsg
    from softnet.machine.state import TASK_INTERRUPTIBLE, TASK_UNINTERRUPTIBLE
    from softnet.machine.timers import ktime_get, local_clock
NEVER_NS = 1 << 60
HOG_SLICE_NS = 1000000


class app(Struct):
    """One task of an application: it reads its sockets through one epoll instance."""

    index: int = private()
    """The application's number in the scenario."""
    hist: int = private()
    """The histogram of its packets' latency."""
    kind: int = private()
    service_ns: int = private()
    recv_len: int = private(init=65536)
    """The size of its read buffer."""
    received: int = private()
    bytes: int = private()
    ep: eventpoll = embed(line=2)


class sender(Struct):
    """A task that sends at fixed times over the loopback device."""

    index: int = private()
    sock: int = private()
    """The receiving socket, from 1."""
    proto: int = private()
    flow: int = private()
    hash: int = private()
    size: int = private()
    gap_ns: int = private()
    start_ns: int = private()
    stop_ns: int = private(init=NEVER_NS)
    sent: int = private()
    failed: int = private()


class cyclic(Struct):
    """rt-tests' cyclictest: how late a task wakes."""

    index: int = private()
    hist: int = private()
    interval_ns: int = private()
    work_ns: int = private()
    wakeups: int = private()


class hog(Struct):
    """A task that computes for ``run_ns`` of each ``period_ns``."""

    run_ns: int = private()
    period_ns: int = private()


@kfunc
def app_deliver(a: app, sk: sock, skb: sk_buff) -> None:
    """An skb's data reached the application: each of its packets, by the time since it reached the card."""
    now = local_clock()
    for i in range(skb.nr_packets):
        latency = now - skb.stamp[i]
        trace("deliver", a.index, sk.index, latency)
        hist_add(a.hist, latency)
    a.received += skb.nr_packets
    a.bytes += skb.payload
    # Its packets are accounted for; the skb itself lives until it is freed, perhaps on a defer list.
    skb.nr_packets = 0


@kfunc(entry=True)
def app_thread(data: int) -> None:
    """epoll_wait, recvmsg, service_ns of its own for each packet; for ever."""
    a = table(app, data)
    while True:
        work("syscall")
        sk = ep_poll(a.ep)
        work("syscall")
        if sk.type == SOCK_STREAM:
            packets = tcp_recvmsg(sk, a.recv_len, a)
            more = tcp_readable(sk)
        else:
            packets = udp_recvmsg(sk, a)
            more = udp_readable(sk)
        if more:
            ep_send_events_requeue(sk)
        exit_to_user_mode()
        if packets:
            user_work_ns(packets * a.service_ns)


@kfunc
def sender_sendmsg(s: sender) -> None:
    """udp_sendmsg() or tcp_sendmsg() down to the loopback device: allocation and all on this CPU."""
    work("syscall")
    skb = alloc_skb(s.size)
    if not skb:
        s.failed += 1
        return
    header = 54
    if s.proto == IPPROTO_UDP:
        work("udp_sendmsg")
        header = 42
    else:
        work("tcp_sendmsg")
    skb.payload = max(s.size - header, 0)
    work_bytes("copy_from_user", skb.payload)
    skb.dev = table(net_device, 0)
    skb.queue_mapping = 0
    skb.hash = s.hash
    skb.flow_hash = s.hash
    skb.flow = s.flow
    skb.protocol = s.proto
    skb.sock_index = s.sock
    skb.flags = 0
    skb.seq_ok = 1
    skb.stamp[0] = local_clock()
    skb.nr_packets = 1
    s.sent += 1
    dev_queue_xmit(skb)


@kfunc(entry=True)
def sender_thread(data: int) -> None:
    """Send every ``gap_ns``; if it fell behind, at once, until it has caught up."""
    s = table(sender, data)
    next = s.start_ns
    while next < s.stop_ns:
        if ktime_get() < next:
            set_current_state(TASK_INTERRUPTIBLE)
            schedule_hrtimeout_abs(next)
        sender_sendmsg(s)
        exit_to_user_mode()
        next += s.gap_ns
    sleep_for_ever()


@kfunc
def sleep_for_ever() -> None:
    """A task that is done."""
    while True:
        set_current_state(TASK_UNINTERRUPTIBLE)
        schedule()


@kfunc(entry=True)
def cyclictest_thread(data: int) -> None:
    """clock_nanosleep(TIMER_ABSTIME), and how late that returned."""
    c = table(cyclic, data)
    next = ktime_get() + c.interval_ns
    while True:
        work("syscall")
        set_current_state(TASK_INTERRUPTIBLE)
        schedule_hrtimeout_abs(next)
        exit_to_user_mode()
        now = ktime_get()
        latency = now - next
        trace("cyclictest", c.index, latency)
        hist_add(c.hist, latency)
        c.wakeups += 1
        if c.work_ns:
            user_work_ns(c.work_ns)
        next += c.interval_ns
        while next <= ktime_get():
            next += c.interval_ns


@kfunc(entry=True)
def hog_thread(data: int) -> None:
    """Compute; with a duty cycle, sleep for the rest of each period."""
    h = table(hog, data)
    if h.run_ns >= h.period_ns:
        while True:
            user_work_ns(HOG_SLICE_NS)
            exit_to_user_mode()
    next = ktime_get()
    while True:
        user_work_ns(h.run_ns)
        work("syscall")
        next += h.period_ns
        if next > ktime_get():
            set_current_state(TASK_INTERRUPTIBLE)
            schedule_hrtimeout_abs(next)
        exit_to_user_mode()
