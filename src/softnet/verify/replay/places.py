# SPDX-License-Identifier: GPL-2.0-or-later
"""Of a data race, or a touch after the free: both places, both contexts, as KCSAN and KASAN say them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from softnet.verify.arena import Failure
from softnet.verify.codegen.points import FREES
from softnet.verify.inside import words
from softnet.verify.model import RACE, Config
from softnet.verify.replay.schedule import Access, NativeReplay

FREED = "freed"
WRITES = ("write", "buffer", "cmpxchg-new", "xchg-new", "add-new", "or-new", "and-new")


@dataclass(frozen=True)
class Touch:
    """An access of a schedule, and who made it in which step."""

    access: Access
    who: str
    ctx: int
    step: int

    def __str__(self) -> str:
        a = self.access
        if a.function == FREES:
            return f"{self.who} frees it"
        does = "writes" if a.what in WRITES else "reads"
        return f"{self.who} {does} it in {a.function}() ({a.file}:{a.line})"


def told(config: Config, actions: Sequence[int], failure: Failure) -> Failure:
    """The failure with what its schedule shows of it."""
    if failure.name == RACE:
        return _race(config, actions, failure)
    return _freed(config, actions, failure) if failure.name == FREED else failure


def _race(config: Config, actions: Sequence[int], failure: Failure) -> Failure:
    before = actions[:-1]
    second = _touches(config, actions, failure.address)[-1:]
    if failure.other >= 0:
        first = [t for t in _touches(config, before, failure.address) if t.ctx == failure.other][-1:]
    else:
        # What the other CPU would do next, from where the last step begins: it goes on, or an interrupt strikes it.
        other = words.VX_PER_CPU * (-1 - failure.other)
        ways = (_touches(config, [*before, action], failure.address) for action in (other, other + 1))
        first = next((found for way in ways if (found := [t for t in way if t.step == len(actions)][-1:])), [])
    if not first or not second:
        return failure
    name = first[0].access.leaf
    what = f"{name.table}[{name.index}].{name.path}" if name is not None else hex(failure.address)
    text = f"{what}: {first[0]}; {second[0]}; nothing orders the two"
    return replace(failure, text=text, where=f"{second[0].access.file}:{second[0].access.line}")


def _freed(config: Config, actions: Sequence[int], failure: Failure) -> Failure:
    """The last store to the skb's state is its free."""
    skb = _skb(config, failure.address)
    frees = [t for t in _touches(config, actions, 0) if t.access.what in WRITES and _is_state(t.access, skb) and not t.access.value]
    if not frees:
        return failure
    a = frees[-1].access
    return replace(
        failure, text=f"{failure.text}; {frees[-1].who} freed it in step {frees[-1].step} ({a.function}(), {a.file}:{a.line})"
    )


def _skb(config: Config, address: int) -> int:
    """The number of the skb in which a word lies."""
    table = NativeReplay(config).image.layout.tables["sk_buff"]
    return (address - table.base) // table.stride


def _is_state(access: Access, skb: int) -> bool:
    leaf = access.leaf
    return leaf is not None and leaf.table == "sk_buff" and leaf.index == skb and leaf.path == "state"


def _touches(config: Config, actions: Sequence[int], address: int) -> list[Touch]:
    """All accesses of a schedule, or those to a word."""
    engine = NativeReplay(config)
    out = []
    for number, action in enumerate(actions, 1):
        step, _ = engine.step(number, action)
        ctx = engine.machine.word("ctx")
        who = engine.model.context_name(ctx) if step.cpu >= 0 and ctx >= 0 else step.context
        out += [Touch(a, who, ctx, number) for a in step.accesses if a.call == "" and (not address or a.address == address)]
    return out
