# SPDX-License-Identifier: GPL-2.0-or-later
"""The explorer's LLVM text: what all its functions share, and the functions that cannot stop, which are plain native ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Template
from typing import Final

from softnet.lang import ir
from softnet.lang.declare import HW, PERCPU, PRIVATE
from softnet.lang.native.abi import FAILURES, RUN_WORDS
from softnet.lang.native.llvm_function import FunctionText, Position, Text
from softnet.lang.program.program import StructDef
from softnet.verify.codegen import store_order
from softnet.verify.codegen.frames import Frames, Rules, state_fields
from softnet.verify.codegen.points import FREES, OWN

STEP: Final = "verify_step"
"""The machine function by which the search runs a context to its next stop; its text is given here."""

PHASE, RESULT, FRAME = RUN_WORDS["stack_of"], RUN_WORDS["fuel_full"], RUN_WORDS["slice"]
"""Words of S in the line of NULL: the phase of the step (0 fresh, 1 right movers done, 2 committed), a call's result, the frame."""
STACK_LIMIT = RUN_WORDS["points"]
"""The last address at which a frame may begin in the running context's part of memory."""
LOG, LOG_FILL = RUN_WORDS["trace"], RUN_WORDS["trace_fill"]
UNDO, END = RUN_WORDS["code"], RUN_WORDS["where"]
"""Where the undo log's next entry goes, and where the frame of the function that stopped ends. Both words serve pause() and
fail() otherwise, when the search has stopped."""
UNDO_WORDS: Final = 1 << 17
"""Size of the undo log, which begins at a multiple of it. A step that fills the log has no end, and fails like one without fuel."""

MIX: Final = (0x1E3779B97F4A7C15, 0x2545F4914F6CDD1D, 0x165667B19E3779F9)
"""Odd factors of the hash: of the value, of its place, of both."""

FOREIGN: dict[str, str] = {
    "vx_mix": f"""define internal i64 @vx_mix(ptr %S, i64 %a, i64 %v) alwaysinline nounwind {{
  %v1 = mul i64 %v, {MIX[0]}
  %a1 = mul i64 %a, {MIX[1]}
  %x0 = add i64 %v1, %a1
  %y0 = lshr i64 %x0, 32
  %x1 = xor i64 %x0, %y0
  %x2 = mul i64 %x1, {MIX[2]}
  %y2 = lshr i64 %x2, 29
  %x3 = xor i64 %x2, %y2
  %x4 = mul i64 %x3, {MIX[0]}
  %y4 = lshr i64 %x4, 32
  %x5 = xor i64 %x4, %y4
  ret i64 %x5
}}""",
    "vx_logical": """define internal i64 @vx_logical(ptr %S, i64 %a, i64 %b) alwaysinline nounwind {
  %r = lshr i64 %a, %b
  ret i64 %r
}""",
    "vx_get32": """define internal i64 @vx_get32(ptr %S, i64 %a) alwaysinline nounwind {
  %p = getelementptr i32, ptr %S, i64 %a
  %h = load i32, ptr %p
  %r = zext i32 %h to i64
  ret i64 %r
}""",
    "vx_put32": """define internal i64 @vx_put32(ptr %S, i64 %a, i64 %v) alwaysinline nounwind {
  %p = getelementptr i32, ptr %S, i64 %a
  %h = trunc i64 %v to i32
  store i32 %h, ptr %p
  ret i64 0
}""",
    "vx_put8": """define internal i64 @vx_put8(ptr %S, i64 %a, i64 %v) alwaysinline nounwind {
  %p = getelementptr i8, ptr %S, i64 %a
  %h = trunc i64 %v to i8
  store i8 %h, ptr %p
  ret i64 0
}""",
    "vx_claim": """define internal i64 @vx_claim(ptr %S, i64 %a, i64 %v) alwaysinline nounwind {
  %p = getelementptr i64, ptr %S, i64 %a
  %x = cmpxchg ptr %p, i64 0, i64 %v acq_rel monotonic
  %r = extractvalue { i64, i1 } %x, 0
  ret i64 %r
}""",
    "vx_fetch_add": """define internal i64 @vx_fetch_add(ptr %S, i64 %a, i64 %v) alwaysinline nounwind {
  %p = getelementptr i64, ptr %S, i64 %a
  %r = atomicrmw add ptr %p, i64 %v acq_rel
  ret i64 %r
}""",
    "vx_prefetch": """define internal i64 @vx_prefetch(ptr %S, i64 %a) alwaysinline nounwind {
  %p = getelementptr i64, ptr %S, i64 %a
  call void @llvm.prefetch.p0(ptr %p, i32 1, i32 3, i32 1)
  ret i64 0
}""",
}
"""Machine functions whose text stands here, because restricted Python cannot express them."""

