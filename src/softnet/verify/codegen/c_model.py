# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's functions in C, from the intermediate form: an engine of its own for SPIN to drive (softnet.verify.promela).

Where a context may stop, and what is live there, comes from the analysis that the explorer uses (codegen.frames), so that both
count the same states. What each instruction does is written here a second time, and another compiler compiles it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from softnet.lang import ir
from softnet.verify.codegen.frames import Frame, Frames, Rules, Segment, analyse, stopping_functions
from softnet.verify.codegen.llvm_functions import BLOCKED, LEFT, STEP
from softnet.verify.codegen.points import PREEMPT_MASK

SIMPLE: Final = frozenset(("+", "-", "*", "&", "|", "^", "==", "!=", "<", "<=", ">", ">="))
HELPERS: Final = {
    "//": "floor_div", "%": "floor_mod", "<<": "shift_left", ">>": "shift_right", "min": "min_of", "max": "max_of",
    "draw": "draw_of",
}  # fmt: skip

LEFT_OUT: Final = frozenset(("vx_lock_order", "vx_saw"))
"""What SPIN leaves out: the order of locks, which is a property of a whole search and not of a state, and counting."""


@dataclass(frozen=True)
class Shared:
    """What all functions of a program share while they are written."""

    rules: Rules
    state: frozenset[str]
    """The fields whose words are the state."""
    tables: Mapping[str, tuple[int, int]]
    """Structure -> address and number of its instances."""
    frames: Frames = field(default_factory=Frames)


