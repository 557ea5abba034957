# SPDX-License-Identifier: GPL-2.0-or-later
"""Property x mutation: for each property the mutations that break it, with the configuration in which they do."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.verify.mutations import patch

from softnet.verify.model import Config, known_properties
from softnet.verify.search import Limits, search
from softnet.verify.standard import from_text


@dataclass(frozen=True)
class Row:
    """A mutation of tests/verify/mutations.py or an example patch, the property that must see it, and what is explored."""

    mutation: str
    property: str
    configuration: str
    alone: bool
    """Whether no other property sees it there."""

    def config(self) -> Config:
        """The configuration with the mutation's patch file."""
        return from_text(self.configuration, (patch(self.mutation, from_text(self.configuration).kernel),))

    def line(self) -> str:
        """The row of evidence/verify/mutations.csv."""
        return f'{self.property},{self.mutation},"{self.configuration.replace(",", ", ")}",{"yes" if self.alone else ""}'


_IRQ = "kernel=6.12,driver=irq:0"
_FREE = "kernel=6.12,driver=free:1:2"
_THREADS = "kernel=6.12-threads,driver=free:1:2"
_PLUG = "kernel=6.12,resched=0,driver=free:0:1:1,driver=hotplug:0:1:1"
_CLOSED = "kernel=6.12,resched=0,driver=nic:0:2,driver=close:1:2:0"
_BUSY = "kernel=6.12,resched=0,driver=nic:0:2,driver=busy:1:2:0"
_LIVE = ",liveness=1"