UNDO_TEXT: Final = f"""define internal void @undo(ptr %S, i64 %a) alwaysinline nounwind {{
  %up = getelementptr i64, ptr %S, i64 {UNDO}
  %u = load i64, ptr %up
  %ap = getelementptr i64, ptr %S, i64 %a
  %old = load i64, ptr %ap
  %p0 = getelementptr i64, ptr %S, i64 %u
  %p1 = getelementptr i64, ptr %p0, i64 1
  store i64 %a, ptr %p0
  store i64 %old, ptr %p1
  %n = add i64 %u, 2
  store i64 %n, ptr %up
  %m = and i64 %n, {UNDO_WORDS - 1}
  %full = icmp eq i64 %m, 0
  br i1 %full, label %over, label %done, !prof !2
over:
  call void @fail(ptr %S, i64 {FAILURES.index("fuel")}, i64 0, i64 0)
  unreachable
done:
  ret void
}}"""

OWNERS_BYTES: Final = 1 << 20
"""Size of the table of owners. It ends where S begins and runs backwards: the owner of word ``a`` is the byte at S - 1 - a."""

FOREIGN |= {
    "vx_race_owner": f"""define internal i64 @vx_race_owner(ptr %S, i64 %a) alwaysinline nounwind {{
  %n = sub i64 {-1 - OWNERS_BYTES}, %a
  %p = getelementptr i8, ptr %S, i64 %n
  %o = load i8, ptr %p
  %r = zext i8 %o to i64
  ret i64 %r
}}""",
    "vx_share": f"""define internal i64 @vx_share(ptr %S, i64 %a) alwaysinline nounwind {{
  %n = sub i64 {-1 - OWNERS_BYTES}, %a
  %p = getelementptr i8, ptr %S, i64 %n
  store i8 0, ptr %p
  ret i64 0
}}""",
    "vx_owner": """define internal i64 @vx_owner(ptr %S, i64 %a) alwaysinline nounwind {
  %n = xor i64 %a, -1
  %p = getelementptr i8, ptr %S, i64 %n
  %o = load i8, ptr %p
  %r = zext i8 %o to i64
  ret i64 %r
}""",
    "vx_remember": """define internal i64 @vx_remember(ptr %S, i64 %a) alwaysinline nounwind {
  call void @undo(ptr %S, i64 %a)
  ret i64 0
}""",
}

TOUCH_TEXT: Final = Template("""define internal void @touch(ptr %S, i64 %a, i64 %write) alwaysinline nounwind {
  %o = call i64 @vx_owner(ptr %S, i64 %a)
  %nobody = icmp eq i64 %o, 0
  br i1 %nobody, label %done, label %look
look:
  %cpup = getelementptr i64, ptr %S, i64 $cpu
  %cpu = load i64, ptr %cpup
  %me = add i64 %cpu, 1
  %mine = icmp eq i64 %o, %me
  br i1 %mine, label %done, label %other
other:
  %both = or i64 %o, %write
  %read = icmp eq i64 %both, 255
  %never = icmp eq i64 %write, 0
  %fine = and i1 %read, %never
  br i1 %fine, label %done, label %tell, !prof !1
tell:
  %r = call i64 @vx_touched(ptr %S, i64 %a, i64 %write)
  br label %done
done:
  ret void
}""")

