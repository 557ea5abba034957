# SPDX-License-Identifier: GPL-2.0-or-later
"""Run one plan on one arm and return what happened: the result that every lab command shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from softnet import files
from softnet.lab.guest.plans import Found, Result, ScriptPlan, Setting, Step, TracedPlan
from softnet.lab.play.arm import GuestArm
from softnet.lab.tracing import facts, records
from softnet.lab.tracing.counts import count, softnet_stat_delta
from softnet.lab.tracing.facts import Facts
from softnet.lab.vm import qemu
from softnet.release import nearest

if TYPE_CHECKING:
    from softnet.scenario import Scenario


@dataclass(slots=True)
class LabResult:
    """One run on one real kernel."""

    arm: str
    release: str
    ran: qemu.Ran
    boot_args: tuple[str, ...]
    trace: records.LabTrace
    counts: dict[str, Any]
    softnet_stat: dict[int, dict[str, int]]
    work: Found
    refused: dict[str, str]
    lost: dict[str, int]
    complaints: list[str]
    threads_set: list[Any]
    seconds: float
    deviations: list[str] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict, repr=False)

    def as_json(self) -> dict[str, Any]:
        """All but the trace itself, the seconds and the raw latencies."""
        return {key.name: key.write(getattr(self, key.attribute)) for key in _KEYS}

    @classmethod
    def from_json(cls, row: dict[str, Any], trace: records.LabTrace) -> LabResult:
        """What as_json() made, with its trace."""
        given = {key.attribute: key.read(row[key.name]) for key in _KEYS if key.read is not None}
        return cls(trace=trace, seconds=0.0, **given)


class _Key(NamedTuple):
    """A key of a result's JSON: of which attribute, and the way there and back; None where the trace has it."""

    name: str
    attribute: str
    write: Callable[[Any], Any] = lambda value: value
    read: Callable[[Any], Any] | None = lambda value: value


_KEYS = (
    _Key("arm", "arm"),
    _Key("release", "release"),
    _Key("boot_args", "boot_args", list, tuple),
    _Key("ran", "ran", asdict, lambda row: qemu.Ran(**row)),
    _Key("clock", "trace", lambda trace: trace.clock, None),
    _Key("counts", "counts"),
    _Key(
        "softnet_stat",
        "softnet_stat",
        lambda rows: {str(cpu): row for cpu, row in sorted(rows.items())},
        lambda rows: {int(cpu): row for cpu, row in rows.items()},
    ),
    _Key("work", "work"),
    _Key("deviations", "deviations"),
    _Key("events_not_traced", "refused"),
    _Key("events_lost", "lost"),
    _Key("kernel_complaints", "complaints"),
    _Key("threads_set", "threads_set"),
    _Key("events", "trace", lambda trace: len(trace.records), None),
    _Key("provenance", "provenance"),
)


@dataclass(frozen=True, slots=True)
class GuestOptions:
    """How to run, as the command line gives it."""

    accel: qemu.AccelChoice = "auto"
    bounds: qemu.Bounds = field(default_factory=qemu.Bounds)


def execute(
    arm: GuestArm,
    plan: TracedPlan,
    known: Facts,
    machine: qemu.GuestMachine,
    *,
    options: GuestOptions,
    say: Callable[[str], None],
    about: dict[str, Any],
) -> LabResult:
    """Boot ``arm``, carry out ``plan``, decode. ``about`` goes into the trace's header."""
    machine = qemu.GuestMachine(machine.cpus, machine.memory_mb, (*machine.boot_args, *arm.boot_args))
    session = qemu.boot(arm.image, plan, machine, bounds=options.bounds, accel=options.accel, say=say)
    told: Result = session.result
    hello = session.greeting()
    provenance = dict(arm.image.provenance)
    header = {
        "format": records.FORMAT,
        "version": records.VERSION,
        "clock": plan["trace"]["clock"],
        "arm": arm.label,
        "threads_backlog": arm.threads,
        "release": hello["release"],
        "kernel_version": hello["version"],
        "command_line": hello["command_line"],
        "cpus": machine.cpus,
        "ran": {"accel": session.ran.accel, "threads": session.ran.threads, "qemu": session.ran.qemu},
        "tasks": told["threads"],
        "probed": sorted(name for name, _ in plan["trace"]["kprobes"] if name not in told["trace"]["refused"]),
        "lost": told["trace"]["lost"],
        "pinned": told["trace"]["pinned"],
        "provenance": provenance,
        **about,
    }
    trace = records.LabTrace(header, records.decode(session.blobs, told["trace"]["page_bytes"], known))
    return LabResult(
        arm=arm.label,
        release=hello["release"],
        ran=session.ran,
        boot_args=machine.boot_args,
        trace=trace,
        counts=count(trace.records),
        softnet_stat=softnet_stat_delta(told["softnet_stat_before"], told["softnet_stat_after"]),
        work=told["work"],
        refused=told["trace"]["refused"],
        lost=told["trace"]["lost"],
        complaints=told["complaints"],
        threads_set=told["threads_set"],
        seconds=session.total_seconds,
        provenance=provenance,
        blobs={name: data for name, data in session.blobs.items() if name.startswith("latencies/")},
    )


