# SPDX-License-Identifier: GPL-2.0-or-later
"""Results as text: what they say in plain words, then the tables. The same bytes for the same result, width and colour."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from softnet.report.figures import groups
from softnet.report.names import duration, number, percent, quantity, signed
from softnet.report.ranking import MARK, caption, ranking
from softnet.report.story import Sentence, comparison_story, kernel_changes, result_story, verdict_text
from softnet.report.table import BETTER, WIDTH_MIN, WORSE, Cell, table, wrap
from softnet.simulate.result import TIME_CLASS_NAMES, Result

if TYPE_CHECKING:
    from softnet.simulate.comparison import Comparison, Metric
    from softnet.simulate.stored import Difference

MARKS = {"found": "•", "caution": "!", "defect": "✗"}
LATENCY_COLUMNS = ("p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns")
LATENCY_TITLES = ("p50", "p90", "p99", "p99.9", "max")
UNACCOUNTED = "unaccounted for"


def render_result(result: Result, width: int = 100, color: bool = False) -> str:
    """One run, at most ``width`` columns wide (60 at the least); ``color`` writes terminal escapes."""
    width = max(width, WIDTH_MIN)
    lines = _heading(f"{result.scenario}: {result.kernel['label']}", result.description, width)
    lines += wrap(run_line(result), width)
    lines.append("")
    lines += _sentences(result_story(result), width)
    latency = [
        [name, number(h.count), *(duration(h.summary()[c]) if h.count else "–" for c in LATENCY_COLUMNS)]
        for name, h in result.latency.items()
    ]
    lines += table("Latency", ["", "samples", *LATENCY_TITLES], latency, width, color)
    for what, times, waits in (
        ("From being woken to running, by class", "wakeups", result.wakeup_latency),
        ("From giving way to running again, by class", "times", result.preempted_latency),
    ):
        rows = [[name, number(h.count), *(duration(h.summary()[c]) for c in LATENCY_COLUMNS)] for name, h in waits.items()]
        lines += table(what, ["", times, *LATENCY_TITLES], rows, width, color)
    figures = [[name, number(value)] for name, value in result.counters.items() if value]
    lines += table("Counters of the measured part", ["", ""], figures, width, color)
    lines += _cpu_time_by_cpu(result, width, color)
    lines += _idle_states(result, width, color)
    lines += _conservation_lines([("", (result,))], width, color)
    lines += _softnet_stat(result, width, color)
    return _text(lines)


def render_comparison(comparison: Comparison, width: int = 100, color: bool = False) -> str:
    """Every arm against the first, at most ``width`` columns wide (60 at the least)."""
    width = max(width, WIDTH_MIN)
    base = comparison.arms[0]
    lines = _heading(title(comparison), comparison.description, width)
    lines += wrap(comparison_line(comparison), width)
    lines += _ranking_table(comparison, width, color)
    story = comparison_story(comparison)
    for arm in comparison.arms[1:]:
        lines += ["", *wrap(f"What {arm} changes against {base}:", width)]
        lines += _sentences(story[arm], width)
    if story[""]:
        lines += ["", "To bear in mind:"]
        lines += _sentences(story[""], width)
    for arm in comparison.arms[1:]:
        heading, changes = kernel_changes(comparison, arm)
        if changes:
            lines += ["", *wrap(heading, width)]
            lines += _sentences([Sentence("found", text) for text in changes], width)
    for arm in comparison.arms[1:] or comparison.arms:
        lines += _difference_tables(comparison, arm, width, color)
    by_arm = [(arm, comparison.results[arm]) for arm in comparison.arms]
    lines += _conservation_lines(by_arm, width, color)
    for arm in comparison.arms:
        lines += _softnet_stat(comparison.results[arm][0], width, color, arm)
    return _text(lines)


def render_difference(found: Difference, width: int = 100, color: bool = False) -> str:
    """Two kept results: each arm of the new one against the same of the old one, and what only one of them has."""
    width = max(width, WIDTH_MIN)
    parts = [render_comparison(comparison, width, color) for comparison in found.comparisons]
    if found.left_out:
        parts.append(_text(_sentences([Sentence("caution", text) for text in found.left_out], width)))
    return "\n".join(parts)


def title(comparison: Comparison) -> str:
    """``seed: 6.10-rt against 6.9-rt``; several arms are listed before the base."""
    base, *others = comparison.arms
    return f"{comparison.scenario}: {', '.join(others)} against {base}" if others else f"{comparison.scenario}: {base}"


def _heading(title: str, description: str, width: int) -> list[str]:
    lines = wrap(title, width)
    lines.append("=" * max(len(line) for line in lines))
    return lines + (wrap(description, width) if description else [])


def run_line(result: Result) -> str:
    """What was run, in a line."""
    return (
        f"{result.cpus} CPUs, {duration(result.duration_ns)} of virtual time of which {duration(result.warmup_ns)} warm-up,"
        f" seed {result.seed}, costs “{result.costs}”{assumed_rows(result)}, {result.engine} engine."
    )


def assumed_rows(result: Result) -> str:
    """How much of the cost table nobody has measured."""
    rows = sum(result.cost_rows.values())
    return f" ({result.cost_rows.get('assumed', 0)} of {rows} rows assumed)" if rows else ""


def comparison_line(comparison: Comparison) -> str:
    """What was compared, in a line."""
    first = comparison.results[comparison.arms[0]][0]
    seeds = comparison.seeds
    listed = ", ".join(map(str, seeds)) if len(seeds) <= 8 else f"{seeds[0]}, {seeds[1]}, … {seeds[-1]}"
    same = "the arrivals of a seed are the same in every arm" if comparison.same_arrivals else "runs are paired by their seeds"
    return (
        f"{first.cpus} CPUs, {duration(first.duration_ns)} of virtual time of which {duration(first.warmup_ns)} warm-up, costs"
        f" “{first.costs}”{assumed_rows(first)}, {first.engine} engine."
        f" {len(seeds)} seed{'s' if len(seeds) > 1 else ''} ({listed}); {same}."
    )


def _sentences(sentences: Iterable[Sentence], width: int) -> Iterator[str]:
    for sentence in sentences:
        yield from wrap(sentence.text, width, f"{MARKS[sentence.kind]} ", "  ")


def _ranking_table(comparison: Comparison, width: int, color: bool) -> list[str]:
    """All arms at once, the best of each figure marked."""
    found = ranking(comparison)
    if found is None:
        return []
    rows: list[list[Cell]] = []
    for arm, cells in found.cells.items():
        rows.append([arm, *((f"{text} {MARK}" if best else f"{text}  ", BETTER if best else "") for text, best in cells)])
    return table(caption(comparison), ["", *found.columns], rows, width, color)


def _difference_tables(comparison: Comparison, arm: str, width: int, color: bool) -> list[str]:
    base = comparison.arms[0]
    lines: list[str] = []
    for title, metrics in groups(comparison):
        rows, zero = [], []
        for m in metrics:
            if any(m.values[base]) or any(m.values[arm]):
                rows.append(difference_row(comparison, m, arm, spread=_with_spread(comparison, width)))
            else:
                zero.append(m.title)
        head = ["", base, arm, "change", "verdict"]
        if _with_spread(comparison, width):
            head = ["", base, "spread", arm, "spread", "change", "verdict"]
        lines += table(f"{title}: {arm} against {base}", head, rows, width, color)
        if zero and rows:
            lines += wrap(f"Zero in both: {'; '.join(zero)}.", width)
    return lines


def _with_spread(comparison: Comparison, width: int) -> bool:
    """Whether there is a spread to show, and room for it."""
    return len(comparison.seeds) > 1 and width >= 100


def spread_text(spread: tuple[int, int] | None, unit: str) -> str:
    """Least to greatest, the unit once where it is the same; empty where they read the same, or where there is none."""
    if spread is None:
        return ""
    first, last = (quantity(value, unit) for value in spread)
    if first == last:
        return ""
    value, _, own_unit = first.rpartition(" ")
    return f"{value if value and last.endswith(f' {own_unit}') else first}–{last}"


def difference_row(comparison: Comparison, m: Metric, arm: str, *, spread: bool) -> list[Cell]:
    """A figure of an arm beside the first arm's, the change, and whether it is one."""
    base = comparison.arms[0]
    difference = m.difference(base, arm)
    style = {"better": BETTER, "worse": WORSE}.get(difference.judgement, "")
    told = difference.verdict not in ("same", "no samples")
    change = percent(difference.ratio) if told else ""
    row: list[Cell] = [m.title]
    for a in (base, arm):
        row.append(quantity(m.mean(a), m.unit))
        if spread:
            row.append(spread_text(m.spread(a), m.unit))
    row.append(change or (signed(difference.mean, m.unit) if told else ""))
    row.append((verdict_text(difference, len(comparison.seeds)), style))
    return row


