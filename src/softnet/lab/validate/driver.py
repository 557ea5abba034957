# SPDX-License-Identifier: GPL-2.0-or-later
"""The model's own kernel functions, run one at a time on a state that can be put aside and taken up again.

Which functions run, on which CPU and in which order, a recorded trace says; so the machine's scheduler, locks
and interrupts stand still here, and each function runs from its entry to its end. What the functions decide is
read from the model's own trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from softnet.lab.errors import LabError

# What the machine does around a decision and what the recorded order already tells.
_SILENT = (
    "spin_lock_bh", "spin_unlock_bh", "spin_unlock_irqrestore", "spin_lock_irq", "spin_unlock_irq", "local_irq_disable",
    "local_irq_enable", "local_irq_restore", "preempt_disable", "preempt_enable", "local_bh_disable", "local_bh_enable",
    "send_call_function_single_ipi", "local_lock_nested_bh", "local_unlock_nested_bh", "rcu_read_lock",
    "rcu_read_unlock",
)  # fmt: skip
_ZERO = ("spin_lock_irqsave", "local_irq_save")
_BOOT_NS = 2_000_000

Memory = tuple[list[int], list[int]]
"""A saved state: what stands below the unused skbs, and what stands above them."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What skb_attempt_defer_free() decided.

    ``place`` is "local" (freed at once: this CPU's own), "limit" (freed at once: the list is full) or "list";
    ``kick`` is "" for none, "sent" or "coalesced"; ``by`` is "ipi" or "thread".
    """

    place: str
    kick: str
    by: str


@dataclass(frozen=True, slots=True)
class CpuState:
    """One CPU's defer list and what a kick of it tests; ``held`` are the model's skbs, the next to be freed first."""

    defer_count: int
    defer_ipi_scheduled: int
    backlog_sched: bool
    held: tuple[int, ...]


class Driver:
    """The model of one release and flavour. ``memory`` is all of its state."""

    def __init__(
        self,
        release: str,
        flavour: str,
        *,
        threads: bool,
        cpus: int,
        skb_defer_max: int,
        netdev_max_backlog: int = 1000,
        patches: Sequence[str] = (),
    ) -> None:
        from softnet.scenario import scenario_from_dict
        from softnet.simulate.simulation import Simulation

        kernel: dict[str, Any] = {"release": release, "flavour": flavour}
        kernel["boot_args"] = ["thread_backlog_napi"] if threads and flavour == "plain" else []
        kernel["sysctl"] = {"netdev_max_backlog": netdev_max_backlog, "skb_defer_max": max(skb_defer_max, 64)}
        scenario = scenario_from_dict(
            {"name": "check", "machine": {"cpus": cpus}, "kernel": kernel, "measure": {"duration_ms": 10}}
        )
        self._simulation = Simulation(scenario, patches=patches, engine="reference", trace="full")
        # The backlog threads set themselves up at their first run.
        self._simulation.engine.run(_BOOT_NS)
        self.image = self._simulation.image
        self._kernel = self.image.linked.kernel
        self._cpu_word = self.image.engine_word("cpu")
        skbs = self.image.layout.tables["sk_buff"]
        self._skbs, self._skb_words = skbs.base, skbs.stride
        self._skbs_end = skbs.base + skbs.count * skbs.stride
        self._state_end = self.image.layout.size
        self._slab = self._kernel["table"](self._kernel["kmem_cache_node"], 0)
        # The saved state that memory equals, None since a function has run.
        self._loaded: Memory | None = None
        # Nothing gives way here: there is nobody to give way to.
        self.image.linked.suspend[0] = lambda: None
        self._untouched = self.image.memory[self._skbs : self._skbs_end]
        self.threads = threads
        self.rt = flavour == "rt"
        self.cpus = cpus
        self._silence()
        self.set_skb_defer_max(skb_defer_max)

    def _silence(self) -> None:
        for name in _SILENT:
            if name in self._kernel:
                self._kernel[name] = lambda *arguments: None
        for name in _ZERO:
            self._kernel[name] = lambda *arguments: 0
        self._kernel["in_softirq"] = lambda: True
        self._kernel["wake_up_process"] = lambda task: 1
        # The IPIs of RPS are not followed; and what becomes of a packet above the backlog is not softnet's.
        self._kernel["sd_has_rps_ipi_waiting"] = lambda sd: False
        self._kernel["__netif_receive_skb"] = self._kernel["__kfree_skb"]

    def source(self, function: str) -> str:
        """Where the kernel has this function, as the model's own function says."""
        text = (self._kernel[function].__doc__ or "").strip().splitlines()
        return f"{function}(): {text[0]}" if text else f"{function}()"

    def save(self) -> Memory:
        """The state, to be given to ``load``.

        Nearly all of an image is skbs that were never handed out, and the price of cache lines, which decides
        nothing: both are left out.
        """
        if self._loaded is None:
            used = self._skbs + self._slab.next_object * self._skb_words
            self._loaded = self.image.memory[:used], self.image.memory[self._skbs_end : self._state_end]
        return self._loaded

    def load(self, saved: Memory) -> None:
        """Take up a saved state."""
        if saved is self._loaded:
            return
        low, high = saved
        memory, used = self.image.memory, self._skbs + self._slab.next_object * self._skb_words
        if used > len(low):
            memory[len(low) : used] = self._untouched[len(low) - self._skbs : used - self._skbs]
        memory[: len(low)] = low
        memory[self._skbs_end : self._state_end] = high
        self._loaded = saved

    def _on(self, cpu: int) -> None:
        self._loaded = None
        self.image.memory[self._cpu_word] = cpu
        self._simulation.recorder.records.clear()

    def _told(self, name: str) -> list[tuple[int, int, int]]:
        from softnet.trace import EVENT_ID

        wanted = EVENT_ID[name]
        return [(r.a, r.b, r.c) for r in self._simulation.recorder.records if r.event == wanted]

    def _sd(self, cpu: int) -> Any:
        return self._kernel["table"](self._kernel["softnet_data"], cpu)

    def set_skb_defer_max(self, value: int) -> None:
        """What writing the sysctl does."""
        self._loaded = None
        self._kernel["table"](self._kernel["net_hotdata"], 0).sysctl_skb_defer_max = value

    def state(self, cpu: int) -> CpuState:
        """What the model holds for ``cpu``."""
        sd = self._sd(cpu)
        held = []
        skb = sd.defer_list
        while skb is not None:
            held.append(int(skb.id))
            skb = skb.next
        sched = bool(sd.backlog.state >> self._kernel["NAPI_STATE_SCHED"] & 1)
        return CpuState(int(sd.defer_count), int(sd.defer_ipi_scheduled), sched, tuple(held))

    def attempt(self, cpu: int, alloc_cpu: int) -> tuple[int, Decision]:
        """skb_attempt_defer_free() on ``cpu`` for an skb of ``alloc_cpu``; the model's number of it, the decision."""
        self._on(alloc_cpu)
        skb = self._kernel["alloc_skb"](64)
        if skb is None:
            raise LabError("the model has no skb left to follow this trace with")
        number = int(skb.id)
        self._on(cpu)
        self._kernel["skb_attempt_defer_free"](skb)
        nodefer = self._told("skb_defer_nodefer")
        place = ("local", "limit")[nodefer[0][2]] if nodefer else "list"
        kick = (
            "sent"
            if self._told("kick_defer_list_purge")
            else "coalesced"
            if self._told("kick_coalesced")
            else ""
        )
        return number, Decision(
            place, kick, "ipi" if self._told("csd_queue_cpu") else "thread" if kick else ""
        )

    def prefill(self, cpu: int, count: int, *, kick_under_way: bool) -> tuple[int, ...]:
        """``count`` skbs on the CPU's list from before the trace; the model's numbers of them.

        With ``kick_under_way`` what their kick set is as it was left, else as if it had been served long ago.
        """
        self._loaded = None
        other = (cpu + 1) % self.cpus
        numbers = tuple(self.attempt(other, cpu)[0] for _ in range(count))
        sd = self._sd(cpu)
        if not kick_under_way:
            sd.defer_ipi_scheduled = 0
            sd.defer_csd.u_flags = 0
            self._kernel["table"](self._kernel["call_single_queue"], cpu).head.first = None
            self._kernel["process_backlog_retire_sched"](sd.backlog)
        return numbers

    def trigger(self, cpu: int) -> bool | None:
        """trigger_rx_softirq() on ``cpu``: whether it raises NET_RX; None if no such call is in flight."""
        self._on(cpu)
        sd = self._sd(cpu)
        if sd.defer_csd.u_flags == 0:
            return None
        self._kernel["csd_unlock"](sd.defer_csd)
        self._kernel["table"](self._kernel["call_single_queue"], cpu).head.first = None
        self._kernel["trigger_rx_softirq"](sd)
        return bool(self._told("softirq_raise"))

    def flush(self, cpu: int) -> tuple[int, ...]:
        """skb_defer_free_flush() on ``cpu``: the skbs that it frees, in order."""
        self._on(cpu)
        self._kernel["skb_defer_free_flush"](self._sd(cpu))
        return tuple(skb for skb, _, _ in self._told("consume_skb"))

    def backlog_len(self, cpu: int) -> int:
        """Packets in a CPU's backlog, those that a poll has taken over included."""
        sd = self._sd(cpu)
        return int(sd.input_pkt_queue.qlen + sd.process_queue.qlen)

    def input_qlen(self, cpu: int) -> int:
        """Packets that no poll has taken over yet: what enqueue_to_backlog() tests."""
        return int(self._sd(cpu).input_pkt_queue.qlen)

    def enqueue(self, cpu: int, target: int) -> tuple[bool, bool]:
        """enqueue_to_backlog() on ``cpu`` for ``target``: whether it drops, whether it schedules the backlog."""
        self._on(cpu)
        skb = self._kernel["alloc_skb"](64)
        if skb is None:
            raise LabError("the model has no skb left to follow this trace with")
        skb.dev = self._kernel["table"](self._kernel["net_device"], 0)
        self._simulation.recorder.records.clear()
        dropped = self._kernel["enqueue_to_backlog"](skb, target, None) != 0
        return dropped, bool(self._told("napi_schedule_rps"))

    def poll_entered(self, cpu: int) -> None:
        """What napi_poll() does before process_backlog(): the backlog leaves the poll list."""
        self._loaded = None
        self._kernel["list_del_init"](self._sd(cpu).backlog.poll_list)

    def poll(self, cpu: int, quota: int) -> int:
        """process_backlog() on ``cpu`` with this quota: the packets that it does."""
        self._on(cpu)
        return int(self._kernel["process_backlog"](self._sd(cpu).backlog, quota))

    def forget_schedule(self, cpu: int) -> None:
        """The CPU's backlog is known to be empty and not scheduled."""
        self._on(cpu)
        self._kernel["process_backlog_retire_sched"](self._sd(cpu).backlog)
