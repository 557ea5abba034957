# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel's functions take by themselves, from the function graph tracer's records of their exits.

An exit says which function, when it was called and when it returned (kernel/trace/trace_entries.h,
funcgraph_exit). A call's own time is that minus the calls of traced functions inside it, minus what tracing
costs: a part that lies inside a function's own interval, and a part that its caller pays for each call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from softnet.files import readable
from softnet.ftrace.ringbuffer import Format, events_of_pages, parse_format
from softnet.lab.errors import LabError
from softnet.lab.tracing.facts import symbols_of
from softnet.lab.tracing.records import cpu_of

_EXIT = "funcgraph_exit"
# With CONFIG_X86_KERNEL_IBT a function begins with an endbr64, and the tracer names the address after it.
_ENDBR_BYTES = 4


@dataclass(slots=True)
class Call:
    """One call of a traced function; times in ns of the guest's clock."""

    name: str
    cpu: int
    start_ns: int
    end_ns: int
    children: list[Call] = field(default_factory=list)

    @property
    def whole_ns(self) -> int:
        """From its call to its return, as recorded."""
        return self.end_ns - self.start_ns

    @property
    def own_ns(self) -> int:
        """Without the traced calls inside it; tracing itself still in it."""
        return self.whole_ns - sum(child.whole_ns for child in self.children)


def _names(text: str) -> dict[int, str]:
    """Address -> name, of /proc/kallsyms lines."""
    table: dict[int, str] = {}
    for address, name in symbols_of(text):
        table.setdefault(address, name)
    return table


def calls(blobs: Mapping[str, bytes], page_bytes: int) -> list[Call]:
    """Every recorded call with the traced calls directly inside it, in the order of their returns.

    ``blobs`` are those of a session: formats, pages per CPU, symbols.
    """
    formats: dict[int, Format] = {}
    for name, data in blobs.items():
        if name.startswith("format/ftrace/"):
            parsed = parse_format("ftrace", data.decode(errors="replace"))
            formats[parsed.number] = parsed
    if _EXIT not in {kind.name for kind in formats.values()}:
        raise LabError("the guest's kernel has no function graph tracer", hint="CONFIG_FUNCTION_GRAPH_TRACER")
    names = _names(blobs.get("symbols", b"").decode(errors="replace"))
    out: list[Call] = []
    for blob, data in sorted(blobs.items()):
        if blob.startswith("pages/"):
            out += _of_cpu(cpu_of(blob), data, page_bytes, formats, names)
    return out


def _of_cpu(cpu: int, data: bytes, page_bytes: int, formats: Mapping[int, Format], names: Mapping[int, str]) -> list[Call]:
    done: list[Call] = []
    # Calls that have returned and whose caller has not yet, by the task that they ran in.
    waiting: dict[int, list[Call]] = {}
    for _, payload in events_of_pages(data, page_bytes):
        kind = formats.get(int.from_bytes(payload[:2], "little"))
        if kind is None or kind.name != _EXIT:
            continue
        values = kind.decode(payload)
        with readable(LabError, "an event without what it should have", where=f"pages/{cpu}: {_EXIT}",
                      expected="calltime, rettime, func, common_pid"):  # fmt: skip
            start, end, pid = int(values["calltime"]), int(values["rettime"]), int(values["common_pid"])
            at = int(values["func"]) & 0xFFFF_FFFF_FFFF_FFFF
        name = names.get(at) or names.get(at - _ENDBR_BYTES)
        if name is None:
            raise LabError("the guest traced a function that it was not asked to", found=f"{at:#x}")
        call = Call(name, cpu, start, end)
        mine = waiting.setdefault(pid, [])
        while mine and mine[-1].start_ns >= start:
            call.children.append(mine.pop())
        mine.append(call)
        done.append(call)
    return done
