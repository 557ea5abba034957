# SPDX-License-Identifier: GPL-2.0-or-later
"""User space beside the kernel: applications that receive, senders over loopback, cyclictest, hogs. Each is the body of a task.

In the restricted Python, as the kernel is. Their system calls run the kernel's functions; their own work is user_work_ns().
``data`` is a row of the task's table.
"""

WORKLOAD_MODULES: tuple[str, ...] = (
    "softnet.workload.applications",
    "softnet.workload.senders",
    "softnet.workload.cyclictest",
    "softnet.workload.hogs",
)
"""Linked behind the modules of every kernel."""
HOUSEKEEPING_MODULES: tuple[str, ...] = ("softnet.workload.housekeeping",)
"""Behind those, where a governor chooses idle states."""
