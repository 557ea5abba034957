# SPDX-License-Identifier: GPL-2.0-or-later
"""Ownership: a reduction by what a search has assumed, and checks at every access, of who touches which word.

A context stops before an access that another CPU could see. Which words others touch depends on the configuration: where
nobody steers packets to CPU 1, nobody but CPU 1 looks at its backlog. Runs by chance note who touches what. Then the search
assumes that a word that only one CPU touched is that CPU's *own*, and that one that nobody wrote is never written:

- an access to an own word is a both-mover with regard to other CPUs (Lipton), and counts only while an interrupt may strike;
- a read of a word that is never written is no stop at all;
- if a CPU's whole machine (its registers, run queue, tasks, interrupt lines) is its own, and nothing is pending and nobody
  waits there, no interrupt can strike and its scheduler's steps are nobody's business, over switches of tasks as well.

Every access checks the assumptions. One that does not hold is dropped, and the search begins anew; so what it finds at its
end was found without any access against them. That this suffices is the argument of Stoller and Cohen, "Optimistic
synchronization-based state-space reduction" (2003): of all runs of the unreduced system take a shortest one that breaks an
assumption; up to there all assumptions hold, so the reduction theorem gives a reduced run with the same access.

What the properties of every state read stays a stop, so that no state is hidden from them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from softnet.lang import ir
from softnet.lang.declare import PERCPU, PRIVATE
from softnet.lang.native.abi import RUN_WORDS
from softnet.verify.codegen.points import reachable
from softnet.verify.inside import words
from softnet.verify.model import SEARCHES, asks_races, machine_words, not_state

if TYPE_CHECKING:
    from softnet.verify.arena import Arena
    from softnet.verify.model import Model

WALKS: Final = 400
"""Runs by chance."""
WALKS_FOR_RACES: Final = 40
"""Where it matters only which words nobody writes."""
RESTARTS_MAX: Final = 40
"""After so many searches nothing is assumed any more."""


@dataclass
class Touched:
    """What was seen of who touches what, over all attempts of a search."""

    masks: dict[int, int] = field(default_factory=dict)
    """Address -> bits of CPUs."""
    plain: dict[int, int] = field(default_factory=dict)
    """Address of a word of one holder -> 1 if it is read, and 1 << 32 if it is written."""
    attempts: int = 0
    failed: bool = False
    """Whether a run by chance ended in a failure: then the plain search will, too."""


def looked_at(model: Model) -> frozenset[str]:
    """The fields that the properties of every state read."""
    found: set[str] = set()
    for name in reachable(model.module, ["verify_state"], model.program):
        for block in model.module.functions[name].blocks:
            found |= {i.place.field for i in block.body if isinstance(i, ir.Load)}
    return frozenset(found)


def owners(machine: Arena, touched: Touched) -> tuple[dict[int, int], list[int]]:
    """What a search assumes: address -> owner, and for each CPU whether it is untouched."""
    model = machine.model
    homes = machine_words(model)
    looked = looked_at(model)
    structs, outside = model.program.structs, not_state(model.program)
    found: dict[int, int] = {}
    untouched = [1] * model.config.cpus
    if touched.attempts > RESTARTS_MAX:
        return found, [0] * model.config.cpus
    for address, leaf in model.words_of.items():
        if leaf.what not in model.changing or leaf.table in outside:
            continue
        mask = touched.masks.get(address, 0)
        written, both = mask >> 32, (mask | mask >> 32) & 0xFFFFFFFF
        home = homes.get(address, -1)
        if home >= 0:
            if not both & ~(1 << home):
                found[address] = home + 1
            elif not written:
                found[address] = words.VX_READ_ONLY
            else:
                untouched[home] = 0
        elif leaf.what in looked or structs[leaf.table].settings:
            continue
        elif not written:
            found[address] = words.VX_READ_ONLY
        elif both.bit_count() == 1:
            found[address] = both.bit_length()
    return found, untouched


def learn(machine: Arena, touched: Touched) -> None:
    """Runs by chance from the first state, which note who touches what. The machine is as before, unless one failed."""
    model = machine.model
    if machine.owned:
        outside = not_state(model.program)
        addresses = [a for a, leaf in model.words_of.items() if leaf.what in model.changing and leaf.table not in outside]
        machine.own(dict.fromkeys(addresses, words.VX_LEARNING), [0] * model.config.cpus)
    if asks_races(model.config):
        machine.look_for_races(dict.fromkeys(words_of_one_holder(model), words.VX_LEARNING))
    begin = max(RUN_WORDS.values()) + 1
    first = machine.words[begin : machine.after_stacks].copy()
    walk = SEARCHES.index("vx_walk")
    for seed in range(WALKS if machine.owned else WALKS_FOR_RACES):
        if machine.call(walk, 1 + seed + WALKS * touched.attempts) < 0:
            touched.failed = True
            break
        machine.words[begin : machine.after_stacks] = first
    note(machine, touched)
    machine.set(disowned=0)


def words_of_one_holder(model: Model) -> list[int]:
    """The words that a race may be about: of kind private or percpu, and stored to by some function."""
    if not model.one_holder:
        kinds = {f"{s.name}.{f.name}": f.kind for s in model.program.structs.values() for f in s.fields.values()}
        fields = {what for what in model.changing if kinds.get(what) in (PRIVATE, PERCPU)}
        model.one_holder += [a for a, leaf in model.words_of.items() if leaf.what in fields]
    return model.one_holder


def read_only(machine: Arena, touched: Touched) -> dict[int, int]:
    """Which words nobody writes, as far as was seen.

    It saves a look at each access; that somebody does write such a word is noticed, and the search begins anew. (To leave out what
    one context has to itself saves less than it costs: a context that comes late to a word makes a search begin anew.)
    """
    found: dict[int, int] = {}
    if touched.attempts > RESTARTS_MAX:
        return found
    for address in words_of_one_holder(machine.model):
        if not touched.plain.get(address, 0) >> 32:
            found[address] = words.VX_READ_ONLY
    return found


def note(machine: Arena, touched: Touched) -> None:
    """Take what a machine saw into account."""
    for name, seen in (("touched", touched.masks), ("race_masks", touched.plain)):
        masks = machine.regions.get(name, ())
        for address in _numpy().flatnonzero(masks).tolist():
            seen[address] = seen.get(address, 0) | int(masks[address])


def _numpy() -> Any:
    import numpy as np

    return np
