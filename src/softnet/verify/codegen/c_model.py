# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's functions in C, from the intermediate form: an engine of its own for SPIN to drive (softnet.verify.promela).

Where a context may stop, and what is live there, is the explorer's analysis (softnet.verify.codegen.frames), so that both count the
same states. What each instruction does is said here again, and compiled by another compiler.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from softnet.lang import ir
from softnet.verify.codegen.frames import StepText, stopping_functions
from softnet.verify.codegen.llvm_functions import BLOCKED, LEFT, STEP, Emitter
from softnet.verify.codegen.points import DROPPED, PREEMPT_MASK, Segment

SIMPLE: Final = frozenset(("+", "-", "*", "&", "|", "^", "==", "!=", "<", "<=", ">", ">="))
HELPERS: Final = {"//": "floor_div", "%": "floor_mod", "<<": "shift_left", ">>": "shift_right", "min": "min_of", "max": "max_of"}

LEFT_OUT: Final = frozenset(("vx_lock_order",))
"""The order of locks is no property of a state but of a whole search: SPIN does not check it."""


class CText(StepText):
    """Writes one function in C; its analysis is StepText's."""

    def __init__(self, emitter: Emitter, function: ir.Function, bases: dict[str, tuple[int, int]]) -> None:
        super().__init__(emitter, function)
        self.bases = bases
        self.steps = function.name in emitter.stopping
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
        return place.kind != "raw" and place.field in self.emitter.state

    def read(self, place: ir.Place) -> str:
        """The word of a place."""
        return f"ld({self.at(place)})" if self.in_state(place) or place.kind == "raw" else f"mem[{self.at(place)}]"

    def write(self, place: ir.Place, value: str) -> None:
        """Store to a place."""
        self.put(f"st({self.at(place)}, {value});" if self.in_state(place) else f"mem[{self.at(place)}] = {value};")

    # -- the function

    def head(self) -> str:
        """The function's declaration."""
        if self.steps:
            return f"static long {self.function.name}_step(long fp, long pc)"
        args = ", ".join(f"long v_{self.function.locals.index(name)}" for name in self.function.params)
        return f"static long {self.function.name}({args or 'void'})"

    def variables(self) -> None:
        """Declare all locals and temps."""
        results = (getattr(i, "to", None) for b in self.function.blocks for i in b.body)
        names = [f"t{n} = 0" for n in sorted({t.number for t in results if isinstance(t, ir.Temp)})]
        params = () if self.steps else self.function.params
        names += [f"v_{i} = 0" for i, name in enumerate(self.function.locals) if name not in params]
        if names:
            self.put("long " + ", ".join(names) + ";")

    def translate(self) -> list[str]:
        """The whole function."""
        self.lines = [f"{self.head()} {{"]
        self.variables()
        if self.steps:
            self.steps_body()
        else:
            for block in self.function.blocks:
                self.lines.append(f"{label(block.label)}: ;")
                for i in block.body:
                    self.instruction(i)
                assert block.end is not None
                self.ending(block.end)
        self.lines.append("}")
        return self.lines

    def steps_body(self) -> None:
        """A function that may stop: entered at any of its pcs, left at any of its stops."""
        self.analyse()
        self.put("switch (pc) {")
        self.put(f"case {self.entry}: goto R{self.entry};")
        for s in self.segments:
            if s.stop is not None:
                self.put(f"case {s.pc}: goto R{s.pc};")
        self.put("default: abort();")
        self.put("}")
        self.lines.append(f"R{self.entry}: ;")
        self.take(set(self.function.params))
        self.put(f"goto {label(self.segments[0].label)};")
        for segment in self.segments:
            self.lines.append(f"{label(segment.label)}: ;")
            for i in segment.body:
                self.instruction(i)
            if segment.stop is None:
                assert segment.end is not None
                self.ending(segment.end)
            else:
                self.stopping(segment)

    def ending(self, end: ir.Terminator) -> None:
        """How a block ends."""
        if isinstance(end, ir.Jump):
            self.put(f"goto {label(end.target)};")
        elif isinstance(end, ir.Branch):
            self.put(f"if ({self.value(end.value)}) goto {label(end.yes)}; else goto {label(end.no)};")
        elif self.steps:
            self.put(f"result = {self.value(end.value or 0)};")
            self.put("{ long back = ld(fp + 1); st(fp + 1, 0); st(fp, 0); return fp - back; }")
        else:
            self.put(f"return {self.value(end.value or 0)};")

    def instruction(self, instr: ir.Instr) -> None:
        """One instruction."""
        getattr(self, "do_" + type(instr).__name__.lower())(instr)

    # -- values

    def do_binary(self, i: ir.Binary) -> None:
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

    def do_bitlength(self, i: ir.BitLength) -> None:
        self.let(i.to, f"bit_length({self.value(i.value)})")

    def do_get(self, i: ir.Get) -> None:
        self.let(i.to, self.variable(i.local))

    def do_set(self, i: ir.Set) -> None:
        self.put(f"{self.variable(i.local)} = {self.value(i.value)};")

    # -- memory

    def do_load(self, i: ir.Load) -> None:
        self.let(i.to, self.read(i.place))

    def do_store(self, i: ir.Store) -> None:
        if not (i.place.field == "engine_state.now" and self.function.kind == "kfunc"):
            self.write(i.place, self.value(i.value))

    def do_atomic(self, i: ir.Atomic) -> None:
        self.let(i.to, self.read(i.place))
        old, args = self.value(i.to), [self.value(a) for a in i.args]
        if i.op == "cmpxchg":
            self.write(i.place, f"{old} == {args[0]} ? {args[1]} : {old}")
        elif i.op == "xchg":
            self.write(i.place, args[0])
        else:
            self.write(i.place, f"{old} {({'add': '+', 'or': '|', 'and': '&'})[i.op]} {args[0]}")

    def do_barrier(self, i: ir.Barrier) -> None:
        """Memory is sequentially consistent."""

    def do_offset(self, i: ir.Offset) -> None:
        self.require(f"{self.value(i.base)} != 0", "null", i.at)
        self.let(i.to, f"{self.value(i.base)} + {i.words}")

    def do_element(self, i: ir.Element) -> None:
        index = self.value(i.index)
        self.require(f"{index} >= 0 && {index} < {i.count}", "index", i.at)
        self.let(i.to, f"{self.value(i.base)} + {index} * {i.stride}")

    def do_table(self, i: ir.Table) -> None:
        base, count = self.bases[i.struct]
        index = self.value(i.index)
        if i.checked:
            self.require(f"{index} >= 0 && {index} < {count}", "index", i.at)
        self.let(i.to, f"{base} + {index} * {self.module.strides[i.struct]}")

    def do_tablelength(self, i: ir.TableLength) -> None:
        self.let(i.to, str(self.bases[i.struct][1]))

    def do_indexof(self, i: ir.IndexOf) -> None:
        self.require(f"{self.value(i.address)} != 0", "null", i.at)
        self.let(i.to, f"({self.value(i.address)} - {self.bases[i.struct][0]}) / {self.module.strides[i.struct]}")

    # -- calls and control

    def do_call(self, i: ir.Call) -> None:
        if i.function in DROPPED or i.function in LEFT_OUT:
            if i.to is not None:
                self.let(i.to, "0")
            return
        self.let(i.to, f"{i.function}({', '.join(self.value(a) for a in i.args)})")

    def do_point(self, i: ir.Point) -> None:
        """No stop here."""

    def do_trace(self, i: ir.Trace) -> None:
        """States keep no records, but a WARN_ON_ONCE is a property."""
        if i.event == "warn_on_once":
            self.put(f"vx_warn({i.at.line}, 0);")

    def do_check(self, i: ir.Check) -> None:
        self.require(self.value(i.value), i.code, i.at)

    def do_fuel(self, i: ir.Fuel) -> None:
        self.require("--fuel >= 0", "fuel", i.at)

    # -- stops

    def take(self, names: Iterable[str]) -> None:
        """Take live values out of the frame."""
        for name in sorted(names, key=self.slot.__getitem__):
            at = f"fp + {self.slot[name]}"
            self.put(f"{self.variable(name)} = ld({at}); st({at}, 0);")

    def keep(self, names: Iterable[str], pc: int) -> None:
        """Put live values and the place into the frame."""
        self.put(f"st(fp, {pc});")
        for name in sorted(names, key=self.slot.__getitem__):
            self.put(f"st(fp + {self.slot[name]}, {self.variable(name)});")

    def live_after(self, segment: Segment) -> set[str]:
        """What is live at a stop, with what the lock that follows needs."""
        live = set(self.live[segment.after])
        if isinstance(segment.stop, ir.Point) and segment.kind in ("acquire", "hard-acquire"):
            call = self._call_after(self.segments.index(segment))
            assert isinstance(call, ir.Call)
            live |= {str(a) for a in call.args if isinstance(a, ir.Temp)}
        return live

    def away(self, segment: Segment) -> str:
        """The code that stops here."""
        saves = [f"st(fp, {segment.pc});"]
        for name in sorted(self.live_after(segment), key=self.slot.__getitem__):
            saves.append(f"st(fp + {self.slot[name]}, {self.variable(name)});")
        return "{ " + " ".join(saves) + f" frame = fp; frame_end = fp + {self.words}; return {LEFT}; }}"

    def stopping(self, segment: Segment) -> None:
        """The end of a segment at which the context may stop."""
        if isinstance(segment.stop, ir.Suspend):
            self.put(self.away(segment))
            self.lines.append(f"R{segment.pc}: ;")
            self.take(self.live[segment.after])
        elif isinstance(segment.stop, ir.Call | ir.CallPointer):
            self.calling(segment, segment.stop)
        else:
            self.pointing(segment)
        self.put(f"goto {label(segment.after)};")

    def calling(self, segment: Segment, i: ir.Call | ir.CallPointer) -> None:
        """Call a function that may stop: its frame stands above this one."""
        number = str(self.module.function_ids[i.function]) if isinstance(i, ir.Call) else self.value(i.pointer)
        live = self.live[segment.after] - ({str(i.to)} if i.to is not None else set())
        self.put(f"{{ long to = {number}, up = fp + {self.words};")
        self.require(f"to > 0 && to <= {len(self.module.function_ids)} && arity[to] == {len(i.args)}", "pointer", i.at)
        self.require("up <= frame_limit", "stack", i.at)
        for index, argument in enumerate(i.args):
            self.put(f"st(up + {2 + index}, {self.value(argument)});")
        self.keep(live, segment.pc)
        self.put(f"st(up, entry[to]); st(up + 1, {self.words}); return up; }}")
        self.lines.append(f"R{segment.pc}: ;")
        self.take(live)
        if i.to is not None:
            self.put(f"{self.variable(str(i.to))} = result;")

    def pointing(self, segment: Segment) -> None:
        """An interaction point: by the phase of the step the context stops before it or goes on."""
        kind = segment.kind
        irqs_on = "(irqs_disabled() == 0)"
        leaves = {
            "hard": "phase != 0",
            "hard-acquire": "phase != 0",
            "own": f"phase != 0 && {irqs_on}",
            "disable": f"phase != 0 && {irqs_on}",
            "enable": f"phase != 0 && {irqs_on}",
            "release": f"{'phase != 0' if self.emitter.facts.tries else 'phase == 1'} && {irqs_on}",
            "non": f"phase == 2 || (phase == 1 && {irqs_on})",
            "acquire": f"phase == 2 || (phase == 1 && {irqs_on})",
            "count": f"phase != 0 && {self.count_changes(segment)}",
            "cpu": f"phase != 0 && {irqs_on} && vx_may_move()",
        }.get(kind, "0")
        self.put(f"if ({leaves}) {self.away(segment)}")
        self.put(f"goto G{segment.pc};")
        self.lines.append(f"R{segment.pc}: ;")
        self.take(self.live_after(segment))
        self.lines.append(f"G{segment.pc}: ;")
        if kind in ("acquire", "hard-acquire"):
            call = self._call_after(self.segments.index(segment))
            assert isinstance(call, ir.Call)
            lock = self.value(call.args[0])
            self.put(f"{{ long owner = ld({lock});")
            self.put(f"if (owner != 0 && owner != mem[{self.module.engine['ctx']}] + 1) {{")
            self.put(f"if (phase == 0) {{ frame_end = fp + {self.words}; return {BLOCKED}; }}")
            self.put(self.away(segment) + " } }")
        if kind == "cpu":
            self.put(f"if ({irqs_on} && vx_may_move()) phase = 2;")
        elif kind in ("own", "count"):
            self.put(f"if ({irqs_on if kind == 'own' else self.count_changes(segment)}) phase = 2;")
        elif kind in ("disable", "acquire"):
            self.put("if (phase < 1) phase = 1;")
        else:
            self.put("phase = 2;")

    def count_changes(self, segment: Segment) -> str:
        """Whether preempt_count_add() or _sub() changes anything for an interrupt that may strike."""
        if segment.kind != "count" or not self.emitter.facts.classes:
            return "(irqs_disabled() == 0)"
        call = self._call_after(self.segments.index(segment))
        assert isinstance(call, ir.Call)
        new = f"(preempt_count() {'+' if call.function == 'preempt_count_add' else '-'} {self.value(call.args[0])})"
        some = f"(preempt_count() != 0) != ({new} != 0)"
        return f"(irqs_disabled() == 0 && ((preempt_count() ^ {new}) > {PREEMPT_MASK} || {some}))"


