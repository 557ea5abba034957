# SPDX-License-Identifier: GPL-2.0-or-later
"""A release of the kernel as those know it who see none of its code: its name, its features, and how ``--kernel`` writes it.

The releases stand in one table, softnet.linux.releases. Layers that may not import the kernel ask here; the package's root says
where the table is, and it is read when somebody first asks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, Literal, NamedTuple

Feature = Literal[
    "backlog_threads",
    "kick_function",
    "kick_by_work_item",
    "defer_nodes",
    "consume_defers",
    "defer_max_128",
    "bh_unlocked",
    "budget_usecs_min",
    "busy_poll_rt",
    "epoll_busy_poll",
    "irq_suspend",
]
"""What others must know of a release, because they act by it:

- ``backlog_threads``: backlog NAPI can run in threads; on PREEMPT_RT it always does, else with the boot argument THREADS_ARG;
- ``kick_function``: the kick of a defer list is a function that can be probed, kick_defer_list_purge();
- ``kick_by_work_item``: the kick queues a work item, so there is a kworker for each CPU;
- ``defer_nodes``: a CPU has a lock-free defer list for each NUMA node, whose counter also counts what the list does not take;
- ``consume_defers``: napi_consume_skb() defers, so an skb is also deferred in a softirq, not by tasks alone;
- ``defer_max_128``: net.core.skb_defer_max is 128 where nobody sets it, not 64;
- ``bh_unlocked``: local_bh_disable() takes no lock on PREEMPT_RT, so several tasks of a CPU may serve softirqs at once;
- ``budget_usecs_min``: net.core.netdev_budget_usecs takes no less than two ticks (c180188ec022, v6.14). Older releases have it
  from some stable release on (6.1.192 and 6.12.117 do), which is said where it matters, and is no feature of theirs;
- ``busy_poll_rt``: busy polling exists on PREEMPT_RT, too (c857946a4e26, v6.5);
- ``epoll_busy_poll``: an application may ask for busy polling for its epoll instance alone (85455c795c07, v6.9);
- ``irq_suspend``: a card's interrupts stay off while an application that prefers busy polling finds events (8a6de2627fd3, v6.13).
"""

DEFAULT: Final = "6.12"
"""The release that runs unless another one is asked for."""
RT_SUFFIX: Final = "-rt"
THREADS_SUFFIX: Final = "-threads"
THREADS_ARG: Final = "thread_backlog_napi"


class Release(NamedTuple):
    """One release: what it adds to the one before it in the table, and its features, all of them."""

    name: str
    patches: tuple[str, ...] = ()
    """Modules of softnet.linux.patches, in the order in which the kernel took them."""
    rt_patches: tuple[str, ...] = ()
    """Modules of softnet.linux on top of those, in the rt flavour of this release alone."""
    features: tuple[Feature, ...] = ()
    rt_features: tuple[Feature, ...] = ()
    """What only its rt flavour has."""
    in_lab: bool = False
    """Whether the lab has booted packages of it and holds their traces against the model: its kernels are the lab's arms. A command
    that is not told which runs those that can be had (softnet.lab.play.arm.arms_here)."""

    def has(self, feature: Feature, *, rt: bool = False) -> bool:
        """Whether this release, or its rt flavour, has a feature."""
        return feature in self.features or (rt and feature in self.rt_features)

    @property
    def defer_max(self) -> int:
        """net.core.skb_defer_max where nobody sets it."""
        return 128 if self.has("defer_max_128") else 64

    @property
    def kernels(self) -> tuple[str, ...]:
        """Its kernels as ``--kernel`` takes them: plain, with backlog threads where there are such, PREEMPT_RT."""
        threads = (self.name + THREADS_SUFFIX,) if self.has("backlog_threads") else ()
        return (self.name, *threads, self.name + RT_SUFFIX)


Table = Mapping[str, Release]
"""The releases by name, oldest first."""

_tables: list[Callable[[], Table]] = []


def provide(table: Callable[[], Table]) -> None:
    """Say where the table is: a function that returns it."""
    _tables[:] = [table]


def releases() -> Table:
    """The releases by name, oldest first."""
    return _tables[0]()


def first_with(feature: Feature, *, rt: bool = False) -> str:
    """The oldest release that has a feature, or whose rt flavour has it."""
    return next(release.name for release in releases().values() if release.has(feature, rt=rt))


def nearest(version: str) -> Release:
    """The release that stands for a real kernel's version, such as ``6.11.4-arch1``: not newer, or the oldest."""
    return not_newer(version) or next(iter(releases().values()))


def not_newer(version: str) -> Release | None:
    """The newest release that is not newer than a version; None if all are."""
    wanted = _series(version)
    return next((release for release in reversed(list(releases().values())) if _series(release.name) <= wanted), None)


def instead_of(text: str) -> str:
    """A hint for who asks for a release that there is not: which one stands before it; empty if that is no release's number."""
    found = re.fullmatch(r"\s*(\d{1,4}\.\d{1,4})([.-].*)?\s*", text)
    if not found or found[1] in releases():
        return ""
    before = not_newer(found[1])
    return f"of these {before.name} is the nearest that is not newer" if before else f"none of these is as old as {found[1]}"


def _series(version: str) -> tuple[int, ...]:
    """Major and minor number; of a text that does not begin with them, what is older than any release."""
    found = re.match(r"(\d{1,4})\.(\d{1,4})", version)
    return (int(found[1]), int(found[2])) if found else (0,)
