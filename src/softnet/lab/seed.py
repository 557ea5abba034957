# SPDX-License-Identifier: GPL-2.0-or-later
"""The seed on real kernels: what commit 80d2eefcb4c8 (v6.10) changed, before and after, measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from softnet.lab.experiments import first_kick, first_kick_at
from softnet.lab.run import Arm, LabResult, Options, run_scenario
from softnet.lab.show import table

if TYPE_CHECKING:
    from softnet.scenario import Scenario

ARMS = ("6.1-rt", "6.12-rt", "6.12", "6.12-threads")
_PAIRS = (("6.1-rt", "6.12-rt"), ("6.12", "6.12-threads"))
# kernel/softirq.c, do_softirq_post_smp_call_flush(): a softirq other than SCHED was raised while the idle task
# flushed the queue of cross-CPU calls. On PREEMPT_RT the IPIs of RPS and of the deferred free do just that.
_FLUSH_WARNING = "do_softirq_post_smp_call_flush"


def scenario(duration_ms: int) -> Scenario:
    """TCP over loopback, sender on CPU 0, receiver on CPU 1, lo's packets steered to CPU 2.

    The rate is one that an emulated guest keeps up with on every arm, so that the counts are of equal work.
    """
    from softnet.scenario import Application, Loopback, Machine, Measure, Sender
    from softnet.scenario import Scenario as Made

    return Made(
        name="seed",
        description="TCP over loopback: sent on CPU 0, received on CPU 1, lo's packets steered to CPU 2 (RPS).",
        machine=Machine(cpus=4),
        loopback=Loopback(rps_cpus=(2,)),
        application=(Application(name="receiver", kind="tcp", cpu=1, service_ns=0),),
        sender=(Sender(name="sender", cpu=0, to="receiver", interval_ns=1_000_000, size=1514),),
        measure=Measure(duration_ms=duration_ms, warmup_ms=min(20, duration_ms // 10)),
    )


@dataclass(frozen=True, slots=True)
class SeedResult:
    """One arm: the load with RPS, and first-kick, where nothing but kicks can flush the list."""

    load: LabResult
    kick: LabResult

    def flush_warnings(self) -> int:
        """How often the kernel warned of a softirq raised by an IPI in idle."""
        lines = [*self.load.complaints, *self.kick.complaints]
        return sum(_FLUSH_WARNING in line for line in lines)

    def as_json(self) -> dict[str, Any]:
        """Both runs, and where the first kick came."""
        return {
            "arm": self.load.arm,
            "load": self.load.as_json(),
            "first_kick": {"at": first_kick_at(self.kick.trace), **self.kick.as_json()},
            "flush_warnings": self.flush_warnings(),
        }


def run(
    arms: Sequence[Arm], duration_ms: int, *, options: Options, say: Callable[[str], None]
) -> list[SeedResult]:
    """Both runs on every arm, in order."""
    wanted = scenario(duration_ms)
    results = []
    for arm in arms:
        load = run_scenario(arm, wanted, options=options, say=say)
        results.append(SeedResult(load, first_kick(arm, options=options, say=say)))
    return results


def kick_table(results: Sequence[SeedResult]) -> str:
    """What each arm's kicks did in first-kick."""
    rows = []
    for label, counter in (
        ("attempts until the first kick", ""),
        ("IPIs: trigger_rx_softirq", "ipis_defer_free"),
        ("work items: trigger_rx_softirq", "works_defer_free"),
        ("NET_RX raised", "net_rx_raises"),
        ("backlog_napi wakeups", "backlog_napi_wakeups"),
        ("process_backlog polls", "backlog_polls"),
    ):
        cells = [
            str(result.kick.counts[counter]["total"])
            if counter
            else str(first_kick_at(result.kick.trace) or "none")
            for result in results
        ]
        rows.append([label, *cells])
    return table(["", *(result.load.arm for result in results)], rows)


def _ipis(result: LabResult) -> int:
    return int(result.counts["ipis_defer_free"]["total"] + result.counts["ipis_rps"]["total"])


def story(results: Sequence[SeedResult]) -> list[str]:
    """One line for each pair of before and after."""
    by_arm = {result.load.arm: result for result in results}
    lines = []
    for before, after in _PAIRS:
        old, new = by_arm[before], by_arm[after]

        def change(counter: str, old: SeedResult = old, new: SeedResult = new) -> str:
            return f"{old.load.counts[counter]['total']} -> {new.load.counts[counter]['total']}"

        lines.append(
            f"{before} -> {after}, under load: IPIs that raise NET_RX {_ipis(old.load)} -> {_ipis(new.load)}, "
            f"NET_RX raised {change('net_rx_raises')}, wakeups of ksoftirqd {change('ksoftirqd_wakeups')}, "
            f"of backlog_napi {change('backlog_napi_wakeups')}."
        )
        if old.flush_warnings() or new.flush_warnings():
            lines.append(
                f"{before} -> {after}: the kernel's own WARNING in {_FLUSH_WARNING}(), a softirq raised by an IPI "
                f"in idle: {old.flush_warnings()} -> {new.flush_warnings()}."
            )
    return lines