PLAIN_TEXT: Final = """define internal void @plain(ptr %S, i64 %a, i64 %how) alwaysinline nounwind {
  %o = call i64 @vx_race_owner(ptr %S, i64 %a)
  %write = and i64 %how, 1
  %both = or i64 %o, %write
  %read = icmp eq i64 %both, 255
  %never = icmp eq i64 %write, 0
  %fine = and i1 %read, %never
  br i1 %fine, label %done, label %tell
tell:
  %r = call i64 @vx_plain(ptr %S, i64 %a, i64 %how)
  br label %done
done:
  ret void
}"""
"""An access to a word whose kind says that nobody else touches it: unless nobody writes it, vx_plain() looks."""

LEFT, BLOCKED, SWITCHED = -1, -2, -3
"""What a step returns: the context stopped; it waits for a lock and has done nothing; it has given the CPU away (Suspend)."""


@dataclass
class Code:
    """The LLVM text of a program for the explorer, and its frames."""

    text: Text
    frames: Frames


@dataclass(frozen=True)
class Holders:
    """What is checked at an access of a kernel function."""

    races: bool = False
    """Whether accesses to words of one holder are told to softnet.verify.inside.races, and freed skbs are poisoned."""
    locks: Mapping[str, int] = field(default_factory=dict)
    """Guarded field -> how far behind it its lock stands."""
    freed: Mapping[str, int] = field(default_factory=dict)
    """Field of an skb -> how far behind it the word stands that says whether it is free."""
    nodes: frozenset[str] = frozenset()
    """The structures that stand inside an skb, and others of whose words that takes a look at the address."""


NOBODY: Final = Holders()


def holders_of(module: ir.Module, structs: Mapping[str, StructDef], *, races: bool) -> Holders:
    """What is checked in a program."""
    at, locks = module.offsets, {}
    for s in structs.values():
        for f in s.fields.values():
            if f.guard and f.count == 1:
                lock = structs[s.fields[f.guard].type].fields.get("lock")
                inner = 0 if lock is None else at[f"{s.fields[f.guard].type}.lock"]
                locks[f"{s.name}.{f.name}"] = at[f"{s.name}.{f.guard}"] - at[f"{s.name}.{f.name}"] + inner
    skb = structs["sk_buff"].fields.values()
    freed = {f"sk_buff.{f.name}": at["sk_buff.vx_freed"] - at[f"sk_buff.{f.name}"] for f in skb if f.count == 1}
    return Holders(races, locks, freed, frozenset({"sk_buff", *(f.type for f in skb if f.embedded)}))


