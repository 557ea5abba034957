# SPDX-License-Identifier: GPL-2.0-or-later
"""The conformance suite: experiments on every arm, each trace held against the model.

An experiment whose first kick the source determines is held against that too. Every disagreement is a bug in the
model or a finding about the kernel; ``KNOWN`` lists the findings, so that a new one stands out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from softnet.lab import experiments
from softnet.lab.run import Arm, LabResult, Options, run_scenario
from softnet.lab.validate.verdict import Verdict, check

if TYPE_CHECKING:
    from softnet.scenario import Scenario

Say = Callable[[str], None]
Runner = Callable[[Arm, Options, Say], LabResult]

# Arm -> (what the model refuses there, the finding that explains it).
KNOWN = {
    "6.1-rt": (
        "work item",
        "Debian's 6.1-rt kicks by a work item, a change of the -rt series that mainline never had (docs/lab.md)",
    )
}


@dataclass(frozen=True, slots=True)
class Experiment:
    """One row of the suite. ``kick_at`` is where the source puts the first kick; -1 says that it is not exact."""

    name: str
    run: Runner
    kick_at: int | None = -1


@dataclass(frozen=True, slots=True)
class Outcome:
    """One experiment on one arm."""

    experiment: str
    arm: str
    verdict: Verdict
    kick_at: int | None
    expected_kick_at: int | None
    counts: dict[str, int]
    lost: int

    @property
    def known(self) -> str:
        """The finding that explains a refusal, or ""."""
        part, finding = KNOWN.get(self.arm, ("", ""))
        hit = part and any(part in reason for reason in self.verdict.reasons)
        return finding if hit and not self.verdict.accepted else ""

    @property
    def word(self) -> str:
        """ok, known, or what is wrong."""
        if self.lost:
            return "LOST EVENTS"
        if self.expected_kick_at != -1 and self.kick_at != self.expected_kick_at:
            return "KICK ELSEWHERE"
        if self.verdict.accepted:
            return "ok"
        return "known" if self.known else "REFUSED"

    def as_json(self) -> dict[str, Any]:
        """The outcome as a dictionary."""
        return {
            "experiment": self.experiment,
            "arm": self.arm,
            "outcome": self.word,
            "known": self.known,
            "first_kick_at": self.kick_at,
            "counts": self.counts,
            "verdict": self.verdict.as_json(),
        }


def _first_kick(limit: int, connections: int = 110) -> Experiment:
    def run(arm: Arm, options: Options, say: Say) -> LabResult:
        return experiments.first_kick(
            arm, connections=connections, skb_defer_max=limit, options=options, say=say
        )

    expected = experiments.expected_first_kick(limit, connections)
    return Experiment(f"first-kick, skb_defer_max {limit}", run, expected)


def _c4() -> Experiment:
    return Experiment(
        "C4: limit lowered", lambda arm, options, say: experiments.c4(arm, options=options, say=say), None
    )


def _load(name: str, make: Callable[[], Scenario]) -> Experiment:
    return Experiment(name, lambda arm, options, say: run_scenario(arm, make(), options=options, say=say))


def _scenario(
    name: str,
    *,
    kind: str = "tcp",
    rps: Sequence[int] = (),
    receiver_cpu: int = 1,
    events: Sequence[dict[str, Any]] = (),
    sysctl: dict[str, Any] | None = None,
    tasks: Sequence[dict[str, Any]] = (),
    threads: dict[str, str] | None = None,
) -> Scenario:
    from softnet.scenario import scenario_from_dict

    return scenario_from_dict(
        {
            "name": name,
            "machine": {"cpus": 4},
            "kernel": {"sysctl": sysctl or {}, "threads": threads or {}},
            "loopback": {"rps_cpus": list(rps)},
            "application": [{"name": "receiver", "kind": kind, "cpu": receiver_cpu, "service_ns": 0}],
            "sender": [{"cpu": 0, "to": "receiver", "interval_ns": 1_000_000, "size": 1000}],
            "task": list(tasks),
            "event": list(events),
            "measure": {"duration_ms": 400, "warmup_ms": 20},
        }
    )


def suite() -> list[Experiment]:
    """Every experiment, the exact ones first."""
    hog = {"kind": "hog", "cpu": 0, "duty": 0.7}
    lowered = {"at_ms": 200, "set": "sysctl.skb_defer_max", "value": 8}
    return [
        *(_first_kick(limit) for limit in (0, 1, 2, 16, 64)),
        _first_kick(1000, 600),
        _c4(),
        _load("TCP, RPS off", lambda: _scenario("rps-off")),
        _load("TCP, RPS to CPU 2", lambda: _scenario("rps-one", rps=(2,))),
        _load("TCP, RPS to CPUs 2 and 3", lambda: _scenario("rps-two", rps=(2, 3))),
        _load("TCP, sent and received on CPU 0", lambda: _scenario("same-cpu", receiver_cpu=0, rps=(2,))),
        _load("TCP, CPU 0 starved", lambda: _scenario("starved", rps=(2,), tasks=(hog,))),
        _load("TCP, limit lowered under load", lambda: _scenario("lowered", rps=(2,), events=(lowered,))),
        _load(
            "TCP, ksoftirqd at fifo:1", lambda: _scenario("fifo", rps=(2,), threads={"ksoftirqd": "fifo:1"})
        ),
        _load(
            "UDP, backlog of 4",
            lambda: _scenario("overflow", kind="udp", rps=(2,), sysctl={"netdev_max_backlog": 4}),
        ),
    ]


def conform(
    arms: Sequence[Arm],
    chosen: Sequence[Experiment],
    *,
    options: Options,
    say: Say,
    each: Callable[[Outcome, LabResult], None],
) -> list[Outcome]:
    """Run ``chosen`` on every arm; ``each`` sees every outcome as it comes, with its result."""
    outcomes = []
    for experiment in chosen:
        for arm in arms:
            result = experiment.run(arm, options, lambda text: None)
            counts = {name: int(row["total"]) for name, row in result.counts.items()}
            outcome = Outcome(
                experiment.name,
                arm.name,
                check(result.trace),
                experiments.first_kick_at(result.trace),
                experiment.kick_at,
                counts,
                sum(result.lost.values()),
            )
            say(
                f"{experiment.name} on {arm.name}: {outcome.word}, {outcome.verdict.events_checked} events checked"
            )
            each(outcome, result)
            outcomes.append(outcome)
    return outcomes


def coverage(outcomes: Sequence[Outcome]) -> dict[str, dict[str, int]]:
    """Arm -> decision -> how often real traces exercised it."""
    table: dict[str, dict[str, int]] = {}
    for outcome in outcomes:
        row = table.setdefault(outcome.arm, {})
        for branch, count in outcome.verdict.covered.items():
            row[branch] = row.get(branch, 0) + count
    return table