def _cpu_time_by_cpu(result: Result, width: int, color: bool) -> list[str]:
    used = [name for name in TIME_CLASS_NAMES if any(row.get(name) for row in result.cpu_time_ns)]
    rows = []
    for cpu, row in enumerate(result.cpu_time_ns):
        total = sum(row.values())
        rows.append([f"CPU {cpu}", *(share(row.get(name, 0), total) for name in used)])
    return table("CPU time by class", ["", *used], rows, width, color)


def _idle_states(result: Result, width: int, color: bool) -> list[str]:
    """What the governor chose, of all CPUs together."""
    rows = []
    for name, counts in result.idle.items():
        entered = sum(counts["entered"])
        if entered:
            whole = sum(sum(row.values()) for row in result.cpu_time_ns)
            wrong = [share(sum(counts[kind]), entered) for kind in ("too_deep", "too_shallow")]
            rows.append([name, number(entered), share(sum(counts["time_ns"]), whole), *wrong])
    return table("Idle states", ["", "entered", "of the time", "too deep", "too shallow"], rows, width, color)


def share(part: int, whole: int) -> str:
    """A part of a whole in per cent, one decimal; an empty part is a dash."""
    if not part or not whole:
        return "–"
    return f"{100 * part / whole:.1f} %" if part * 2000 >= whole else "<0.1 %"


