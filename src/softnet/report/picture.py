# SPDX-License-Identifier: GPL-2.0-or-later
"""A still of the timeline: what each arm does around one event, as SVG that a README can show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

from softnet.report.names import TRACKS, clock_of, slice_name, stretch, task_class, task_names
from softnet.report.timeline import HARDIRQ, SOFTIRQ, TASK, Slice, Timeline, build
from softnet.simulate.result import Trace
from softnet.trace import EVENTS

WIDTH, LEFT, RIGHT = 960, 118, 16
LANE = {HARDIRQ: 16, SOFTIRQ: 16, TASK: 22}
EVENT_ROW, EVENT_ROWS, GAP, HEAD = 13, 3, 10, 40
CHAR = 6.2
COLOURS = {
    "hardirq": "#d55e00", "softirq": "#e69f00", "ksoftirqd": "#cc79a7", "backlog_napi": "#009e73", "irq_thread": "#b08968",
    "napi_thread": "#97b85a", "task": "#56b4e9",
}  # fmt: skip
LABELLED = frozenset({
    "kick_defer_list_purge", "kick_coalesced", "ipi_send_cpu", "trigger_rx_softirq", "wakeup_softirqd", "backlog_napi_wake",
    "skb_defer_free_flush", "net_rps_send_ipi", "rps_trigger_softirq", "cyclictest", "time_squeeze", "backlog_drop",
})  # fmt: skip
"""The decisions that are named; other events are left out."""


class Scene(NamedTuple):
    """One arm: a title, a subtitle, its trace, and the moment that is time 0 (of a trace without times, a record's place)."""

    title: str
    subtitle: str
    trace: Trace
    origin_ns: int


class _Place(NamedTuple):
    """From times and tracks to pixels."""

    origin_ns: int
    before_ns: int
    after_ns: int
    top: dict[int, int]
    """CPU -> the y of its first lane."""

    def x(self, time_ns: int) -> float:
        part = (time_ns - self.origin_ns + self.before_ns) / (self.before_ns + self.after_ns)
        return LEFT + min(max(part, 0), 1) * (WIDTH - LEFT - RIGHT)

    def y(self, cpu: int, track: int) -> int:
        return self.top[cpu] + sum(LANE[t] for t in (HARDIRQ, SOFTIRQ, TASK) if t > track)

    def inside(self, time_ns: int) -> bool:
        return self.origin_ns - self.before_ns <= time_ns <= self.origin_ns + self.after_ns


def draw(title: str, scenes: Sequence[Scene], before_ns: int, after_ns: int) -> str:
    """The picture: from ``before_ns`` before to ``after_ns`` after each scene's moment; CPUs that take no part are left out."""
    y = 34
    clock = clock_of(scene.trace for scene in scenes)
    body = [f'<text x="16" y="22" class="title">{escape(title)}</text>']
    for scene in scenes:
        timeline = build(scene.trace)
        cpus = _busy(timeline, scene, before_ns, after_ns)
        block = sum(LANE.values()) + EVENT_ROW * EVENT_ROWS + GAP
        place = _Place(scene.origin_ns, before_ns, after_ns, {cpu: y + HEAD + i * block for i, cpu in enumerate(cpus)})
        body += _head(scene, y)
        y += HEAD + len(cpus) * block
        body += _axis_lines(place, y)
        for cpu in cpus:
            body += _cpu(cpu, timeline, place, task_names(scene.trace), clock)
        body += _arrows(timeline, place)
        y += 6
    body += _axis(before_ns, after_ns, y, clock)
    height = y + 26
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img"'
        f' aria-label="{escape(title)}">\n<style>{_STYLE}</style>\n<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


_STYLE = (
    "text{font:12px 'DejaVu Sans',Verdana,sans-serif;fill:#1b1f24}.title{font-size:15px;font-weight:bold}.arm{font-size:14px;"
    "font-weight:bold}.soft{fill:#57606a}.small{font-size:10.5px}.line{stroke:#d5dae0;fill:none}.zero{stroke:#0072b2;"
    "stroke-dasharray:3 3;fill:none}.ipi{stroke:#c03000;fill:none;stroke-width:1.6}.call{stroke:#c03000;fill:none;"
    "stroke-width:1.6;stroke-dasharray:2 3}.wakeup{stroke:#3b4a5a;fill:none;stroke-width:1.6;stroke-dasharray:5 3}"
)


def _busy(timeline: Timeline, scene: Scene, before_ns: int, after_ns: int) -> list[int]:
    """The CPUs that take part: a named event or an end of an arrow between CPUs is on them."""
    start, end = scene.origin_ns - before_ns, scene.origin_ns + after_ns
    seen = [r.cpu for r, _ in timeline.records if start <= r.time_ns <= end and EVENTS[r.event].name in LABELLED]
    for a in timeline.arrows:
        if start <= a.from_ns and a.to_ns <= end and a.from_cpu != a.to_cpu:
            seen += [a.from_cpu, a.to_cpu]
    return sorted(dict.fromkeys(seen))


def _head(scene: Scene, y: int) -> list[str]:
    return [
        f'<rect x="0" y="{y}" width="{WIDTH}" height="{HEAD - 10}" fill="#f1f3f6"/>',
        f'<text x="16" y="{y + 20}" class="arm">{escape(scene.title)}</text>',
        f'<text x="{WIDTH - RIGHT}" y="{y + 20}" text-anchor="end" class="soft">{escape(scene.subtitle)}</text>',
    ]


def _axis_lines(place: _Place, bottom: int) -> list[str]:
    top = min(place.top.values(), default=bottom)
    out = [f'<path class="line" d="M{_f(place.x(place.origin_ns + t))} {top - 4}V{bottom - 6}"/>' for t in _ticks(place)]
    zero = _f(place.x(place.origin_ns))
    return [*out, f'<path class="zero" d="M{zero} {top - 4}V{bottom - 6}"/>']


def _ticks(place: _Place | tuple[int, int]) -> list[int]:
    before, after = (place.before_ns, place.after_ns) if isinstance(place, _Place) else place
    step = next(m * 10**d for d in range(12) for m in (1, 2, 5) if m * 10**d * 10 >= before + after)
    return list(range(-(before // step) * step, after + 1, step))


def _axis(before_ns: int, after_ns: int, y: int, clock: str) -> list[str]:
    place = _Place(0, before_ns, after_ns, {})
    return [
        f'<text x="{_f(place.x(t))}" y="{y + 10}" text-anchor="middle" class="small soft">'
        f"{'kick' if t == 0 else ('+' if t > 0 else '−') + stretch(abs(t), clock)}</text>"
        for t in _ticks((before_ns, after_ns))
    ]


def _cpu(cpu: int, timeline: Timeline, place: _Place, tasks: dict[int, str], clock: str) -> list[str]:
    out = [f'<text x="16" y="{place.y(cpu, TASK) + 5}">CPU {cpu}</text>']
    for track, height in LANE.items():
        y = place.y(cpu, track)
        out.append(f'<text x="{LEFT - 8}" y="{y + height - 5}" text-anchor="end" class="small soft">{TRACKS[track]}</text>')
        out.append(f'<path class="line" d="M{LEFT} {y + height}H{WIDTH - RIGHT}"/>')
        for s in timeline.track(cpu, track):
            if place.inside(s.start_ns) or place.inside(s.end_ns) or s.start_ns < place.origin_ns < s.end_ns:
                out += _slice(s, place, y, height, tasks, clock)
    return [*out, *_labels(cpu, timeline, place)]


def _slice(s: Slice, place: _Place, y: int, height: int, tasks: dict[int, str], clock: str) -> list[str]:
    name = slice_name(s.track, s.number, s.data, tasks)
    kind = task_class(name) if s.track == TASK else TRACKS[s.track]
    if kind == "idle":
        return []
    x0, x1 = place.x(s.start_ns), place.x(s.end_ns)
    out = [
        (
            f'<rect x="{_f(x0)}" y="{y + 1}" width="{_f(max(x1 - x0, 1))}" height="{height - 2}" fill="{COLOURS[kind]}">'
            f"<title>{escape(f'{name}, {stretch(s.end_ns - s.start_ns, clock)}')}</title></rect>"
        )
    ]
    room = int((x1 - x0 - 6) / CHAR)
    for text in (name, name.partition("/")[0]):
        if 3 <= len(text) <= room:
            return [*out, f'<text x="{_f(x0 + 4)}" y="{y + height - 6}" class="small">{escape(text)}</text>']
    return out


def _labels(cpu: int, timeline: Timeline, place: _Place) -> list[str]:
    """Named events under the lanes. Of those that stand close the first is lowest, so no stroke crosses a name."""
    named = [
        (place.x(r.time_ns), EVENTS[r.event].name)
        for r, _ in timeline.records
        if r.cpu == cpu and EVENTS[r.event].name in LABELLED and place.inside(r.time_ns)
    ]
    base = place.y(cpu, TASK) + LANE[TASK]
    out = []
    for cluster in _clusters(named):
        for row, (x, name) in zip(reversed(range(len(cluster))), cluster, strict=True):
            y = base + EVENT_ROW * (row + 1) - 2
            out.append(f'<path d="M{_f(x)} {base}V{y}" stroke="#1b1f24" fill="none"/>')
            at_edge = x + _wide(name) > WIDTH
            anchor = f'x="{_f(x - 3)}" text-anchor="end"' if at_edge else f'x="{_f(x + 3)}"'
            out.append(f'<text {anchor} y="{y}" class="small">{name}</text>')
    return out


def _wide(name: str) -> float:
    return len(name) * CHAR + 8


def _clusters(named: Iterable[tuple[float, str]]) -> list[list[tuple[float, str]]]:
    """Events whose names would touch, at most EVENT_ROWS together; a name for which no room is left is dropped."""
    out: list[list[tuple[float, str]]] = []
    end = -1.0
    for x, name in named:
        if out and x < end:
            if len(out[-1]) < EVENT_ROWS:
                out[-1].append((x, name))
                end = max(end, x + _wide(name))
        else:
            out.append([(x, name)])
            end = x + _wide(name)
    return out


def _arrows(timeline: Timeline, place: _Place) -> Iterable[str]:
    for a in timeline.arrows:
        known = a.from_cpu in place.top and a.to_cpu in place.top
        if not known or not (place.inside(a.from_ns) and place.inside(a.to_ns)) or a.from_cpu == a.to_cpu:
            continue
        down = place.top[a.to_cpu] > place.top[a.from_cpu]
        y0 = place.y(a.from_cpu, a.from_track) + (LANE[a.from_track] if down else 0)
        y1 = place.y(a.to_cpu, a.to_track) + (0 if down else LANE[a.to_track])
        x0, x1 = place.x(a.from_ns), place.x(a.to_ns)
        middle = (y0 + y1) / 2
        colour = "#3b4a5a" if a.kind == "wakeup" else "#c03000"
        head = -7 if down else 7
        yield (
            f'<path class="{a.kind}" d="M{_f(x0)} {y0}C{_f(x0)} {_f(middle)} {_f(x1)} {_f(middle)} {_f(x1)} {y1}"/>'
            f'<path d="M{_f(x1)} {y1}l-4 {head}h8z" fill="{colour}"/>'
        )


def _f(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
