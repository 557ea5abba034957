# SPDX-License-Identifier: GPL-2.0-or-later
"""What the real kernel is known to break: each finding once, with its releases, how it is reproduced, and what mends it."""

from __future__ import annotations

from dataclasses import dataclass

from softnet.release import RT_SUFFIX, THREADS_SUFFIX, releases

__all__ = ["FINDINGS", "KNOWN", "Finding"]


def _kernels(mode: str, *, before: str = "", since: str = "") -> tuple[str, ...]:
    """The kernels of one mode, "ipi", "threads" or "rt", oldest first: those before a release, or since it."""
    found = []
    named = list(releases())
    for at, (name, release) in enumerate(releases().items()):
        if (before and at >= named.index(before)) or (since and at < named.index(since)):
            continue
        if mode != "threads" or release.has("backlog_threads"):
            found.append(name + {"ipi": "", "threads": THREADS_SUFFIX, "rt": RT_SUFFIX}[mode])
    return tuple(found)


_IPI, _THREADS, _RT = _kernels("ipi"), _kernels("threads"), _kernels("rt", since="6.10")
_ALL = (*_IPI, *_THREADS, *_kernels("rt"))
_BEFORE_7_3 = tuple(kernel for mode in ("ipi", "threads", "rt") for kernel in _kernels(mode, before="7.3"))
_PREFERRED = (
    *_kernels("ipi", before="7.3"), *_kernels("threads", before="7.3"), *_kernels("rt", since="6.6", before="7.3"),
)  # fmt: skip
_NODES = tuple(kernel for mode in ("ipi", "threads", "rt") for kernel in _kernels(mode, since="6.18"))


@dataclass(frozen=True)
class Finding:
    """One of them."""

    number: str
    sentence: str
    invariants: tuple[str, ...]
    """Which invariants of a checked simulation it breaks."""
    properties: tuple[str, ...]
    """Which properties of the explorer it breaks, the first one first."""
    kernels: tuple[str, ...]
    configuration: str
    """What the explorer finds it with, on the kernels whose defer list has a lock, or on all."""
    needs: tuple[str, ...]
    """What a configuration must have for the finding to be possible there (softnet.verify.known)."""
    lab: str = ""
    """The name that ``softnet lab reproduce`` takes; "" where it was not tried on a real kernel."""
    seen: tuple[str, ...] = ()
    """The real kernels on which it was seen."""
    fix: str = ""
    """The commit upstream, or a patch file of examples/patches; "" for none."""
    text: str = ""
    """What the lab does to see it, for a person."""
    nodes: str = ""
    """What the explorer finds it with where there is a lock-free list for each NUMA node; "" for the same."""

    def on(self, kernel: str) -> str:
        """The configuration in which the explorer finds it on this kernel. PREEMPT_RT has no netif_rx() in a hard interrupt."""
        lists = releases()[kernel.partition("-")[0]].has("defer_nodes")
        text = self.nodes if lists and self.nodes else self.configuration
        return f"kernel={kernel}," + (text.replace("driver=irq:", "driver=netif_rx:") if kernel.endswith(RT_SUFFIX) else text)

    def modes(self, release: str) -> tuple[str, ...]:
        """In which modes of a release it is: "ipi", "threads", "rt"."""
        names = {"ipi": release, "threads": release + THREADS_SUFFIX, "rt": release + RT_SUFFIX}
        return tuple(mode for mode, kernel in names.items() if kernel in self.kernels)

    @property
    def told(self) -> str:
        """The kernels for a person: of each mode the oldest and the newest."""
        parts = []
        for suffix in ("", THREADS_SUFFIX, RT_SUFFIX):
            mode = [kernel for kernel in self.kernels if kernel.partition("-")[2] == suffix.removeprefix("-")]
            if mode:
                parts.append(mode[0] if len(mode) == 1 else f"{mode[0]} to {mode[-1]}")
        return ", ".join(parts)


