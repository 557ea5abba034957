# SPDX-License-Identifier: GPL-2.0-or-later
"""The conformance suite: experiments on every arm, each trace held against the model.

Experiments with an exact answer are held against the model's answer too; for the others the model runs the same
scenario, and its counts stand beside the kernel's. Every disagreement is a bug in the model or a finding about the
kernel; ``KNOWN`` lists the findings, so that a new one stands out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softnet.files import from_json, readable
from softnet.lab.errors import LabChannelLost, LabError, LabPanic, LabTimeout
from softnet.lab.play.arm import GuestArm
from softnet.lab.play.run import GuestOptions, LabResult, run_scenario, write_out
from softnet.lab.studies import experiments
from softnet.lab.studies.experiment_prediction import ExpectedFigures, expected_drops, expected_kick, expected_kicks, predict
from softnet.lab.tracing import records
from softnet.lab.validate.branches import merged
from softnet.lab.validate.checker import check
from softnet.lab.validate.verdict import TraceVerdict
from softnet.simulate.output import OutputFolder

if TYPE_CHECKING:
    from softnet.scenario import Scenario

Say = Callable[[str], None]
Runner = Callable[[GuestArm, GuestOptions, Say], LabResult]

KNOWN: dict[str, tuple[str, str]] = {}
"""GuestArm -> (what the model refuses there, the finding that explains it). None today."""


def folder_of(experiment: str) -> str:
    """An experiment's name as that of a folder."""
    return re.sub(r"[^a-z0-9]+", "-", experiment.lower()).strip("-")


@dataclass(frozen=True, slots=True)
class Experiment:
    """One row of the suite. ``exact`` computes what the model says must come; ``scenario`` is what the model runs."""

    name: str
    run: Runner
    exact: Callable[[GuestArm], dict[str, int | None]] | None = None
    scenario: Callable[[], Scenario] | None = None

    @property
    def folder(self) -> str:
        """Its name as that of a folder."""
        return folder_of(self.name)


@dataclass(frozen=True, slots=True)
class ExperimentOutcome:
    """One experiment on one arm.

    ``predicted`` and ``measured`` have the same keys; ``exact`` says that they must be equal.
    """

    experiment: str
    arm: str
    release: str
    package: str
    verdict: TraceVerdict
    predicted: dict[str, int | None]
    measured: dict[str, int | None]
    exact: bool
    counts: dict[str, int]
    lost: int
    squeezed: int
    complaints: list[str] = field(default_factory=list)
    deviations: list[str] = field(default_factory=list)
    rate: str = ""
    """Of a scenario: what the guest's senders managed, and the costs of the prediction with the guest's speed."""

    @property
    def folder(self) -> str:
        """The folder that its results and traces are in."""
        return folder_of(self.experiment)

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
        if self.exact and self.predicted != self.measured:
            return "NOT AS PREDICTED"
        if self.verdict.squeezes > self.squeezed:
            return "NOT DECIDED" if self.verdict.bounded else "TOO FEW SQUEEZES"
        if self.verdict.accepted:
            return "ok"
        if self.known:
            return "known"
        return "NOT DECIDED" if self.verdict.bounded else "REFUSED"

    def as_json(self) -> dict[str, Any]:
        """The outcome as a dictionary; the branches stand once for each arm, in the suite's own."""
        verdict = {key: value for key, value in self.verdict.as_json().items() if key != "branches"}
        return {
            "experiment": self.experiment,
            "arm": self.arm,
            "release": self.release,
            "package": self.package,
            "outcome": self.word,
            "known": self.known,
            "exact": self.exact,
            "predicted": self.predicted,
            "measured": self.measured,
            "rate": self.rate,
            "counts": self.counts,
            "kernel_complaints": self.complaints,
            "deviations": self.deviations,
            "verdict": verdict,
        }


def _limits() -> Experiment:
    def exact(arm: GuestArm) -> dict[str, int | None]:
        kicks = expected_kicks(arm, [(limit, experiments.reads_at(limit)) for limit in experiments.LIMITS])
        return {f"first kick, skb_defer_max {limit}": number for limit, number in kicks.items()}

    return Experiment(
        "skb_defer_max 0, 1, 2, 64, 1000",
        lambda arm, options, say: experiments.limits(arm, options=options, say=say),
        exact,
    )


