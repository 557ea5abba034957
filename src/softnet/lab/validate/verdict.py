# SPDX-License-Identifier: GPL-2.0-or-later
"""What comes of following a trace, and what a trace's header says of the kernel and of how it began."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from softnet.lab.errors import LabError


@dataclass(slots=True)
class TraceVerdict:
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
    match = re.match(r"(\d{1,4})\.(\d{1,4})(?!\d)", str(header.get("release", "")))
    if match is None:
        raise LabError("the trace does not say which kernel it is of", found=str(header.get("release")))
    return int(match.group(1)), int(match.group(2))


def flow_limit_cpus(header: dict[str, Any]) -> list[int]:
    """The CPUs that count packets for the flow limit."""
    return [int(cpu) for cpu in header.get("sysctl", {}).get("flow_limit_cpu_bitmap") or ()]


def rests(header: dict[str, Any]) -> bool:
    """Whether nothing is under way when the trace begins: experiments of our own let the machine come to rest.

    So do scenarios without a warm-up.
    """
    return ("experiment" in header or bool(header.get("begins_at_rest"))) and not header.get("cut")


def flow_limit_unknown(header: dict[str, Any]) -> bool:
    """Whether packets were counted for the flow limit before the trace began."""
    return bool(flow_limit_cpus(header)) and not rests(header)
