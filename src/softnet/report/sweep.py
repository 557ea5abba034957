# SPDX-License-Identifier: GPL-2.0-or-later
"""An experiment as text: what it recommends, the best arms, the effects, what failed. The same bytes for the same results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from softnet.errors import printable
from softnet.report.names import duration, percent
from softnet.report.sweep_story import change, figure, interval_text, recommendation, same_everywhere
from softnet.report.table import BETTER, WIDTH_MIN, WORSE, Cell, table, wrap
from softnet.sweep.analysis import LEAST

if TYPE_CHECKING:
    from softnet.sweep.analysis import Change, Effect, Findings
    from softnet.sweep.measures import Measure
    from softnet.sweep.statistics import Interval

ARMS_MAX = 10
"""Arms that the text lists; all of them are on the page and in the results."""
EFFECTS_MAX = 12
FAILURES_MAX = 10


def render_sweep(findings: Findings, width: int = 100, color: bool = False) -> str:
    """The whole report, at most ``width`` columns wide."""
    width = max(width, WIDTH_MIN)
    about = findings.about
    title = f"{about['scenario']}: {len(findings.arms)} combinations of {', '.join(f['key'] for f in findings.factors)}"
    lines = wrap(title, width)
    lines += ["=" * max(len(line) for line in lines), *wrap(run_line(findings), width), ""]
    for text in recommendation(findings):
        lines += wrap(text, width, "• ", "  ")
    for text in findings.warnings():
        lines += wrap(text, width, "! ", "  ")
    lines += _best_table(findings, width, color)
    for measure in findings.shown:
        lines += _effects_table(findings, measure, width, color)
    lines += _failures(findings, width)
    return printable("\n".join(lines) + "\n", keep="\n\x1b" if color else "\n")


def run_line(findings: Findings) -> str:
    """How much was run."""
    about, seeds = findings.about, findings.seeds
    listed = ", ".join(map(str, seeds)) if len(seeds) <= 8 else f"{seeds[0]}, {seeds[1]}, … {seeds[-1]}"
    count = sum(arm.dropped_after or len(seeds) for arm in findings.arms) - findings.missing
    return (
        f"{count:,} runs: {len(seeds)} seed{'s' if len(seeds) > 1 else ''} ({listed}), {duration(about['duration_ns'])} of virtual"
        f" time each, of which {duration(about['warmup_ns'])} warm-up; the arrivals of a seed are the same in every combination."
    )


def ranked(findings: Findings) -> list[int]:
    """The arms, the best in the first measure first; those that break a limit, then those without figures, last.

    Without a better direction, in their order.
    """
    first = findings.shown[0]
    sign = {"lower": 1, "higher": -1}.get(first.better, 0)
    means = {arm.number: findings.mean(first, arm.number) for arm in findings.arms}
    broken = {arm: bool(findings.broken(arm)) for arm in means}
    return sorted(
        means, key=lambda arm: (math.isnan(means[arm]), broken[arm], 0.0 if math.isnan(means[arm]) else sign * means[arm], arm)
    )


def judged(change_: Change | Effect, measure: Measure, base: float) -> str:
    """Whether it is "better", "worse", "sure" where neither direction is better, or "" for what may be chance or is below LEAST."""
    if not change_.sure or abs(change_.interval.mean) <= LEAST * abs(base):
        return ""
    if not measure.better:
        return "sure"
    return "better" if (change_.interval.mean < 0) == (measure.better == "lower") else "worse"


def change_text(found: Change, base: float, measure: Measure) -> str:
    """An arm's difference in short: relative where that says something."""
    i = found.interval
    if not i.values:
        return "–"
    if measure.unit != "%" and base and not math.isnan(base):
        return percent((base + i.mean) / base)
    return change(i.mean, measure)


STYLE = {"better": BETTER, "worse": WORSE}


def _best_table(findings: Findings, width: int, color: bool) -> list[str]:
    order = ranked(findings)
    listed = order[:ARMS_MAX] if 0 in order[:ARMS_MAX] else [*order[: ARMS_MAX - 1], 0]
    changes = {m.name: findings.changes(m) for m in findings.shown}
    rows: list[list[Cell]] = []
    for number in listed:
        arm = findings.arms[number]
        said = ["base"] * (number == 0) + findings.remarks(arm)
        row: list[Cell] = [arm.label + "".join(f" ({text})" for text in said)]
        for measure in findings.shown:
            row.append(figure(findings.mean(measure, number), measure))
            if same_everywhere(changes[measure.name]):
                continue
            if number == 0:
                row.append("")
                continue
            found = changes[measure.name][number]
            base = findings.mean(measure, 0)
            how = judged(found, measure, base)
            row.append((change_text(found, base, measure) + ("*" if found.sure else " "), STYLE.get(how, "")))
        rows.append(row)
    head = [", ".join(str(f["key"]) for f in findings.factors)]
    for measure in findings.shown:
        head += [measure.name] if same_everywhere(changes[measure.name]) else [measure.name, "change"]
    of = f"the best {len(listed)} of {len(order)}" if len(listed) < len(order) else "all"
    title = (
        f"Combinations by {findings.shown[0].name}, {of}: means over the seeds, and the change against the base;"
        " * stands after Holm's correction over all combinations"
    )
    return table(title, head, rows, width, color)