def _c4() -> Experiment:
    def exact(arm: GuestArm) -> dict[str, int | None]:
        return {"first kick at": expected_kick(arm, 64, 110, lowered_to=16, after=20)}

    return Experiment("C4: limit lowered", lambda arm, options, say: experiments.c4(arm, options=options, say=say), exact)


def _flow_limit() -> Experiment:
    def exact(arm: GuestArm) -> dict[str, int | None]:
        return {"backlog drops": expected_drops(arm, experiments.DATAGRAMS)}

    return Experiment(
        "flow limit, 200 of one flow",
        lambda arm, options, say: experiments.flow_limit(arm, options=options, say=say),
        exact,
    )


def _load(name: str, make: Callable[[], Scenario]) -> Experiment:
    def run(arm: GuestArm, options: GuestOptions, say: Say) -> LabResult:
        return run_scenario(arm, make(), options=options, say=say)

    return Experiment(name, run, scenario=make)


def _scenario(
    name: str,
    *,
    kind: str = "tcp",
    senders: Sequence[int] = (0,),
    gap_ns: int = 1_000_000,
    rps: Sequence[int] = (),
    receiver_cpu: int = 1,
    events: Sequence[dict[str, Any]] = (),
    sysctl: dict[str, Any] | None = None,
    tasks: Sequence[dict[str, Any]] = (),
    threads: dict[str, str] | None = None,
    duration_ms: int = 400,
) -> Scenario:
    from softnet.scenario import scenario_from_dict

    return scenario_from_dict(
        {
            "name": name,
            "machine": {"cpus": 4},
            "kernel": {"sysctl": sysctl or {}, "threads": threads or {}},
            "loopback": {"rps_cpus": list(rps)},
            "application": [{"name": "receiver", "kind": kind, "cpu": receiver_cpu, "service_ns": 0}],
            "sender": [
                {"name": f"sender{n}", "cpu": cpu, "to": "receiver", "interval_ns": gap_ns, "size": 1000}
                for n, cpu in enumerate(senders)
            ],
            "task": list(tasks),
            "event": list(events),
            "measure": {"duration_ms": duration_ms, "warmup_ms": 0},
        }
    )


def _card(name: str, *, threaded: bool = False, rfs: bool = False) -> Scenario:
    """A card whose interrupt is on CPU 0, of which RPS steers to CPU 2, or RFS to where the packets are read."""
    from softnet.scenario import scenario_from_dict

    nic: dict[str, Any] = {"name": "eth0", "irq_cpus": [0], "rps_cpus": [2], "threaded": threaded}
    if rfs:
        nic["rps_flow_cnt"] = 256
    sockets = [{"name": f"web{cpu}", "cpu": cpu, "dst_ports": [port]} for cpu, port in ((1, 80), (3, 81))]
    return scenario_from_dict(
        {
            "name": name,
            "machine": {"cpus": 4},
            "kernel": {"sysctl": {"rps_sock_flow_entries": 1024} if rfs else {}},
            "nic": [nic],
            "traffic": [
                {"kind": "constant", "rate_pps": 800, "flows": 8, "proto": "tcp", "dst_ports": [80, 81], "sizes": [[590, 1]]},
            ],
            "application": sockets,
            "measure": {"duration_ms": 400, "warmup_ms": 0},
        }
    )