class CText(ir.Visitor[None]):
    """Writes one function in C; ``frame`` is None for one that cannot stop."""

    def __init__(self, shared: Shared, function: ir.Function, frame: Frame | None) -> None:
        self.shared = shared
        self.module = shared.rules.module
        self.function = function
        self.frame = frame
        self.lines: list[str] = []

    # -- pieces

    def put(self, code: str) -> None:
        """One line."""
        self.lines.append("  " + code)

    def value(self, operand: ir.Operand) -> str:
        """An operand as C writes it."""
        if isinstance(operand, int):
            return f"{operand}L" if operand > -(1 << 63) else "(-9223372036854775807L - 1)"
        return f"t{operand.number}"

    def let(self, to: ir.Temp | None, code: str) -> None:
        """A value."""
        self.put(f"{f't{to.number} = ' if to is not None else ''}{code};")

    def variable(self, name: str) -> str:
        """A local or a temp by its name in the frame."""
        return f"t{name[1:]}" if name.startswith("%") else f"v_{self.function.locals.index(name)}"

    def require(self, condition: str, code: str, at: ir.At) -> None:
        """Fail unless the condition holds."""
        self.put(f'if (!({condition})) fail("{code}", "{self.function.name}", {at.line});')

    def at(self, place: ir.Place) -> str:
        """The address of a place."""
        return self.value(place.address)

    def in_state(self, place: ir.Place) -> bool:
        """Whether the place is part of the state."""
        return place.kind != ir.RAW and place.field in self.shared.state

    def read(self, place: ir.Place) -> str:
        """The word of a place."""
        return f"ld({self.at(place)})" if self.in_state(place) or place.kind == ir.RAW else f"mem[{self.at(place)}]"

    def write(self, place: ir.Place, value: str) -> None:
        """Store to a place."""
        self.put(f"st({self.at(place)}, {value});" if self.in_state(place) else f"mem[{self.at(place)}] = {value};")

    # -- the function

    def head(self) -> str:
        """The function's declaration."""
        if self.frame is not None:
            return f"static long {self.function.name}_step(long fp, long pc)"
        args = ", ".join(f"long v_{self.function.locals.index(name)}" for name in self.function.params)
        return f"static long {self.function.name}({args or 'void'})"

    def variables(self) -> None:
        """Declare all locals and temps."""
        results = (i.defines() for b in self.function.blocks for i in b.body)
        names = [f"t{n} = 0" for n in sorted({t.number for t in results if t is not None})]
        params = () if self.frame is not None else self.function.params
        names += [f"v_{i} = 0" for i, name in enumerate(self.function.locals) if name not in params]
        if names:
            self.put("long " + ", ".join(names) + ";")

    def translate(self) -> list[str]:
        """The whole function."""
        self.lines = [f"{self.head()} {{"]
        self.variables()
        if self.frame is not None:
            self.steps_body(self.frame)
        else:
            for block in self.function.blocks:
                self.lines.append(f"{label(block.label)}: ;")
                for i in block.body:
                    self.visit(i)
                assert block.end is not None
                self.visit(block.end)
        self.lines.append("}")
        return self.lines

    def steps_body(self, frame: Frame) -> None:
        """A function that may stop: entered at any of its pcs, left at any of its stops."""
        self.put("switch (pc) {")
        self.put(f"case {frame.entry}: goto R{frame.entry};")
        for s in frame.segments:
            if s.stop is not None:
                self.put(f"case {s.pc}: goto R{s.pc};")
        self.put("default: abort();")
        self.put("}")
        self.lines.append(f"R{frame.entry}: ;")
        self.take(frame, frame.ordered(set(self.function.params)))
        self.put(f"goto {label(frame.segments[0].label)};")
        for segment in frame.segments:
            self.lines.append(f"{label(segment.label)}: ;")
            for i in segment.body:
                self.visit(i)
            if segment.stop is None:
                assert segment.end is not None
                self.visit(segment.end)
            else:
                self.stopping(frame, segment)

    # -- values

    def on_binary(self, i: ir.Binary) -> None:
        left, right = self.value(i.left), self.value(i.right)
        if i.op in SIMPLE:
            self.let(i.to, f"{left} {i.op} {right}")
            return
        if i.op in ("//", "%"):
            self.require(f"{right} != 0", "divide", i.at)
        elif i.op == "<<":
            self.require(f"{right} >= 0 && {right} < 63", "shift", i.at)
        elif i.op == ">>":
            self.require(f"{right} >= 0", "shift", i.at)
        self.let(i.to, f"{HELPERS[i.op]}({left}, {right})")

    def on_bit_length(self, i: ir.BitLength) -> None:
        self.let(i.to, f"bit_length({self.value(i.value)})")

    def on_get(self, i: ir.Get) -> None:
        self.let(i.to, self.variable(i.local))

    def on_set(self, i: ir.Set) -> None:
        self.put(f"{self.variable(i.local)} = {self.value(i.value)};")

    # -- memory

    def on_load(self, i: ir.Load) -> None:
        self.let(i.to, self.read(i.place))

    def on_store(self, i: ir.Store) -> None:
        if not (i.place.field == "engine_state.now" and self.function.kind == "kfunc"):
            self.write(i.place, self.value(i.value))

    def on_atomic(self, i: ir.Atomic) -> None:
        self.let(i.to, self.read(i.place))
        old, args = self.value(i.to), [self.value(a) for a in i.args]
        if i.op == "cmpxchg":
            self.write(i.place, f"{old} == {args[0]} ? {args[1]} : {old}")
        elif i.op == "xchg":
            self.write(i.place, args[0])
        else:
            self.write(i.place, f"{old} {({'add': '+', 'or': '|', 'and': '&'})[i.op]} {args[0]}")

    def on_barrier(self, i: ir.Barrier) -> None:
        """Memory is sequentially consistent."""

    def on_offset(self, i: ir.Offset) -> None:
        self.require(f"{self.value(i.base)} != 0", "null", i.at)
        self.let(i.to, f"{self.value(i.base)} + {i.words}")

    def on_element(self, i: ir.Element) -> None:
        index = self.value(i.index)
        self.require(f"{index} >= 0 && {index} < {i.count}", "index", i.at)
        self.let(i.to, f"{self.value(i.base)} + {index} * {i.stride}")

    def on_table(self, i: ir.Table) -> None:
        base, count = self.shared.tables[i.struct]
        index = self.value(i.index)
        if i.checked:
            self.require(f"{index} >= 0 && {index} < {count}", "index", i.at)
        self.let(i.to, f"{base} + {index} * {self.module.strides[i.struct]}")

    def on_table_length(self, i: ir.TableLength) -> None:
        self.let(i.to, str(self.shared.tables[i.struct][1]))

    def on_index_of(self, i: ir.IndexOf) -> None:
        self.require(f"{self.value(i.address)} != 0", "null", i.at)
        self.let(i.to, f"({self.value(i.address)} - {self.shared.tables[i.struct][0]}) / {self.module.strides[i.struct]}")

    # -- calls and control

    def on_call(self, i: ir.Call) -> None:
        if self.module.functions[i.function].facts.price_only or i.function in LEFT_OUT:
            if i.to is not None:
                self.let(i.to, "0")
            return
        self.let(i.to, f"{i.function}({', '.join(self.value(a) for a in i.args)})")

    def on_point(self, i: ir.Point) -> None:
        """No stop here."""

    def on_trace(self, i: ir.Trace) -> None:
        """States keep no records, but a WARN_ON_ONCE is a property."""
        if i.event == "warn_on_once":
            self.put(f"vx_warn({i.at.line}, 0);")

    def on_check(self, i: ir.Check) -> None:
        self.require(self.value(i.value), i.code, i.at)

    def on_fuel(self, i: ir.Fuel) -> None:
        self.require("--fuel >= 0", "fuel", i.at)

    def on_call_pointer(self, i: ir.CallPointer) -> None:
        raise AssertionError("a call through a pointer may stop, so it ends a segment")

    def on_suspend(self, i: ir.Suspend) -> None:
        raise AssertionError("a context stops when it suspends, so that ends a segment")

    # -- ends of blocks

    def on_jump(self, i: ir.Jump) -> None:
        self.put(f"goto {label(i.target)};")

    def on_branch(self, i: ir.Branch) -> None:
        self.put(f"if ({self.value(i.value)}) goto {label(i.yes)}; else goto {label(i.no)};")

    def on_return(self, i: ir.Return) -> None:
        if self.frame is not None:
            self.put(f"result = {self.value(i.value or 0)};")
            self.put("{ long back = ld(fp + 1); st(fp + 1, 0); st(fp, 0); return fp - back; }")
        else:
            self.put(f"return {self.value(i.value or 0)};")

    # -- stops

    def take(self, frame: Frame, names: Iterable[str]) -> None:
        """Take values out of the frame."""
        for name in names:
            at = f"fp + {frame.slot[name]}"
            self.put(f"{self.variable(name)} = ld({at}); st({at}, 0);")

    def keep(self, frame: Frame, names: Iterable[str]) -> list[str]:
        """Put values into the frame."""
        return [f"st(fp + {frame.slot[name]}, {self.variable(name)});" for name in names]

    def away(self, frame: Frame, segment: Segment) -> str:
        """The code that stops here."""
        saves = " ".join([f"st(fp, {segment.pc});", *self.keep(frame, frame.saved(segment))])
        return f"{{ {saves} frame = fp; frame_end = fp + {frame.words}; return {LEFT}; }}"

    def stopping(self, frame: Frame, segment: Segment) -> None:
        """The end of a segment at which the context may stop."""
        if isinstance(segment.stop, ir.Suspend):
            self.put(self.away(frame, segment))
            self.lines.append(f"R{segment.pc}: ;")
            self.take(frame, frame.saved(segment))
        elif isinstance(segment.stop, ir.Call | ir.CallPointer):
            self.calling(frame, segment, segment.stop)
        else:
            self.pointing(frame, segment)
        self.put(f"goto {label(segment.after)};")

    def calling(self, frame: Frame, segment: Segment, i: ir.Call | ir.CallPointer) -> None:
        """Call a function that may stop: its frame begins where this one ends."""
        number = str(self.module.function_ids[i.function]) if isinstance(i, ir.Call) else self.value(i.pointer)
        live = frame.ordered(frame.live[segment.after] - {str(i.to)})
        self.put(f"{{ long to = {number}, up = fp + {frame.words};")
        self.require(f"to > 0 && to <= {len(self.module.function_ids)} && arity[to] == {len(i.args)}", "pointer", i.at)
        self.require("up <= frame_limit", "stack", i.at)
        for index, argument in enumerate(i.args):
            self.put(f"st(up + {2 + index}, {self.value(argument)});")
        self.put(f"st(fp, {segment.pc});")
        for line in self.keep(frame, live):
            self.put(line)
        self.put(f"st(up, entry[to]); st(up + 1, {frame.words}); return up; }}")
        self.lines.append(f"R{segment.pc}: ;")
        self.take(frame, live)
        if i.to is not None:
            self.put(f"{self.variable(str(i.to))} = result;")

    def pointing(self, frame: Frame, segment: Segment) -> None:
        """An interaction point: by the phase of the step the context stops before it or goes on."""
        kind = segment.kind
        irqs_on = "(irqs_disabled() == 0)"
        leaves = {
            "hard": "phase != 0",
            "hard-acquire": "phase != 0",
            "own": f"phase != 0 && {irqs_on}",
            "disable": f"phase != 0 && {irqs_on}",
            "enable": f"phase != 0 && {irqs_on}",
            "release": f"phase == 1 && {irqs_on}",
            "non": f"phase == 2 || (phase == 1 && {irqs_on})",
            "acquire": f"phase == 2 || (phase == 1 && {irqs_on})",
            "count": f"phase != 0 && {self.count_changes(frame, segment)}",
            "cpu": f"phase != 0 && {irqs_on} && vx_may_move()",
        }.get(kind, "0")
        self.put(f"if ({leaves}) {self.away(frame, segment)}")
        self.put(f"goto G{segment.pc};")
        self.lines.append(f"R{segment.pc}: ;")
        self.take(frame, frame.saved(segment))
        self.lines.append(f"G{segment.pc}: ;")
        if segment.acquires:
            lock = self.value(frame.lock_call(segment).args[0])
            self.put(f"{{ long owner = ld({lock});")
            self.put(f"if (owner != 0 && owner != mem[{self.module.engine['ctx']}] + 1) {{")
            self.put(f"if (phase == 0) {{ frame_end = fp + {frame.words}; return {BLOCKED}; }}")
            self.put(self.away(frame, segment) + " } }")
        if kind == "cpu":
            self.put(f"if ({irqs_on} && vx_may_move()) phase = 2;")
        elif kind in ("own", "count"):
            self.put(f"if ({irqs_on if kind == 'own' else self.count_changes(frame, segment)}) phase = 2;")
        elif kind in ("disable", "acquire"):
            self.put("if (phase < 1) phase = 1;")
        else:
            self.put("phase = 2;")

    def count_changes(self, frame: Frame, segment: Segment) -> str:
        """Whether preempt_count_add() or _sub() changes anything for an interrupt that may strike."""
        if segment.kind != "count" or not self.shared.rules.facts.classes:
            return "(irqs_disabled() == 0)"
        call = frame.access(segment)
        assert isinstance(call, ir.Call)
        new = f"(preempt_count() {'+' if call.function == 'preempt_count_add' else '-'} {self.value(call.args[0])})"
        some = f"(preempt_count() != 0) != ({new} != 0)"
        return f"(irqs_disabled() == 0 && ((preempt_count() ^ {new}) > {PREEMPT_MASK} || {some}))"


