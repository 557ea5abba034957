# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules: each is a function of the facts that yields findings. What no fact supports, no rule says."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from softnet.host.facts import Facts
from softnet.host.findings import Finding

Rule = Callable[[Facts], Iterator[Finding]]


def all_rules() -> tuple[Rule, ...]:
    """Every rule, in no order that matters."""
    from softnet.host.rules import backlog, cards, cpu, kernel, sockets, steering

    return (*backlog.RULES, *steering.RULES, *cards.RULES, *sockets.RULES, *cpu.RULES, *kernel.RULES)