_TABLE = f"""
phantom SCHED        | sched_not_retired         | {_IRQ} | alone
phantom SCHED        | kick_takes_sched_only     | kernel=6.12-threads,defer_max=4,driver=free:1:1 | alone
lost work            | retire_after_splice       | {_IRQ} | alone
lost work            | retire_at_quota           | kernel=6.12,dev_weight=1,driver=irq:0:2 |
lost work            | poll_forgets_process_queue | kernel=6.12,dev_weight=1,driver=irq:0:2 | alone
lost kick            | kick_at_max               | {_FREE} | alone
lost kick            | kick_once                 | {_FREE} | alone
deadlock             | flush_keeps_the_lock      | kernel=6.12,driver=free:1:3 | alone
deadlock             | lock_before_interrupts_off | kernel=6.12,rps=1,driver=netif_rx:0,driver=irq:0 | alone
deadlock             | kick_under_defer_lock     | {_THREADS},driver=netif_rx:0 |
conservation         | delivered_not_freed       | {_IRQ} | alone
conservation         | flush_forgets_one         | {_FREE} | alone
linked without SCHED | link_before_sched         | {_IRQ} | alone
linked without SCHED | should_run_tests_sched    | kernel=6.12-rt,budget=1,dev_weight=1,driver=free:1:2,driver=netif_rx:0:2 |
linked without SCHED | retire_at_exact_quota     | kernel=6.12,dev_weight=1,driver=irq:0 | alone
two owners           | no_backlog_lock           | {_THREADS},driver=irq:0 |
two owners           | always_wake_the_thread    | kernel=6.12-threads,driver=irq:0 | alone
two owners           | threaded_bit_comes_first  | kernel=6.12-threads,driver=irq:0 | alone
two owners           | sched_threaded_stays      | {_THREADS},driver=irq:0 |
two owners           | disable_does_not_wait     | kernel=6.12,resched=0,driver=nic:0:2,driver=close:1:1:0 |
queued without SCHED | sched_cleared_unlocked    | {_THREADS},driver=irq:0 |
queued without SCHED | queue_before_sched        | kernel=6.12,rps=1,driver=rps:0:1:1 | alone
queued without SCHED | retire_before_last_splice | {_IRQ} | alone
over the limit       | no_limit                  | kernel=6.12,defer_max=1,driver=free:1:2 | alone
over the limit       | limit_twice               | kernel=6.12,driver=free:1:4 | alone
softirq left pending | ksoftirqd_sleeps          | kernel=6.12,threadirqs=1,driver=irq:0 | alone
softirq left pending | exit_without_softirq      | {_IRQ} | alone
function call lost   | csd_not_unlocked          | {_FREE} | alone
function call lost   | call_interrupts_a_busy_queue | {_FREE} | alone
function call lost   | wakeup_without_interrupt  | {_THREADS} |
count without list   | count_not_reset           | {_FREE} | alone
count without list   | count_reset_late          | {_FREE} | alone
deferral stopped     | node_count_not_reset      | kernel=6.18,defer_max=3,driver=free:1:3 | alone
deferral stopped     | node_count_lowered_once   | kernel=6.18,defer_max=3,driver=free:1:4 | alone
poll list left       | no_raise_at_the_end       | kernel=6.12,budget=1,dev_weight=1,driver=irq:0:2 | alone
poll list left       | no_restart                | kernel=6.12,driver=irq:0:2 | alone
polled elsewhere     | rps_polls_here            | kernel=6.12,rps=1,driver=rps:0:1:1 | alone
polled elsewhere     | thread_of_another         | {_THREADS},driver=irq:1 |
polled elsewhere     | dead_backlog_moves        | kernel=6.12,threadirqs=1,resched=0,driver=irq:1,driver=hotplug:0:1:1 | alone
freed away from home | kicker_flushes            | {_FREE} | alone
freed away from home | flush_of_the_neighbour    | kernel=6.12,driver=free:1:1,driver=irq:1 | alone
csd queued twice     | plain_ipi_flag            | kernel=6.12,cpus=3,defer_max=1,driver=free:1,driver=free:2,driver=irq:0 |
data race            | plain_ipi_flag            | kernel=6.12,cpus=3,defer_max=1,driver=free:1,driver=free:2,driver=irq:0 |
data race            | kick_looks_at_net_rx_action | kernel=6.12,driver=free:1:4,driver=irq:0 | alone
data race            | enqueue_looks_at_the_weight | kernel=6.12,rps=1,driver=rps:0:2:1 | alone
csd queued twice     | kick_without_flag         | kernel=6.12,cpus=3,defer_max=1,driver=free:1,driver=free:2,driver=irq:0 | alone
csd queued twice     | csd_without_flag          | kernel=6.1,cpus=3,defer_max=1,driver=free:1,driver=free:2,driver=irq:0 | alone
flag without a call  | kick_sets_flag_only       | kernel=6.12,defer_max=4,driver=free:1:1 | alone
flag without a call  | flag_not_cleared          | {_FREE} | alone
lost kick            | flag_cleared_after_flush  | kernel=6.12,driver=free:1:4,driver=irq:0 |
NET_RX from an IPI   | rt_ipi_kick               | kernel=6.12-rt,driver=free:1:2 | alone
NET_RX from an IPI   | rt_rps_ipi                | kernel=6.12-rt,rps=1,driver=rps:0:1:1 | alone
lock order           | defer_under_backlog       | kernel=6.12,rps=1,driver=free:1:2,driver=netif_rx:0:1 | alone
lock order           | queue_lock_first          | kernel=6.12-rt,driver=netif_rx:0:1 | alone
no warning           | consume_outside_bh        | kernel=6.12,defer_max=1,driver=free:1:2 | alone
no warning           | completed_twice           | kernel=6.12,driver=nic:0:1 | alone
csd queued twice     | csd_unlocked_twice        | {_FREE} | alone
driver stuck         | interrupt_stays_masked    | kernel=6.12,driver=nic:0:2 | alone
driver stuck         | enable_before_complete    | kernel=6.12,driver=nic:0:2 | alone
driver stuck         | enable_keeps_npsvc        | {_CLOSED} |
driver stuck         | interrupt_before_enable   | {_CLOSED} | alone
driver stuck         | busy_poll_keeps_its_bit   | {_BUSY} |
driver stuck         | busy_poll_just_ends       | {_BUSY} | alone
data race            | busy_poll_before_cmpxchg  | {_BUSY} |
stranded             | flush_here_when_dead      | {_PLUG} | alone
stranded             | flush_before_stop_machine | {_PLUG} | alone
kick without a flush | thread_waits_for_ever     | {_THREADS}{_LIVE} | alone
kick without a flush | flush_left_to_ksoftirqd   | {_FREE}{_LIVE} | alone
never polled         | thread_waits_for_ever     | kernel=6.12-threads,rps=1,driver=rps:0:1:1{_LIVE} | alone
never polled         | poll_left_to_ksoftirqd    | {_IRQ}{_LIVE} | alone
softirq never runs   | ksoftirqd_waits           | kernel=6.12,driver=nic:0:1{_LIVE} | alone
softirq never runs   | pending_not_cleared       | {_IRQ}{_LIVE} | alone
never finished       | wait_for_room             | kernel=6.12,defer_max=0,driver=free:1:1{_LIVE} | alone
never finished       | wait_below_the_watermark  | {_FREE}{_LIVE} | alone
livelock             | softirq_raised_again      | {_IRQ}{_LIVE} | alone
livelock             | ksoftirqd_raises_again    | kernel=6.12,threadirqs=1,driver=irq:0{_LIVE} | alone
lost kick            | flush_after_the_test      | kernel=6.1,driver=free:1:2 | alone
phantom SCHED        | threaded_poll_forgets_rps | kernel=6.12,rps=1,rps_cpus=2,threaded=1,driver=nic:0:1 |
phantom SCHED        | state_without_barrier     | kernel=6.12-threads,rps=1,memory_model=tso,driver=rps:1:2:0 |
lost kick            | kick_looks_at_the_flag    | kernel=6.12,defer_max=1,memory_model=tso,driver=free:1:2,driver=irq:0 |
lost kick            | kick_looks_at_sched       | kernel=6.12-threads,rps=1,memory_model=tso,driver=free:1:2,driver=rps:1:1:0 |
"""


PATCHED = "kernel=6.12,threadirqs=1,rps=1,rps_cpus=2,resched=0,driver=irq:0,driver=hotplug:0:1:1"
"""Where the dead CPU's queue is emptied."""


def seen_by(config: Config, limits: Limits) -> list[str]:
    """The properties that do not hold: whichever is found first is left out of the next search, until nothing is found.

    What stops a kernel function (BUG_ON and the like) is no property, and ends it.
    """
    left = [p.name for p in known_properties(config).values()]
    seen: list[str] = []
    while True:
        failure = search(replace(config, properties=tuple(left)), limits).failure
        if failure is None:
            return seen
        seen.append(failure.name)
        if failure.name not in left:
            return seen
        left.remove(failure.name)


def rows() -> list[Row]:
    """The table."""
    parts = ([part.strip() for part in line.split("|")] for line in _TABLE.strip().splitlines())
    return [Row(mutation, name, configuration, bool(alone)) for name, mutation, configuration, alone in parts]
