# SPDX-License-Identifier: GPL-2.0-or-later
"""A counterexample of the explorer as one self-contained page with a sequence diagram, and as a trace for Perfetto.

The diagram is SVG without scripts: a lifeline for each CPU, a box for each step that shows something, arrows for interrupts,
wakeups and for what one CPU writes and another one reads next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from softnet import __version__
from softnet.files import atomic
from softnet.report.columns import lines_of, relevant, wrap
from softnet.report.perfetto import Events, descriptor, flow, track_uuid, whole

if TYPE_CHECKING:
    from softnet.verify.replay.schedule import Schedule, Step

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
COLUMN: Final = 420
GUTTER: Final = 40
"""Pixels of a CPU's column and between two; ``CHARS`` monospaced characters of 12 px fit a box."""
CHARS: Final = 52
LINE: Final = 16
MARGIN: Final = 56
GAP: Final = 10
TOP: Final = 44

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #5b6470; --paper: #ffffff; --line: #c4cad2; --hardirq: #f7d5cf;
  --softirq: #fbe6bd; --task: #d3e6f8; --outside: #e4e6ea; --ipi: #b3261e; --wake: #1a6b3c; --data: #5a4fb0; --again: #8a6d00 }
@media (prefers-color-scheme: dark) { :root { --ink: #e7eaee; --dim: #a3abb6; --paper: #15181c; --line: #454c56;
  --hardirq: #5b2a25; --softirq: #54430f; --task: #1f3f5c; --outside: #30353c; --ipi: #ff8a80; --wake: #7fd6a2; --data: #b6adff;
  --again: #e8c34a } }
body { margin: 24px auto; padding: 0 16px; max-width: 1400px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 22px; margin: 0 0 4px } p { margin: 4px 0 } .dim { color: var(--dim) }
pre, code { font: 12px/1.4 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere }
.scroll { overflow-x: auto; margin: 16px 0 } svg { display: block; font: 12px ui-monospace, monospace }
svg text { fill: var(--ink) } svg .number, svg .where { fill: var(--dim) } svg .head { font-weight: 700 }
svg .life { stroke: var(--line); stroke-width: 2 } svg rect { stroke: var(--line) }
.hardirq { fill: var(--hardirq) } .softirq { fill: var(--softirq) } .task { fill: var(--task) } .outside { fill: var(--outside) }
svg .arrow { fill: none; stroke-width: 1.6 } svg .ipi { stroke: var(--ipi) } svg .wake { stroke: var(--wake) }
svg .data { stroke: var(--data); stroke-dasharray: 4 3 } svg .again { fill: none; stroke: var(--again); stroke-width: 3 }
svg text.again { fill: var(--again); stroke: none; font-weight: 700 }
marker.ipi path { fill: var(--ipi); stroke: none } marker.wake path { fill: var(--wake); stroke: none }
marker.data path { fill: var(--data); stroke: none }
.key span { display: inline-block; padding: 0 8px; margin-right: 6px; border: 1px solid var(--line) }
.key span.hardirq { background: var(--hardirq) } .key span.softirq { background: var(--softirq) }
.key span.task { background: var(--task) } .key .a-ipi { color: var(--ipi) } .key .a-wake { color: var(--wake) }
.key .a-data { color: var(--data) } .key b { white-space: nowrap }
"""


@dataclass
class Box:
    """A step of the diagram: where it stands and what it says."""

    step: Step
    cpu: int
    lines: list[str]
    y: int = 0
    height: int = 0
    kind: str = "task"


@dataclass
class Arrow:
    """From a box to a later one."""

    kind: str
    start: Box
    end: Box
    label: str = ""


@dataclass
class Diagram:
    """Boxes in their order, arrows, and where the steps begin that repeat for ever."""

    boxes: list[Box] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    height: int = TOP
    again_from: int = 0


def kind_of(step: Step) -> str:
    """The colour of a step: where it runs."""
    if step.cpu < 0:
        return "outside"
    if step.context == "hardirq":
        return "hardirq"
    return "softirq" if step.context.endswith("+softirq") else "task"


def diagram(schedule: Schedule, *, every: bool = False, repeats: int = 0) -> Diagram:
    """Lay the steps that show something out from top to bottom."""
    about = relevant(schedule)
    out = Diagram()
    first_again = len(schedule.steps) - repeats + 1 if repeats else 0
    for step in schedule.steps:
        lines = lines_of(step, about, every, schedule)
        if not lines and not (first_again and step.number >= first_again):
            continue
        if first_again and step.number >= first_again and not out.again_from:
            out.again_from = out.height
        text = [piece for line in [f"[{step.context}]", *lines] for piece in wrap(line, CHARS)] if step.cpu >= 0 else lines
        height = LINE * len(text) + 8
        out.boxes.append(Box(step, step.cpu, text, out.height, height, kind_of(step)))
        out.height += height + GAP
    out.arrows = [*_calls(out, schedule), *_data(out, about)]
    return out


def _calls(d: Diagram, schedule: Schedule) -> Iterator[Arrow]:
    """Interrupts sent and tasks woken on another CPU: to the first box there in which it arrives."""
    for at, box in enumerate(d.boxes):
        for access in box.step.accesses:
            if access.call in ("arch_send_call_function_single_ipi", "smp_send_reschedule"):
                target = _next(d, at, lambda b, cpu=access.address: b.cpu == cpu and b.kind == "hardirq")
                if target is not None and target.cpu != box.cpu:
                    yield Arrow("ipi", box, target, "IPI")
            elif access.call == "try_to_wake_up" and access.value:
                name = schedule.task_at(access.address)
                target = _next(d, at, lambda b, n=name: b.step.context.removesuffix("+softirq") == n)
                if target is not None and target.cpu != box.cpu:
                    yield Arrow("wake", box, target, f"wakes {name}")


def _data(d: Diagram, about: set[int]) -> Iterator[Arrow]:
    """What one CPU wrote and another one is the next to read or change."""
    wrote: dict[int, Box] = {}
    for box in d.boxes:
        seen: set[int] = set()
        for access in box.step.accesses:
            if access.address not in about or access.leaf is None:
                continue
            last = wrote.get(access.address)
            if last is not None and last.cpu != box.cpu and last.cpu not in seen:
                seen.add(last.cpu)
                yield Arrow("data", last, box, access.leaf.path)
            if access.what != "read" and not access.what.endswith("-old"):
                wrote[access.address] = box


def _next(d: Diagram, at: int, wanted: object) -> Box | None:
    assert callable(wanted)
    return next((b for b in d.boxes[at + 1 :] if wanted(b)), None)


def page(schedule: Schedule, title: str, text: str, command: str, *, every: bool = False, repeats: int = 0) -> str:
    """The page: what is violated, the diagram, the last state, how to have it again."""
    d = diagram(schedule, every=every, repeats=repeats)
    again = f", of which the last {repeats} repeat for ever" if repeats else ""
    shown = "all are shown" if every else "those that touch what CPUs share are shown"
    ends = "\n".join(schedule.ends)
    stopped = ""
    if schedule.failure is not None:
        stopped = f"<p>It stops there: {escape(schedule.failure.text)} <span class=dim>{escape(schedule.failure.where)}</span></p>"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width"><title>{escape(title)}</title><style>{STYLE}</style></head><body>
<h1>{escape(title)}</h1>
<p>{escape(text)}</p>
<p class=dim>The shortest schedule, {len(schedule.steps)} steps{again}; {shown}.</p>
<p class=key><span class=hardirq>hard interrupt</span><span class=softirq>softirq</span><span class=task>task</span>
<b class=a-ipi>&rarr; IPI</b> <b class=a-wake>&rarr; wakeup</b> <b class=a-data>&rarr; written there, read here</b></p>
<div class=scroll>{svg(schedule, d)}</div>
<h2>The last state</h2><pre>{escape(ends)}</pre>{stopped}
<h2>Again</h2><pre>{escape(command)}</pre>
<p class=dim>softnet {__version__}</p></body></html>
"""


def svg(schedule: Schedule, d: Diagram) -> str:
    """The diagram."""
    cpus = schedule.config.cpus
    width, height = MARGIN + COLUMN * cpus, d.height + 8
    out = [f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" aria-label="sequence diagram"><defs>']
    out += [
        f'<marker id="m-{kind}" class="{kind}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z"/></marker>'
        for kind in ("ipi", "wake", "data")
    ]
    out.append("</defs>")
    for cpu in range(cpus):
        x = MARGIN + COLUMN * cpu
        out.append(f'<text class="head" x="{x}" y="20">CPU {cpu}</text>')
        out.append(f'<line class="life" x1="{x + 12}" y1="28" x2="{x + 12}" y2="{d.height}"/>')
    if d.again_from:
        out.append(
            f'<path class="again" d="M{MARGIN - 46} {d.again_from - 4}V{d.height - 4}H{MARGIN - 38}M{MARGIN - 46} '
            f'{d.again_from - 4}H{MARGIN - 38}"/>'
        )
        out.append(f'<text class="again" x="{MARGIN - 52}" y="{d.again_from - 8}">from here on for ever</text>')
    for box in d.boxes:
        out += _box(box, width)
    out += [_arrow(arrow) for arrow in d.arrows]
    return "\n".join([*out, "</svg>"])


def _box(box: Box, width: int) -> list[str]:
    x = MARGIN + COLUMN * max(box.cpu, 0)
    w = COLUMN - GUTTER if box.cpu >= 0 else width - MARGIN - GUTTER
    out = [
        f'<text class="number" x="{MARGIN - 8}" y="{box.y + LINE}" text-anchor="end">{box.step.number}</text>',
        f'<rect class="{box.kind}" x="{x}" y="{box.y}" width="{w}" height="{box.height}" rx="3"/>',
    ]
    for n, line in enumerate(box.lines):
        indent = len(line) - len(line.lstrip())
        css = ' class="head"' if line.startswith("[") else ""
        out.append(f'<text{css} x="{x + 6 + 7.2 * indent:.0f}" y="{box.y + LINE * (n + 1)}">{escape(line.strip())}</text>')
    return out


def _arrow(arrow: Arrow) -> str:
    """From the side of the box that looks at the other CPU to the other's near side."""
    right = arrow.end.cpu > arrow.start.cpu
    x1 = MARGIN + COLUMN * arrow.start.cpu + (COLUMN - GUTTER if right else 0)
    x2 = MARGIN + COLUMN * arrow.end.cpu + (0 if right else COLUMN - GUTTER)
    y1, y2 = arrow.start.y + arrow.start.height / 2, arrow.end.y + min(LINE, arrow.end.height / 2)
    path = f"M{x1} {y1:.0f}C{(x1 + x2) / 2:.0f} {y1:.0f} {(x1 + x2) / 2:.0f} {y2:.0f} {x2} {y2:.0f}"
    return (
        f'<path class="arrow {arrow.kind}" d="{path}" marker-end="url(#m-{arrow.kind})"><title>{escape(arrow.label)}</title></path>'
    )


def write_page(path: str | Path, text: str) -> None:
    """Write the page whole, or not at all. Raises SoftnetError when it cannot be written."""
    with atomic(path) as out:
        out.write(text.encode())


STEP_NS: Final = 1000
"""A step of a schedule has no duration; in Perfetto each takes a microsecond, one after the other."""
_TRACKS: Final = ("hardirq", "softirq", "task")


def perfetto_packets(schedule: Schedule, *, repeats: int = 0) -> Iterator[bytes]:
    """The schedule as Perfetto's packets: a group for each CPU, a slice for each step, flows where the page has arrows."""
    outside = track_uuid(0, schedule.config.cpus, 0)
    yield descriptor(outside, "outside", rank=schedule.config.cpus)
    for cpu in range(schedule.config.cpus):
        group = track_uuid(0, cpu, len(_TRACKS))
        yield descriptor(group, f"CPU {cpu}", rank=cpu)
        for track, name in enumerate(_TRACKS):
            yield descriptor(track_uuid(0, cpu, track), name, rank=track, parent=group)
    flows: dict[int, bytes] = {}
    for number, arrow in enumerate(diagram(schedule).arrows, start=1):
        for box, ends in ((arrow.start, False), (arrow.end, True)):
            flows[box.step.number] = flows.get(box.step.number, b"") + flow(number, ends=ends)
    about = {access.address for step in schedule.steps for access in step.accesses}
    events = Events()
    for step in schedule.steps:
        at = STEP_NS * step.number
        name = step.title or next((a.function for a in reversed(step.accesses)), step.context)
        told: list[tuple[str, int | str]] = [("step", step.number), ("context", step.context)]
        told += [(f"{n:03d}", line) for n, line in enumerate(lines_of(step, about, True, schedule))]
        if repeats and step.number > len(schedule.steps) - repeats:
            told.append(("repeats", "for ever"))
        kind = kind_of(step)
        named = events.named(name, kind, told) + flows.get(step.number, b"")
        track = outside if step.cpu < 0 else track_uuid(0, step.cpu, _TRACKS.index(kind))
        yield from events.slice(at, at + STEP_NS, track, named)


def write_perfetto(path: str | Path, schedule: Schedule, *, repeats: int = 0) -> None:
    """Write the trace; the same schedule gives the same bytes. Raises SoftnetError when the file cannot be written."""
    with atomic(path) as out:
        for packet in perfetto_packets(schedule, repeats=repeats):
            out.write(whole(packet))