def _loads() -> list[Experiment]:
    hog = {"kind": "hog", "cpu": 0, "duty": 0.7}
    lowered = {"at_ms": 300, "set": "sysctl.skb_defer_max", "value": 8}
    starve = {"kind": "hog", "cpu": 2, "duty": 0.9, "period_us": 20_000, "sched": "fifo:90"}
    changed = [
        {"at_ms": 100, "set": "sysctl.netdev_max_backlog", "value": 2},
        {"at_ms": 160, "set": "loopback.rps_cpus", "value": [3]},
        {"at_ms": 220, "set": "sysctl.netdev_budget", "value": 2},
        {"at_ms": 280, "set": "sysctl.dev_weight", "value": 1},
        {"at_ms": 340, "set": "loopback.rps_cpus", "value": [2, 3]},
    ]
    # A guest's CPU takes some hundred milliseconds to go down.
    hotplug = [
        {"at_ms": 100, "set": "cpu.2.online", "value": 0},
        {"at_ms": 1000, "set": "cpu.2.online", "value": 1},
    ]
    slow: dict[str, Any] = {"events": hotplug, "duration_ms": 1500, "gap_ns": 3_000_000}
    fifo = {"ksoftirqd": "fifo:50", "backlog_napi": "fifo:50"}
    three = {"kind": "udp", "senders": (0, 1, 3), "gap_ns": 300_000, "rps": (2,)}

    def udp(**more: Any) -> Callable[[], Scenario]:
        return lambda: _scenario("udp", **{**three, **more})

    return [
        _load("UDP, RPS off", lambda: _scenario("rps-off", kind="udp")),
        _load("UDP, RPS to CPU 2", lambda: _scenario("rps-one", kind="udp", rps=(2,))),
        _load(
            "UDP, four flows, RPS to CPUs 2 and 3",
            lambda: _scenario("rps-two", kind="udp", senders=(0, 0, 0, 0), gap_ns=4_000_000, rps=(2, 3)),
        ),
        _load("TCP, sent and received on CPU 0", lambda: _scenario("same-cpu", receiver_cpu=0)),
        _load("TCP, freed across CPUs, RPS to CPU 2", lambda: _scenario("cross-cpu", rps=(2,), events=(lowered,))),
        _load("UDP, CPU 2 starved by fifo:90", udp(tasks=(starve,), gap_ns=1_000_000)),
        _load("UDP, five settings changed under load", udp(events=changed)),
        _load("TCP, ksoftirqd and backlog_napi at fifo:50", lambda: _scenario("fifo", rps=(2,), threads=fifo, tasks=(hog,))),
        _load("UDP, three senders, backlog of 2", udp(sysctl={"netdev_max_backlog": 1})),
        _load("UDP, netdev_budget 1, dev_weight 1", udp(sysctl={"netdev_budget": 1, "dev_weight": 1})),
        _load(
            "TCP, skb_defer_max 1: every free may kick", lambda: _scenario("defer-one", gap_ns=300_000, sysctl={"skb_defer_max": 1})
        ),
        _load(
            "TCP, three senders, RPS to CPUs 0, 2 and 3, dev_weight 1",
            lambda: _scenario("ack-storm", senders=(0, 1, 3), rps=(0, 2, 3), sysctl={"dev_weight": 1}),
        ),
        _load("UDP, RPS to CPUs 2 and 3, CPU 2 down and up", udp(senders=(0, 1, 0), rps=(2, 3), **slow)),
        _load(
            "TCP, freed for CPU 2, which goes down",
            lambda: _scenario("freed-for-dead", senders=(2, 2), sysctl={"skb_defer_max": 16}, **slow),
        ),
        _load("a card, NAPI in the softirq, RPS to CPU 2", lambda: _card("card")),
        _load("a card, NAPI in a thread, RPS to CPU 2", lambda: _card("card-threaded", threaded=True)),
        _load("a card, RFS, read on CPUs 1 and 3", lambda: _card("card-rfs", rfs=True)),
    ]


def suite() -> list[Experiment]:
    """Every experiment, the exact ones first."""
    return [_limits(), _c4(), _flow_limit(), *_loads()]


def _measured(experiment: Experiment, result: LabResult, prediction: ExpectedFigures) -> dict[str, int | None]:
    """The figures of a prediction, as the kernel has them."""
    if experiment.scenario is not None:
        return {name: prediction.measured(name, result) for name in prediction.figures}
    drops: int = result.counts["backlog_drops"]["total"]
    values: dict[str, int | None] = {
        "first kick at": experiments.first_kick_at(result.trace),
        "backlog drops": drops,
    }
    for limit, at in experiments.first_kicks(result.trace).items():
        values[f"first kick, skb_defer_max {limit}"] = at
    return {name: values[name] for name in prediction.figures}