class Emitter:
    """What the functions of one program share while their LLVM text is written.

    ``outside`` are the structures that are no state; ``log``: write accesses down for a counterexample; ``store_buffer``: how many
    stores it holds; ``owned``: check and use who owns each word; ``stops``: the fields that are stops somewhere: of those, and
    the machine's, who owns a word matters.
    """

    def __init__(
        self, rules: Rules, outside: frozenset[str], *, log: bool, store_buffer: int = 0, owned: bool = False,
        holders: Holders = NOBODY, stops: frozenset[str] = frozenset(),
    ) -> None:  # fmt: skip
        self.rules = rules
        self.module = rules.module
        self.state = state_fields(rules.changing, outside)
        """Fields whose words are the state: what is stored to them can be undone."""
        self.own_stores = frozenset(said.stores for said in rules.facts.functions.values()) - {""}
        """Fields whose stores by machine functions go through the buffer, too."""
        self.log = log
        self.store_buffer = store_buffer
        self.owned = owned
        self.holders = holders
        self.stops = stops
        self.text = Text()
        self.frames = Frames()

    def thunk(self, function: ir.Function) -> None:
        """The step of a function that cannot stop, for calls through a pointer: arguments come from a frame, it returns at once."""
        lines = self.text.lines
        self.frames.enter(function)
        lines.append(f'define internal i64 @"{function.name}.step"(ptr noalias nonnull %S, i64 %fp, i64 %pc) #0 {{')
        args = ""
        for index in range(len(function.params)):
            lines += [
                f"  %a{index} = add i64 %fp, {2 + index}",
                f"  %p{index} = getelementptr i64, ptr %S, i64 %a{index}",
                f"  %v{index} = load i64, ptr %p{index}",
                f"  store i64 0, ptr %p{index}",
            ]
            args += f", i64 %v{index}"
        lines += [
            f'  %r = call i64 @"{function.name}"(ptr %S{args})',
            f"  %rp = getelementptr i64, ptr %S, i64 {RESULT}",
            "  store i64 %r, ptr %rp",
            "  %f0 = getelementptr i64, ptr %S, i64 %fp",
            "  %f1 = getelementptr i64, ptr %f0, i64 1",
            "  %back = load i64, ptr %f1",
            "  store i64 0, ptr %f0",
            "  store i64 0, ptr %f1",
            "  %to = sub i64 %fp, %back",
            "  ret i64 %to",
            "}",
        ]

    def poke(self) -> list[str]:
        """The text of vx_poke(): a store to any word of the state."""
        note = ""
        if self.log:
            self.text.positions.append(Position("vx_buffer_flush", 0, 0, "flush memory"))
            note = f"  call void @log(ptr %S, i64 {len(self.text.positions) - 1}, i64 %a, i64 %v)\n"
        return [
            'define internal i64 @"vx_poke"(ptr %S, i64 %a, i64 %v) nounwind {\n  call void @undo(ptr %S, i64 %a)\n'
            + note
            + "  %p = getelementptr i64, ptr %S, i64 %a\n  store i64 %v, ptr %p\n  ret i64 0\n}"
        ]

    def tables(self, used: list[str]) -> None:
        """The step function of each pc, the entry of each function number, and the loop over them."""
        stops = self.frames.stops
        steps = ", ".join(f'ptr @"{stop.function}.step"' if stop.function else "ptr null" for stop in stops)
        count = len(self.module.function_ids) + 1
        entries = ["i64 0"] * count
        arity = ["i64 -1"] * count
        for name in used:
            number = self.module.function_ids[name]
            if name in self.frames.entries:
                entries[number] = f"i64 {self.frames.entries[name]}"
                arity[number] = f"i64 {len(self.module.functions[name].params)}"
        self.text.lines += [*FOREIGN.values(), UNDO_TEXT, *self.poke()]
        if self.holders.races:
            self.text.lines.append(PLAIN_TEXT)
        if self.owned:
            self.text.lines.append(TOUCH_TEXT.substitute(cpu=self.module.engine["cpu"]))
        self.text.lines += [
            f"@steps = internal constant [{len(stops)} x ptr] [{steps}]",
            f"@entries = internal constant [{count} x i64] [{', '.join(entries)}]",
            f"@arity = internal constant [{count} x i64] [{', '.join(arity)}]",
            f'define internal i64 @"{STEP}"(ptr %S, i64 %fp0) #0 {{',
            "start:",
            "  br label %loop",
            "loop:",
            "  %fp = phi i64 [ %fp0, %start ], [ %r, %loop ]",
            "  %pcp = getelementptr i64, ptr %S, i64 %fp",
            "  %pc = load i64, ptr %pcp",
            f"  %sp = getelementptr [{len(stops)} x ptr], ptr @steps, i64 0, i64 %pc",
            "  %step = load ptr, ptr %sp",
            "  %r = call i64 %step(ptr %S, i64 %fp, i64 %pc)",
            "  %go = icmp sgt i64 %r, 0",
            "  br i1 %go, label %loop, label %done",
            "done:",
            "  ret i64 %r",
            "}",
        ]


