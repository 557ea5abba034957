# SPDX-License-Identifier: GPL-2.0-or-later
"""What an experiment recommends, in words, with its evidence and its limits: never more than the data say."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from softnet.report.names import duration, number, percent, quantity, signed
from softnet.sweep.analysis import LEAST

if TYPE_CHECKING:
    from softnet.sweep.analysis import ArmSeen, Findings
    from softnet.sweep.measures import Measure
    from softnet.sweep.statistics import Interval

AS_GOOD_MAX = 4
"""Arms that a sentence names."""


def figure(value: float, measure: Measure) -> str:
    """A figure in its unit; a dash where there is none."""
    if math.isnan(value):
        return quantity(None, measure.unit)
    if measure.unit == "%":
        return f"{value:.1f} %".replace("-", "−")
    return quantity(value, measure.unit)


def change(value: float, measure: Measure) -> str:
    """A difference with its sign."""
    if measure.unit == "%":
        # Percentage points: per cent of per cent confuses.
        return f"{value:+.1f} points".replace("-", "−") if abs(value) >= 0.05 else "0.0 points"
    return signed(value, measure.unit)


def interval_text(interval: Interval, measure: Measure) -> str:
    """A difference's interval: ``−12 µs to −8 µs``; in words where there is none."""
    if interval.values == 0:
        return "no figures"
    if math.isinf(interval.half):
        return "one seed"
    if interval.exact:
        return "the same in every seed"
    return f"{change(interval.low, measure)} to {change(interval.high, measure)}"


def named(findings: Findings, arm: ArmSeen) -> str:
    """An arm as settings: ``netdev_budget 300, kernel 6.12``."""
    return ", ".join(
        f"{factor['key']}={level}" for factor, level in zip(findings.factors, arm.levels, strict=True)
    )  # fmt: skip


def recommendation(findings: Findings) -> list[str]:
    """Sentences: what came out best, how sure that is, what it costs in the other measures, what was not asked."""
    first = findings.shown[0]
    best = findings.best(first)
    if best is None and findings.limits and first.better and not findings.candidates():
        limits = " and ".join(limit.text for limit in findings.limits)
        return [f"Nothing is recommended: no combination that was tried keeps {limits}.", *_limits(findings)]
    if best is None:
        why = "no run has a figure for it" if first.better else "neither more nor less of it is better"
        return [f"Nothing is recommended by {first.name}: {why}.", *_limits(findings)]
    arm, mean = findings.arms[best], findings.mean(first, best)
    word = "lowest" if first.better == "lower" else "highest"
    tried = f"Of the {len(findings.arms)} combinations tried"
    if findings.limits:
        kept = sum(not findings.broken(arm.number) for arm in findings.arms)
        tried += f", {kept} keep{'s' if kept == 1 else ''} {' and '.join(limit.text for limit in findings.limits)}. Of these"
    out = [f"{tried}, {named(findings, arm)} has the {word} mean {first.name}: {figure(mean, first)}."]
    out += _close_limits(findings, best)
    out += _against_base(findings, first, best)
    out += _ties(findings, first, best)
    out += _costs(findings, best)
    return [*out, *_limits(findings)]


def _close_limits(findings: Findings, best: int) -> list[str]:
    """Where what is recommended keeps a limit by its mean, and its interval does not."""
    out = []
    for limit in findings.limits:
        i = findings.spread(limit.measure, best)
        if i.values == 1 or (not i.exact and i.low < limit.bound < i.high):
            out.append(f"It keeps {limit.text} by its mean; the seeds do not say that more of them would keep it.")
    return out


def _against_base(findings: Findings, measure: Measure, best: int) -> list[str]:
    if best == 0:
        return ["That is the base itself: nothing that was tried is better by its mean."]
    found = findings.changes(measure)[best]
    i = found.interval
    base = findings.mean(measure, 0)
    if not i.values:
        return ["The base has no figures to compare it with."]
    relative = percent((base + i.mean) / base) if base else ""
    text = f"Against the base ({named(findings, findings.arms[0])}) that is {change(i.mean, measure)}" + (
        f" ({relative})" if relative else ""
    )
    if i.values == 1:
        return [text + "; with one seed nothing says how much of it is chance."]
    spread = interval_text(i, measure)
    tail = f", {spread}" if i.exact else f", with a 95 % interval from {spread}"
    verdict = (
        " It stands after the correction for the number of combinations."
        if found.sure
        else " It does not stand after the correction for the number of combinations: it may be chance."
    )
    return [f"{text}{tail} over {i.values} seeds.{verdict}"]


def _ties(findings: Findings, measure: Measure, best: int) -> list[str]:
    if len(findings.seeds) < 2:
        return []
    ties = findings.as_good(measure, best)
    if not ties:
        return (
            [f"Every other combination is worse in {measure.name} by more than chance explains."] if len(findings.arms) > 1 else []
        )
    ties.sort(key=lambda arm: findings.mean(measure, arm))
    listed = "; ".join(named(findings, findings.arms[arm]) for arm in ties[:AS_GOOD_MAX])
    more = f"; and {len(ties) - AS_GOOD_MAX} more" if len(ties) > AS_GOOD_MAX else ""
    if len(ties) == 1:
        return [f"These runs cannot tell one other combination from it: {listed}."]
    return [f"These runs cannot tell {len(ties)} other combinations from it: {listed}{more}."]


def _costs(findings: Findings, best: int) -> list[str]:
    """What the best arm does to the other measures that are looked at."""
    out = []
    for measure in findings.shown[1:]:
        if best == 0:
            break
        found = findings.changes(measure)[best]
        if not found.interval.values:
            continue
        base = findings.mean(measure, 0)
        if found.interval.mean == 0 and found.interval.exact:
            out.append(f"{measure.name} stays the same.")
        elif abs(found.interval.mean) < LEAST * abs(base) and found.sure:
            out.append(f"{measure.name} changes by less than {100 * LEAST:g} %.")
        elif found.sure:
            word = ""
            if measure.better:
                word = "better: " if (found.interval.mean < 0) == (measure.better == "lower") else "worse: "
            out.append(f"{measure.name} is {word}{figure(base + found.interval.mean, measure)} instead of {figure(base, measure)}.")
        else:
            out.append(f"{measure.name} does not differ by more than chance ({interval_text(found.interval, measure)}).")
    return out


def _limits(findings: Findings) -> list[str]:
    about = findings.about
    measured = about["duration_ns"] - about["warmup_ns"]
    out = []
    if findings.failures:
        count = len(findings.failures)
        out.append(f"{number(count)} run{'s' if count > 1 else ''} failed; combinations with failed runs are not recommended.")
    kind = {"grid": "a full grid", "lhs": "a Latin hypercube", "sobol": "a Sobol sample", "search": "a search"}[about["design"]]
    count = len(findings.seeds)
    if about["design"] == "search":
        out.append("A search looks where it found good figures: that of its best flatters it. Run the best again with other seeds.")
    if any(arm.dropped_after for arm in findings.arms):
        out.append("Combinations that were dropped have the mean of fewer seeds.")
    out.append(
        f"Limits: {kind} of these levels only, {count} seed{'s' if count > 1 else ''} of {duration(measured)} measured virtual time"
        " each, one scenario, on a model of the kernel; quantiles are read from buckets 3 % wide. What was not varied was not"
        " looked at."
    )
    return out


def until_text(findings: Findings) -> str:
    """What until asked for, in words; empty if nothing was."""
    until = findings.about.get("until")
    if not until:
        return ""
    return f"seeds were added until {until['measure']} is known to {100 * until['share']:g} % of the base"
