# SPDX-License-Identifier: GPL-2.0-or-later
"""The seed on real kernels: what commit 80d2eefcb4c8 (v6.10) changed, before and after, measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from softnet.lab.play.arm import GuestArm
from softnet.lab.play.run import GuestOptions, LabResult, run_scenario
from softnet.lab.studies.experiments import first_kick, first_kick_at

if TYPE_CHECKING:
    from softnet.scenario import Scenario

ARMS = ("6.1-rt", "6.12-rt", "6.12", "6.12-threads")
_FLOWS = 400
PAIRS = (("6.1-rt", "6.12-rt"), ("6.12", "6.12-threads"))
# kernel/softirq.c, do_softirq_post_smp_call_flush(): a softirq other than SCHED was raised while the idle task
# flushed the queue of cross-CPU calls. On PREEMPT_RT the IPIs of RPS and of the deferred free do just that.
FLUSH_WARNING = "do_softirq_post_smp_call_flush"


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
        return sum(FLUSH_WARNING in line for line in lines)

    def as_json(self) -> dict[str, Any]:
        """Both runs, and where the first kick came."""
        return {
            "arm": self.load.arm,
            "load": self.load.as_json(),
            "model": self.model,
            "first_kick": {"at": first_kick_at(self.kick.trace), **self.kick.as_json()},
            "flush_warnings": self.flush_warnings(),
        }


def model_counters(arm: GuestArm, wanted: Scenario, costs: str) -> dict[str, int]:
    """What the model counts of the load with this arm's kernel; both ways to the owner of the list are kicks."""
    from softnet.lab.studies.calibrate import model_scenario
    from softnet.simulate.api import run as simulate

    return simulate(model_scenario(wanted, arm, costs)).result.counters


def run(
    arms: Sequence[GuestArm],
    duration_ms: int,
    *,
    options: GuestOptions,
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


def kicks(result: LabResult) -> int:
    """Kicks that told the owner: by an IPI, a work item or its backlog thread. Before v6.10 the kick is inlined."""
    if result.trace.kick_is_function:
        return int(result.counts["kicks"]["total"])
    return int(result.counts["ipis_defer_free"]["total"] + result.counts["works_defer_free"]["total"])


def pairs(results: Sequence[SeedResult]) -> list[list[SeedResult]]:
    """The results as pairs of before and after."""
    by_arm = {result.load.arm: result for result in results}
    return [[by_arm[before], by_arm[after]] for before, after in PAIRS]