FINDINGS: dict[str, Finding] = {
    finding.number: finding
    for finding in (
        Finding(
            "C1", "a kick that meets a backlog which the softirq polls is lost when that run of net_rx_action ends without a flush",
            ("I6",), ("lost kick",), (*_RT, *_THREADS), "ticks=1,driver=free:1:2,driver=irq:0", ("limit",),
            nodes="defer_max=5,ticks=1,driver=free:1:4,driver=irq:0",
            lab="C1", seen=("6.12-threads", "6.12-rt", "6.18-threads", "7.3-threads"), fix="examples/patches/flush_after_break.py",
            text="A kick finds SCHED set by a softirq's poll, which is the last one of a net_rx_action() out of budget.\n"
            "Nobody flushes: the list stays above its watermark, and no later free kicks.",
        ),
        Finding(
            "C4", "skb_defer_max was lowered below what the list held already: the test for equality never sees the watermark",
            ("I6",), ("lost kick",), _ALL, "defer_max=8,driver=free:1:4,event=skb_defer_max:4", ("lowered",),
            lab="C4", seen=("6.1", "6.12", "6.12-rt", "6.18", "6.18-rt", "7.3"),
            text="C4: skb_defer_max is lowered from 64 to 16 while 20 skbs wait on CPU 0's list, then 90 more are freed on CPU 1.\n"
            "The watermark of 8 is behind and the limit is reached, so no kick comes: the 20 stay until CPU 0 receives.",
        ),
        Finding(
            "C5", "net_rps_send_ipi() skips an offline CPU, whose backlog keeps SCHED for ever",
            ("I3",), ("phantom SCHED", "lost work"), _IPI,
            "threadirqs=1,rps=1,rps_cpus=2,resched=0,driver=irq:0,driver=hotplug:0:1:1", ("hotplug", "rps"),
            lab="C5", seen=("6.1", "6.12"),
            text="A CPU goes offline while another CPU owes it an IPI of RPS (rps_ipi_list); net_rps_send_ipi() skips it.\n"
            "SCHED stays set on its backlog: when the CPU is back, its backlog takes packets and never polls them.",
        ),
        Finding(
            "C6",
            "dev_cpu_dead() leaves a dead CPU's defer list, and a kick on its way there, as they are (06e3f54e8b22 flushes it)",
            ("I6", "I8"), ("stranded",), _BEFORE_7_3, "resched=0,driver=free:0:1:1,driver=hotplug:0:1:1", ("hotplug", "free"),
            fix="06e3f54e8b22",
        ),
        Finding(
            "C7", "a kick at a CPU that has just gone offline fails, and leaves defer_ipi_scheduled set: it was the last kick",
            (), ("flag without a call", "lost kick"), _kernels("ipi", before="7.3"),
            "resched=0,driver=free:0:2:1,driver=hotplug:0:1:1", ("hotplug", "free"),
            nodes="defer_max=3,resched=0,driver=free:0:2:1,driver=hotplug:0:1:1", fix="06e3f54e8b22",
            lab="offline-kick", seen=("6.1", "6.12", "6.18"),
            text="A CPU goes offline between skb_attempt_defer_free()'s look at cpu_online() and its kick.\n"
            "defer_ipi_scheduled stays set: when the CPU is back, its full defer list is never kicked again.",
        ),
        Finding(
            "C8", "on PREEMPT_RT a packet is steered to a CPU that died after get_rps_cpu() had found it online",
            (), ("lost work",), _kernels("rt"), "rps=1,resched_max=1,driver=rps:0:1:1,driver=hotplug:0:1:1",
            ("hotplug", "rps"), lab="dead-queue", seen=("6.12-rt", "6.18-rt"),
            text="On PREEMPT_RT a task that steers a packet is preempted between its look at cpu_online() and its enqueue.\n"
            "Its packet is queued on a CPU that is dead already, and stays there until the CPU is back.",
        ),
        Finding(
            "C9",
            "the defer list's interrupt clears its flag without a full barrier: the flush after it may miss the skb that kicked",
            (), ("lost kick",), _IPI, "defer_max=1,memory_model=tso,driver=free:1:2,driver=irq:0", ("tso", "free"),
            nodes="defer_max=5,memory_model=tso,store_buffer=1,driver=free:1:7,driver=irq:0",
            fix="examples/patches/flag_cleared_with_barrier.py",
        ),
        Finding(
            "C10", "after skb_defer_max was 1, before 7.1 also 0, a list that was refused too often takes nothing any more",
            ("I10",), ("deferral stopped",), _NODES, "defer_max=1,driver=free:1:4,event=skb_defer_max:3", ("switched on",),
            seen=("6.18", "7.3"),
            fix="examples/patches/defer_count_follows.py",
        ),
        Finding(
            "C11", "frees between the two halves of a flush fill the counter of an empty list, which takes nothing any more",
            ("I10",), ("deferral stopped",), _NODES, "defer_max=3,driver=free:1:3,driver=irq:0", ("free",),
            fix="examples/patches/defer_count_follows.py",
        ),
        Finding(
            "C12", "a timer that fires in the last poll of a task that prefers busy polling is lost, and the interrupt stays off",
            (), ("driver stuck",), _PREFERRED,
            "cpus=1,resched=0,prefer_busy_poll=1,defer_hard_irqs=1,driver=nic:0:2,driver=busy:0:1:0", ("busy",), fix="58e2330bd455",
        ),
        Finding(
            "I13", "before the backlog threads (6.10) a kick or an RPS IPI raises NET_RX from the interrupt, which wakes ksoftirqd",
            ("I13",), ("NET_RX from an IPI",), _kernels("rt", before="6.10"), "driver=free:1:2", (), fix="80d2eefcb4c8",
        ),
    )
}  # fmt: skip
"""By number."""

KNOWN: dict[str, str] = {f.number: f.sentence for f in FINDINGS.values() if f.invariants}
"""Those that the checks of a simulation name: they are counted, and are no error of the model or of a patch."""
