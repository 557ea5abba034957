# SPDX-License-Identifier: GPL-2.0-or-later
"""I6, I7, I8 and I10: the defer list, its watermark, its bound, its flag and its count."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from softnet.simulate.invariants_napi import NapiChecks
from softnet.simulate.invariants_watch import BOUND_NS, Watch

NET_RX_BIT = 1 << 3


@dataclass
class DeferList:
    """What is remembered of one CPU's list."""

    producers: set[int] = field(default_factory=set)
    """Contexts that ever deferred to it; asked for membership and size only."""
    unowed_since: int = -1
    flag_since: int = -1
    lowered: bool = False
    """skb_defer_max was lowered past what the list held, and it was not flushed since: finding C4."""
    on_softirq: bool = False
    """The last kick met a backlog that the softirq owned: finding C1."""
    died: bool = False
    """Its CPU went offline, and it was not flushed since: finding C6."""
    said_owed: bool = False
    said_flag: bool = False
    said_count: bool = False


class DeferChecks:
    """The checks of I6, I7, I8 and I10 over one image."""

    def __init__(self, watch: Watch, napis: NapiChecks) -> None:
        self.watch, self.napis, self.memory = watch, napis, watch.memory
        cpus = range(watch.nr_cpus)
        sd = {n: [watch.address("softnet_data", c, n) for c in cpus] for n in (
            "defer_count", "defer_list", "defer_lock.owner", "defer_ipi_scheduled", "defer_csd.u_flags",
        )}  # fmt: skip
        self.count, self.list, self.lock = sd["defer_count"], sd["defer_list"], sd["defer_lock.owner"]
        self.flag, self.csd = sd["defer_ipi_scheduled"], sd["defer_csd.u_flags"]
        self.pending = [watch.address("irq_cpustat_t", c, "softirq_pending") for c in cpus]
        self.max_word = watch.address("net_hotdata", 0, "sysctl_skb_defer_max")
        self.alloc_cpu = watch.offset("sk_buff", "alloc_cpu")
        self.lists = [DeferList() for _ in cpus]
        self.max_was = self.memory[self.max_word]
        self.entry_max: dict[int, int] = {}
        self.deferring = watch.inside(
            "skb_attempt_defer_free", lambda args: self.memory[args[0]._a + self.alloc_cpu]
        )
        watch.around("skb_attempt_defer_free", before=self._entered)
        self.flushers = [
            watch.inside(n) for n in ("net_rx_action", "handle_softirqs", "napi_threaded_poll_loop")
        ]
        watch.on_event("skb_attempt_defer_free", self._pushed)
        watch.on_event("skb_defer_free_flush", lambda a, b, c: self._flushed(watch.cpu()))
        watch.on_event("kick_coalesced", self._coalesced)
        watch.on_event("kick_defer_list_purge", self._kicked)

    def _entered(self, args: tuple[Any, ...]) -> None:
        self.entry_max[self.watch.ctx()] = self.memory[self.max_word]

    def _pushed(self, skb: int, cpu: int, count: int) -> None:
        """I7: each task reads the limit without the lock, so each other one may overshoot it by one."""
        ctx, it = self.watch.ctx(), self.lists[cpu]
        it.producers.add(ctx)
        limit = max(self.entry_max.get(ctx, 0), self.memory[self.max_word])
        bound = limit + len(it.producers) - 1
        if count > bound:
            text = f"{count} skbs on the list of CPU {cpu}; skb_defer_max is {limit}, {len(it.producers)} tasks defer to it"
            self.watch.violation("I7", text)

    def _flushed(self, cpu: int) -> None:
        it = self.lists[cpu]
        it.lowered = it.on_softirq = it.died = it.said_owed = False
        it.unowed_since = -1

    def _coalesced(self, cpu: int, b: int, c: int) -> None:
        threads = self.watch.has("use_backlog_threads") and self.memory[self.napis.backlogs[cpu].thread] != 0
        self.lists[cpu].on_softirq = threads and not self.napis.backlogs[cpu].with_thread

    def _kicked(self, cpu: int, b: int, c: int) -> None:
        self.lists[cpu].on_softirq = False

    def settings_changed(self) -> None:
        """A sysctl may have changed: a list above its new watermark was never kicked for it."""
        now_max = self.memory[self.max_word]
        if now_max < self.max_was:
            for cpu, it in enumerate(self.lists):
                if self.memory[self.count[cpu]] > now_max >> 1:
                    it.lowered = True
        self.max_was = now_max

    def check_cpu(self, cpu: int, now: int) -> None:
        """I10 at once; I6 and I8 once they have been broken for BOUND_NS."""
        memory, it = self.memory, self.lists[cpu]
        count = memory[self.count[cpu]]
        it.died = it.died or not self.watch.online(cpu)
        if memory[self.lock[cpu]] == 0 and (count > 0) != (memory[self.list[cpu]] != 0) and not it.said_count:
            it.said_count = True
            holds = "skbs" if memory[self.list[cpu]] else "nothing"
            self.watch.violation(
                "I10", f"defer_count is {count}, the list holds {holds}", cpu=cpu, time_ns=now
            )
        self._check_owed(cpu, now, count)
        self._check_flag(cpu, now)

    def _check_owed(self, cpu: int, now: int, count: int) -> None:
        it = self.lists[cpu]
        if count <= self.memory[self.max_word] >> 1 or self.owed(cpu):
            it.unowed_since = -1
            return
        if it.unowed_since < 0:
            it.unowed_since = now
        elif now - it.unowed_since > BOUND_NS and not it.said_owed:
            it.said_owed = True
            known = "C4" if it.lowered else "C1" if it.on_softirq else "C6" if it.died else ""
            text = f"{count} skbs wait with skb_defer_max {self.memory[self.max_word]}, and nothing will flush them"
            self.watch.violation("I6", text, cpu=cpu, time_ns=now, known=known)

    def owed(self, cpu: int) -> bool:
        """Whether somebody will flush the list, or is just about to make somebody do it."""
        memory = self.memory
        return bool(
            memory[self.pending[cpu]] & NET_RX_BIT
            or memory[self.flag[cpu]]
            or memory[self.csd[cpu]]
            or self.napis.backlogs[cpu].with_thread
            or self.deferring.about(cpu)
            or any(inside.on_cpu(cpu) for inside in self.flushers)
        )

    def _check_flag(self, cpu: int, now: int) -> None:
        """I8: between the cmpxchg and the handler's store there is a kicker, a queued call, or the handler itself."""
        it = self.lists[cpu]
        if not self.memory[self.flag[cpu]] or self._call_under_way(cpu):
            it.flag_since = -1
            return
        if it.flag_since < 0:
            it.flag_since = now
        elif now - it.flag_since > BOUND_NS and not it.said_flag:
            it.said_flag = True
            text = "defer_ipi_scheduled is set and no call is under way"
            self.watch.violation("I8", text, cpu=cpu, time_ns=now, known="C6" if it.died else "")

    def _call_under_way(self, cpu: int) -> bool:
        return bool(self.memory[self.csd[cpu]] or self.deferring.about(cpu) or self.napis.calling.on_cpu(cpu))
