# SPDX-License-Identifier: GPL-2.0-or-later
"""What the figures say, in sentences. Each rule is about a kind of figure; none knows a scenario or a release.

A sentence that claims a difference rests on ``Difference.verdict``: a paired difference over the seeds whose 95 % interval
leaves out zero. With one seed nothing can be told from noise, and the sentences say so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from softnet.linux.releases import change_of, shipped_patches
from softnet.report.figures import busy_metric
from softnet.report.names import duration, number, percent, quantity
from softnet.simulate.result import Histogram, Result

if TYPE_CHECKING:
    from softnet.simulate.comparison import Comparison, Difference, Metric

HEADLINE_COUNTERS = (
    "ipis", "net_rx_raises", "ksoftirqd_wakeups", "backlog_napi_wakeups", "context_switches", "time_squeeze",
    "line_transfers",
)  # fmt: skip
"""The counters worth a sentence; the table has them all."""

QUANTILE_ORDER = (("p999_ns", "p99.9"), ("p99_ns", "p99"), ("max_ns", "worst"), ("p50_ns", "p50"))

DROP_MEANING = {
    "CPU_BACKLOG": "the backlog of a CPU was full (netdev_max_backlog), or its flow limit struck",
    "SOCKET_RCVBUFF": "a socket's receive buffer was full",
    "SOCKET_BACKLOG": "a socket's backlog was full while its owner held it",
    "NO_SOCKET": "nobody listens",
    "IP_NOPROTO": "an IP protocol that nobody set up",
    "UNHANDLED_PROTO": "not IP, and nobody takes it",
    "rx_missed": "the card's ring was full",
}


WAKEUPS = (("ksoftirqd_wakeups", "ksoftirqd"), ("backlog_napi_wakeups", "backlog_napi"))
"""Counter, thread."""

_TIMES = re.compile(r" (\d+) times")
_WARNED = re.compile(r"WARN_ON_ONCE fired (\d+) times at \S+:\d+ in (\w+\(\)): (.+)")
"""What simulate.measure.warning_sites() writes: count, function, condition. Lines differ between releases, so they do not count."""


class Sentence(NamedTuple):
    """One finding: ``kind`` is "found", "caution" or "defect"."""

    kind: str
    text: str


def verdict_text(difference: Difference, seeds: int) -> str:
    """A verdict for a table: ``lower, better``, ``noise``, ``same``; ``one seed`` where nothing can be told.

    ``lower, below 1 %``: surely lower, and too little to call it better or worse (LEAST_EFFECT).
    """
    if difference.verdict == "noise" and seeds == 1:
        return "one seed"
    if difference.verdict in ("lower", "higher") and difference.small:
        return f"{difference.verdict}, below 1 %"
    if difference.judgement:
        return f"{difference.verdict}, {difference.judgement}"
    return difference.verdict


def change_text(metric: Metric, base: str, arm: str) -> str:
    """``412 → 0 (−100 %)``."""
    difference = metric.difference(base, arm)
    change = percent(difference.ratio) if difference.verdict != "no samples" else ""
    text = f"{quantity(metric.mean(base), metric.unit)} → {quantity(metric.mean(arm), metric.unit)}"
    return f"{text} ({change})" if change and metric.mean(arm) else text


def comparison_story(comparison: Comparison) -> dict[str, list[Sentence]]:
    """Arm (not the base) -> what it changes; the key "" holds what is true of the comparison as a whole."""
    metrics = {m.name: m for m in comparison.metrics()}
    story: dict[str, list[Sentence]] = {}
    for arm in comparison.arms[1:]:
        story[arm] = [Sentence("found", text) for text in _arm_story(comparison, metrics, arm)]
    story[""] = list(_cautions(comparison))
    return story


def kernel_changes(comparison: Comparison, arm: str) -> tuple[str, list[str]]:
    """A heading, and what the kernel's patches change between the base and an arm, a line each; no line where they are the same.

    The lines are the patch modules' own; of a change that only another version of softnet has, its name. Files of the user's are
    told by their names elsewhere.
    """
    base = comparison.arms[0]
    before, after = (_shipped_patches(comparison, one) for one in (base, arm))
    more, less = [n for n in after if n not in before], [n for n in before if n not in after]
    lines = [*map(_change_text, more), *(f"not in {arm}: {_change_text(name)}" for name in less)]
    return f"Between {base} and {arm} the kernel changed in this path:", lines


def _change_text(name: str) -> str:
    if name not in shipped_patches():
        return f"{name.rpartition('.')[2]}, which this version of softnet does not have"
    text, commit, since = change_of(name)
    return f"{text} ({commit}, {since})"


def _shipped_patches(comparison: Comparison, arm: str) -> list[str]:
    return [name for name in comparison.results[arm][0].kernel["patches"] if name.startswith("softnet.linux.patches.")]


def _arm_story(comparison: Comparison, metrics: dict[str, Metric], arm: str) -> Iterator[str]:
    base = comparison.arms[0]
    differences = {name: m.difference(base, arm) for name, m in metrics.items()}
    yield from _warning_sentences(comparison, arm)
    if all(d.verdict == "same" for d in differences.values()):
        yield f"Nothing differs: every figure of {arm} equals that of {base} in every seed."
        return
    yield from _mechanisms(comparison, arm)
    yield from _counter_sentences(comparison, metrics, arm)
    yield from _latency_sentences(comparison, metrics, arm)
    yield from _cpu_sentence(comparison, metrics, arm)
    yield from _packet_sentence(comparison, metrics, arm)


def _warning_sentences(comparison: Comparison, arm: str) -> Iterator[str]:
    """Warnings of the kernel that only one of the two arms gives."""
    base = comparison.arms[0]
    of_base, of_arm = (_warned(comparison.results[each]) for each in (base, arm))
    for found, has, other in ((of_base, base, arm), (of_arm, arm, base)):
        for (function, condition), counts in found.items():
            if (function, condition) not in (of_arm if found is of_base else of_base):
                runs = len(comparison.results[has])
                where = "each run" if len(counts) == runs else f"{number(len(counts))} of {number(runs)} runs"
                yield (
                    f"A warning of the kernel is {'gone' if has == base else 'new'}: in {function}, WARN_ON_ONCE({condition}) fired"
                    f" {_range_text(counts)} times in {where} of {has}, and never in {other}."
                )


def _warned(results: tuple[Result, ...]) -> dict[tuple[str, str], list[int]]:
    """Function and condition of a WARN_ON_ONCE -> how often it fired, in each run in which it did."""
    found: dict[tuple[str, str], list[int]] = {}
    for warning in (each for r in results for each in r.warnings):
        if told := _WARNED.fullmatch(warning):
            found.setdefault((told[2], told[3]), []).append(int(told[1]))
    return found


def _range_text(counts: list[int]) -> str:
    least, greatest = min(counts), max(counts)
    return number(least) if least == greatest else f"{number(least)} to {number(greatest)}"


def _mechanisms(comparison: Comparison, arm: str) -> Iterator[str]:
    """By which way one CPU tells another that it has work: said where the two arms differ in it."""
    base = comparison.arms[0]
    for what, way in (
        ("defer lists are kicked", kick_way),
        ("RPS tells another CPU of its packets", rps_way),
    ):
        before, after = way(comparison.results[base]), way(comparison.results[arm])
        if before and after and before != after:
            yield f"In {arm} {what} {after}; in {base} {before}."


def kick_way(results: tuple[Result, ...]) -> str:
    """How the CPU that owns a defer list hears that it is half full; empty when no list was kicked."""
    kicks = sum(r.counters["kicks"] for r in results)
    calls = sum(r.counters["trigger_rx_softirq"] for r in results)
    threads = sum(r.counters["backlog_napi_wakeups"] for r in results)
    if not kicks:
        return ""
    ipis = sum(r.counters["ipis_call_function"] for r in results)
    call = "by IPI"
    if ipis < calls:
        few = "no IPI" if not ipis else "mostly no IPI" if 2 * ipis < calls else "not always an IPI"
        call = f"by a function call ({few}: an idle CPU that polls needs none)"
    thread = "by waking a backlog_napi thread"
    if calls and threads:
        return f"{call} and {thread}"
    return call if calls else thread if threads else "without IPI or thread"


def rps_way(results: tuple[Result, ...]) -> str:
    """How RPS tells another CPU; empty when RPS sent nothing elsewhere."""
    if not sum(sum(r.events.get("napi_schedule_rps", [])) for r in results):
        return ""
    if sum(r.counters["rps_ipis"] for r in results):
        return "by IPI"
    return "by waking a backlog_napi thread" if sum(r.counters["backlog_napi_wakeups"] for r in results) else ""


def _sure(difference: Difference, seeds: int) -> bool:
    """Whether to speak of a difference: beyond noise, or, with one seed, simply there; and of LEAST_EFFECT or more."""
    if difference.small:
        return False
    return difference.verdict in ("lower", "higher") or (seeds == 1 and difference.verdict == "noise")


def _counter_sentences(comparison: Comparison, metrics: dict[str, Metric], arm: str) -> Iterator[str]:
    base, seeds = comparison.arms[0], len(comparison.seeds)
    fewer: list[str] = []
    more: list[str] = []
    for name in HEADLINE_COUNTERS:
        difference = metrics[name].difference(base, arm)
        if _sure(difference, seeds):
            text = f"{metrics[name].title} {change_text(metrics[name], base, arm)}"
            (fewer if difference.mean < 0 else more).append(text)
    if fewer:
        yield f"Fewer: {'; '.join(fewer)}."
    if more:
        yield f"More: {'; '.join(more)}."


def _latency_sentences(comparison: Comparison, metrics: dict[str, Metric], arm: str) -> Iterator[str]:
    base, seeds = comparison.arms[0], len(comparison.seeds)
    calm = []
    for name in comparison.results[base][0].latency:
        rows = [(title, metrics[f"latency_{name}_{q}"]) for q, title in QUANTILE_ORDER]
        found = [(t, m, m.difference(base, arm)) for t, m in rows]
        sure = [(t, m, d) for t, m, d in found if _sure(d, seeds)]
        if not sure:
            p99 = metrics[f"latency_{name}_p99_ns"]
            before, after = duration(p99.mean(base)), duration(p99.mean(arm))
            calm.append(f"{name} (p99 {before} {'in both' if before == after else f'and {after}'})")
            continue
        title, metric, difference = sure[0]
        claim = "one seed" if seeds == 1 else "more than noise"
        change = ", ".join(part for part in (percent(difference.ratio), claim) if part)
        text = f"{name} {title} from {duration(metric.mean(base))} to {duration(metric.mean(arm))} ({change})"
        against = [(t, m, d) for t, m, d in sure if (d.mean < 0) != (difference.mean < 0)]
        if against:
            t, m, d = against[0]
            direction = "falls" if d.mean < 0 else "rises"
            text += f", but its {t} {direction} from {duration(m.mean(base))} to {duration(m.mean(arm))}"
        yield f"{text}."
    if calm:
        yield f"No difference of 1 % or more, beyond noise, in the latency of {'; '.join(calm)}."


def _cpu_sentence(comparison: Comparison, metrics: dict[str, Metric], arm: str) -> Iterator[str]:
    base, seeds = comparison.arms[0], len(comparison.seeds)
    totals = busy_metric(comparison)
    difference = totals.difference(base, arm)
    moved = []
    for name, metric in metrics.items():
        if name.startswith("cpu_"):
            d = metric.difference(base, arm)
            if _sure(d, seeds) and abs(d.mean) * 20 >= max(abs(difference.mean), (totals.mean(base) or 0) / 10):
                moved.append((-abs(d.mean), f"{name[4:-3]} {change_text(metric, base, arm)}"))
    words = "CPU time outside idle"
    if difference.small and difference.verdict in ("lower", "higher"):
        text = f"{words} differs by less than 1 % ({duration(totals.mean(base))} and {duration(totals.mean(arm))})"
    elif _sure(difference, seeds):
        text = f"{words}: {change_text(totals, base, arm)}"
    elif difference.verdict == "same":
        text = f"{words} is the same, {duration(totals.mean(base))}"
    else:
        text = f"{words} does not differ beyond noise ({duration(totals.mean(base))} and {duration(totals.mean(arm))})"
    if moved:
        text += f"; by class: {'; '.join(t for _, t in sorted(moved)[:4])}"
    yield f"{text}."


def _packet_sentence(comparison: Comparison, metrics: dict[str, Metric], arm: str) -> Iterator[str]:
    base = comparison.arms[0]
    dropped, delivered = metrics["dropped"], metrics["delivered"]
    difference = delivered.difference(base, arm)
    both = sum(dropped.sampled(base)) + sum(dropped.sampled(arm))
    if difference.verdict == "same":
        text = f"Both deliver {quantity(delivered.mean(base), '')} packets"
    else:
        verdict = verdict_text(difference, len(comparison.seeds))
        text = f"Delivered packets: {change_text(delivered, base, arm)}, {verdict}"
    if both:
        verdict = verdict_text(dropped.difference(base, arm), len(comparison.seeds))
        text += f"; dropped: {quantity(dropped.mean(base), '')} → {quantity(dropped.mean(arm), '')}, {verdict}"
    else:
        text += "; no packet is dropped"
    yield f"{text}."


def _cautions(comparison: Comparison) -> Iterator[Sentence]:
    seeds = len(comparison.seeds)
    for remark in comparison.remarks:
        yield Sentence("caution", remark)
    if seeds == 1:
        yield Sentence("caution", f"One seed ({comparison.seeds[0]}): no difference can be told from noise. Run several.")
    elif seeds == 2:
        yield Sentence("caution", "Two seeds: the intervals are so wide that only very regular differences show.")
    for arm in comparison.arms:
        yield from _run_cautions(comparison.results[arm], f"{arm}: ")
    yield from _thin_quantiles(tuple(r for arm in comparison.arms for r in comparison.results[arm]))
    shared: dict[str, list[str]] = {}
    for arm in comparison.arms:
        for note in dict.fromkeys(n for r in comparison.results[arm] for n in r.notes):
            shared.setdefault(note, []).append(arm)
    for note, arms in shared.items():
        who = "" if len(arms) == len(comparison.arms) else f" ({', '.join(arms)})"
        yield Sentence("caution", f"Not as asked{who}: {note}")


def _run_cautions(results: tuple[Result, ...], prefix: str) -> Iterator[Sentence]:
    """Interrupted runs, lost packets, warnings; what several seeds share is said once, with the range of its count."""
    found: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for r in results:
        if r.partial:
            text = f"Interrupted after {duration(r.duration_ns)}; the figures are of that part."
            found.setdefault(("caution", text), []).append((r.seed, 0))
        if r.conservation.balance:
            text = f"{number(r.conservation.balance)} packets are unaccounted for: a defect of the model."
            found.setdefault(("defect", text), []).append((r.seed, 0))
        for warning in r.warnings:
            times = _TIMES.search(warning)
            text = _TIMES.sub(" {} times", warning, count=1)
            found.setdefault(("defect", text), []).append((r.seed, int(times[1]) if times else 0))
    for (kind, text), cases in found.items():
        who = ""
        if len(results) > 1:
            listed = ", ".join(str(seed) for seed, _ in cases)
            who = "in every seed: " if len(cases) == len(results) else f"seed {listed}: "
        times_text = _range_text([n for _, n in cases])
        yield Sentence(kind, f"{prefix}{who}{text.replace(' {} times', f' {times_text} times', 1)}")


def _thin_quantiles(results: tuple[Result, ...]) -> Iterator[Sentence]:
    """Quantiles that rest on less than one sample beyond them."""
    for least, title, floor in ((1000, "p99.9", 100), (100, "p99", 0)):
        names = []
        for name in results[0].latency:
            count = min(r.latency[name].count for r in results if name in r.latency)
            if floor <= count < least and count:
                names.append(f"{name} ({number(count)})")
        if names:
            verb = "its maximum" if len(names) == 1 else "their maximum"
            yield Sentence(
                "caution",
                f"Fewer than {number(least)} samples in a run, so {title} is {verb}: {', '.join(names)}.",
            )


def result_story(result: Result) -> list[Sentence]:
    """What one run shows."""
    cautions = list(_run_cautions((result,), ""))
    # What spoils every figure is said before them.
    out = [s for s in cautions if result.partial and s.kind == "caution"]
    out.extend(Sentence("found", text) for text in _run_story(result))
    out.extend(s for s in cautions if s not in out)
    out.extend(_thin_quantiles((result,)))
    out.extend(Sentence("caution", f"Not as asked: {note}") for note in result.notes)
    return out


def _run_story(result: Result) -> Iterator[str]:
    yield _fate_sentence(result)
    yield from _busy_sentences(result)
    yield from _wakeup_sentences(result)
    yield from _left_deferred(result)
    for name, histogram in result.latency.items():
        yield latency_sentence(name, histogram)
    # A result that does not hold what was asked does not say whether there was noise.
    if result.asked and any(h.count for h in result.latency.values()) and not result.asked.get("machine", {}).get("noise"):
        yield "A maximum is that of an undisturbed machine: no noise was asked for (machine.noise)."


LEFT_DEFERRED_NS = 10_000_000
"""A defer list that nobody has touched for so long waits for something that may never come."""


def _left_deferred(result: Result) -> Iterator[str]:
    """Lists of deferred frees that are not empty at the end, and to which nothing has happened for a while."""
    for row in result.deferred_left:
        still_ns = result.duration_ns - row["since_ns"]
        if still_ns >= LEFT_DEFERRED_NS:
            held = "1 skb has" if row["skbs"] == 1 else f"{number(row['skbs'])} skbs have"
            yield (
                f"{held} lain on CPU {row['cpu']}'s list of deferred frees for the last {duration(still_ns)},"
                f" {number(row['bytes'])} bytes with their pages. Nothing frees them before that CPU receives packets again or"
                " others fill the list to half."
            )


def _fate_sentence(result: Result) -> str:
    c = result.conservation
    came = c.arrived + c.sent
    text = f"{number(came)} packets came, {number(c.delivered)} reached an application"
    if c.acks:
        text += f", {number(c.acks)} were pure TCP acknowledgements"
    if c.kernel:
        text += f", {number(c.kernel)} were for the kernel itself (ICMP, IGMP, ARP)"
    dropped = {reason: n for reason, n in c.dropped.items() if n}
    if dropped:
        reasons = "; ".join(f"{reason} {number(n)}{_meaning(reason)}" for reason, n in sorted(dropped.items(), key=lambda i: -i[1]))
        total = sum(dropped.values())
        text += f", {number(total)} ({100 * total / came:.1f} %) were dropped: {reasons}"
    else:
        text += ", none was dropped"
    queued = sum(c.queued.values())
    if queued:
        text += f"; {number(queued)} were still queued at the end"
    return f"{text}."


def _meaning(reason: str) -> str:
    return f" ({DROP_MEANING[reason]})" if reason in DROP_MEANING else ""


def _busy_sentences(result: Result) -> Iterator[str]:
    shares = []
    for cpu, row in enumerate(result.cpu_time_ns):
        total = sum(row.values())
        if total:
            busy = total - row.get("idle", 0)
            top = max((n for n in row if n != "idle"), key=lambda n: row[n])
            shares.append((busy / total, cpu, top, row[top] / total))
    shares.sort(reverse=True)
    if not shares:
        return
    share, cpu, top, top_share = shares[0]
    word = "is saturated" if share > 0.95 else "is the busiest"
    yield f"CPU {cpu} {word}, {100 * share:.0f} % of its time outside idle, most of it {top} ({100 * top_share:.0f} %)."


def _wakeup_sentences(result: Result) -> Iterator[str]:
    c = result.counters
    if c["kicks"]:
        yield f"Defer lists were kicked {number(c['kicks'])} times, {kick_way((result,))}."
    if c["ipis"]:
        calls, reschedules = number(c["ipis_call_function"]), number(c["ipis_reschedule"])
        yield f"{number(c['ipis'])} IPIs: {calls} function calls, {reschedules} reschedules."
    woken = [_woken(result, *names) for names in WAKEUPS if c[names[0]]]
    if woken:
        yield f"Woken: {'; '.join(woken)}."
    if c["time_squeeze"]:
        by_budget, by_time = number(c["time_squeeze_budget"]), number(c["time_squeeze_time"])
        yield (
            f"net_rx_action left with work undone {number(c['time_squeeze'])} times (time_squeeze): {by_budget} times"
            f" netdev_budget was used up, {by_time} times netdev_budget_usecs had passed before."
        )


def _woken(result: Result, counter: str, thread: str) -> str:
    """How often a per-CPU thread was woken, and which of its kind most."""
    text = f"{thread} {number(result.counters[counter])} times"
    kind = [(t["wakeups"], t["comm"]) for t in result.tasks if t["comm"].startswith(f"{thread}/") and t["wakeups"]]
    if kind:
        most = max(kind, key=lambda row: row[0])[1]
        text += f", most often {most}" if len(kind) > 1 else f", always {most}"
    return text


def latency_sentence(name: str, h: Histogram) -> str:
    """A histogram in words."""
    if not h.count:
        return f"{name}: no sample."
    s = h.summary()
    what = "reach the application" if h.kind == "packet" else "are late by at most"
    if h.kind == "packet":
        return (
            f"{name}: half of the packets {what} within {duration(s['p50_ns'])}, 99 % within {duration(s['p99_ns'])}, 99.9 %"
            f" within {duration(s['p999_ns'])}; the worst took {duration(s['max_ns'])}."
        )
    return (
        f"{name}: half of the wakeups {what} {duration(s['p50_ns'])}, 99 % {duration(s['p99_ns'])}, 99.9 %"
        f" {duration(s['p999_ns'])}; the worst {duration(s['max_ns'])}."
    )
