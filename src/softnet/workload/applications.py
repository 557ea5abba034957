# SPDX-License-Identifier: GPL-2.0-or-later
"""Applications: each task reads its sockets through one epoll instance and works on what it read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import Struct, embed, kfunc, private

if TYPE_CHECKING:
    from softnet.lang.intrinsics import *
    from softnet.linux.fs.eventpoll import *
    from softnet.linux.kernel.sched.core import *
    from softnet.linux.net.core.sock import *
    from softnet.linux.net.ipv4.tcp import *
    from softnet.linux.net.ipv4.udp import *
    from softnet.linux.net.socket import *


class app(Struct):
    """One task of an application."""

    kind: int = private()
    service_ns: int = private()
    recv_len: int = private(init=65536)
    """The size of its read buffer."""
    msg: msghdr = embed()
    ep: eventpoll = embed(line=2)


@kfunc(entry=True)
def app_thread(data: int) -> None:
    """epoll_wait, recvmsg, service_ns of its own for each packet; for ever."""
    a = table(app, data)
    while True:
        work("syscall")
        sk = ep_poll(a.ep)
        work("syscall")
        if sk.type == SOCK_STREAM:
            packets = tcp_recvmsg(sk, a.msg, a.recv_len)
            more = tcp_readable(sk)
        else:
            packets = udp_recvmsg(sk, a.msg)
            more = udp_readable(sk)
        if more:
            ep_send_events_requeue(sk)
        exit_to_user_mode()
        if packets:
            user_work_ns(packets * a.service_ns)
