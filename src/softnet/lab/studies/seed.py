# SPDX-License-Identifier: GPL-2.0-or-later
"""The seed on real kernels: what commit 80d2eefcb4c8 (v6.10) changed, before and after, measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from softnet.lab.play.run import Arm, LabResult, Options, run_scenario
from softnet.lab.show import table
from softnet.lab.studies.experiments import first_kick, first_kick_at

if TYPE_CHECKING:
    from softnet.scenario import Scenario

ARMS = ("6.1-rt", "6.12-rt", "6.12", "6.12-threads")
_FLOWS = 400
_PAIRS = (("6.1-rt", "6.12-rt"), ("6.12", "6.12-threads"))
# kernel/softirq.c, do_softirq_post_smp_call_flush(): a softirq other than SCHED was raised while the idle task
# flushed the queue of cross-CPU calls. On PREEMPT_RT the IPIs of RPS and of the deferred free do just that.
_FLUSH_WARNING = "do_softirq_post_smp_call_flush"


def scenario(duration_ms: int) -> Scenario:
    """TCP from a card whose interrupt is on CPU 0, steered to CPU 2, received on CPU 1, in bursts.

    Every skb is allocated on CPU 0 and freed on CPU 1. A burst is over long before its packets are read, and CPU 0,
    which flushes its list whenever it receives, has nothing to receive then: it must be kicked. One segment for each
    connection, because TCP would merge two. The reader's own time, 1 ms a packet, decides the pace, so that a
    slow guest and the model do the same work.
    """
    from softnet.scenario import Application, Machine, Measure, Nic, OnOffTraffic
    from softnet.scenario import Scenario as Made

    burst = OnOffTraffic(
        rate_pps=4000,
        on_us=15_000,
        off_us=85_000,
        flows=_FLOWS,
        proto="tcp",
        dst_ports=(80,),
        sizes=((590, 1.0),),
    )
    return Made(
        name="seed",
        description="TCP from a card on CPU 0, steered to CPU 2 (RPS), received on CPU 1; bursts of 60 packets, ten a second.",
        machine=Machine(cpus=4),
        nic=(Nic(name="eth0", irq_cpus=(0,), rps_cpus=(2,)),),
        traffic=(burst,),
        application=(Application(name="receiver", kind="tcp", cpu=1, dst_ports=(80,), service_ns=1_000_000),),
        measure=Measure(duration_ms=duration_ms),
    )


@dataclass(frozen=True, slots=True)
class SeedResult:
    """One arm: the load with RPS and the model's of it, and first-kick, where nothing but kicks can flush the list."""

    load: LabResult
    kick: LabResult
    model: dict[str, int]
    """Counters of the simulation of the load."""

    def flush_warnings(self) -> int:
        """How often the kernel warned of a softirq raised by an IPI in idle."""
        lines = [*self.load.complaints, *self.kick.complaints]
        return sum(_FLUSH_WARNING in line for line in lines)

    def as_json(self) -> dict[str, Any]:
        """Both runs, and where the first kick came."""
        return {
            "arm": self.load.arm,
            "load": self.load.as_json(),
            "model": self.model,
            "first_kick": {"at": first_kick_at(self.kick.trace), **self.kick.as_json()},
            "flush_warnings": self.flush_warnings(),
        }


def model_counters(arm: Arm, wanted: Scenario, costs: str) -> dict[str, int]:
    """What the model counts of the load with this arm's kernel; both ways to the owner of the list are kicks."""
    from softnet.lab.studies.calibrate import model_scenario
    from softnet.simulate.api import run as simulate

    return simulate(model_scenario(wanted, arm, costs)).result.counters


def run(
    arms: Sequence[Arm],
    duration_ms: int,
    *,
    options: Options,
    say: Callable[[str], None],
    costs: str = "default",
) -> list[SeedResult]:
    """Both runs on every arm, and the model's with ``costs``, in order."""
    wanted = scenario(duration_ms)
    results = []
    for arm in arms:
        load = run_scenario(arm, wanted, options=options, say=say)
        kick = first_kick(arm, options=options, say=say)
        results.append(SeedResult(load, kick, model_counters(arm, wanted, costs)))
    return results


def _kicks(result: LabResult) -> int:
    """Kicks that told the owner: by an IPI, a work item or its backlog thread. Before v6.10 the kick is inlined."""
    major, minor = (int(part) for part in result.release.split(".")[:2])
    if (major, minor) >= (6, 10):
        return int(result.counts["kicks"]["total"])
    return int(result.counts["ipis_defer_free"]["total"] + result.counts["works_defer_free"]["total"])


def beside_table(pair: Sequence[SeedResult]) -> str:
    """Kernel, model and their ratio for each arm of a pair."""
    rows = []
    for label, counter, modelled in (
        ("skb_attempt_defer_free", "defer_attempts", "deferred"),
        ("kicks", "", "kicks"),
        ("trigger_rx_softirq", "trigger_rx_softirq", "trigger_rx_softirq"),
        ("IPIs: rps_trigger_softirq", "ipis_rps", "rps_ipis"),
        ("NET_RX raised", "net_rx_raises", "net_rx_raises"),
        ("ksoftirqd wakeups", "ksoftirqd_wakeups", "ksoftirqd_wakeups"),
        ("backlog_napi wakeups", "backlog_napi_wakeups", "backlog_napi_wakeups"),
        ("process_backlog polls", "backlog_polls", "process_backlog_polls"),
    ):
        cells = [label]
        for result in pair:
            seen = int(result.load.counts[counter]["total"]) if counter else _kicks(result.load)
            said = result.model[modelled]
            ratio = f"{said / seen:.2f}" if seen else ("1.00" if not said else "-")
            cells += [str(seen), str(said), ratio]
        rows.append(cells)
    header = [""]
    for result in pair:
        header += [result.load.arm, "model", "model/kernel"]
    return table(header, rows)


def pairs(results: Sequence[SeedResult]) -> list[list[SeedResult]]:
    """The results as pairs of before and after."""
    by_arm = {result.load.arm: result for result in results}
    return [[by_arm[before], by_arm[after]] for before, after in _PAIRS]


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
            str(result.kick.counts[counter]["total"]) if counter else str(first_kick_at(result.kick.trace) or "none")
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
