# SPDX-License-Identifier: GPL-2.0-or-later
"""The seed on real kernels, for the terminal: model beside kernel, and what changed from arm to arm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from softnet.lab.studies.experiments import first_kick_at
from softnet.lab.studies.seed import FLUSH_WARNING, PAIRS, kicks, pairs
from softnet.report.lab_tables import remarks, results_text, table_with_zeros
from softnet.report.names import number
from softnet.report.table import Paper, table, wrapped

if TYPE_CHECKING:
    from softnet.lab.play.run import LabResult
    from softnet.lab.studies.seed import SeedResult


def beside_table(pair: Sequence[SeedResult], paper: Paper) -> list[str]:
    """Kernel, model and their ratio for each arm of a pair."""
    rows = []
    for label, counter, modelled in (
        ("skb_attempt_defer_free", "defer_attempts", "deferred"),
        ("kicks", "", "kicks"),
        ("trigger_rx_softirq", "trigger_rx_softirq", "trigger_rx_softirq"),
        ("IPIs: rps_trigger_softirq", "ipis_rps", "rps_ipis"),
        ("NET_RX raised", "net_rx_raises", "net_rx_raises"),
        ("ksoftirqd wakeups", "ksoftirqd_wakeups", "ksoftirqd_wakeups"),
        ("backlog_napi wakeups", "backlog_napi_wakeups", "backlog_napi_wakeups"),
        ("process_backlog polls", "backlog_polls", "process_backlog_polls"),
    ):
        cells = [label]
        for result in pair:
            seen = int(result.load.counts[counter]["total"]) if counter else kicks(result.load)
            said = result.model[modelled]
            ratio = f"{said / seen:.2f}" if seen else ("1.00" if not said else "-")
            cells += [number(seen), number(said), ratio]
        rows.append(cells)
    header = [""]
    for result in pair:
        header += [result.load.arm, "model", "model/kernel"]
    return table("Kernel and model, under load", header, rows, paper.width, paper.color)


def kick_table(results: Sequence[SeedResult], paper: Paper) -> list[str]:
    """What each arm's kicks did in first-kick."""
    rows = []
    for label, counter in (
        ("attempts until the first kick", ""),
        ("IPIs: trigger_rx_softirq", "ipis_defer_free"),
        ("work items: trigger_rx_softirq", "works_defer_free"),
        ("NET_RX raised", "net_rx_raises"),
        ("backlog_napi wakeups", "backlog_napi_wakeups"),
        ("process_backlog polls", "backlog_polls"),
    ):
        cells = [
            str(result.kick.counts[counter]["total"]) if counter else str(first_kick_at(result.kick.trace) or "none")
            for result in results
        ]
        rows.append([label, *cells])
    title = "One CPU frees 110 skbs of another, idle one (softnet lab experiment first-kick)"
    return table_with_zeros(title, ["", *(result.load.arm for result in results)], rows, paper)


def _ipis(result: LabResult) -> int:
    return int(result.counts["ipis_defer_free"]["total"] + result.counts["ipis_rps"]["total"])


def story(results: Sequence[SeedResult]) -> list[str]:
    """One line for each pair of before and after."""
    by_arm = {result.load.arm: result for result in results}
    lines = []
    for before, after in PAIRS:
        old, new = by_arm[before], by_arm[after]

        def change(counter: str, old: SeedResult = old, new: SeedResult = new) -> str:
            return f"{old.load.counts[counter]['total']} -> {new.load.counts[counter]['total']}"

        lines.append(
            f"{before} -> {after}, under load: IPIs that raise NET_RX {_ipis(old.load)} -> {_ipis(new.load)}, "
            f"NET_RX raised {change('net_rx_raises')}, wakeups of ksoftirqd {change('ksoftirqd_wakeups')}, "
            f"of backlog_napi {change('backlog_napi_wakeups')}."
        )
        if old.flush_warnings() or new.flush_warnings():
            lines.append(
                f"{before} -> {after}: the kernel's own WARNING in {FLUSH_WARNING}(), a softirq raised by an IPI "
                f"in idle: {old.flush_warnings()} -> {new.flush_warnings()}."
            )
    return lines


def seed_text(results: Sequence[SeedResult], paper: Paper) -> str:
    """What changed, model beside kernel, the counts under load, first-kick."""
    kicks = [result.kick for result in results]
    lines = [*wrapped(story(results), paper.width)]
    for pair in pairs(results):
        lines += beside_table(pair, paper)
    lines += ["", results_text([result.load for result in results], paper)]
    return "\n".join([*lines, *kick_table(results, paper), "", *wrapped(remarks(kicks), paper.width)])
