# SPDX-License-Identifier: GPL-2.0-or-later
"""The trace that reports read: events of the model and, exported by the lab, of real kernels.

The lab's own record says more (softnet.lab.tracing.records; docs/model.md has the reasons).

A record is seven integers: time in ns, CPU, context (0 task, 1 softirq, 2 hardirq), event number and three arguments.
Their meaning stands in EVENTS, by the kernel's own tracepoint or function name.
"""

from __future__ import annotations

from typing import NamedTuple


class Record(NamedTuple):
    """One event: ``time_ns`` since the start, ``cpu``, ``context`` and the event's three arguments."""

    time_ns: int
    cpu: int
    context: int
    event: int
    a: int
    b: int
    c: int


class Event(NamedTuple):
    """What an event is called, what its arguments mean, and where the kernel shows it."""

    name: str
    args: tuple[str, ...]
    source: str
    decision: bool
    """Whether it is a choice that softnet takes: what trace = "decisions" keeps."""


_TABLE = """
irq_handler_entry           | vector data             |          | tracepoint irq:irq_handler_entry, irq_vectors:*
irq_handler_exit            | vector data             |          | tracepoint irq:irq_handler_exit
softirq_raise               | vec                     | decision | tracepoint irq:softirq_raise
softirq_entry               | vec                     |          | tracepoint irq:softirq_entry
softirq_exit                | vec                     |          | tracepoint irq:softirq_exit
sched_switch                | prev next prev_state    |          | tracepoint sched:sched_switch
sched_waking                | pid target_cpu          | decision | tracepoint sched:sched_waking
sched_wakeup                | pid target_cpu          |          | tracepoint sched:sched_wakeup
sched_migrate_task          | pid from_cpu to_cpu     |          | tracepoint sched:sched_migrate_task
sched_pi_setprio            | pid oldprio newprio     |          | tracepoint sched:sched_pi_setprio
sched_wake_idle_without_ipi | cpu                     |          | tracepoint sched:sched_wake_idle_without_ipi
ipi_send_cpu                | cpu vector function     | decision | tracepoint ipi:ipi_send_cpu
ipi_call_function           | cpu                     |          | tracepoint ipi:ipi_send_cpu with the vector CALL_FUNCTION_SINGLE
net_rx_raise                | cpu                     |          | tracepoint irq:softirq_raise with vec 3
csd_queue_cpu               | cpu function            | decision | tracepoint csd:csd_queue_cpu
csd_function_entry          | function                |          | tracepoint csd:csd_function_entry
csd_function_exit           | function                |          | tracepoint csd:csd_function_exit
hrtimer_expire_entry        | function                |          | tracepoint timer:hrtimer_expire_entry
napi_poll                   | napi work budget        | decision | tracepoint napi:napi_poll
napi_schedule               | napi cpu                | decision | function __napi_schedule
napi_complete_done          | napi work_done result   | decision | function napi_complete_done
netif_rx                    | skb cpu                 |          | tracepoint net:netif_rx
netif_receive_skb           | skb len                 |          | tracepoint net:netif_receive_skb
kfree_skb                   | skb reason              |          | tracepoint skb:kfree_skb
consume_skb                 | skb                     |          | tracepoint skb:consume_skb
nic_rx                      | queue arrival len       |          | the device: a frame reached a ring
nic_drop                    | queue arrival           |          | the device: the ring was full
nic_irq                     | queue cpu               |          | the device: interrupt raised
alloc_skb                   | skb len                 |          | function napi_alloc_skb
get_rps_cpu                 | skb cpu                 |          | function get_rps_cpu
enqueue_to_backlog          | skb cpu qlen            | decision | function enqueue_to_backlog
backlog_drop                | skb cpu reason          | decision | function enqueue_to_backlog
napi_schedule_rps           | cpu                     | decision | function napi_schedule_rps
net_rps_send_ipi            | cpu                     | decision | function net_rps_send_ipi
rps_trigger_softirq         | cpu                     | decision | function rps_trigger_softirq
process_backlog             | work quota              | decision | function process_backlog
net_rx_action               | work                    | decision | function net_rx_action
time_squeeze                | work                    | decision | function net_rx_action
skb_attempt_defer_free      | skb cpu count           | decision | function skb_attempt_defer_free
skb_defer_nodefer           | skb cpu reason          | decision | function skb_attempt_defer_free
kick_defer_list_purge       | cpu                     | decision | function kick_defer_list_purge
kick_coalesced              | cpu                     | decision | function kick_defer_list_purge: SCHED or the flag was set already
trigger_rx_softirq          | cpu                     | decision | function trigger_rx_softirq
skb_defer_free_flush        | count                   | decision | function skb_defer_free_flush
wakeup_softirqd             | cpu                     | decision | function wakeup_softirqd
backlog_napi_wake           | cpu                     | decision | function ____napi_schedule waking backlog_napi/N
gro_receive                 | skb result              |          | function dev_gro_receive
gro_flush                   | napi count              |          | function napi_gro_flush
deliver                     | app sock latency_ns     |          | the application received the packet
cyclictest                  | task latency_ns         |          | the task woke, this long after its timer
lock_contended              | lock kind               |          | tracepoint lock:contention_begin
lock_acquired               | lock wait_ns            |          | tracepoint lock:contention_end
cpu_offline                 | cpu                     |          | tracepoint cpuhp:cpuhp_exit of CPUHP_TEARDOWN_CPU
cpu_online                  | cpu                     |          | tracepoint cpuhp:cpuhp_exit of CPUHP_BRINGUP_CPU
sysctl_set                  | index value             | decision | a setting changed under load
warn_on_once                | line site               |          | WARN_ON_ONCE fired
queue_work_on               | cpu function            |          | function queue_work_on
"""


def _events() -> tuple[Event, ...]:
    out = []
    for row in _TABLE.strip().splitlines():
        name, args, decision, source = (part.strip() for part in row.split("|"))
        out.append(Event(name, tuple(args.split()), source, decision == "decision"))
    return tuple(out)


EVENTS: tuple[Event, ...] = _events()
EVENT_ID: dict[str, int] = {e.name: i for i, e in enumerate(EVENTS)}
