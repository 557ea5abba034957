# SPDX-License-Identifier: GPL-2.0-or-later
"""One self-contained page: it opens offline, asks for nothing, and without scripts still shows all but the timeline.

Tables and charts are written here, as HTML and SVG; the only script draws the timeline on a canvas. The figures of the
tables stand in the page once more as JSON, in the element ``softnet-figures``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from pathlib import Path

from softnet import __version__
from softnet.files import atomic
from softnet.report import charts, window
from softnet.report.effects import effects_chart
from softnet.report.figures import groups, latencies
from softnet.report.names import COUNTER, clock_of, duration, number, percent, quantity, signed, stretch
from softnet.report.page import asset, document
from softnet.report.ranking import MARK, caption, ranking
from softnet.report.story import Sentence, comparison_story, kernel_changes, result_story, verdict_text
from softnet.report.table import glue_units
from softnet.report.terminal import assumed_rows, conservation_rows, spread_text
from softnet.report.terminal import title as page_title
from softnet.simulate.comparison import Comparison, Metric
from softnet.simulate.result import TIME_CLASS_NAMES, Histogram, Result, Trace

FEW_ARMS = 4
"""From so many arms on, the table of figures keeps to means and verdicts: more columns lie off the page."""
SERIES = (
    ("defer_count", "defer list", "skbs"),
    ("defer_bytes", "defer list", "bytes held"),
    ("backlog", "backlog", "skbs"),
)


def write_html(
    path: str | Path,
    outcome: Comparison | Result,
    traces: Mapping[str, Trace] | None = None,
    *,
    command: str = "",
    records_max: int = window.RECORDS_MAX,
) -> None:
    """Write the page of a comparison or of one run: whole, or not at all. Raises SoftnetError when it cannot be written.

    ``traces`` holds, by arm, the trace of its first seed, for the timeline; a run's arm is its kernel's label. At most
    ``records_max`` events of all together are shown: the stretch around the first event of interest. ``command`` is shown as the
    way to have it all again.
    """
    text = page(outcome, traces, command=command, records_max=records_max)
    with atomic(path) as out:
        out.write(text.encode())


def page(
    outcome: Comparison | Result,
    traces: Mapping[str, Trace] | None = None,
    *,
    command: str = "",
    records_max: int = window.RECORDS_MAX,
) -> str:
    """The page's text; the same for the same arguments."""
    comparison = outcome if isinstance(outcome, Comparison) else as_comparison(outcome)
    shown = {arm: traces[arm] for arm in comparison.arms if arm in traces} if traces else {}
    shown = {arm: trace for arm, trace in shown.items() if trace.records}
    title = page_title(comparison)
    parts = [
        *_header(comparison, title, bool(shown)), *_story(comparison), *_effects(comparison), *_latency(comparison),
        *_timeline(comparison, shown, records_max), *_figures(comparison), *_queues(comparison), *_cpu_time(comparison),
        *_packets(comparison), *_provenance(comparison, command),
    ]  # fmt: skip
    return _document(title, "\n".join(parts), comparison, bool(shown))


def as_comparison(result: Result) -> Comparison:
    """One run as a comparison of one arm with one seed."""
    label = str(result.kernel["label"])
    return Comparison(result.scenario, result.description, (label,), (result.seed,), {label: (result,)})