def run_script(
    arm: GuestArm,
    steps: list[Step],
    *,
    settings: list[Setting],
    options: GuestOptions,
    say: Callable[[str], None],
    about: dict[str, Any],
    cpus: int = 4,
) -> LabResult:
    """Run a list of steps (``guest/script.py``) on an arm."""
    from softnet.lab.tracing import probes

    known = facts.gather(arm.image, say=say, accel=options.accel)
    plan: ScriptPlan = {
        "kind": "script",
        "settings": settings,
        "threads": [],
        "trace": probes.trace_plan(known, cpus, buffer_kb=8192),
        "work": steps,
    }
    say(f"{arm.label}: booting {arm.image.release}")
    result = execute(
        arm,
        plan,
        known,
        qemu.GuestMachine(cpus=cpus),
        options=options,
        say=lambda text: say(f"{arm.label}: {text}"),
        about=about,
    )
    say(f"{arm.label}: {len(result.trace.records)} events in {result.seconds:.1f} s")
    return result


def settings_told(scenario: Scenario, release: str) -> dict[str, Any]:
    """The settings that a check of the trace needs, for its header.

    A ``skb_defer_max`` that the scenario does not say is not written in the guest: it is that of the guest's ``release``, whatever
    release the scenario is of. ``lo_rps_cpus`` is left out where more than that steers lo's packets.
    """
    sysctl = scenario.kernel.sysctl
    values = sysctl.model_dump(mode="json", exclude_none=True)
    told: dict[str, Any] = {"sysctl": values, "begins_at_rest": scenario.measure.warmup_ns == 0}
    told["skb_defer_max"] = nearest(release).defer_max if sysctl.skb_defer_max is None else sysctl.skb_defer_max
    simple = not (scenario.traffic or scenario.loopback.rps_flow_cnt or scenario.machine.isolated_cpus)
    if simple and not sysctl.rps_sock_flow_entries:
        told["lo_rps_cpus"] = list(scenario.loopback.rps_cpus)
    return told


def run_scenario(
    arm: GuestArm,
    scenario: Scenario,
    *,
    options: GuestOptions,
    say: Callable[[str], None],
    clock: str = "counter",
    stretch: int = 1,
    traced: bool = True,
) -> LabResult:
    """Run a scenario on an arm, ``stretch`` times slower. Raises ``LabError`` for what a guest cannot give.

    Without ``traced`` there are no events and no counts of them, and nothing that tracing costs.
    """
    from softnet.lab.play import stretch as stretching
    from softnet.lab.play.measured import late_senders, summarise
    from softnet.lab.play.scenario import guest_plan, refuse_impossible
    from softnet.lab.tracing import probes
    from softnet.simulate.api import resolve

    scenario = stretching.stretched(resolve(scenario, settings=arm.settings), stretch)
    refuse_impossible(scenario)
    known = facts.gather(arm.image, say=say, accel=options.accel)
    guest = guest_plan(scenario, arm, known, clock=clock)
    if not traced:
        guest.plan["trace"] = probes.NO_TRACE
    machine = qemu.GuestMachine(cpus=guest.cpus, boot_args=guest.boot_args)
    say(f"{arm.label}: booting {arm.image.release}")
    about = {
        "scenario": scenario.name,
        "netdev_max_backlog": scenario.kernel.sysctl.netdev_max_backlog,
        **settings_told(scenario, arm.release),
    }
    result = execute(
        arm,
        guest.plan,
        known,
        machine,
        options=options,
        say=lambda text: say(f"{arm.label}: {text}"),
        about=about,
    )
    result.work = summarise(result.work, result.blobs)
    said = [stretching.sentence(stretch)] if stretch != 1 else []
    result.deviations = [*said, *guest.deviations, *late_senders(result.work)]
    say(f"{arm.label}: {len(result.trace.records)} events in {result.seconds:.1f} s")
    return result


def write_out(result: LabResult, folder: Path) -> None:
    """``ARM.json``, ``ARM.trace.gz`` (softnet's one format) and ``ARM.lab.jsonl.gz`` in ``folder``."""
    from softnet.lab.tracing import export

    folder.mkdir(parents=True, exist_ok=True)
    told, trace, events = (folder / name for name in out_names(result.arm))
    records.write(result.trace, events)
    export.write(result.trace, trace)
    files.write_whole(told, (json.dumps(result.as_json(), indent=1) + "\n").encode())


def out_names(arm: str) -> tuple[str, str, str]:
    """The names of what ``write_out`` writes of an arm."""
    stem = arm.replace("/", "_")
    return f"{stem}.json", f"{stem}.trace.gz", f"{stem}.lab.jsonl.gz"
