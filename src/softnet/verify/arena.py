# SPDX-License-Identifier: GPL-2.0-or-later
"""A configuration's memory and native code, and the tables of its search."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import mmap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from softnet.errors import SoftnetError
from softnet.lang.native.abi import FAILURES, RUN_WORDS, STACK_BYTES
from softnet.lang.native.switch_runtime import FRAME_ARGUMENT, FRAME_FUNCTION, FRAME_RETURN, FRAME_WORDS
from softnet.machine import state
from softnet.properties.numbers import VX_LOCK_ORDER
from softnet.properties.statements import in_order
from softnet.verify.codegen.llvm_functions import LOG, OWNERS_BYTES, UNDO_WORDS
from softnet.verify.codegen.runtime import FAILED, LOG_ROOM
from softnet.verify.compiled import code_of
from softnet.verify.inside import races, words
from softnet.verify.lock_order import Locks
from softnet.verify.model import RACE, SEARCHES, STACK_WORDS, Config, applies, build_model, components, machine_words, nr_actions
from softnet.verify.properties import properties_mask

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from softnet.verify.model import Model

LOAD_PERCENT: Final = 78
"""How full the table of fingerprints may be: linear probing looks at three entries then, mostly in one cache line."""
BYTES_A_PRINT: Final = 24
"""Twice what a place for a fingerprint costs: 8 bytes and, at that load, 4 of the trail."""
PRINTS_BITS: Final = 16
"""It begins with so many bits of index and doubles."""
HASTY_STATES: Final = 700_000
"""A search with more states than this goes on with optimised code. Hasty code took 5 us longer for a state of 6.12-rt, and building
optimised code 3.5 s of two processors: as much as 700,000 states. So no search takes twice as long as with the better choice."""


LEVELS_MAX: Final = 1 << 16
"""Of a member's path."""
EVERYTHING: Final = (1 << 63) - 1
"""No hash in a sample is as large."""
SAMPLE_MAX: Final = 4096
"""States in a member's sample, after each slice."""
SAMPLE_ROOM: Final = 1 << 16


class Sample(NamedTuple):
    """Of the states that a member of a swarm met: the hashes that are smaller than ``below``, of hashes up to EVERYTHING."""

    below: int
    hashes: tuple[int, ...]


@dataclass
class Limits:
    """Where a search stops unfinished."""

    states: int = 20_000_000
    memory_bytes: int = 4 << 30
    storage: str = "exact"
    """``exact``; ``compact``: of a state that was expanded only a fingerprint of 64 bits is kept; ``bitstate``: three bits of each
    state, in a search that is a member of a swarm (softnet.verify.swarm)."""
    seed: int = 0
    """A member's order and hashes."""
    cores: int = 1
    """Threads of one search, with compact storage (softnet.verify.cores)."""


@dataclass
class Failure:
    """What a search found."""

    name: str
    text: str
    where: str = ""
    also: tuple[str, ...] = ()
    """Other properties that do not hold in the same state."""
    address: int = field(default=0, compare=False)
    """Of a race or a touch after the free: the word."""
    other: int = field(default=0, compare=False)
    """Of a race: the other context, or -1 - the CPU whose next step touches it."""


def machine_failure(error: int) -> Failure:
    """What the machine found wrong, by its number."""
    name = {
        state.ERROR_SPIN_RECURSION: "spinlock recursion",
        state.ERROR_UNLOCK_NOT_OWNER: "unlock by another context",
        state.ERROR_SLEEP_IN_ATOMIC: "scheduling while atomic",
        state.ERROR_LOCKDEP: "lock not held",
    }.get(error, f"machine error {error}")
    return Failure(name, name)


def race_failure(model: Model, address: int, ctx: int, other: int, how: int) -> Failure:
    """A race: the word that two contexts touch at once, and who they are."""
    leaf = model.words_of[address]
    who = model.context_name(other) if other >= 0 else f"what CPU{-1 - other} runs"
    does = ("reads", "writes")[how & 1] + " by a marked access" * (how >> 1 & 1)
    text = f"{model.context_name(ctx)} {does} {leaf.table}[{leaf.index}].{leaf.path}, {who} touches it, and nothing orders the two"
    return Failure(RACE, text, address=address, other=other)