def _document(title: str, body: str, comparison: Comparison, script: bool) -> str:
    figures = {key: value for key, value in comparison.to_dict().items() if key != "results"}
    embedded = json.dumps(figures, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    behind = f'<script type="application/json" id="softnet-figures">{embedded}</script>\n'
    behind += f"<script>\n{asset('timeline.js')}</script>\n" if script else "\n"
    return document(title, body, behind=behind)


def _header(comparison: Comparison, title: str, timeline: bool) -> Iterator[str]:
    first = comparison.results[comparison.arms[0]][0]
    seeds = f"{len(comparison.seeds)} seeds" if len(comparison.seeds) > 1 else f"one seed ({comparison.seeds[0]})"
    yield f"<header><h1>{escape(title)}</h1>"
    if comparison.description:
        yield f"<p>{escape(comparison.description)}</p>"
    several = len(comparison.arms) > 1 and comparison.same_arrivals
    same = " The arrivals of a seed are the same in every arm." if several else ""
    yield (
        f'<p class="soft">{first.cpus} CPUs, {duration(first.duration_ns)} of virtual time of which'
        f" {duration(first.warmup_ns)} warm-up, {seeds}.{same} A simulation with softnet’s model of the kernel; its costs"
        f" come from the table “{escape(first.costs)}”{assumed_rows(first)}.</p>"
    )
    links = [("latency", "Latency"), ("figures", "Figures"), ("queues", "Queues"), ("cpu", "CPU time"), ("packets", "Packets"),
             ("provenance", "Where this comes from")]  # fmt: skip
    if timeline:
        links.insert(1, ("time", "Timeline"))
    yield f"<nav>{' '.join(f'<a href=#{anchor}>{name}</a>' for anchor, name in links)}</nav></header>"


def _story(comparison: Comparison) -> Iterator[str]:
    base = comparison.arms[0]
    if len(comparison.arms) == 1:
        sentences = result_story(comparison.results[base][0])
        yield from _story_box("What this run shows", [s for s in sentences if s.kind == "found"])
        yield from _mind_box([s for s in sentences if s.kind != "found"])
        return
    yield from _ranking(comparison)
    story = comparison_story(comparison)
    for arm in comparison.arms[1:]:
        yield from _story_box(f"What {arm} changes against {base}", story[arm])
    yield from _mind_box(story[""])
    for arm in comparison.arms[1:]:
        heading, changes = kernel_changes(comparison, arm)
        if changes:
            yield from _story_box(heading.rstrip(":"), [Sentence("found", text) for text in changes])


def _effects(comparison: Comparison) -> Iterator[str]:
    picture = effects_chart(comparison)
    if picture:
        yield f'<h3>What differs, and how surely</h3><figure class="effects">{picture}</figure>'
        yield '<p class="note">Hollow: less than 1 %, or it may be chance. A triangle: beyond the scale.</p>'


def summary(comparison: Comparison) -> Iterator[str]:
    """What it says and the quantiles of its latencies: HTML without the page around it."""
    yield f"<h3>{escape(page_title(comparison))}</h3>"
    yield from _story(comparison)
    for name, arms in latencies(comparison).items():
        yield f"<p>{escape(name)}</p>{_quantile_table(arms)}"


def _ranking(comparison: Comparison) -> Iterator[str]:
    """All arms at once, a row for each, so that no number of them goes off the page."""
    found = ranking(comparison)
    if found is None:
        return
    head = "".join(f"<th>{escape(name)}</th>" for name in found.columns)
    rows = ""
    for arm, cells in found.cells.items():
        marked = "".join(f'<td class="better">{text} {MARK}</td>' if best else f"<td>{text}</td>" for text, best in cells)
        rows += f"<tr><th>{escape(arm)}</th>{marked}</tr>"
    yield f'<section class="ranking"><h3>{escape(caption(comparison))}</h3><div class="scroll"><table class="figures">'
    yield f"<thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table></div></section>"


def _story_box(title: str, sentences: Iterable[Sentence]) -> Iterator[str]:
    items = "".join(f"<li>{escape(glue_units(s.text))}</li>" for s in sentences)
    yield f'<section class="story"><h3>{escape(title)}</h3><ul>{items}</ul></section>'


def _mind_box(sentences: list[Sentence]) -> Iterator[str]:
    if sentences:
        items = "".join(f'<li class="{s.kind}">{escape(glue_units(s.text))}</li>' for s in sentences)
        yield f'<section class="mind"><h3>To bear in mind</h3><ul>{items}</ul></section>'


def _key(comparison: Comparison) -> str:
    """Which line is which arm."""
    keys = [
        f'<span class="key"><svg viewBox="0 0 34 12" aria-hidden="true"><path class="curve a{i % 6}" d="M0 6H34"/></svg>'
        f"{escape(arm)}</span>"
        for i, arm in enumerate(comparison.arms)
    ]
    return f"<p>{''.join(keys)}</p>"


def _latency(comparison: Comparison) -> Iterator[str]:
    yield '<h2 id="latency">Latency</h2>'
    all_arms = latencies(comparison)
    filled = {name: arms for name, arms in all_arms.items() if any(h.count for _, h in arms)}
    yield _key(comparison)
    for name, arms in filled.items():
        what = _kind_text(arms[0][1])
        yield f"<h3>{escape(name)}: {what}</h3>"
        yield '<div class="charts">'
        yield f"<figure>{charts.percentiles(name, arms)}</figure><figure>{charts.histogram(name, arms)}</figure>"
        yield "</div>"
        yield _quantile_table(arms)
    empty = [name for name in all_arms if name not in filled]
    if empty:
        yield f'<p class="soft">No sample: {escape(", ".join(empty))}.</p>'
    if len(comparison.seeds) > 1:
        yield '<p class="note">Curves and this table: the samples of all seeds together. Verdicts: under Figures.</p>'


def _kind_text(h: Histogram) -> str:
    return "from the wire to the application" if h.kind == "packet" else "from the timer to the running task"


def _quantile_table(arms: list[tuple[str, Histogram]]) -> str:
    head = "".join(f"<th>{t}</th>" for t in ("samples", "min", "mean", "p50", "p90", "p99", "p99.9", "max"))
    rows = []
    for arm, h in arms:
        s = h.summary()
        cells = [number(s["count"])]
        cells += [
            duration(s[c]) if s["count"] else "–" for c in ("min_ns", "mean_ns", "p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns")
        ]
        rows.append(f"<tr><th>{escape(arm)}</th>{''.join(f'<td>{c}</td>' for c in cells)}</tr>")
    return f'<div class="scroll"><table><thead><tr><th></th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _timeline(comparison: Comparison, traces: Mapping[str, Trace], records_max: int) -> Iterator[str]:
    if not traces:
        return
    first = comparison.results[comparison.arms[0]][0]
    part = window.choose(list(traces.values()), first.warmup_ns, records_max)
    yield '<h2 id="time">Timeline</h2>'
    ordered = clock_of(traces.values()) == COUNTER
    shown = (
        f"{stretch(part.end_ns - part.start_ns, COUNTER)} from the {number(part.start_ns)}th on"
        if ordered
        else f"{duration(part.end_ns - part.start_ns)} from {duration(part.start_ns)} on, of {duration(first.duration_ns)}"
    )
    what = "all that was recorded" if part.whole else f"{shown}; the whole is in the Perfetto file"
    axis = "one axis, on which records have places and no times" if ordered else "one time axis"
    yield (
        f"<p>What every CPU did, all arms on {axis} (seed {comparison.seeds[0]}; {what}). It opens at the first"
        f" {escape(part.focus_event)}. Drag to pan; double-click to zoom in; the wheel zooms once the picture has the focus."
        " Keys: <kbd>←</kbd> <kbd>→</kbd> pan, <kbd>↑</kbd> <kbd>↓</kbd> zoom, <kbd>n</kbd> <kbd>p</kbd> next and previous"
        " event of the chosen kind, <kbd>a</kbd> all, <kbd>Home</kbd> back to the start.</p>"
    )
    lost = [f"{arm}: {number(t.dropped)} events" for arm, t in traces.items() if t.dropped]
    if lost:
        yield f'<p class="soft">Beyond the bound of what is shown here and in the Perfetto file: {escape("; ".join(lost))}.</p>'
    buttons = (("tl-left", "◀", "pan left"), ("tl-right", "▶", "pan right"), ("tl-in", "+", "zoom in"), ("tl-out", "−", "zoom out"),
               ("tl-home", "start", "back to the first event of interest"), ("tl-all", "all", "the whole window"))  # fmt: skip
    yield '<div class="tools">' + "".join(f'<button id="{i}" title="{t}" aria-label="{t}">{n}</button>' for i, n, t in buttons)
    yield (
        '<label>event <select id="event-kind"></select></label>'
        '<button id="tl-previous">previous</button><button id="tl-next">next</button></div>'
    )
    classes = (("hardirq", "c-hardirq"), ("softirq", "c-softirq"), ("ksoftirqd", "c-ksoftirqd"), ("backlog_napi", "c-backlog_napi"),
               ("irq thread", "c-irq_thread"), ("napi thread", "c-napi_thread"), ("other task", "tl-task"))  # fmt: skip
    swatches = "".join(f'<span class="key"><span class="swatch {c}"></span>{n}</span>' for n, c in classes)
    yield (
        f'<p class="note">{swatches}<span class="key"><span style="color:var(--ipi)">⟶</span> IPI</span><span class="key">'
        '<span style="color:var(--ipi)">⇢</span> function call without an IPI</span><span class="key">'
        '<span style="color:var(--wakeup)">⤏</span> wakeup</span> An empty task lane is an idle CPU.</p>'
    )
    yield (
        '<div id="timeline"><canvas id="timeline-canvas" tabindex="0" role="application"'
        ' aria-label="Timeline of every context on every CPU. Use n and p to step through events; each is read out below.">'
        '</canvas><div id="tip"></div></div><p id="said" class="soft" aria-live="polite">The timeline needs scripts.</p>'
    )
    yield f'<script type="text/plain" id="timeline-data">{window.packed(window.payload(traces, part))}</script>'


def _figures(comparison: Comparison) -> Iterator[str]:
    yield '<h2 id="figures">Figures</h2>'
    if len(comparison.arms) > 1 and len(comparison.seeds) > 1:
        yield (
            '<p class="soft">Mean per run, and least to greatest over the seeds. A verdict other than “noise” means: the 95 %'
            " interval of the paired difference to the first arm leaves out zero. Among forty such figures about two would do"
            " so by chance.</p>"
        )
    for title, metrics in groups(comparison):
        rows = [_figure_row(comparison, m) for m in metrics if any(any(v) for v in m.values.values())]
        if not rows:
            continue
        head = "<th></th>"
        few = len(comparison.arms) < FEW_ARMS
        for i, arm in enumerate(comparison.arms):
            head += f"<th>{escape(arm)}</th>"
            head += '<th class="word">spread</th>' if len(comparison.seeds) > 1 and few else ""
            head += f'{"<th>change</th>" if few else ""}<th class="word">verdict</th>' if i else ""
        yield f'<h3>{title}</h3><div class="scroll"><table class="figures"><thead><tr>{head}</tr></thead>'
        yield f"<tbody>{''.join(rows)}</tbody></table></div>"
        zero = [m.title for m in metrics if not any(any(v) for v in m.values.values())]
        if zero:
            yield f'<p class="note">Zero in every arm: {escape("; ".join(zero))}.</p>'


def _figure_row(comparison: Comparison, m: Metric) -> str:
    base = comparison.arms[0]
    few = len(comparison.arms) < FEW_ARMS
    cells = [f"<th>{escape(m.title)}</th>"]
    for i, arm in enumerate(comparison.arms):
        cells.append(f'<td data-metric="{escape(m.name)}" data-arm="{escape(arm)}">{quantity(m.mean(arm), m.unit)}</td>')
        if len(comparison.seeds) > 1 and few:
            cells.append(f'<td class="word spread">{spread_text(m.spread(arm), m.unit)}</td>')
        if i:
            d = m.difference(base, arm)
            change = "" if d.verdict in ("same", "no samples") else percent(d.ratio) or signed(d.mean, m.unit)
            mark = {"lower": "▼ ", "higher": "▲ "}.get(d.verdict, "")
            kind = d.judgement or ("calm" if d.verdict in ("same", "noise", "no samples") else "")
            cells.append(
                (f"<td>{change}</td>" if few else "")
                + f'<td class="word {kind}">{mark}{verdict_text(d, len(comparison.seeds))}</td>'
            )
    return f"<tr>{''.join(cells)}</tr>"


def _queues(comparison: Comparison) -> Iterator[str]:
    yield '<h2 id="queues">Queues over virtual time</h2>'
    first = {arm: comparison.results[arm][0] for arm in comparison.arms}
    drawn = []
    for key, what, unit in SERIES:
        for cpu in range(max(r.cpus for r in first.values())):
            arms = [(arm, r.series.get("time_ns", []), r.series.get(f"{key}/{cpu}", [])) for arm, r in first.items()]
            arms = [(arm, times, values) for arm, times, values in arms if len(times) == len(values)]
            chart = charts.series(f"CPU {cpu}, {what}", unit, arms)
            if chart:
                drawn.append(f"<figure><h3>CPU {cpu}: {what}, {unit}</h3>{chart}</figure>")
    if drawn:
        yield _key(comparison)
        yield f'<div class="charts">{"".join(drawn)}</div>'
        yield f'<p class="note">Seed {comparison.seeds[0]}. Sampled; what happens between two samples is in the timeline.</p>'
    else:
        yield '<p class="soft">No defer list and no backlog held anything at any sample.</p>'


def _cpu_time(comparison: Comparison) -> Iterator[str]:
    yield '<h2 id="cpu">CPU time</h2>'
    cpus = max(r.cpus for results in comparison.results.values() for r in results)
    classes = [c for c in TIME_CLASS_NAMES if c != "idle"]
    rows: list[tuple[str, dict[str, float]]] = []
    for cpu in range(cpus):
        for arm in comparison.arms:
            results = [r for r in comparison.results[arm] if cpu < len(r.cpu_time_ns)]
            if results:
                row = {c: sum(r.cpu_time_ns[cpu].get(c, 0) for r in results) / len(results) for c in TIME_CLASS_NAMES}
                rows.append((f"CPU {cpu}, {arm}" if len(comparison.arms) > 1 else f"CPU {cpu}", row))
    used = [c for c in classes if any(row[c] for _, row in rows)]
    yield ("<p>" + "".join(f'<span class="key"><span class="swatch c-{c}"></span>{c}</span>' for c in used) + "</p>")
    yield f"<figure>{charts.cpu_bars(rows, used)}</figure>"


def _packets(comparison: Comparison) -> Iterator[str]:
    yield '<h2 id="packets">Packets</h2>'
    by_arm = [(arm, comparison.results[arm]) for arm in comparison.arms]
    rows = "".join(
        f"<tr><th>{escape(name)}</th>{''.join(f'<td>{number(v)}</td>' for v in values)}</tr>"
        for name, values in conservation_rows(by_arm)
    )
    head = "".join(f"<th>{escape(arm)}</th>" for arm in comparison.arms)
    mean = ", mean per run" if len(comparison.seeds) > 1 else ""
    yield f"<h3>Where every packet went, warm-up included{mean}</h3>"
    yield f'<div class="scroll"><table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    for arm in comparison.arms:
        result = comparison.results[arm][0]
        yield f"<h3>/proc/net/softnet_stat of {escape(arm)}, seed {result.seed}, warm-up included</h3>"
        yield _stat_table(result)
        yield f"<details><summary>as the kernel prints it</summary><pre>{escape(chr(10).join(result.softnet_stat))}</pre></details>"


def _stat_table(result: Result) -> str:
    names = [name for name in (result.softnet_columns[0] if result.softnet_columns else {}) if name != "cpu"]
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    rows = "".join(
        f"<tr><th>CPU {row.get('cpu', '')}</th>{''.join(f'<td>{number(row[name])}</td>' for name in names)}</tr>"
        for row in result.softnet_columns
    )
    return f'<div class="scroll"><table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _provenance(comparison: Comparison, command: str) -> Iterator[str]:
    yield '<h2 id="provenance">Where this comes from</h2>'
    if command:
        yield f"<p>To have it again:</p><pre>{escape(command)}</pre>"
    rows = []
    for arm in comparison.arms:
        result = comparison.results[arm][0]
        kernel = result.kernel
        settings = ", ".join(f"{k}={v}" for k, v in kernel.get("sysctl", {}).items()) or "defaults"
        patches = ", ".join(str(p).rpartition(".")[2] for p in kernel.get("patches", [])) or "none"
        boot = " ".join(kernel.get("boot_args", [])) or "none"
        text = f"preempt={kernel.get('preempt')}, HZ={kernel.get('hz')}, boot arguments: {boot}"
        rows.append(
            f'<tr><th>{escape(arm)}</th><td class="word" style="white-space:normal">Linux {escape(str(kernel.get("release")))},'
            f" {escape(str(kernel.get('flavour')))}; {escape(text)}<br>changes on the base: {escape(patches)}"
            f"<details><summary>settings</summary>{escape(settings)}</details></td></tr>"
        )
    yield f'<div class="scroll"><table><tbody>{"".join(rows)}</tbody></table></div>'
    first = comparison.results[comparison.arms[0]][0]
    seeds = ", ".join(map(str, comparison.seeds))
    yield f"<p>Seeds {seeds}; {escape(first.engine)} engine; softnet {__version__}. {_costs_text(first)}</p>"


def _costs_text(result: Result) -> str:
    """The cost table and where its rows come from."""
    from softnet.machine.costtable import load_cost_table, shipped_tables

    name = result.costs
    table = load_cost_table(name) if name in shipped_tables() else None
    counts = result.cost_rows or (table.provenances() if table is not None else {})
    listed = f", {sum(counts.values())} rows: " + ", ".join(f"{n} {p}" for p, n in counts.items()) if counts else ""
    which = f"table “{escape(name)}”" if table is not None else f"the user’s table “{escape(name)}”"
    return f"Costs: {which}{listed}.{f' {escape(table.about)}' if table is not None else ''}"
