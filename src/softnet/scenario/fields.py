# SPDX-License-Identifier: GPL-2.0-or-later
"""How a key of a scenario is declared: its type, its unit, its default, and where that default comes from.

The declaration is the only place that knows a key. The JSON schema, the reference in docs/scenario.md and the
"expected" line of an error message are all made from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Annotated, Any, Final, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

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


#: A figure with its unit, or in thousands.
FIGURE: Final = re.compile(r"(\d{1,15}(?:\.\d{1,9})?) ?(ns|us|µs|ms|s|k|K|M|G)")
_TIMES: Final = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_THOUSANDS: Final = {"k": 1, "K": 1, "M": 2, "G": 3}
_THOUSAND: Final = {"bytes": 1024, "packets/s": 1000}
"""What k is: of bytes as the kernel's memparse() has it."""
UNITS_WRITTEN: Final = frozenset((*_TIMES, *_THOUSAND))
"""Of keys that may be given as a text: "5ms", "64K", "1.5M"."""


def parse_figure(text: str, unit: str) -> int | float | None:
    """``"5ms"``, ``"64K"`` as a number of that unit; None for what is no such figure."""
    found = FIGURE.fullmatch(text.strip())
    if found is None:
        return None
    if found[2] in _TIMES and unit in _TIMES:
        value = Fraction(found[1]) * _TIMES[found[2]] / _TIMES[unit]
    elif found[2] in _THOUSANDS and unit in _THOUSAND:
        value = Fraction(found[1]) * _THOUSAND[unit] ** _THOUSANDS[found[2]]
    else:
        return None
    return int(value) if value.denominator == 1 else float(value)


class Settings(BaseModel):
    """The base of everything in a scenario: strict types, no unknown keys, nothing changed afterwards.

    A table's validator is built when it is first used: as a part of Scenario's it is not built on its own.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _figures(cls, given: Any) -> Any:
        """Figures that are written with their units."""
        if not isinstance(given, dict):
            return given
        read: dict[str, int | float] = {}
        for name, value in given.items():
            field = cls.model_fields.get(name) if isinstance(value, str) else None
            notes = field.json_schema_extra if field is not None else None
            if isinstance(notes, dict) and (number := parse_figure(value, str(notes.get("x-unit", "")))) is not None:
                read[name] = number
        return {**given, **read} if read else given


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


CPU_LIST_ALLOWED: Final = 'a list of integers from 0 to 255, or a text such as "0-3,8", as taskset -c takes it'
CPU_MASK_ALLOWED: Final = (
    'a list of integers from 0 to 255, or a text: a mask such as "fe", as the kernel\'s file takes it, or with a range "0-7,16"'
)
_LISTED_MAX: Final = 4096
_RANGE: Final = re.compile(r"(\d{1,4})(?:-(\d{1,4})(?::(\d{1,4})/(\d{1,4}))?)?")
_MASK: Final = re.compile(r"(?:0x)?[0-9a-f]{1,8}(,[0-9a-f]{8})*")


def parse_cpu_list(text: str) -> tuple[int, ...] | None:
    """CPUs as cpulist_parse() reads them: ``"0-3,8"``, ``"0-31:2/8"``, nothing for none. None for what is no such list."""
    cpus: list[int] = []
    for part in text.strip().split(",") if text.strip() else ():
        found = _RANGE.fullmatch(part.strip())
        if found is None:
            return None
        first, last = int(found[1]), int(found[2] or found[1])
        used, group = (int(found[3]), int(found[4])) if found[3] else (1, 1)
        if last < first or not 0 < used <= group or len(cpus) > _LISTED_MAX:
            return None
        cpus += [cpu for cpu in range(first, last + 1) if (cpu - first) % group < used]
    return tuple(cpus)


def parse_cpu_mask(text: str) -> tuple[int, ...] | None:
    """CPUs as cpumask_parse() reads a mask, ``"fe"`` or ``"1,00000000"``, 32 bits between commas; with a range, as a list.

    A mask whose later groups are not of eight digits, which the kernel never writes, could be meant as a list: None.
    """
    lower = text.strip().lower()
    if "-" in lower:
        return parse_cpu_list(lower)
    if not lower:
        return ()
    if _MASK.fullmatch(lower) is None:
        return None
    bits = int(lower.replace(",", ""), 16)
    return tuple(cpu for cpu in range(bits.bit_length()) if bits >> cpu & 1)


def _cpus(parse: Callable[[str], tuple[int, ...] | None]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if not isinstance(value, str):
            return list_to_tuple(value)
        cpus = parse(value)
        if cpus is None:
            raise PydanticCustomError("string_pattern_mismatch", "not a set of CPUs")
        return cpus

    return read


Cpu = Annotated[int, Field(ge=0, lt=CPUS_MAX)]
Port = Annotated[int, Field(ge=1, le=65535)]
CpuList = Annotated[tuple[Cpu, ...], BeforeValidator(_cpus(parse_cpu_list), json_schema_input_type=tuple[Cpu, ...] | str)]
CpuLists = Annotated[tuple[CpuList, ...], BeforeValidator(list_to_tuple), Field(max_length=CPUS_MAX)]
CpuMask = Annotated[tuple[Cpu, ...], BeforeValidator(_cpus(parse_cpu_mask), json_schema_input_type=tuple[Cpu, ...] | str)]
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