class Room:
    """Addresses of a memory that is still to be made."""

    def __init__(self, at: int) -> None:
        self.at = at

    def take(self, size: int, align: int = 1) -> int:
        """The beginning of ``size`` words."""
        begin = (self.at + align - 1) // align * align
        self.at = begin + size
        return begin


class Arena:
    """A model's memory and its native code."""

    def __init__(self, config: Config, limits: Limits | None = None, *, log: bool = False, hasty: bool = False) -> None:
        """``hasty``: unless optimised code is known, make do with code that is built in a tenth of the time and runs at half the
        speed; ``self.hasty`` says which it is.
        """
        import numpy as np

        self.limits = limits or Limits()
        self.compact = self.limits.storage == "compact"
        self.bitstate = self.limits.storage == "bitstate"
        self.words: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self.regions: dict[str, NDArray[np.int64]] = {}
        boot_model = build_model(config, log=log)
        self.model = boot_model
        self.owned = applies(config) and not log
        self._lay_out()
        self._compile(hasty)
        self.prepare: Callable[[Arena], None] | None = None
        """What changes the memory that a search begins with."""
        self.broken = False
        """Whether a function failed, so that the search's stack is of no use any more, until again()."""
        self.found = ""
        """The name of what one of several threads found violated."""
        self._prepare()

    # -- memory

    def _lay_out(self) -> None:
        """Image, frames, components, the undo log; then, in memory of their own, what grows with the states."""
        model = self.model
        room = Room(model.image.regions.size)
        self.stacks = room.take(model.nr_contexts * STACK_WORDS)
        self.after_stacks = room.at
        self.comps = components(model, self.stacks)
        self.locks = Locks.of(model.words_of)
        fixed = {
            **self._context_words(room),
            **self._asked(),
            **self._component_words(room),
            **self._ownership_words(room),
            **self._lock_words(room),
        }
        # What the actions of one state can add to the store at most.
        fixed["step_room"] = fixed["nr_actions"] * (fixed["nr_slots"] + fixed["nr_comps"])
        self._make_memory(room.at)
        self.set(**fixed)
        size = model.image.regions.size
        self.set(touched=self.region("touched", size))
        if model.config.races:
            self.set(race_masks=self.region("race_masks", size), early=self.region("early", 8 * model.config.cpus * size))
        self.words[fixed["locks"] : fixed["locks"] + self.locks.words] = self.locks.table()
        self._fill_components()
        self._fill_ownership()
        self._tables()

    def _context_words(self, room: Room) -> dict[str, int]:
        """The contexts' frames, and room for those of the one that runs, as they were."""
        return {"stacks": self.stacks, "stack_words": STACK_WORDS, "saved": room.take(STACK_WORDS)}

    def _asked(self) -> dict[str, int]:
        """What may happen, and what is asked of every state."""
        config = self.model.config
        return {
            "nr_actions": nr_actions(config),
            "nr_drivers": len(config.drivers),
            "level_end": 1,
            "properties": properties_mask(config.properties, self.model.properties, config.without),
            "sleeping_locks": int(config.preempt_rt),
        }

    def _component_words(self, room: Room) -> dict[str, int]:
        """The parts of a state: which word belongs to which, which have changed, and the undo log."""
        count, slots = len(self.comps.addresses), sum(map(len, self.comps.addresses))
        return {
            "part_of": room.take(self.stacks + self.model.nr_contexts * STACK_WORDS), "marks": room.take(slots),
            "marked": room.take(slots), "nr_comps": count, "comps": room.take(words.VX_COMP_WORDS * count),
            "frames_comp": self.comps.owners.index(1), "cur": room.take(count + 1), "want": room.take(count + 1),
            "key_words": (count + 1) // 2, "slots": room.take(slots), "nr_slots": slots, "shadow": room.take(slots),
            "pending": room.take(words.VX_PENDING_WORDS * 256), "log": room.take(2 * UNDO_WORDS, align=UNDO_WORDS),
            "value_bits": 32 - max(slots, 1).bit_length(),
        }  # fmt: skip

    def _ownership_words(self, room: Room) -> dict[str, int]:
        """Which CPUs nobody else touches, of whose machine a word is, and which stops give a CPU to another task."""
        return {
            "untouched": room.take(self.model.config.cpus),
            "machine_of": room.take(self.model.image.regions.size),
            "switches": room.take(len(self.model.frames.stops)),
        }

    def _lock_words(self, room: Room) -> dict[str, int]:
        """The locks, and in which order their classes were taken."""
        at, count = room.take(self.locks.words), len(self.locks.addresses)
        return {"locks": at, "nr_locks": count, "lock_classes": len(self.locks.classes), "lock_order": at + 2 * count}

    def _make_memory(self, size: int) -> None:
        """The memory, with the image at its beginning, and the search's own words by name."""
        import numpy as np

        image = self.model.image
        # The table of owners stands before S, that of holders before it; what is not touched of them takes no memory.
        self._take_memory(np.zeros(OWNERS_BYTES // 4 + size, dtype=np.int64))
        self.words[: image.regions.size] = np.array(image.memory, dtype=np.int64)
        explorer = image.layout.structs["explorer"].fields.values()
        self.field = {f.name: image.layout.tables["explorer"].base + f.offset for f in explorer}

    def _take_memory(self, memory: NDArray[np.int64]) -> None:
        self._memory = memory
        self.words = memory[OWNERS_BYTES // 4 :]
        tables = memory[: OWNERS_BYTES // 4].view("uint8")
        self.owners: NDArray[np.uint8] = tables[OWNERS_BYTES:]
        self.holders: NDArray[np.uint8] = tables[:OWNERS_BYTES]

    def twin(self) -> Arena:
        """Another memory like this one, for another thread, which has not the tables of states."""
        other = copy.copy(self)
        other._take_memory(self._memory.copy())
        other.regions = {}
        for name in ("touched", "race_masks", "early"):
            if name in self.regions:
                other.set(**{name: other.region(name, len(self.regions[name]))})
        other._new_log()
        other._new_stack()
        return other

    def _fill_components(self) -> None:
        """Of each component where its slots begin, how many, and whose frames they are; of each slot its address."""
        import numpy as np

        parts, slots, rows, part_of = self.comps.addresses, self.get("slots"), self.get("comps"), self.get("part_of")
        all_slots = np.concatenate([np.array(a, dtype=np.int64) for a in parts])
        self.words[slots : slots + len(all_slots)] = all_slots
        first = slots
        for k, addresses in enumerate(parts):
            row = rows + words.VX_COMP_WORDS * k
            self.words[row : row + 3] = [first, len(addresses), self.comps.owners[k]]
            numbers = np.arange(first, first + len(addresses)) - slots if self.compact else k
            self.words[part_of + np.array(addresses)] = numbers + 1
            first += len(addresses)

    def _fill_ownership(self) -> None:
        """Of each stop whether it gives the CPU away, and of each word of whose machine it is."""
        model, switches, machine_of = self.model, self.get("switches"), self.get("machine_of")
        for pc, stop in enumerate(model.frames.stops):
            self.words[switches + pc] = stop.what == "suspend"
        for address, home in machine_words(model).items():
            of_task = model.words_of[address].table == "task_struct"
            self.words[machine_of + address] = home + 1 + of_task * words.VX_TASK_WORD

    def _tables(self) -> None:
        """Empty tables of states."""
        if self.bitstate:
            self._swarm_tables()
        else:
            (self._compact_tables if self.compact else self._exact_tables)()

    def _exact_tables(self) -> None:
        """A state takes its row, an entry of the index at a load of at most 3/4, and a share of the values."""
        row = self.get("key_words") + 1
        share = self.limits.memory_bytes // 8
        states = min(self.limits.states, share * 2 // 3 // (row + 2)) + self.get("nr_actions")
        index = 1 << max((states * 4 // 3).bit_length(), 10)
        room = min(max(share // 4, 1 << 20), (1 << 32) - 1)
        table = 1 << max((room // 24).bit_length(), 16)
        self.set(
            max_states=states, index_mask=index - 1, ctable_mask=table - 1, store_room=room, store_used=1,
            index=self.region("index", index), ctable=self.region("ctable", table), store=self.region("store", room),
            pool=self.region("pool", states * row),
        )  # fmt: skip

    def _compact_tables(self) -> None:
        """At most half of memory for fingerprints and 5 bytes a state for its parent, the rest for two levels that wait."""
        share = self.limits.memory_bytes
        self.prints_bits_max = (share // BYTES_A_PRINT).bit_length() - 1
        states = min(self.limits.states, (1 << self.prints_bits_max) * LOAD_PERCENT // 100, (1 << 32) - 1)
        states += self.get("nr_actions")
        waiting = max(share - (8 << self.prints_bits_max) - 5 * states, share // 8) // 16
        queue = self.region("queue", waiting)
        other = self.region("other", waiting)
        self.set(
            max_states=states, trail=self.region("trail", states // 2 + 1),
            trail_action=self.region("trail_action", states // 8 + 1),
            queue=2 * queue, write_at=2 * queue, write_room=2 * (queue + waiting), read_at=2 * other, read_end=2 * other,
            other=2 * other, other_room=2 * (other + waiting),
        )  # fmt: skip
        self.set(recent=self.region("recent", words.VX_RECENT_WORDS))
        self.new_prints(min(PRINTS_BITS, self.prints_bits_max))

    def _swarm_tables(self) -> None:
        """At most three quarters of memory for the bits, the rest for the path and the children that wait along it."""
        bits = (8 * self.limits.memory_bytes * 3 // 4).bit_length() - 1
        room = self.limits.memory_bytes // 8 // 8
        levels = min(self.limits.states + 1, LEVELS_MAX)
        step = self.get("nr_actions") * words.VX_PENDING_WORDS + 2 * UNDO_WORDS
        waiting = self.region("waiting", room + step)
        self.set(
            max_states=self.limits.states, seed=3 * self.limits.seed, bits=2 * self.region("bits", 1 << (bits - 6)),
            bits_mask=(1 << bits) - 1, path=self.region("path", words.VX_LEVEL_WORDS * levels), path_n=0, path_room=levels,
            waiting_at=waiting, waiting_end=waiting + room, cut=0,
            sample=self.region("sample", SAMPLE_ROOM), sample_n=0, sample_room=SAMPLE_ROOM, sample_below=EVERYTHING,
        )  # fmt: skip

    def _thin_sample(self) -> None:
        """Of a sample that is large enough keep the half with the smaller hashes: it is of half as many states."""
        while (count := self.get("sample_n")) > SAMPLE_MAX:
            below = self.get("sample_below") // 2
            kept = self.regions["sample"][:count]
            kept = kept[kept < below]
            self.regions["sample"][: len(kept)] = kept
            self.set(sample_n=len(kept), sample_below=below)

    def sample(self) -> Sample | None:
        """What a member of a swarm noted of the states that it met."""
        if not self.bitstate:
            return None
        return Sample(self.get("sample_below"), tuple(sorted(self.regions["sample"][: self.get("sample_n")].tolist())))

    def new_prints(self, bits: int) -> None:
        """An empty table of fingerprints."""
        self.prints_bits = bits
        self.set(prints=self.region("prints", 1 << bits), prints_shift=64 - bits, prints_max=self.prints_max())

    def prints_max(self) -> int:
        """How many fingerprints the table takes."""
        return (1 << self.prints_bits) * LOAD_PERCENT // 100

    def queues(self) -> tuple[str, str]:
        """The regions of the level that is written and of the one that is read."""
        at = self.get("queue") // 2
        return ("queue", "other") if at == self.place("queue") else ("other", "queue")

    def halves(self, name: str) -> NDArray[np.uint32]:
        """A region in halves of words."""
        return self.regions[name].view("uint32")

    def place(self, name: str) -> int:
        """Where a region begins as an address."""
        return (int(self.regions[name].ctypes.data) - int(self.words.ctypes.data)) // 8

    def grow(self) -> None:
        """Double the table of fingerprints."""
        old, at = self.regions["prints"], self.get("prints")
        self.new_prints(self.prints_bits + 1)
        self.call(SEARCHES.index("vx_compact_grow"), at)
        del old

    def region(self, name: str, size: int) -> int:
        """Memory of its own, of ``size`` words, all 0; where it begins as an address. Pages that are not touched cost nothing."""
        # Private: the kernel gives huge pages to such memory, where a random access costs half.
        memory = mmap.mmap(-1, 8 * max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            with contextlib.suppress(OSError):
                memory.madvise(mmap.MADV_HUGEPAGE)
        import numpy as np

        self.regions[name] = np.frombuffer(memory, dtype=np.int64)
        return self.place(name)

    def own(self, owners: Mapping[int, int], untouched: Sequence[int]) -> None:
        """Assume who owns which word, and which CPUs nobody else touches (softnet.verify.ownership)."""
        self.owners[:] = 0
        for address, owner in owners.items():
            self.owners[OWNERS_BYTES - 1 - address] = owner
        at = self.get("untouched")
        self.words[at : at + len(untouched)] = untouched

    def look_for_races(self, but: Mapping[int, int]) -> None:
        """Look for races from now on (softnet.verify.inside.races), ``but`` not at words that nobody writes."""
        self.holders[:] = 0
        for address, holder in but.items():
            self.holders[OWNERS_BYTES - 1 - address] = holder
        self.set(races=1)

    def set(self, **values: int) -> None:
        """Words of the search."""
        for name, value in values.items():
            self.words[self.field[name]] = value

    def get(self, name: str) -> int:
        """A word of the search."""
        return int(self.words[self.field[name]])

    # -- code

    def _compile(self, hasty: bool) -> None:
        self._code, self.hasty = code_of(self.model, hasty=hasty)
        self._run = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(self._code.address("run"))

    def _prepare(self) -> None:
        """The search's own stack, and every context at its beginning."""
        self._new_stack()
        self._new_log()
        frames = self.model.frames
        for ctx in range(self.model.nr_contexts):
            root = "irq_context" if ctx < 2 * self.model.config.cpus else "task_context"
            entry = frames.resume.get(root) if root == "irq_context" else None
            base = self.stacks + ctx * STACK_WORDS
            self.words[base : base + 3] = [2, 2 + frames.frame_words[root], entry or frames.entries[root]]

    def _new_log(self) -> None:
        import numpy as np

        self._log = np.zeros((LOG_ROOM, 3), dtype=np.int64)
        self.words[LOG] = int(self._log.ctypes.data)

    def _new_stack(self) -> None:
        """The search's own stack, on which it begins at its first call."""
        import numpy as np

        self._region = mmap.mmap(-1, 2 * STACK_BYTES)
        region = np.frombuffer(self._region, dtype=np.int64)
        self._stack = region
        start = int(region.ctypes.data)
        first = -start % STACK_BYTES
        at = (first + STACK_BYTES) // 8 - 2 - FRAME_WORDS
        region[at + FRAME_ARGUMENT] = int(self.words.ctypes.data)
        region[at + FRAME_FUNCTION] = self._code.address("main_body")
        region[at + FRAME_RETURN] = self._code.address("enter")
        self.words[RUN_WORDS["resume"]] = start + 8 * at
        self.words[RUN_WORDS["stacks"]] = start + first

    def call(self, what: int, argument: int = 0) -> int:
        """Run one of the search's functions (softnet.verify.model.SEARCHES)."""
        self.words[RUN_WORDS["trace_room"]] = what
        self.words[RUN_WORDS["value"]] = argument
        result = int(self._run(int(self.words.ctypes.data)))
        self.broken = self.broken or result == FAILED
        return result

    # -- what happened

    def settle(self) -> None:
        """Let every CPU go to sleep before the search."""
        result = self.call(SEARCHES.index("vx_settle"), 10_000)
        if result < 0:
            failure = self.failure(result)
            raise SoftnetError("the configuration does not come to rest before the search", found=f"{failure.text} {failure.where}")

        self._first = self.words[: self.after_stacks].copy()
        if self.prepare is not None:
            self.prepare(self)

    def again(self) -> None:
        """As settle() left it, with empty tables, to begin the search anew. A search that was loaded from a file settles before."""
        stamp = self.get("stamp")
        # The engine's own words say where the search's stack stands, which may be another one by now.
        first = max(RUN_WORDS.values()) + 1
        self.words[first : self.after_stacks] = self._first[first:]
        for name, size in (("marks", self.get("nr_slots")), ("cur", self.get("nr_comps") + 1), ("want", self.get("nr_comps") + 1)):
            at = self.get(name)
            self.words[at : at + size] = 0
        at = self.get("locks")
        self.words[at : at + self.locks.words] = self.locks.table()
        self._tables()
        # What was noted under earlier stamps stays in the table of early accesses.
        self.set(stamp=stamp)
        if self.broken:
            # The word of the loops' turns holds what kind of failure it was.
            self._new_stack()
            self.words[words.VX_FUEL_WORD] = words.VX_FUEL
            self.broken = False
        if self.prepare is not None:
            self.prepare(self)

    def outgrew(self) -> bool:
        """Whether the search is so large that optimised code pays."""
        return self.hasty and self.get("states") >= HASTY_STATES

    def optimise(self, *twins: Arena) -> None:
        """Go on with optimised code. Between two calls all that a search knows is in memory, and nothing there is an address of
        code: a pc and a pointer to a function are numbers.
        """
        self._compile(hasty=False)
        for one in (self, *twins):
            one._code, one.hasty, one._run = self._code, False, self._run
            one._new_stack()

    def failure(self, code: int) -> Failure:
        """What a failed call means."""
        if code == FAILED:
            kind = FAILURES[int(self.words[RUN_WORDS["fuel"]])]
            number = int(self.words[RUN_WORDS["where"]])
            position = self.model.text.positions[number]
            file = self.model.module.functions[position.function].file
            text = {
                "bug-on": "BUG_ON",
                "guard": "a guarded field is touched without its lock",
                "null": f"{position.what} of NULL",
                "lockdep": "lockdep_assert_held: the lock is not held",
                "fuel": "a loop without end",
                "stack": "recursion too deep for the explorer's frames",
                "freed": f"{position.what} of an skb that is free",
            }.get(kind, f"{kind} {position.what}")
            address = int(self.words[RUN_WORDS["value"]]) if kind == "freed" else 0
            return Failure(kind, f"{text} in {position.function}()", f"{file}:{position.line}", address=address)
        if code == words.VX_MACHINE or code == -1:
            if self.word("error") == races.VX_ERROR_RACE:
                address, ctx = self.word("error_arg"), self.word("ctx")
                return race_failure(self.model, address, ctx, self.get("race_with"), self.get("race_how"))
            return machine_failure(int(self.words[self.model.image.engine_word("error")]))
        mask = self.get("violated")
        if code == words.VX_VIOLATION and mask:
            found, *also = [self.model.properties[number] for number in in_order(mask)]
            where = self.warned() if found.name == "no warning" else ""
            return Failure(found.name, found.text, where, tuple(p.name for p in also))
        return Failure("unknown", f"code {code}")

    def word(self, name: str) -> int:
        """A word of the machine's singleton."""
        return int(self.words[self.model.image.engine_word(name)])

    def warned(self) -> str:
        """Where the WARN_ON_ONCE stands that fired last."""
        position = self.model.text.positions[self.get("warned")]
        return f"{position.function}() {self.model.module.functions[position.function].file}:{position.line}"

    def lock_cycle(self) -> tuple[str, int] | None:
        """Classes of locks that are taken in a circle, and the step that closed it: state << 8 | action."""
        at, n = self.get("lock_order"), self.get("lock_classes")
        return self.locks.cycle(self.words[at : at + n * n].tolist())

    def parents(self) -> list[int]:
        """The actions that lead to where the search stands."""
        if self.bitstate:
            return self._way() + ([] if self.get("in_terminal") else [self.get("at_action")])
        return self.path(self.get("head")) + ([] if self.get("in_terminal") else [self.get("at_action")])

    def path(self, at: int) -> list[int]:
        """The actions that lead to a state."""
        if self.bitstate:
            # A member has the path of the state that it is in; it gets to another one as it got there before.
            self.again()
            code = self.start()
            while code == words.VX_MORE and self.get("head") <= at:
                code = self.explore(min(at + 1 - self.get("head"), SAMPLE_ROOM - SAMPLE_MAX))
            return self._way()
        actions = []
        while at:
            parent, action = self.parent_of(at)
            actions.append(action)
            at = parent
        return actions[::-1]

    def _way(self) -> list[int]:
        """The actions that lead to the state that a member of a swarm is in."""
        levels = self.regions["path"][: words.VX_LEVEL_WORDS * self.get("path_n")]
        return [int(action) for action in levels[3 :: words.VX_LEVEL_WORDS]][1:]

    def parent_of(self, state: int) -> tuple[int, int]:
        """The state that a state was found from, and by which action."""
        if self.compact:
            parents, actions = self.regions["trail"].view("uint32"), self.regions["trail_action"].view("uint8")
            return int(parents[state]), int(actions[state])
        word = int(self.regions["pool"][state * (self.get("key_words") + 1)])
        return word >> 8, word & 0xFF

    def bytes_used(self) -> int:
        """Memory that the states take, with all tables."""
        get = self.get
        if self.bitstate:
            return (self.get("bits_mask") + 1) // 8
        if self.compact:
            return (8 << self.prints_bits) + (5 * get("states") if not get("parts") else 0) + 8 * get("peak")
        return 8 * (get("store_used") + get("states") * (get("key_words") + 2) + get("values"))

    def premise_counts(self) -> NDArray[np.int64]:
        """Of each property by number, how often there was what it is about."""
        table = self.model.image.layout.tables["vx_premise"]
        return self.words[table.base : table.base + table.stride * table.count : table.stride]

    def premises(self) -> dict[str, int]:
        """The same by name, of the properties that are about something."""
        times = self.premise_counts().tolist()
        at, n = self.get("lock_order"), self.get("lock_classes")
        times[VX_LOCK_ORDER] = int((self.words[at : at + n * n] >= 0).sum())
        return {p.name: times[number] for number, p in self.model.properties.items() if p.premise}

    def undecided(self) -> bool:
        """Whether a schedule came to its end with a stuck task that has skbs: whether one is lost, it does not tell."""
        return bool(self.premise_counts()[0])

    # -- the search

    @property
    def _how(self) -> str:
        return {"exact": "", "compact": "compact_", "bitstate": "swarm_"}[self.limits.storage]

    def start(self) -> int:
        """Store the present memory as the first state; a code as explore()'s."""
        self.premise_counts()[:] = 0
        return self.call(SEARCHES.index(f"vx_{self._how}start"))

    def explore(self, states: int) -> int:
        """Expand up to that many states: VX_MORE, VX_DONE, VX_FULL, or how a property was found violated."""
        code = self.call(SEARCHES.index(f"vx_{self._how}explore"), states)
        if self.bitstate:
            self._thin_sample()
        while code == words.VX_GROW:
            if self.prints_bits == self.prints_bits_max:
                return words.VX_FULL
            self.grow()
            code = self.call(SEARCHES.index("vx_compact_explore"), states)
        return code