def conform(
    arms: Sequence[GuestArm],
    chosen: Sequence[Experiment],
    *,
    options: GuestOptions,
    say: Say,
    folder: Path | None = None,
    again: bool = False,
    not_run: dict[str, str] | None = None,
) -> list[ExperimentOutcome]:
    """Run ``chosen`` on every arm, writing results and traces below ``folder``.

    ``again`` boots nothing: it takes what an earlier run left in ``folder`` and holds it against the model of today.
    An experiment whose guest is lost twice is left out, on every arm, and ``not_run`` says so.
    """
    outcomes = []
    for experiment in chosen:
        for arm in arms:
            if again:
                assert folder is not None
                result = stored(folder / experiment.folder, arm.label)
            else:
                try:
                    result = _run(experiment, arm, options, say)
                except _LOST as error:
                    if not_run is None:
                        raise
                    not_run[experiment.name] = f"{arm.label}: {error.message}"
                    say(f"{experiment.name} on {arm.label}: NOT RUN: {error.message}")
                    break
                if folder is not None:
                    with OutputFolder(folder, add=True) as into:
                        write_out(result, into.path / experiment.folder)
            outcome = judge(experiment, arm, result)
            say(
                f"{experiment.name} on {arm.label}: {outcome.word}, "
                f"{outcome.verdict.events_checked} of {outcome.verdict.events} events followed"
            )
            outcomes.append(outcome)
    return [outcome for outcome in outcomes if outcome.experiment not in (not_run or {})]


# A guest that was lost, which is no answer of the kernel's. One that is well and says that it failed is not among them.
_LOST = (LabTimeout, LabPanic, LabChannelLost)


def _run(experiment: Experiment, arm: GuestArm, options: GuestOptions, say: Say) -> LabResult:
    """Run it; once more if the guest was lost, and then say so in the result."""
    try:
        return experiment.run(arm, options, lambda text: None)
    except _LOST as error:
        said = f"a first guest was lost: {error.message}" + (f" ({error.found})" if error.found else "")
    say(f"{experiment.name} on {arm.label}: {said}; trying once more")
    result = experiment.run(arm, options, lambda text: None)
    result.deviations.append(said)
    return result


def stored(folder: Path, arm: str) -> LabResult:
    """A result and its trace as ``write_out`` left them. Raises ``LabError`` for what is not there or no such thing."""
    path = folder / f"{arm}.json"
    try:
        told = from_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise LabError(
            "no result of an earlier run",
            where=str(path),
            found=str(error),
            expected="what softnet lab conform --out wrote",
            hint="run it without --again first",
        ) from error
    trace = records.read(folder / f"{arm}.lab.jsonl.gz")
    with readable(LabError, "not a result of an earlier run", where=str(path), expected="what softnet lab conform --out wrote"):
        return LabResult.from_json(told, trace)


def judge(experiment: Experiment, arm: GuestArm, result: LabResult) -> ExperimentOutcome:
    """Hold a result against the model: its trace, and its counts."""
    if experiment.exact is not None:
        prediction = ExpectedFigures(experiment.exact(arm))
    else:
        assert experiment.scenario is not None
        prediction = predict(experiment.scenario(), arm, result)
    return ExperimentOutcome(
        experiment.name,
        arm.label,
        result.release,
        f"{result.provenance.get('package', '')} {result.provenance.get('package_version', '')}".strip(),
        check(result.trace),
        prediction.figures,
        _measured(experiment, result, prediction),
        experiment.exact is not None,
        {name: int(row["total"]) for name, row in result.counts.items()},
        sum(result.lost.values()),
        sum(row["time_squeeze"] for row in result.softnet_stat.values()),
        result.complaints,
        result.deviations,
        prediction.achieved.sentence() if prediction.achieved is not None else "",
    )


def coverage(outcomes: Sequence[ExperimentOutcome]) -> dict[str, dict[str, int]]:
    """GuestArm -> decision -> how often real traces exercised it."""
    table: dict[str, dict[str, int]] = {}
    for outcome in outcomes:
        row = table.setdefault(outcome.arm, {})
        for branch, count in outcome.verdict.covered.items():
            row[branch] = row.get(branch, 0) + count
    return table


def branches(outcomes: Sequence[ExperimentOutcome], arm: str = "") -> list[dict[str, Any]]:
    """The model's tests and how often real traces took each way, of one arm or of all."""
    return merged(o.verdict.branches for o in outcomes if not arm or o.arm == arm)


def as_json(outcomes: Sequence[ExperimentOutcome]) -> dict[str, Any]:
    """The outcomes, and what they covered on each arm."""
    return {
        "outcomes": [outcome.as_json() for outcome in outcomes],
        "decisions": coverage(outcomes),
        "branches": {arm: branches(outcomes, arm) for arm in dict.fromkeys(o.arm for o in outcomes)},
    }
