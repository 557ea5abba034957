# SPDX-License-Identifier: GPL-2.0-or-later
"""Hold a recorded trace against the model: accepted, or the first event that the model cannot explain.

``softnet.lab.validate.checker`` says which events are followed, which give context, and why the others are neither.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from softnet.lab.errors import LabError
from softnet.lab.tracing.records import Trace
from softnet.lab.validate.driver import Driver
from softnet.lab.validate.settings import SYSCTLS


@dataclass(slots=True)
class Verdict:
    """What came of following one trace.

    ``line`` is the line of the first event that the model cannot explain in the trace's file (2 is the first
    record), with ``reasons`` why no state of the model allows it; 0 and none for an accepted trace. ``bounded`` says
    that more orders of overlapping functions were possible than were tried: neither a refusal nor ``squeezes`` is a proof then, and
    ``bounds`` says where. ``states`` is how many were tried.

    Every event is counted once: ``events_checked`` had to be what the model does; ``context`` told what the model
    cannot know (by event); ``not_checked`` were neither (by event, with the reason in ``why_not``). ``covered`` counts
    the kernel's decisions, ``branches`` the ways that the model's own functions went to explain them. ``missed`` are
    events that the tracer must have missed (a kprobe within a kprobe). ``squeezes`` are the ends of net_rx_action()
    that the model squeezes whatever the time is: no more than the kernel's own time_squeeze may count.
    """

    accepted: bool
    kernel: str
    model: str
    events_checked: int
    events: int
    covered: dict[str, int]
    context: dict[str, int]
    not_checked: dict[str, int]
    why_not: dict[str, str] = field(default_factory=dict)
    branches: list[dict[str, Any]] = field(default_factory=list)
    missed: dict[str, int] = field(default_factory=dict)
    squeezes: int = 0
    line: int = 0
    record: list[Any] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    model_state: list[str] = field(default_factory=list)
    source: str = ""
    bounded: bool = False
    bounds: list[str] = field(default_factory=list)
    states: int = 0

    def as_json(self) -> dict[str, Any]:
        """All of it as a dictionary."""
        return {name: getattr(self, name) for name in self.__slots__}


def release_of(header: dict[str, Any]) -> tuple[int, int]:
    """The kernel's series. Raises ``LabError`` when the header has none."""
    match = re.match(r"(\d+)\.(\d+)", str(header.get("release", "")))
    if match is None:
        raise LabError("the trace does not say which kernel it is of", found=str(header.get("release")))
    return int(match.group(1)), int(match.group(2))


def _driver(trace: Trace, patches: Sequence[str]) -> tuple[Driver, str]:
    from softnet.scenario import RELEASES

    header = trace.header
    release = ".".join(map(str, release_of(header)))
    if release not in RELEASES:
        raise LabError(f"there is no model of Linux {release}", expected="one of " + ", ".join(RELEASES))
    flavour = "rt" if "-rt" in str(header["release"]) else "plain"
    threads = bool(header.get("threads_backlog"))
    given = {"netdev_max_backlog": header.get("netdev_max_backlog", 1000), **header.get("sysctl", {})}
    settings = {
        name: int(value)
        for name, value in given.items()
        if name in SYSCTLS | {"flow_limit_table_len"} and name != "skb_defer_max" and value is not None
    }
    driver = Driver(
        release,
        flavour,
        threads=threads,
        cpus=int(header["cpus"]),
        skb_defer_max=int(header.get("skb_defer_max", 64)),
        settings=settings,
        rps_cpus=header.get("lo_rps_cpus") or (),
        flow_limit_cpus=_flow_limit_cpus(header) if rests(header) else (),
        patches=patches,
    )
    name = f"{release}{'-rt' if flavour == 'rt' else ''}{' with backlog threads' if threads else ''}"
    return driver, name


def _flow_limit_cpus(header: dict[str, Any]) -> list[int]:
    return [int(cpu) for cpu in header.get("sysctl", {}).get("flow_limit_cpu_bitmap") or ()]


def rests(header: dict[str, Any]) -> bool:
    """Whether nothing is under way when the trace begins: experiments of our own let the machine come to rest.

    So do scenarios without a warm-up.
    """
    return ("experiment" in header or bool(header.get("begins_at_rest"))) and not header.get("cut")


def flow_limit_unknown(header: dict[str, Any]) -> bool:
    """Whether packets were counted for the flow limit before the trace began."""
    return bool(_flow_limit_cpus(header)) and not rests(header)


def check(trace: Trace, *, patches: Sequence[str] = ()) -> Verdict:
    """Follow ``trace`` with the model of its kernel, with the user's patch files on top.

    Raises ``LabError`` when there is no such model, or no total order in the trace.
    """
    from softnet.lab.validate.checker import Checker

    if trace.clock != "counter":
        raise LabError(
            "this trace has times and no total order",
            found=f"clock {trace.clock}",
            expected="clock counter",
            hint="record it with --clock counter",
        )
    if trace.header.get("pauses"):
        raise LabError(
            "this trace was recorded in pieces, and what happened in between is not in it",
            found=f"experiment {trace.header.get('experiment')}",
            expected="a trace without pauses: of softnet lab run, experiment or conform, or reproduce C1",
        )
    driver, model = _driver(trace, patches)
    kernel = f"{trace.header['release']}" + (" (backlog threads)" if trace.header.get("threads_backlog") else "")
    return Checker(trace, driver).run(kernel, model)