def label(name: str) -> str:
    """A block's label in C."""
    return "L_" + name.replace(".", "_").replace("-", "_")


def translate(used: set[str], shared: Shared) -> list[str]:
    """C's text of the functions: declarations, bodies, the tables of places and of functions."""
    module, rules, frames = shared.rules.module, shared.rules, shared.frames
    stopping = stopping_functions(used, rules)
    names = sorted(n for n in used if n not in (STEP, "vx_run", *LEFT_OUT))
    count = len(module.function_ids) + 1
    entry, arity = ["0"] * count, ["-1"] * count
    declared, lines = [], []
    for n in names:
        function = module.functions[n]
        frame = analyse(function, rules, stopping, frames) if n in stopping else None
        text = CText(shared, function, frame)
        lines += text.translate()
        declared.append(text.head() + ";")
        if function.kind != "kfunc":
            continue
        if frame is None:
            frames.enter(function)
            declared.append(f"static long {n}_step(long fp, long pc);")
            lines += thunk(function)
        entry[module.function_ids[n]] = str(frames.entries[n])
        arity[module.function_ids[n]] = str(len(function.params))
    steps = [f"{stop.function}_step" if stop.function else "0" for stop in frames.stops]
    return [
        f"static long entry[{count}], arity[{count}];",
        *declared,
        *lines,
        f"static long entry[{count}] = {{ {', '.join(entry)} }};",
        f"static long arity[{count}] = {{ {', '.join(arity)} }};",
        f"static long (*steps[{len(steps)}])(long, long) = {{ {', '.join(steps)} }};",
    ]


def thunk(function: ir.Function) -> list[str]:
    """A function that cannot stop, called through a pointer: it returns at once."""
    args = [f"ld(fp + {2 + i})" for i in range(len(function.params))]
    clear = " ".join(f"st(fp + {2 + i}, 0);" for i in range(len(function.params)))
    names = ", ".join(f"a{i}" for i in range(len(args)))
    takes = " ".join(f"long a{i} = {a};" for i, a in enumerate(args))
    return [
        f"static long {function.name}_step(long fp, long pc) {{",
        f"  {takes} {clear} result = {function.name}({names});",
        "  long back = ld(fp + 1); st(fp, 0); st(fp + 1, 0); return fp - back;",
        "}",
    ]