def _effects_table(findings: Findings, measure: Measure, width: int, color: bool) -> list[str]:
    effects, base = findings.effects(measure), findings.mean(measure, 0)
    rows: list[list[Cell]] = []
    if effects and all(e.interval.mean == 0 and e.interval.exact for e in effects):
        return ["", *wrap(f"No factor has any effect on {measure.name}, in any seed.", width)]
    for effect in effects[:EFFECTS_MAX]:
        how = judged(effect, measure, base)
        none = effect.interval.mean == 0 and effect.interval.exact
        p = "" if effect.interval.values < 2 else "< 0.001" if effect.p < 0.001 else f"{effect.p:.3f}"
        verdict = how or ("none" if none else "below 1 %" if effect.sure else "may be chance")
        size: Cell = (change(effect.interval.mean, measure), STYLE.get(how, ""))
        rows.append([f"{effect.factor}: {effect.step}", size, interval_text(effect.interval, measure), p, verdict])
    head = ["", "effect", "95 % interval", "p (Holm)", "verdict"]
    return table(f"Effects on {measure.name}, averaged over the other factors, the largest first", head, rows, width, color)


def _failures(findings: Findings, width: int) -> list[str]:
    if not findings.failures:
        return []
    lines = ["", f"Failed runs: {len(findings.failures):,}"]
    for _, _, why, command in findings.failures[:FAILURES_MAX]:
        lines += [*wrap(why, width, "✗ ", "  "), f"    {command}"]
    if len(findings.failures) > FAILURES_MAX:
        lines.append(
            f"  and {len(findings.failures) - FAILURES_MAX:,} more: softnet query DIR \"select * from runs where failed != ''\""
        )
    return lines


def render_rows(names: Sequence[str], rows: Sequence[Sequence[Any]], width: int, color: bool) -> str:
    """The rows of a query as a table."""
    shown: list[list[Cell]] = [["NULL" if cell is None else printable(_cell(cell)) for cell in row] for row in rows]
    lines = table(f"{len(rows):,} row{'' if len(rows) == 1 else 's'}", [printable(name) for name in names], shown, width, color)
    return "\n".join(lines[1:] or ["0 rows"]) + "\n"


def _cell(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def sweep_json(findings: Findings) -> dict[str, Any]:
    """The document of ``softnet sweep --json``: what the text says, for programs."""
    arms = []
    changes = {m.name: findings.changes(m) for m in findings.shown}
    for arm in findings.arms:
        entry: dict[str, Any] = {"arm": arm.number, "levels": list(arm.levels), "failed": arm.failed, "measures": {}}
        if findings.limits:
            entry["breaks"] = [limit.text for limit in findings.broken(arm.number)]
        if arm.dropped_after:
            entry["dropped_after"] = arm.dropped_after
        for measure in findings.shown:
            found = changes[measure.name][arm.number]
            mean = findings.mean(measure, arm.number)
            entry["measures"][measure.name] = {
                "mean": _finite(mean), "change": _interval_json(found.interval, found.p),
                "judgement": judged(found, measure, findings.mean(measure, 0)),
            }  # fmt: skip
        arms.append(entry)
    effects = {
        measure.name: [
            {
                "factor": e.factor,
                "step": e.step,
                **_interval_json(e.interval, e.p),
                "judgement": judged(e, measure, findings.mean(measure, 0)),
            }
            for e in findings.effects(measure)
        ]
        for measure in findings.shown
    }
    failures = [{"arm": arm.number, "seed": seed, "why": why, "command": command} for arm, seed, why, command in findings.failures]
    return {
        "schema": "softnet-sweep-findings/1", "scenario": findings.about["scenario"],
        "factors": [f["key"] for f in findings.factors], "seeds": findings.seeds, "measures": [m.name for m in findings.shown],
        "recommendation": recommendation(findings), "warnings": findings.warnings(), "arms": arms, "effects": effects,
        "failures": failures,
    }  # fmt: skip


def _interval_json(interval: Interval, p: float) -> dict[str, Any]:
    keys = {"mean": interval.mean, "low": interval.low, "high": interval.high, "p_holm": p}
    return {key: _finite(value) for key, value in keys.items()}


def _finite(value: float) -> float | None:
    """JSON has neither infinity nor NaN."""
    return value if math.isfinite(value) else None