def conservation_rows(arms: Sequence[tuple[str, tuple[Result, ...]]]) -> list[tuple[str, list[float]]]:
    """(what became of packets, mean per run of each arm); without what is zero everywhere, but always the balance."""
    fates: dict[str, dict[str, float]] = {}
    for arm, results in arms:
        for r in results:
            c = r.conservation
            parts = {"arrived": c.arrived, "sent by the machine itself": c.sent, "delivered": c.delivered,
                     "pure TCP acknowledgements": c.acks, "for the kernel itself": c.kernel}  # fmt: skip
            parts.update({f"dropped: {reason}": n for reason, n in c.dropped.items()})
            parts.update({f"queued at the end: {place}": n for place, n in c.queued.items()})
            for name, value in parts.items():
                by_arm = fates.setdefault(name, {})
                by_arm[arm] = by_arm.get(arm, 0) + value / len(results)
    rows = [(name, [values.get(arm, 0) for arm, _ in arms]) for name, values in fates.items() if any(values.values())]
    # The balance of every run, not of their mean: two defects must not cancel.
    balance = [float(sum(abs(r.conservation.balance) for r in results)) for _, results in arms]
    return [*rows, (UNACCOUNTED, balance)]


def _conservation_lines(arms: list[tuple[str, tuple[Result, ...]]], width: int, color: bool) -> list[str]:
    rows: list[list[Cell]] = []
    for name, values in conservation_rows(arms):
        style = WORSE if name == UNACCOUNTED and any(values) else ""
        rows.append([name, *((number(value), style) for value in values)])
    mean = ", mean per run" if len(arms[0][1]) > 1 else ""
    return table(
        f"Where every packet went, warm-up included{mean}",
        ["", *(arm for arm, _ in arms)],
        rows,
        width,
        color,
    )


def _softnet_stat(result: Result, width: int, color: bool, arm: str = "") -> list[str]:
    columns = result.softnet_columns
    used = [name for name in (columns[0] if columns else {}) if name != "cpu" and any(row[name] for row in columns)]
    rows = [[f"CPU {row.get('cpu', i)}", *(number(row[name]) for name in used)] for i, row in enumerate(columns)]
    who = f" of {arm}, seed {result.seed}" if arm else ""
    return table(
        f"/proc/net/softnet_stat{who}, columns that are not all zero",
        ["", *used],
        rows if used else [],
        width,
        color,
    )


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"
