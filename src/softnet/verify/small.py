# SPDX-License-Identifier: GPL-2.0-or-later
"""The small configurations that ``softnet verify`` explores unless told otherwise: together they find what is known.

Each is as small as it can be and still show its kind of mistake. The stages come in the order of what they find for their states,
and those of a stage share code. ``python bench/known.py`` prints which of them finds which broken kernel of tests/verify.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from softnet.release import RT_SUFFIX, THREADS_SUFFIX, releases
from softnet.scenario import parse_kernel
from softnet.verify.standard import from_text

if TYPE_CHECKING:
    from softnet.verify.model import Config

IPI, THREADS, RT = "i", "t", "r"

# Name | modes | configuration | the same from 6.18 on, with a lock-free list for each node, where it is another one.
# irq is netif_rx on PREEMPT_RT, where no hard interrupt may call it. An empty line begins a stage.
_TABLE: Final = """
without RPS               | it  | driver=free:1:2,driver=irq:0 | defer_max=3,driver=free:1:3,driver=irq:0
packets without RPS       | it  | driver=netif_rx:0,driver=irq:0:2 |

frees                     | itr | rps=1,liveness=1,driver=free:1:2 | rps=1,liveness=1,defer_max=5,driver=free:1:4
an interrupt              | itr | rps=1,liveness=1,driver=irq:0:2 |
RPS                       | itr | rps=1,liveness=1,driver=rps:0:2:1 |
a card                    | itr | rps=1,liveness=1,driver=nic:0:2 |
a softirq in ksoftirqd    | it  | rps=1,liveness=1,threadirqs=1,driver=irq:0 |
no room                   | itr | rps=1,liveness=1,defer_max=0,driver=free:1:1 |
a limit of 1              | itr | rps=1,defer_max=1,driver=free:1:2 |
a limit of 1, interrupt   | it  | rps=1,defer_max=1,driver=free:1:2,driver=irq:0 |
below the watermark       | itr | rps=1,defer_max=4,driver=free:1:1 |
beyond the limit          | itr | rps=1,driver=free:1:5 | rps=1,defer_max=3,driver=free:1:4
weight 1                  | itr | rps=1,dev_weight=1,driver=irq:0:2 |
budget and weight 1       | itr | rps=1,budget=1,dev_weight=1,driver=irq:0:2 |
frees, packets elsewhere  | itr | rps=1,driver=free:1:1,driver=irq:1 |
frees and an interrupt    | itr | rps=1,driver=free:1:2,driver=irq:0 | rps=1,defer_max=3,driver=free:1:3,driver=irq:0
frees and a packet        | it  | rps=1,driver=free:1:2,driver=netif_rx:0 |
an interrupt that steers  | it  | rps=1,rps_cpus=2,driver=irq:0:2 |
RPS and a packet          | itr | rps=1,driver=rps:1:1:0,driver=netif_rx:0 |
packets and an interrupt  | it  | rps=1,driver=netif_rx:0,driver=irq:0 |
a card that steers        | itr | rps=1,rps_cpus=2,driver=nic:0:2 |
a thread that steers      | itr | rps=1,rps_cpus=2,threaded=1,driver=nic:0:1 |
two cards                 | it  | rps=1,driver=nic:0:1,driver=nic:0:1 |
RPS and a card            | it  | rps=1,driver=rps:1:1:0,driver=nic:0:2 |
two tasks of a CPU        | itr | rps=1,defer_max=1,driver=free:1:1,driver=free:1:1 |
two producers             | itr | rps=1,cpus=3,driver=free:1,driver=free:2 |
RPS from two CPUs         | it  | rps=1,cpus=3,driver=rps:0:1:1,driver=rps:2:1:1 |
budget without weight     | it  | rps=1,budget=1,dev_weight=2,driver=free:1:2,driver=irq:0 | rps=1,defer_max=5,budget=1,dev_weight=2,driver=free:1:4,driver=irq:0
budget 1 and frees        | it  | rps=1,budget=1,dev_weight=1,driver=free:1:2,driver=irq:0:2 |
two producers, interrupt  | it  | rps=1,cpus=3,defer_max=1,driver=free:1,driver=free:2,driver=irq:0 |

