# SPDX-License-Identifier: GPL-2.0-or-later
"""A search: run in slices within its limits, and its verdict."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from softnet.files import users_key
from softnet.properties.numbers import VX_LOCK_ORDER
from softnet.verify import checkpoint, ownership
from softnet.verify.arena import Arena, Failure, Limits, Sample
from softnet.verify.codegen.runtime import FAILED
from softnet.verify.cores import explore_together
from softnet.verify.cover import Cover
from softnet.verify.inside import words
from softnet.verify.liveness import Liveness
from softnet.verify.model import Config, applies, asks_races
from softnet.verify.verdict import Verdict, Why

SLICE_STATES = 5_000


@dataclass(frozen=True)
class Known:
    """A violation that is a finding on the shipped kernel: its number, the property, and the schedule."""

    finding: str
    property: str
    actions: tuple[int, ...]
    repeats: int = 0


@dataclass
class Outcome:
    """The verdict on one configuration, with the figures of the search."""

    config: Config
    verdict: Verdict
    why: Why | None
    """Why it is inconclusive."""
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
    premises: dict[str, int] = field(default_factory=dict)
    """Property -> how often there was what it is about, of those that are about something."""
    known: tuple[Known, ...] = ()
    """Violations that are findings on the shipped kernel; what else there is was searched for without them."""
    list_unknown: bool = False
    """Whether the harness does not know where this kernel keeps deferred skbs (softnet.properties.where)."""
    stuck_with_skbs: bool = False
    """Whether a schedule came to its end with a stuck task that has skbs: conservation is not decided there."""
    changes: tuple[str, ...] = ()
    """What each patch changes, in words."""
    sample: Sample | None = None
    """Of a member of a swarm."""
    swarm: Cover | None = None
    """Of a whole swarm: how many members, and what they covered."""
    known_violation: str = ""
    """The property that a schedule violates which an inconclusive search knows of, but has not found the shortest of."""

    @property
    def holds(self) -> bool:
        """Whether the search was exhausted and found nothing."""
        return self.verdict is Verdict.HOLDS


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
    if save is not None:
        users_key()  # that it can be kept is known before the search, not after it
    outcome = _decided(config, limits, progress, save, resume)
    if outcome.failure is not None and outcome.failure.address:
        from softnet.verify.replay.places import told

        return replace(outcome, failure=told(config, outcome.actions, outcome.failure))
    return outcome


def _decided(config: Config, limits: Limits | None, progress: Progress | None, save: Path | None, resume: Path | None) -> Outcome:
    """The search, with owners where a plain one gets too large."""
    if limits is not None and limits.storage == "bitstate":
        return replace(_search(replace(config, owned=False), limits, progress, save, resume), config=config)
    if not applies(config):
        return _search(config, limits, progress, save, resume)
    plain = replace(config, owned=False)
    bounds = limits or Limits()
    outcome = None
    if resume is None or not checkpoint.owned(resume):
        # Small ones, and what breaks soon, need no assumptions: the states are those of docs/verify.md's definition.
        few = bounds if resume is not None else replace(bounds, states=min(bounds.states, PLAIN_STATES), cores=1)
        outcome = _search(plain, few, progress, save, resume)
        if outcome.why is not Why.SPACE_LIMIT or few.states == bounds.states:
            return replace(outcome, config=config)
    outcome = _search(config, bounds, progress, save, resume)
    if outcome.failure is None and outcome.why is not Why.RANDOM_RUN_FAILED:
        return outcome
    # The shortest schedule is told in steps that assume nothing.
    shortest = _search(plain, bounds, progress, None, None)
    if shortest.verdict is Verdict.INCONCLUSIVE and outcome.failure is not None:
        shortest.known_violation = outcome.failure.name
    return replace(shortest, config=config)


PLAIN_STATES: Final = 100_000
"""A search with more states than this begins anew with owners (softnet.verify.ownership)."""


def _search(config: Config, limits: Limits | None, progress: Progress | None, save: Path | None, resume: Path | None) -> Outcome:
    """One search, begun anew as often as what it assumes of owners turns out wrong."""
    known = ""
    if limits is not None and limits.cores > 1:
        found = _together(config, limits, progress)
        if isinstance(found, Outcome):
            return found
        # The shortest schedule is one thread's to find.
        known, limits = found, replace(limits, cores=1)
    machine = Arena(config, limits, hasty=resume is None)
    machine.settle()  # also of a search that goes on, which may have to begin anew
    if resume is not None:
        checkpoint.load(machine, resume)
    code, why, at_once = explored(machine, progress, resumed=resume is not None)
    outcome = _outcome(machine, config, code, why, at_once)
    if save is not None and code in (words.VX_MORE, words.VX_FULL):
        checkpoint.save(machine, save)
    if outcome.verdict is Verdict.INCONCLUSIVE:
        outcome.known_violation = known
    return outcome


def _together(config: Config, limits: Limits, progress: Progress | None) -> Outcome | str:
    """One search by several threads; where one found a violation, the name of that."""
    machine = Arena(config, limits, hasty=True)
    machine.settle()
    code, why, _ = explored(machine, progress)
    if code not in (words.VX_DONE, words.VX_MORE, words.VX_FULL):
        return machine.found or machine.failure(code).name
    if machine.lock_cycle() is not None and machine.get("properties") >> VX_LOCK_ORDER & 1:
        return "lock order"
    return _outcome(machine, config, code, why)


def explored(machine: Arena, progress: Progress | None = None, *, resumed: bool = False) -> tuple[int, Why | None, bool]:
    """Search from where a machine has settled, or stopped: the code, why it stopped, and whether that was in the first state."""
    touched = ownership.Touched()
    code = words.VX_MORE if resumed else _begin(machine, touched)
    at_once = False
    while code != words.VX_FULL:
        at_once = code != words.VX_MORE
        code, why = (_run if machine.limits.cores == 1 else _run_together)(machine, code, progress)
        if code == words.VX_MORE and why is None and machine.outgrew():
            try:
                machine.optimise()
            except KeyboardInterrupt:
                return code, Why.INTERRUPTED, False
            continue
        if code != words.VX_DISOWNED:
            return code, why, at_once
        ownership.note(machine, touched)
        machine.again()
        code = _begin(machine, touched)
    return code, Why.RANDOM_RUN_FAILED, at_once


def _begin(machine: Arena, touched: ownership.Touched) -> int:
    """Give a machine its owners and holders, and store its first state; the code, VX_FULL where a run by chance failed that was
    to tell owners.
    """
    config = machine.model.config
    if (machine.owned or asks_races(config)) and not touched.attempts:
        ownership.learn(machine, touched)
        if touched.failed:
            if machine.owned:
                return words.VX_FULL
            # What the run found is found again, by the shortest way.
            machine.again()
    touched.attempts += 1
    if machine.owned:
        machine.own(*ownership.owners(machine, touched))
    if asks_races(config):
        machine.look_for_races(ownership.read_only(machine, touched))
    return machine.start()


def _run(machine: Arena, code: int, progress: Progress | None) -> tuple[int, Why | None]:
    """Explore in slices until the search ends, is stopped or outgrows hasty code: its code, and why it was stopped."""
    why: Why | None = None
    with _interrupts() as interrupted:
        while code == words.VX_MORE and why is None:
            code = machine.explore(SLICE_STATES)
            if machine.get("unasked"):
                # What nobody was thought to write is written: some accesses to it were not looked at.
                code = words.VX_DISOWNED
            figures = machine.get("states"), machine.get("transitions"), machine.get("states") - machine.get("head")
            if progress is not None and not progress(*figures) and code == words.VX_MORE:
                why = Why.TIME_LIMIT
            if interrupted:
                why = Why.INTERRUPTED
            if machine.outgrew():
                break
    return code, why


def _run_together(machine: Arena, code: int, progress: Progress | None) -> tuple[int, Why | None]:
    """Explore with several threads until the search ends or is stopped: its code, and why it was stopped."""
    if code != words.VX_MORE:
        return code, None
    why: Why | None = None
    with _interrupts() as interrupted:

        def goes_on(states: int, transitions: int, frontier: int) -> bool:
            nonlocal why
            if progress is not None and not progress(states, transitions, frontier):
                why = Why.TIME_LIMIT
            if interrupted:
                why = Why.INTERRUPTED
            return why is None

        code = explore_together(machine, machine.limits.cores, goes_on)
    return code, why if code == words.VX_MORE else None


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


def _outcome(machine: Arena, config: Config, code: int, why: Why | None, at_once: bool = False) -> Outcome:
    """``at_once``: the search ended in the first state, before any action."""
    get = machine.get
    failure = None
    actions: list[int] = []
    cycle_from = 0
    sample = machine.sample()
    cycle = machine.lock_cycle() if code in (words.VX_DONE, words.VX_MORE, words.VX_FULL) else None
    if cycle is not None and get("properties") >> VX_LOCK_ORDER & 1:
        verdict = Verdict.VIOLATED
        failure = Failure("lock order", cycle[0])
        actions = [*machine.path(cycle[1] >> 8), cycle[1] & 0xFF]
    elif code == words.VX_DONE:
        verdict = Verdict.HOLDS
        if machine.bitstate:
            verdict, why = Verdict.INCONCLUSIVE, Why.BOUNDED
        elif config.liveness and machine.compact:
            verdict, why = Verdict.INCONCLUSIVE, Why.LIVENESS_NEEDS_EXACT_STORAGE
        elif config.liveness:
            liveness = Liveness(machine)
            room = liveness.collect()
            lasso = liveness.check() if room else None
            if not room:
                verdict, why = Verdict.INCONCLUSIVE, Why.NO_ROOM_FOR_LIVENESS
            elif lasso is not None:
                verdict = Verdict.VIOLATED
                failure = Failure(*_named(machine, lasso.number))
                actions, cycle_from = [*machine.path(lasso.state), *lasso.cycle], len(lasso.cycle)
        if failure is None and not get("terminals"):
            # What must hold in the end was asked nowhere.
            verdict, why = Verdict.INCONCLUSIVE, why or Why.NO_END
        if failure is None and get("open_full"):
            verdict, why = Verdict.INCONCLUSIVE, why or Why.TOO_MANY_OPEN
    elif code in (words.VX_VIOLATION, words.VX_MACHINE, FAILED):
        verdict = Verdict.VIOLATED
        failure = machine.failure(code)
        actions = [] if at_once else machine.parents()
    else:
        verdict = Verdict.INCONCLUSIVE
        why = why or (Why.BOUNDED if machine.bitstate else Why.SPACE_LIMIT)
    return Outcome(
        config, verdict, why, get("states"), get("transitions"), get("depth"), get("terminals"), get("states") - get("head"),
        failure, actions, machine.bytes_used(), machine.limits.storage, cycle_from, machine.premises(),
        list_unknown=bool(machine.model.image.word("verify_env", 0, "list_unknown")), changes=machine.model.changes,
        stuck_with_skbs=machine.undecided(), sample=sample,
    )  # fmt: skip


def _named(machine: Arena, number: int) -> tuple[str, str]:
    found = machine.model.properties[number]
    return found.name, found.text


__all__ = ["FAILED", "Arena", "Failure", "Limits", "Outcome", "search"]
