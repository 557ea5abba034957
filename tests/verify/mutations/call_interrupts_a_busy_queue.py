# SPDX-License-Identifier: GPL-2.0-or-later
"""The interrupt for a function call is sent by who finds the queue in use, not by who finds it empty."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.lang import kfunc

if TYPE_CHECKING:
    from softnet.lang.intrinsics import per_cpu
    from softnet.linux.include.linux.list import llist_add, llist_node
    from softnet.linux.kernel.smp import call_single_queue, send_call_function_single_ipi


@kfunc
def __smp_call_single_queue(cpu: int, node: llist_node) -> None:
    """smp.c:482 (6.1): only who finds the queue empty sends the interrupt."""
    if not llist_add(node, per_cpu(call_single_queue, cpu).head):
        send_call_function_single_ipi(cpu)
