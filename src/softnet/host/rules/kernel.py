# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel keeps or says: deferred frees, settings that undo themselves, lines of its log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from softnet.host.facts import Facts
from softnet.host.findings import Evidence, Finding
from softnet.host.rules.backlog import set_sysctl


def defer_max(facts: Facts) -> Iterator[Finding]:
    """skb_defer_max of 1 or 2 on kernels with lock-free defer lists."""
    value = facts.sysctl("net.core.skb_defer_max")
    if value not in (1, 2) or facts.version < (6, 18):
        return
    default = 128 if facts.version >= (6, 19) else 64
    what = (
        "the limit counts the skb that comes, so none is ever deferred"
        if value == 1
        else "the first skb is kept, the second is refused, and the kick is due at the second: a CPU that receives"
        " nothing keeps it for ever"
    )
    yield Finding(
        id="defer-never-kicked",
        level="wrong" if value == 2 else "note",
        title=f"skb_defer_max = {value}: "
        + ("skbs are kept and nobody is told to free them" if value == 2 else "nothing is deferred"),
        meaning=f"From 6.18 on {what}.",
        evidence=tuple(e for e in (facts.setting("net.core.skb_defer_max"), Evidence("/proc/version", facts.report.release)) if e),
        sure="certain",
        because="it follows from skb_attempt_defer_free() of that release, and softnet verify shows it",
        changes=(set_sysctl(facts, "net.core.skb_defer_max", default, "the release's own value"),),
    )


def small_backlog(facts: Facts) -> Iterator[Finding]:
    """netdev_max_backlog below what the kernel has by itself."""
    value = facts.sysctl("net.core.netdev_max_backlog")
    if value is None or value >= 1000:
        return
    yield Finding(
        id="backlog-small",
        level="risk",
        title=f"netdev_max_backlog is {value}, below the kernel's own 1000",
        meaning="Loopback, veth, tunnels and RPS lose packets in bursts that any other machine takes.",
        evidence=tuple(e for e in (facts.setting("net.core.netdev_max_backlog"),) if e),
        sure="certain",
        because="it is the setting",
        changes=(set_sysctl(facts, "net.core.netdev_max_backlog", 1000, "the default"),),
    )


PENDING: Final = re.compile(r"local(?: softirq work is pending, handler #|_softirq_pending )([0-9a-f]{2,4})\b")
"""kernel/time/tick-sched.c: the mask of local_softirq_pending(); the second form is that of 4.19."""
NET_RX: Final = 3
"""include/linux/interrupt.h: NET_RX_SOFTIRQ."""

LOG: Final = (
    (re.compile(r"page_pool_release_retry|stalled pool shutdown"), "pages-kept", ("a page pool cannot be destroyed, its"
    " pages are still out"),
     ("Somebody holds skbs of a card that is gone. One place is a defer list: below half of skb_defer_max nobody tells a"
     " CPU to free them, and a CPU that receives nothing does not look. No counter shows these lists.")),
    (re.compile(r"unregister_netdevice: waiting for"), "device-kept", ("a network device cannot be removed, something"
    " still refers to it"),
     ("Among what holds it may be skbs on a CPU's defer list, with their routes, conntrack entries or xfrm states. No counter shows"
     " these lists.")),
    (re.compile(r"nf_conntrack.*(?:blocked|cleanup)|(?:cleanup_net|nf_conntrack\S*|modprobe|rmmod).*blocked for more"
    " than"), "conntrack-kept",
     "a cleanup waits for skbs that somebody keeps",
     "Cleaning up a namespace or conntrack waits for every entry, and an skb on a CPU's defer list holds one."),
    (re.compile(r"WARNING:.*xfrm|xfrm.*WARN"), "xfrm-kept", "xfrm warns about states that are still in use",
     "An skb on a defer list that carries a security path holds its namespace; fixed in newer stable kernels."),
)  # fmt: skip


def log_lines(facts: Facts) -> Iterator[Finding]:
    """What hangs because skbs are kept, as the kernel's log tells."""
    for pattern, name, title, meaning in LOG:
        hit = [line for line in facts.report.log if pattern.search(line)]
        if not hit or (facts.version != (0, 0) and facts.version < (5, 19)):
            continue
        yield Finding(
            id=name,
            level="risk",
            title=f"The log says that {title}",
            meaning=meaning,
            evidence=tuple(facts.seen("log", "log", line[:160]) for line in hit[:2])
            + tuple(e for e in (facts.setting("net.core.skb_defer_max"),) if e),
            sure="possible",
            because="deferred frees are one of several causes; if the change makes it go away, it was this one",
            changes=(
                set_sysctl(
                    facts, "net.core.skb_defer_max", 0, "nothing is deferred; what is on the lists goes with the next packets there"
                ),
            ),
        )
    pending = [line for line in facts.report.log if (told := PENDING.search(line)) and int(told[1], 16) >> NET_RX & 1]
    if pending:
        yield Finding(
            id="softirq-pending-idle",
            level="note",
            title="The log says that a CPU went idle with NET_RX pending",
            meaning="Something raised NET_RX where nobody runs softirqs afterwards, such as a task with interrupts on:"
            " packets wait for the next interrupt there. A driver's mistake, as a rule.",
            evidence=tuple(facts.seen("log", "log", line[:160]) for line in pending[:2]),
            sure="likely",
            because="the message gives the pending softirqs as a mask, and NET_RX is its bit 3",
        )


RULES = (defer_max, small_backlog, log_lines)
