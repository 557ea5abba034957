# SPDX-License-Identifier: GPL-2.0-or-later
"""The classes of CPU time by name, in the order of the machine's numbers (TIME_* in softnet.machine.state)."""

from __future__ import annotations

TIME_CLASS_NAMES = (
    "idle",
    "user",
    "system",
    "hardirq",
    "softirq",
    "ksoftirqd",
    "backlog_napi",
    "irq_thread",
    "napi_thread",
    "task",
)

WAKEUP_CLASSES = tuple("applications" if name == "system" else name for name in TIME_CLASS_NAMES)
"""The same of who is woken: what runs as system time in a task is an application or a sender."""
