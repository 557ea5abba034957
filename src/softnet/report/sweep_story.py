# SPDX-License-Identifier: GPL-2.0-or-later
"""What an experiment recommends, in words, with its evidence and its limits: never more than the data say."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from softnet.report.names import duration, number, percent, quantity, signed
from softnet.sweep.analysis import LEAST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from softnet.sweep.analysis import ArmSeen, Change, Findings
    from softnet.sweep.measures import Measure
    from softnet.sweep.statistics import Interval

AS_GOOD_MAX = 4
"""Arms that a sentence names."""
WORTH = 0.1
"""What another measure must gain, as a share, for it to be said where the base is recommended."""


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
        none = f"no combination that was tried keeps {_limits_text(findings)}"
        return [f"Nothing is recommended: {none}.", *_limits(findings)]
    if best is None:
        why = "no run has a figure for it" if first.better else "neither more nor less of it is better"
        return [f"Nothing is recommended by {first.name}: {why}.", *_limits(findings)]
    out = _stay(findings, first, best) or _take(findings, first, best)
    return [*out, *_limits(findings)]


def _take(findings: Findings, first: Measure, best: int) -> list[str]:
    """The best is something else than the base, or there is too little to say so."""
    arm, mean = findings.arms[best], findings.mean(first, best)
    tried = f"of the {len(findings.arms)} combinations tried"
    if findings.limits:
        kept = _kept(findings)
        tried += f", {kept} keep{'s' if kept == 1 else ''} {_limits_text(findings)}; of these"
    has = f"the {_most(first)} mean {first.name}: {figure(mean, first)}."
    if len(findings.seeds) > 1 and best:
        out = [f"Take {named(findings, arm)}: {tried} it has {has}"]
    else:
        out = [f"{tried[0].upper()}{tried[1:]}, {named(findings, arm)} has {has}"]
    out += _close_limits(findings, best)
    if broken := findings.broken(0):
        out.append(f"The base does not keep {' and '.join(limit.text for limit in broken)}.")
    out += _against_base(findings, first, best)
    out += _ties(findings, first, best)
    return out + _costs(findings, best)


def _stay(findings: Findings, first: Measure, best: int) -> list[str]:
    """The base, where nothing is surely better by more than LEAST; empty where something is, or where the base is not to be had."""
    changes, base = findings.changes(first), findings.mean(first, 0)
    if 0 not in findings.candidates() or len(findings.seeds) < 2 or math.isnan(base):
        return []
    stay = f"Stay with the base ({named(findings, findings.arms[0])})"
    if same_everywhere(changes):
        same = f"{first.name} is {figure(base, first)} in every combination, seed by seed"
        out = [f"{stay}: {same}. Nothing that was varied matters to it."]
        return out + _close_limits(findings, 0) + _elsewhere(findings, first)
    found = changes[best]
    if best and found.sure and abs(found.interval.mean) >= LEAST * abs(base):
        return []
    others = "the other combination" if len(findings.arms) == 2 else f"the other {len(findings.arms) - 1} combinations"
    if findings.limits:
        others = f"the other {_kept(findings) - 1} that keep {_limits_text(findings)}"
    if best == 0:
        out = [f"{stay}: none of {others} has a {_more(first)} mean {first.name} than its {figure(base, first)}."]
    else:
        why = f"by {100 * LEAST:g} % or more" if found.sure else "by more than chance explains"
        out = [f"{stay}, with a mean {first.name} of {figure(base, first)}: none of {others} has a {_more(first)} one {why}."]
        out.append(
            f"The {_most(first)} mean has {named(findings, findings.arms[best])}: {figure(findings.mean(first, best), first)}."
        )
        out += _against_base(findings, first, best)
    return out + _close_limits(findings, 0) + _worse(findings, first) + _elsewhere(findings, first)


def _kept(findings: Findings) -> int:
    """How many keep the limits."""
    return sum(not findings.broken(arm.number) for arm in findings.arms)


def _limits_text(findings: Findings) -> str:
    return " and ".join(limit.text for limit in findings.limits)


def _most(measure: Measure) -> str:
    return "lowest" if measure.better == "lower" else "highest"


def _more(measure: Measure) -> str:
    return "lower" if measure.better == "lower" else "higher"


def same_everywhere(changes: Sequence[Change]) -> bool:
    """Whether no arm differs from the base in any seed."""
    return all(c.interval.mean == 0 and c.interval.exact for c in changes)


def _worse(findings: Findings, first: Measure) -> list[str]:
    """The arms that are surely worse than the base, the least of them first."""
    base, sign = findings.mean(first, 0), 1 if first.better == "lower" else -1
    found = [(sign * c.interval.mean, arm) for arm, c in zip(findings.arms, findings.changes(first), strict=True) if c.sure]
    worse = sorted((by, arm) for by, arm in found if by >= LEAST * abs(base))
    if not worse:
        return ["Of the others none is worse by more than chance explains."]
    listed = [
        f"{named(findings, arm)}" + (f" ({percent((base + sign * by) / base)})" if base else "") for by, arm in worse[:AS_GOOD_MAX]
    ]
    more = f"; and {len(worse) - AS_GOOD_MAX} more" if len(worse) > AS_GOOD_MAX else ""
    return [f"Worse by more than chance explains are {len(worse)} of {len(findings.arms) - 1}: {'; '.join(listed)}{more}."]


def _elsewhere(findings: Findings, first: Measure) -> list[str]:
    """Where another measure is surely better than at the base by a tenth, and what that does to the first."""
    out = []
    for measure in findings.shown[1:]:
        best, base = findings.best(measure), findings.mean(measure, 0)
        if not best:
            continue
        found = findings.changes(measure)[best]
        if found.sure and abs(found.interval.mean) >= WORTH * abs(base):
            arm, mean = named(findings, findings.arms[best]), figure(findings.mean(measure, best), measure)
            price = f"with a mean {first.name} of {figure(findings.mean(first, best), first)}"
            out.append(f"{measure.name} is best with {arm}: {mean} instead of {figure(base, measure)}, {price}.")
    return out


def _close_limits(findings: Findings, best: int) -> list[str]:
    """Where what is recommended keeps a limit by its mean, and its interval does not."""
    out = []
    for limit in findings.limits:
        i = findings.spread(limit.measure, best)
        if i.values == 1 or (not i.exact and i.low < limit.bound < i.high):
            out.append(f"It keeps {limit.text} by its mean; the seeds do not say that more of them would keep it.")
    return out


def _against_base(findings: Findings, measure: Measure, best: int, called: str = "") -> list[str]:
    if best == 0:
        return ["That is the base itself."]
    found = findings.changes(measure)[best]
    i = found.interval
    base = findings.mean(measure, 0)
    if not i.values:
        return ["The base has no figures to compare it with."]
    relative = percent((base + i.mean) / base) if base else ""
    called = called or f"the base ({named(findings, findings.arms[0])})"
    text = f"Against {called} that is {change(i.mean, measure)}" + (f" ({relative})" if relative else "")
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
    """The arms that are as good as the best, as far as these runs tell, and those that are hardly worse."""
    if len(findings.seeds) < 2 or len(findings.arms) < 2:
        return []
    ties, mean = findings.as_good(measure, best), findings.mean(measure, best)
    others = [arm for arm in findings.candidates() if arm not in (best, *ties)]
    near = [arm for arm in others if abs(findings.mean(measure, arm) - mean) <= LEAST * abs(mean)]
    out = []
    if ties:
        count = "one other combination" if len(ties) == 1 else f"{len(ties)} other combinations"
        out.append(f"These runs cannot tell {count} from it: {_listed(findings, measure, ties)}.")
    if near:
        out.append(f"Worse by less than {100 * LEAST:g} %, though surely: {_listed(findings, measure, near)}.")
    whose = " that keeps the limits" if findings.limits else ""
    return out or [f"Every other combination{whose} is worse in {measure.name} by more than chance explains."]


def _listed(findings: Findings, measure: Measure, arms: list[int]) -> str:
    """Some arms, the nearest in the measure first."""
    sign = -1 if measure.better == "higher" else 1
    order = sorted(arms, key=lambda arm: sign * findings.mean(measure, arm))
    more = f"; and {len(arms) - AS_GOOD_MAX} more" if len(arms) > AS_GOOD_MAX else ""
    return "; ".join(named(findings, findings.arms[arm]) for arm in order[:AS_GOOD_MAX]) + more


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