class PlainText(FunctionText):
    """Writes a function that cannot stop. No alias tags: the explorer reads the words of structures by their addresses."""

    def __init__(self, emitter: Emitter, function: ir.Function) -> None:
        super().__init__(emitter.module, function, emitter.text, not function.shipped, False)
        self.emitter = emitter
        self.rules = emitter.rules
        self.logging = emitter.log and function.kind == "kfunc"
        self.own_store = function.facts.stores if emitter.rules.buffered is not None else ""
        self.own_loads = emitter.rules.buffered is not None and function.facts.loads_own
        self.searching = function.kind == "hwfunc" and function.name.startswith(("vx_", "verify_", "ck_"))

    def tag(self, field_name: str) -> str:
        return ""

    def on_point(self, i: ir.Point) -> None:
        """No stop: no other context can tell whether it acts before or after this."""

    def on_trace(self, i: ir.Trace) -> None:
        """States keep no records, but a WARN_ON_ONCE is a property."""
        if i.event == "warn_on_once":
            self.text.positions.append(Position(self.function.name, i.at.line, i.at.column, "WARN_ON_ONCE"))
            self.line(f'call i64 @"vx_warn"(ptr %S, i64 {i.at.line}, i64 {len(self.text.positions) - 1})')

    def on_fuel(self, i: ir.Fuel) -> None:
        if not self.function.name.startswith(("vx_", "ck_")):
            super().on_fuel(i)

    def on_suspend(self, i: ir.Suspend) -> None:
        raise AssertionError("a function that suspends may stop")

    def on_call(self, i: ir.Call) -> None:
        callee = self.module.functions[i.function]
        if callee.facts.price_only:
            if i.to is not None:
                self.names[i.to] = "0"
            return
        if self.rules.buffered is not None and self.function.kind == "kfunc":
            if callee.kind == "hwfunc" and callee.facts.drains:
                self.fence()
        super().on_call(i)
        if self.logging and callee.kind == "hwfunc" and i.function != "lock_is_held":
            first = self.operand(i.args[0]) if i.args else "0"
            self.note(i.at, f"call {i.function}", first, self.operand(i.to) if i.to is not None else "0")

    def note(self, at: ir.At, what: str, address: str, value: str) -> None:
        """Write down an access for the counterexample."""
        positions = self.text.positions
        positions.append(Position(self.function.name, at.line, at.column, what))
        self.line(f"call void @log(ptr %S, i64 {len(positions) - 1}, i64 {address}, i64 {value})")

    def noted(self, at: ir.At, what: str, place: ir.Place, value: str) -> None:
        """Write an access down unless it is to the machine's own fields."""
        if self.logging and place.kind not in (HW, ir.RAW):
            self.note(at, f"{what} {place.field}", self.operand(place.address), value)

    def touched(self, place: ir.Place, write: int) -> None:
        """Check that no other CPU owns a word of the state that is read or written."""
        if not self.emitter.owned or self.searching or place.field not in self.emitter.state:
            return
        if place.kind == HW or place.field in self.emitter.stops:
            self.line(f"call void @touch(ptr %S, i64 {self.operand(place.address)}, i64 {write})")

    def alone(self, i: ir.Load | ir.Store | ir.Atomic, write: int) -> None:
        """Check that nobody else touches a word whose kind says so, that no skb is touched after its free, and that whoever stores
        to a guarded field holds its lock, even where the store is marked for those who read it without.
        """
        place, holders = i.place, self.emitter.holders
        if self.function.kind != "kfunc" or place.kind in (HW, ir.RAW):
            return
        if write and place.field in holders.locks:
            lock = self.define(f"add i64 {self.operand(place.address)}, {holders.locks[place.field]}")
            held = self.define(f'call i64 @"lock_is_held"(ptr %S, i64 {lock})')
            self.unless(self.define(f"icmp ne i64 {held}, 0"), "guard", i.at, f"{place.field} touched without {place.guard}")
        if holders.races:
            if self.function.name != FREES:
                self.check_freed(place, i.at)
            if place.kind in (PRIVATE, PERCPU) and place.field in self.emitter.state:
                order = "" if isinstance(i, ir.Atomic) else i.order
                percpu, marked, own = place.kind == PERCPU, order not in ("plain", OWN), order == OWN
                how = write | marked << 1 | percpu << 2 | own << 3
                if not marked and not percpu:
                    fresh = self.define(f"icmp ne i64 {self.load(str(PHASE), '')}, 2")
                    self.when_rare(fresh, "call i64 @vx_commit(ptr %S)")
                self.line(f"call void @plain(ptr %S, i64 {self.operand(place.address)}, i64 {how})")

    def check_freed(self, place: ir.Place, at: ir.At) -> None:
        """Whether the skb that the place is in has been freed."""
        struct, _, _ = place.field.partition(".")
        address = self.operand(place.address)
        if place.field in self.emitter.holders.freed:
            where = self.define(f"add i64 {address}, {self.emitter.holders.freed[place.field]}")
            freed = self.load(where, "sk_buff.vx_freed")
        elif struct in self.emitter.holders.nodes:
            freed = self.define(f'call i64 @"vx_freed_node"(ptr %S, i64 {address})')
        else:
            return
        self.unless(self.define(f"icmp eq i64 {freed}, 0"), "freed", at, place.field, address)

    def fence(self) -> None:
        """Wait until the CPU's store buffer is empty."""
        self.line('call i64 @"vx_buffer_fence"(ptr %S)')

    def is_buffered(self, place: ir.Place) -> bool:
        """Whether the kernel's stores to the place go through the buffer."""
        return self.rules.buffered is not None and place.field in self.rules.buffered

    def on_barrier(self, i: ir.Barrier) -> None:
        if self.rules.buffered is not None and store_order.is_fence(i.kind):
            self.fence()

    def on_load(self, i: ir.Load) -> None:
        self.touched(i.place, 0)
        self.alone(i, 0)
        mine = self.own_loads and (self.is_buffered(i.place) or i.place.field in self.emitter.own_stores)
        if mine or (self.function.kind == "kfunc" and self.is_buffered(i.place)):
            address = self.operand(i.place.address)
            self.names[i.to] = self.define(f'call i64 @"vx_buffer_load"(ptr %S, i64 {address})')
        else:
            super().on_load(i)
        self.noted(i.at, "read", i.place, self.names[i.to])

    def on_store(self, i: ir.Store) -> None:
        if i.place.field == "engine_state.now" and self.function.kind == "kfunc":
            return
        self.touched(i.place, 1)
        self.alone(i, 1)
        if i.place.field == self.own_store or (self.function.kind == "kfunc" and self.is_buffered(i.place)):
            self.buffer(i)
            return
        self.remember(i.place)
        super().on_store(i)
        self.noted(i.at, "write", i.place, self.operand(i.value))

    def buffer(self, i: ir.Store) -> None:
        """A store into the CPU's buffer."""
        address, value = self.operand(i.place.address), self.operand(i.value)
        if self.emitter.log:
            self.note(i.at, f"buffer {i.place.field}", address, value)
        how = "release" if self.function.facts.visible == "release" else "store"
        self.line(f'call i64 @"vx_buffer_{how}"(ptr %S, i64 {address}, i64 {value})')

    def remember(self, place: ir.Place) -> None:
        """Log what a word of the state holds before it is stored to."""
        if place.kind != ir.RAW and place.field in self.emitter.state:
            self.line(f"call void @undo(ptr %S, i64 {self.operand(place.address)})")

    def on_atomic(self, i: ir.Atomic) -> None:
        if self.rules.buffered is not None:
            self.fence()
        self.touched(i.place, 1)
        self.alone(i, 1)
        self.remember(i.place)
        super().on_atomic(i)
        new = self.load(self.operand(i.place.address), i.place.field) if self.logging else "0"
        self.noted(i.at, f"{i.op}-old", i.place, self.names[i.to])
        self.noted(i.at, f"{i.op}-new", i.place, new)
