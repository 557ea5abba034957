# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine: CPUs and their contexts, interrupts, locks, scheduler, timers, cache lines, NIC queues, costs.

What a CPU or a lock *is* stands here; what softnet *does* with them stands in softnet.linux. Every function is in the
restricted Python of docs/language.md, its state flat and explicit, so that each engine runs the same text.
"""

MACHINE_MODULES: tuple[str, ...] = (
    "softnet.machine.state",
    "softnet.machine.chance",
    "softnet.machine.stats",
    "softnet.machine.cache",
    "softnet.machine.events",
    "softnet.machine.interrupts",
    "softnet.machine.locks",
    "softnet.machine.runqueue",
    "softnet.machine.sched",
    "softnet.machine.timers",
    "softnet.machine.nic",
    "softnet.machine.noise",
    "softnet.machine.hotplug",
    "softnet.machine.contexts",
)
"""In the order in which they are linked."""
