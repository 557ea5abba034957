# SPDX-License-Identifier: GPL-2.0-or-later
"""I9 and I13: function calls between CPUs, and what they raise on PREEMPT_RT."""

from __future__ import annotations

from typing import Any

from softnet.simulate.invariants_watch import Watch


class CallChecks:
    """The checks of I9 and I13 over one image."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.llist = watch.offset("call_single_data", "llist")
        self.in_flight: set[int] = set()
        """Nodes that were queued and whose csd was not unlocked since; membership only."""
        self.rt = bool(watch.image.program.constants.get("CONFIG_PREEMPT_RT", 0))
        self.calling = watch.inside("__flush_smp_call_function_queue")
        watch.around("__smp_call_single_queue", before=self._queue)
        watch.around("csd_unlock", before=self._unlock)
        if self.rt:
            watch.on_event("net_rx_raise", self._raised)

    def _queue(self, args: tuple[Any, ...]) -> None:
        cpu, node = int(args[0]), args[1]._a
        if node in self.in_flight:
            self.watch.violation("I9", f"a function call for CPU {cpu} is queued again before it has run")
        self.in_flight.add(node)

    def _unlock(self, args: tuple[Any, ...]) -> None:
        self.in_flight.discard(args[0]._a + self.llist)

    def _raised(self, cpu: int, b: int, c: int) -> None:
        watch = self.watch
        if self.calling.by(watch.ctx()):
            how = "hard interrupt" if watch.in_hardirq() else "the idle task's flush"
            known = "" if watch.has("use_backlog_threads") else "I13"
            watch.violation(
                "I13", f"NET_RX is raised by a function call from another CPU, in {how}", known=known
            )