the limit is lowered      | itr | rps=1,defer_max=8,driver=free:1:4,event=skb_defer_max:4 |
the limit is raised       | itr | rps=1,defer_max=1,driver=free:1:2,event=skb_defer_max:3 | rps=1,defer_max=1,driver=free:1:4,event=skb_defer_max:3

time passes               | it  | rps=1,ticks=1,driver=free:1:2,driver=irq:0 | rps=1,ticks=1,defer_max=5,driver=free:1:4,driver=irq:0

a card is stopped         | itr | rps=1,resched=0,driver=nic:0:2,driver=close:1:2:0 |

a task polls the card     | ir  | resched=0,driver=nic:0:2,driver=busy:1:2:0 |

polled by a timer         | i   | cpus=1,resched=0,prefer_busy_poll=1,defer_hard_irqs=1,driver=nic:0:2,driver=busy:0:1:0 |

store buffers, RPS        | it  | rps=1,resched=0,memory_model=tso,store_buffer=2,driver=rps:1:2:0 |
store buffers, both       | it  | rps=1,resched=0,memory_model=tso,store_buffer=2,driver=free:1:2,driver=rps:1:1:0 |
store buffers             | it  | rps=1,resched=0,memory_model=tso,store_buffer=2,defer_max=1,driver=free:1:2,driver=irq:0 | rps=1,resched=0,defer_max=5,memory_model=tso,store_buffer=1,driver=free:1:7,driver=irq:0

a CPU with packets goes   | i   | rps=1,resched=0,threadirqs=1,driver=irq:1,driver=hotplug:0:1:1 |
a CPU goes, a kick        | i   | rps=1,resched=0,defer_max=1,driver=free:0:1:1,driver=hotplug:0:1:1 |
a CPU goes                | tr  | rps=1,resched=0,driver=free:0:1:1,driver=hotplug:0:1:1 |
a CPU goes, an IPI owed   | i   | rps=1,resched=0,threadirqs=1,rps_cpus=2,driver=irq:0,driver=hotplug:0:1:1 |

budget 1 and frees        | r   | rps=1,budget=1,dev_weight=1,driver=free:1:2,driver=irq:0:2 |
"""  # noqa: E501

# What needs millions of states, and is searched if asked for.
_LARGE: Final = """
a CPU dies, steered to    | r   | rps=1,resched=0,cpus=3,driver=rps:0:1:2,driver=hotplug:1:1:2 |
a CPU comes back          | it  | rps=1,resched=0,defer_max=1,driver=free:0:1:1,driver=hotplug:0:2:1 |
"""


@dataclass(frozen=True)
class Small:
    """A row of the table."""

    name: str
    modes: str
    configuration: str
    nodes: str

    def of(self, kernel: str, patches: tuple[str, ...]) -> Config | None:
        """The configuration of this kernel; None where it is not asked."""
        mode = RT if kernel.endswith(RT_SUFFIX) else THREADS if kernel.endswith(THREADS_SUFFIX) else IPI
        if mode not in self.modes:
            return None
        lists = releases()[parse_kernel(kernel).release].has("defer_nodes")
        text = self.nodes if lists and self.nodes else self.configuration
        if mode == RT:
            text = text.replace("driver=irq:", "driver=netif_rx:")
        return replace(from_text(f"kernel={kernel},{text}", patches), name=self.name)


def _rows(table: str) -> tuple[Small, ...]:
    return tuple(Small(*map(str.strip, line.split("|"))) for line in table.strip().splitlines())


STAGES: Final = tuple(map(_rows, _TABLE.strip().split("\n\n")))
LARGE: Final = _rows(_LARGE)


def small_of_all(kernels: Sequence[str], patches: tuple[str, ...] = ()) -> list[Config]:
    """The small configurations of these kernels: the first stage of each, the second of each, and so on."""
    return [
        config for stage in STAGES for kernel in kernels for row in stage if (config := row.of(kernel, patches)) is not None
    ]  # fmt: skip


def large_of(kernel: str, patches: tuple[str, ...] = ()) -> list[Config]:
    """Those of a kernel that are no standard configurations and need millions of states."""
    return [config for row in LARGE if (config := row.of(kernel, patches)) is not None]
