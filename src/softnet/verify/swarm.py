# SPDX-License-Identifier: GPL-2.0-or-later
"""A swarm: bounded searches of one configuration in differently seeded orders, and what they come to together.

Holzmann, Joshi, Groce, "Swarm Verification Techniques" (2011). Each member keeps three bits of a state
(softnet.verify.inside.swarm), so it may take a new state for one that it met: a swarm finds violations, and never says that
anything holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from softnet.verify.cover import Cover, cover_of
from softnet.verify.verdict import Verdict, Why

if TYPE_CHECKING:
    from softnet.verify.arena import Limits
    from softnet.verify.model import Config
    from softnet.verify.search import Outcome


def members_of(configs: Sequence[Config], limits: Limits, swarm: int, seed: int) -> tuple[list[Config], list[Limits]]:
    """The searches of each configuration's swarm, one after the other."""
    own = [replace(limits, storage="bitstate", seed=seed + n) for n in range(swarm)]
    return [config for config in configs for _ in own], own * len(configs)


def swarm_outcome(members: Sequence[Outcome], seed: int) -> Outcome:
    """What the members of a configuration's swarm come to. The last may have found a violation, or been interrupted."""
    last = members[-1]
    told = [outcome for outcome in members if outcome.sample is not None]
    samples = [outcome.sample for outcome in told if outcome.sample is not None]
    cover = cover_of(samples, [o.states for o in told], seed) if samples else Cover(len(members), seed, 0, 0)
    premises: Counter[str] = Counter()
    for outcome in told:
        premises.update(outcome.premises)
    whys = [outcome.why for outcome in members if outcome.why not in (None, Why.BOUNDED)]
    return replace(
        last,
        why=(whys[-1] if whys else Why.BOUNDED) if last.verdict is Verdict.INCONCLUSIVE else None,
        states=sum(o.states for o in members), transitions=sum(o.transitions for o in members),
        depth=max(o.depth for o in members), terminals=sum(o.terminals for o in members),
        frontier=0, bytes_used=max(o.bytes_used for o in members), premises={p: premises[p] for p in last.premises or premises},
        known=tuple({k.property: k for o in members[::-1] for k in o.known[::-1]}.values())[::-1], sample=None, swarm=cover,
        list_unknown=any(o.list_unknown for o in members), stuck_with_skbs=any(o.stuck_with_skbs for o in members),
        changes=next((o.changes for o in members if o.changes), ()),
    )  # fmt: skip


def swarms(found: Iterator[tuple[Outcome, float]], swarm: int, seed: int) -> Iterator[tuple[Outcome, float]]:
    """The outcomes of swarms from those of their members, in their order; a violation, or Ctrl-C, is the end of a swarm."""
    members: list[tuple[Outcome, float]] = []
    for one in found:
        members.append(one)
        if len(members) == swarm or one[0].failure is not None or one[0].why is Why.INTERRUPTED:
            yield swarm_outcome([outcome for outcome, _ in members], seed), sum(seconds for _, seconds in members)
            members = []