def label(name: str) -> str:
    """A block's label in C."""
    return "L_" + name.replace(".", "_").replace("-", "_")


def translate(module: ir.Module, used: set[str], emitter: Emitter, bases: dict[str, tuple[int, int]]) -> list[str]:
    """C's text of the functions: declarations, bodies, the tables of places and of functions."""
    emitter.stopping = stopping_functions(module, used, emitter)
    names = sorted(n for n in used if n not in (STEP, "vx_run", *LEFT_OUT))
    count = len(module.function_ids) + 1
    entry, arity = ["0"] * count, ["-1"] * count
    declared, lines = [], []
    for n in names:
        function = module.functions[n]
        text = CText(emitter, function, bases)
        lines += text.translate()
        declared.append(text.head() + ";")
        if function.kind != "kfunc":
            continue
        if n not in emitter.stopping:
            emitter.out.entries[n] = emitter.new_pc(n, ir.At(function.line, 1), "entry")
            declared.append(f"static long {n}_step(long fp, long pc);")
            lines += thunk(function)
        entry[module.function_ids[n]] = str(emitter.out.entries[n])
        arity[module.function_ids[n]] = str(len(function.params))
    steps = {}
    for pc, name in enumerate(emitter.step_of_pc):
        steps[pc] = name[2:-6] + "_step" if name else "0"
    return [
        f"static long entry[{count}], arity[{count}];",
        *declared,
        *lines,
        f"static long entry[{count}] = {{ {', '.join(entry)} }};",
        f"static long arity[{count}] = {{ {', '.join(arity)} }};",
        f"static long (*steps[{len(steps)}])(long, long) = {{ {', '.join(steps[pc] for pc in sorted(steps))} }};",
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
