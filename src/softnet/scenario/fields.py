# SPDX-License-Identifier: GPL-2.0-or-later
"""How a key of a scenario is declared: its type, its unit, its default, and where that default comes from.

The declaration is the only place that knows a key. The JSON schema, the reference in docs/scenario.md and the
"expected" line of an error message are all made from it.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from softnet.errors import printable
from softnet.release import releases

#: Releases that softnet models. ``softnet.linux.releases`` holds their stack of patches.
SOCKETS_MAX: Final = 1 << 17
"""That the image holds from boot on: a TCP flow has one, and takes four kilobytes and a twenty-thousandth of a second."""
RELEASES: Final = tuple(releases())

CPUS_MAX: Final = 256
NS_MAX: Final = 10**15

#: ``other`` with an optional nice value, or a real-time policy with its priority.
SCHED_PATTERN: Final = r"^(other(:(-(20|1[0-9]|[1-9])|1?[0-9]))?|(fifo|rr):[1-9][0-9]?)$"
SCHED_ALLOWED: Final = '"other", "other:NICE" (-20 to 19), "fifo:PRIO" or "rr:PRIO" (1 to 99)'

#: Names end up in labels, file names and ``nic.NAME.KEY`` overrides.
NAME_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_-]{0,31}$"
NAME_ALLOWED: Final = "a letter or _, then up to 31 letters, digits, _ or -"


class Settings(BaseModel):
    """The base of everything in a scenario: strict types, no unknown keys, nothing changed afterwards.

    A table's validator is built when it is first used: as a part of Scenario's it is not built on its own.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


def setting(default: Any, doc: str, *, unit: str = "", source: str = "softnet", **limits: Any) -> Any:
    """A key with a default. ``source`` says whose default it is: a kernel file, a driver, or softnet."""
    allowed = limits.pop("allowed", "")
    return Field(default, description=doc, json_schema_extra=_notes(unit, source, allowed), **limits)


def required(doc: str, *, unit: str = "", **limits: Any) -> Any:
    """A key that must be given, for use inside ``Annotated``."""
    allowed = limits.pop("allowed", "")
    return Field(description=doc, json_schema_extra=_notes(unit, "", allowed), **limits)


def _notes(unit: str, source: str, allowed: str) -> dict[str, Any]:
    notes = {"x-unit": unit, "x-source": source, "x-allowed": allowed}
    return {key: text for key, text in notes.items() if text}


def list_to_tuple(value: Any) -> Any:
    """TOML and JSON have lists where a frozen scenario has tuples; nothing else is converted."""
    return tuple(value) if isinstance(value, list) else value


Cpu = Annotated[int, Field(ge=0, lt=CPUS_MAX)]
Port = Annotated[int, Field(ge=1, le=65535)]
CpuList = Annotated[tuple[Cpu, ...], BeforeValidator(list_to_tuple)]
PortList = Annotated[tuple[Port, ...], BeforeValidator(list_to_tuple)]
TextList = Annotated[tuple[str, ...], BeforeValidator(list_to_tuple)]
SizeWeight = Annotated[
    tuple[Annotated[int, Field(ge=60, le=65535)], Annotated[float, Field(gt=0, le=1e9)]],
    BeforeValidator(list_to_tuple),
]
SizeMix = Annotated[tuple[SizeWeight, ...], BeforeValidator(list_to_tuple), Field(min_length=1, max_length=64)]
SchedText = Annotated[str, StringConstraints(pattern=SCHED_PATTERN), Field(json_schema_extra={"x-allowed": SCHED_ALLOWED})]
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


def shown_name(text: str) -> str:
    """A name for reports: on a line, and harmless to a terminal, whoever wrote the file."""
    return printable(text)[:80]


def shown_text(text: str) -> str:
    """A text for reports, of one line or more."""
    return printable(text, keep="\n\t")


class Sched(NamedTuple):
    """A scheduling policy taken apart: what ``"fifo:50"`` means."""

    policy: str
    rt_priority: int = 0
    nice: int = 0


def parse_sched(text: str, nice: int = 0) -> Sched:
    """``"other"``, ``"other:5"``, ``"fifo:50"`` or ``"rr:10"`` as policy, rt_priority (1–99) and nice.

    ``text`` has already been checked by the model that holds it. ``nice`` is used where the text names none.
    """
    policy, _, number = text.partition(":")
    if policy == "other":
        return Sched(policy="other", nice=int(number) if number else nice)
    return Sched(policy=policy, rt_priority=int(number))


def ms_to_ns(value_ms: float) -> int:
    """Milliseconds as a user writes them, to the nearest nanosecond."""
    return round(value_ms * 1_000_000)


def us_to_ns(value_us: float) -> int:
    """Microseconds as a user writes them, to the nearest nanosecond."""
    return round(value_us * 1_000)
