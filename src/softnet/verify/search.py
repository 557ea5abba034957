# SPDX-License-Identifier: GPL-2.0-or-later
"""A search: run in slices within its limits, and its verdict."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from softnet.verify import checkpoint, ownership
from softnet.verify.arena import Failure, Limits, Machine
from softnet.verify.codegen.runtime import FAILED
from softnet.verify.inside import words
from softnet.verify.inside.harness import VX_LOCK_ORDER
from softnet.verify.liveness import Liveness
from softnet.verify.model import Config, applies, store_buffer

SLICE_STATES = 20_000


@dataclass
class Outcome:
    """The verdict on one configuration, with the figures of the search."""

    config: Config
    verdict: str
    """``holds (exhausted)``, with the memory model and what hash compaction may have omitted, ``violated``, or
    ``inconclusive``.
    """
    why: str
    states: int
    transitions: int
    depth: int
    terminals: int
    frontier: int
    failure: Failure | None = None
    actions: list[int] = field(default_factory=list)
    bytes_used: int = 0
    storage: str = "exact"
    repeats: int = 0
    """How many of the last actions repeat for ever; 0 for a violation of safety."""

    @property
    def holds(self) -> bool:
        """Whether the search was exhausted and found nothing."""
        return self.verdict.startswith("holds")


Progress = Callable[[int, int, int], bool]
"""Called with (states, transitions, states that wait to be expanded); False stops the search."""


def search(
    config: Config, limits: Limits | None = None, progress: Progress | None = None, *, save: Path | None = None,
    resume: Path | None = None,
) -> Outcome:  # fmt: skip
    """Explore a configuration. Ctrl-C and limits end the search cleanly: the verdict is then inconclusive.

    An inconclusive search is written to ``save``, and goes on from there with ``resume``. Raises SoftnetError for a file of
    another kernel or configuration.
    """
    outcome = _decided(config, limits, progress, save, resume)
    if outcome.failure is not None and outcome.failure.address:
        from softnet.verify.replay.places import told

        return replace(outcome, failure=told(config, outcome.actions, outcome.failure))
    return outcome


def _decided(config: Config, limits: Limits | None, progress: Progress | None, save: Path | None, resume: Path | None) -> Outcome:
    """The search, with owners where a plain one gets too large."""
    if not applies(config):
        return _search(config, limits, progress, save, resume)
    plain = replace(config, owned=False)
    bounds = limits or Limits()
    outcome = None
    if resume is None or not checkpoint.owned(resume):
        # Small ones, and what breaks soon, need no assumptions: the states are those of docs/verify.md's definition.
        few = bounds if resume is not None else replace(bounds, states=min(bounds.states, PLAIN_STATES))
        outcome = _search(plain, few, progress, save, resume)
        if outcome.why != AT_THE_LIMIT or few.states == bounds.states:
            return replace(outcome, config=config)
    outcome = _search(config, bounds, progress, save, resume)
    if outcome.failure is None and outcome.why != BY_CHANCE:
        return outcome
    # The shortest schedule is told in steps that assume nothing.
    shortest = _search(plain, bounds, progress, None, None)
    if shortest.verdict == "inconclusive" and outcome.failure is not None:
        shortest.why += f", before a schedule that violates {outcome.failure.name}, which there is, was found"
    return replace(shortest, config=config)


PLAIN_STATES: Final = 100_000
"""A search with more states than this begins anew with owners (softnet.verify.ownership)."""
HASTY_STATES: Final = 200_000
"""Hasty code took 4 us longer for a state of 6.12-rt, and building optimised code 1.3 to 2 s: as much as 300,000 to 500,000 states.
It is less than that, since what was searched until then is lost."""
OUTGROWN: Final = "too large for hasty code"
BY_CHANCE: Final = "a run by chance failed"
AT_THE_LIMIT: Final = "memory or state limit"
TIMED_OUT: Final = "stopped at the time limit"


def _search(config: Config, limits: Limits | None, progress: Progress | None, save: Path | None, resume: Path | None) -> Outcome:
    """One search, begun anew as often as what it assumes of owners turns out wrong, and once when it outgrows hasty code."""
    machine = Machine(config, limits, hasty=resume is None)
    if resume is not None:
        checkpoint.load(machine, resume)
    else:
        machine.settle()
    machine, code, why = explored(machine, progress, resumed=resume is not None)
    outcome = _outcome(machine, config, code, why)
    if save is not None and code in (words.VX_MORE, words.VX_FULL):
        checkpoint.save(machine, save)
    return outcome


def explored(machine: Machine, progress: Progress | None = None, *, resumed: bool = False) -> tuple[Machine, int, str]:
    """Search from where a machine has settled, or stopped: the machine that came to the end, the code, and why it stopped."""
    touched = ownership.Touched()
    code = words.VX_MORE
    if not resumed:
        code = _begin(machine, touched)
    while code != words.VX_FULL:
        code, why = _run(machine, code, progress)
        if why == OUTGROWN:
            machine = machine.another()
        elif code != words.VX_DISOWNED:
            return machine, code, why
        else:
            ownership.note(machine, touched)
            machine.again()
        code = _begin(machine, touched)
    return machine, code, BY_CHANCE


def _begin(machine: Machine, touched: ownership.Touched) -> int:
    """Give a machine its owners and holders, and store its first state; the code, VX_FULL where a run by chance failed that was
    to tell owners.
    """
    config = machine.model.config
    if (machine.owned or config.races) and not touched.attempts:
        ownership.learn(machine, touched)
        if touched.failed:
            if machine.owned:
                return words.VX_FULL
            # What the run found is found again, by the shortest way.
            machine.again()
    touched.attempts += 1
    if machine.owned:
        machine.own(*ownership.owners(machine, touched))
    if config.races:
        machine.hold(ownership.holders(machine, touched))
    return machine.start()


def _run(machine: Machine, code: int, progress: Progress | None) -> tuple[int, str]:
    """Explore in slices until the search ends or is stopped: its code, and why it was stopped."""
    why = ""
    with _interrupts() as interrupted:
        while code == words.VX_MORE and not why:
            code = machine.explore(SLICE_STATES)
            if machine.get("shared"):
                # What was thought to be one context's own is not: some accesses to it were not looked at.
                code = words.VX_DISOWNED
            figures = machine.get("states"), machine.get("transitions"), machine.get("states") - machine.get("head")
            if progress is not None and not progress(*figures) and code == words.VX_MORE:
                why = TIMED_OUT
            if interrupted:
                why = "interrupted"
            if machine.hasty and not why and code == words.VX_MORE and machine.get("states") >= HASTY_STATES:
                why = OUTGROWN
    return code, why


@contextlib.contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Ctrl-C is noted in the list, and heard between two slices: so no table is left half written."""
    noted: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before in (signal.SIG_IGN, None):
        yield noted
        return
    signal.signal(signal.SIGINT, lambda number, frame: noted.append(number))
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


