# SPDX-License-Identifier: GPL-2.0-or-later
"""Which violation is a finding that the shipped kernel is known to have, and what is new besides."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from softnet.linux.mends import mended
from softnet.properties.findings import FINDINGS, Finding
from softnet.scenario import parse_kernel
from softnet.verify.search import Known, Outcome, Progress, search
from softnet.verify.verdict import Verdict, Why

if TYPE_CHECKING:
    from softnet.verify.arena import Limits
    from softnet.verify.model import Config

Stopped = Callable[[], bool] | None
"""Whether nobody wants more."""
BUDGET: Final = 300
"""netdev_budget's default, which no small configuration uses up."""


def _lowered(config: Config) -> bool:
    limits = [config.defer_max, *(e.value for e in config.events if e.name == "skb_defer_max")]
    return any(after < before for before, after in itertools.pairwise(limits))


def _switched_on(config: Config) -> bool:
    limits = [config.defer_max, *(e.value for e in config.events if e.name == "skb_defer_max")]
    return any(before <= 1 < after for before, after in itertools.pairwise(limits))


NEEDS: Final[dict[str, Callable[[Config], bool]]] = {
    "busy": lambda c: c.prefer_busy_poll and c.defer_hard_irqs > 0 and any(d.kind == "busy" for d in c.drivers),
    "free": lambda c: any(d.kind == "free" for d in c.drivers),
    "hotplug": lambda c: any(d.kind == "hotplug" for d in c.drivers),
    "limit": lambda c: c.ticks > 0 or c.budget < BUDGET or any(e.name == "netdev_budget" for e in c.events),
    "lowered": _lowered,
    "switched on": _switched_on,
    "rps": lambda c: c.rps,
    "tso": lambda c: c.memory_model == "tso",
}
"""What a configuration must have for a finding to be possible in it."""


def _no_lowering(config: Config) -> Config:
    return replace(config, events=tuple(e for e in config.events if e.name != "skb_defer_max"))


AWAY: Final[dict[str, Callable[[Config], Config]]] = {
    "busy": lambda c: replace(c, prefer_busy_poll=False),
    "hotplug": lambda c: replace(c, drivers=tuple(d for d in c.drivers if d.kind != "hotplug")),
    "limit": lambda c: replace(c, ticks=0, budget=BUDGET, events=tuple(e for e in c.events if e.name != "netdev_budget")),
    "lowered": _no_lowering,
    "switched on": _no_lowering,
    "tso": lambda c: replace(c, memory_model="sc"),
}
"""The same configuration without what a finding comes from."""


def finding_of(config: Config, name: str) -> Finding | None:
    """The finding on the shipped kernel that breaks the property in such a configuration; None if there is none."""
    for finding in FINDINGS.values():
        if name in finding.properties and config.kernel in finding.kernels and all(NEEDS[need](config) for need in finding.needs):
            return finding
    return None


class Unchecked(Exception):
    """The check whether a violation is known was stopped."""


def shipped_breaks(config: Config, name: str, limits: Limits | None, stopped: Stopped = None) -> bool:
    """Whether the kernel without the patches breaks the property in this configuration, too."""
    if any(d.kind == "call" for d in config.drivers):
        return False
    return _breaks(replace(config, patches=(), property_files=()), name, limits, stopped)


def breaks_alone(config: Config, finding: Finding, name: str, limits: Limits | None, stopped: Stopped = None) -> bool:
    """Whether the patched kernel breaks the property also without what the finding comes from."""
    other = config
    for need in finding.needs:
        other = AWAY[need](other) if need in AWAY else other
    return other != config and bool(other.drivers) and _breaks(other, name, limits, stopped)


def breaks_mended(config: Config, finding: Finding, name: str, limits: Limits | None, stopped: Stopped = None) -> bool:
    """Whether the patched kernel breaks the property also with the finding mended, and the shipped one does not."""
    choice = parse_kernel(config.kernel)
    if mended(finding.number, choice.release, choice.flavour, config.patches) is None:
        return False
    other = replace(config, mended=finding.number)
    return _breaks(other, name, limits, stopped) and not _breaks(
        replace(other, patches=(), property_files=()), name, limits, stopped
    )


def _breaks(config: Config, name: str, limits: Limits | None, stopped: Stopped) -> bool:
    """Without a limit of time: a search that was stopped would make what is known new. Raises Unchecked if nobody wants more."""
    goes_on = None if stopped is None else lambda *figures: not stopped()
    outcome = search(replace(config, properties=(name,), without=()), limits, goes_on)
    if outcome.why in (Why.INTERRUPTED, Why.TIME_LIMIT):
        raise Unchecked
    return outcome.failure is not None and outcome.failure.name == name


def is_known(config: Config, name: str, limits: Limits | None, stopped: Stopped = None) -> Finding | None:
    """The finding that a violation is; None if it is new, or if the patches break the property in another way as well."""
    finding = finding_of(config, name)
    if finding is None or not config.patches:
        return finding
    if not shipped_breaks(config, name, limits, stopped):
        return None
    new = breaks_alone(config, finding, name, limits, stopped) or breaks_mended(config, finding, name, limits, stopped)
    return None if new else finding


def search_past_known(
    config: Config, limits: Limits | None = None, progress: Progress | None = None, *, save: Path | None = None,
    resume: Path | None = None, stopped: Stopped = None,
) -> Outcome:  # fmt: skip
    """Search; a violation that is a known finding is noted, and the search begins anew without that property.

    So what is found in the end is new, or nothing is. Where ``stopped``, or Ctrl-C, ends the check whether a violation is known, it
    is said to be neither.
    """
    known: list[Known] = []
    asked = config
    while True:
        outcome = search(asked, limits, progress, save=save, resume=resume)
        failure = outcome.failure
        try:
            finding = is_known(config, failure.name, limits, stopped) if failure is not None else None
        except Unchecked:
            nothing = replace(outcome, verdict=Verdict.INCONCLUSIVE, why=Why.INTERRUPTED, failure=None, actions=[], repeats=0)
            return replace(nothing, config=config, known=tuple(known))
        if failure is None or finding is None:
            return replace(outcome, config=config, known=tuple(known))
        known.append(Known(finding.number, failure.name, tuple(outcome.actions), outcome.repeats))
        asked = replace(asked, without=(*asked.without, failure.name))
        resume = None