def omission(states: int) -> float:
    """With hash compaction: a bound on the probability that any state was taken for another one.

    Each of n (n - 1) / 2 pairs of states has the same 64 bits with probability 2**-64.
    """
    return states**2 / 2.0**65


def exhausted(probability: float, entries: int = 0) -> str:
    """The verdict of a search that came to its end; ``probability`` is omission()'s, 0 for exact storage; with x86-TSO's
    store buffers of that many ``entries``.
    """
    parts = ["exhausted"]
    if entries:
        parts.append(f"x86-TSO with {entries}-entry store buffers")
    if probability:
        parts.append(f"hash compaction: P(omission) < {upwards(probability)}")
    return f"holds ({', '.join(parts)})"


def upwards(probability: float) -> str:
    """With one digit, rounded up."""
    exponent = math.floor(math.log10(probability))
    digit = math.ceil(probability / 10.0**exponent)
    return f"{digit if digit < 10 else 1}e{exponent if digit < 10 else exponent + 1}"


def _outcome(machine: Machine, config: Config, code: int, why: str) -> Outcome:
    get = machine.get
    failure = None
    actions: list[int] = []
    cycle_from = 0
    cycle = machine.lock_cycle() if code in (words.VX_DONE, words.VX_MORE, words.VX_FULL) else None
    if cycle is not None and get("properties") >> VX_LOCK_ORDER & 1:
        verdict = "violated"
        failure = Failure("lock order", cycle[0])
        actions = [*machine.path(cycle[1] >> 8), cycle[1] & 0xFF]
    elif code == words.VX_DONE:
        verdict = exhausted(omission(get("states")) if machine.compact else 0.0, store_buffer(config))
        if config.liveness and machine.compact:
            verdict, why = "inconclusive", "liveness needs exact storage"
        elif config.liveness:
            liveness = Liveness(machine)
            room = liveness.collect()
            lasso = liveness.check() if room else None
            if not room:
                verdict, why = "inconclusive", "no room for the graph that liveness needs"
            elif lasso is not None:
                verdict = "violated"
                failure = Failure(*_named(machine, lasso.number))
                actions, cycle_from = [*machine.path(lasso.state), *lasso.cycle], len(lasso.cycle)
        if failure is None and not get("terminals"):
            # What must hold in the end was asked nowhere.
            verdict, why = "inconclusive", why or "no schedule comes to an end; --liveness says whether a fair one does"
    elif code in (words.VX_VIOLATION, words.VX_MACHINE, FAILED):
        verdict = "violated"
        failure = machine.failure(code)
        actions = machine.parents()
    else:
        verdict = "inconclusive"
        why = why or AT_THE_LIMIT
    return Outcome(
        config, verdict, why, get("states"), get("transitions"), get("depth"), get("terminals"), get("states") - get("head"),
        failure, actions, machine.bytes_used(), machine.limits.storage, cycle_from,
    )  # fmt: skip


def _named(machine: Machine, number: int) -> tuple[str, str]:
    found = machine.model.properties[number]
    return found.name, found.text


__all__ = ["FAILED", "Failure", "Limits", "Machine", "Outcome", "exhausted", "omission", "search"]
