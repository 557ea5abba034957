# SPDX-License-Identifier: GPL-2.0-or-later
"""LLVM's text of one function: instruction by instruction, with the checks that stop a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from softnet.lang import ir
from softnet.lang.native.abi import FAILURES, RUN_WORDS, STACK_BYTES
from softnet.units import FACTORS, GAMMA

INLINE_LINES: Final = 60
"""A function of more lines of LLVM's text is never inlined. LLVM would inline a few, those with one caller; that costs a quarter of
its time and gains nothing that bench/engines.py could measure."""

COMPARISONS: Final = {"==": "eq", "!=": "ne", "<": "slt", "<=": "sle", ">": "sgt", ">=": "sge"}
PLAIN: Final = {"+": "add", "-": "sub", "*": "mul", "&": "and", "|": "or", "^": "xor"}


def signed(word: int) -> int:
    """A word of 64 bits as LLVM writes it."""
    return word - (1 << 64) if word >> 63 else word


OVERFLOWING: Final = {"+": "sadd", "-": "ssub", "*": "smul"}


@dataclass(frozen=True)
class Position:
    """What a failing instruction belongs to."""

    function: str
    line: int
    column: int
    what: str


@dataclass
class Text:
    """LLVM's text of a module and the positions that its failures name."""

    run_ahead: bool = True
    count_points: bool = False
    lines: list[str] = field(default_factory=list)
    positions: list[Position] = field(default_factory=list)
    tags: dict[str, int] = field(default_factory=dict)
    suspending: frozenset[str] = frozenset()
    """Functions in which the CPU may be lost: they return as switch_runtime.RETURN_X86 says. None in the explorer's code."""


STACK_RESERVE: Final = 1 << 16
"""A recursive function checks that so many bytes of its stack are free: enough for all frames until the next check."""


class FunctionText(ir.Visitor[None]):
    """Writes one function."""

    def __init__(self, module: ir.Module, function: ir.Function, text: Text, checked: bool, recursive: bool) -> None:
        self.module = module
        self.function = function
        self.text = text
        self.out = text.lines
        self.checked = checked
        self.recursive = recursive
        self.serial = 0
        self.label = ""
        self.names: dict[ir.Temp, str] = {}
        self.local_index = {name: index for index, name in enumerate(function.locals)}
        self.params = {name: f"%a{i}" for i, name in enumerate(function.params)}

    # -- pieces

    def fresh(self) -> str:
        """A new name of a value."""
        self.serial += 1
        return f"%v{self.serial}"

    def line(self, code: str) -> None:
        """One line of the body."""
        self.out.append("  " + code)

    def define(self, code: str) -> str:
        """A value."""
        name = self.fresh()
        self.line(f"{name} = {code}")
        return name

    def operand(self, operand: ir.Operand) -> str:
        """An operand as LLVM writes it."""
        return str(operand) if isinstance(operand, int) else self.names[operand]

    def tag(self, field_name: str) -> str:
        """The alias tag of a field; tables that only mem() reaches are one field of their own."""
        return f", !tbaa !{self.text.tags.setdefault(field_name, len(self.text.tags)) * 2 + 3}"

    def word(self, address: str) -> str:
        """A pointer to a word of S."""
        return self.define(f"getelementptr inbounds i64, ptr %S, i64 {address}")

    def load(self, address: str, field_name: str) -> str:
        """Load a word."""
        return self.define(f"load i64, ptr {self.word(address)}{self.tag(field_name)}")

    def store(self, address: str, value: str, field_name: str) -> None:
        """Store a word."""
        self.line(f"store i64 {value}, ptr {self.word(address)}{self.tag(field_name)}")

    def engine(self, name: str) -> str:
        """Load a field of the singleton engine_state."""
        return self.load(str(self.module.engine[name]), f"engine_state.{name}")

    def block(self, label: str) -> None:
        """Start a block."""
        self.out.append(f"{label}:")
        self.label = label

    def unless(self, condition: str, code: str, at: ir.At, what: str = "", value: str = "0") -> None:
        """Fail unless ``condition`` (an i1) holds."""
        positions = self.text.positions
        positions.append(Position(self.function.name, at.line, at.column, what))
        self.serial += 1
        good, bad = f"g{self.serial}", f"x{self.serial}"
        self.line(f"br i1 {condition}, label %{good}, label %{bad}, !prof !1")
        self.block(bad)
        self.line(f"call void @fail(ptr %S, i64 {FAILURES.index(code)}, i64 {len(positions) - 1}, i64 {value})")
        self.line("unreachable")
        self.block(good)

    def when_rare(self, condition: str, code: str) -> None:
        """Run one line of code if ``condition`` holds, which it seldom does."""
        self.serial += 1
        yes, after = f"r{self.serial}", f"s{self.serial}"
        self.line(f"br i1 {condition}, label %{yes}, label %{after}, !prof !2")
        self.block(yes)
        self.line(code)
        self.line(f"br label %{after}")
        self.block(after)

    # -- the function

    def emit(self) -> None:
        """The whole function."""
        function = self.function
        args = "".join(f", i64 %a{i}" for i in range(len(function.params)))
        group = "#1" if function.name in self.text.suspending else "#0"
        head = len(self.out)
        self.out.append("")
        self.block("start")
        for index, name in enumerate(function.locals):
            self.line(f"%l{index} = alloca i64")
            self.line(f"store i64 {self.params.get(name, '0')}, ptr %l{index}")
        if self.recursive:
            self.check_stack()
        self.line(f'br label %"{function.blocks[0].label}"')
        for block in function.blocks:
            self.out.append(f'"{block.label}":')
            self.label = block.label
            for instr in block.body:
                self.visit(instr)
            assert block.end is not None
            self.visit(block.end)
        self.out.append("}")
        hint = "noinline " if len(self.out) - head > INLINE_LINES else ""
        keep = ""
        if function.facts.inline == "never":
            # Its callers are the most called functions of all: one that calls only it saves no register, a twentieth of all
            # instructions on one CPU (measured with bench/engines.py).
            assert not function.returns, f"{function.name}() keeps all registers, so it can give no result"
            keep, hint = "preserve_mostcc ", "noinline cold "
        if function.facts.inline == "always":
            hint = "alwaysinline "
        self.out[head] = f'define internal {keep}i64 @"{function.name}"(ptr noalias nonnull %S{args}) {group} {hint}{{'

    def check_stack(self) -> None:
        """A recursive function checks that its stack has room left."""
        frame = self.define("ptrtoint ptr %l0 to i64") if self.function.locals else ""
        if not frame:
            self.line("%frame = alloca i64")
            frame = self.define("ptrtoint ptr %frame to i64")
        base = self.load(str(RUN_WORDS["stacks"]), "run.stacks")
        depth = self.define(f"sub i64 {frame}, {base}")
        left = self.define(f"and i64 {depth}, {STACK_BYTES - 1}")
        room = self.define(f"icmp ugt i64 {left}, {STACK_RESERVE}")
        self.unless(room, "stack", ir.At(self.function.line, 1))

    # -- values

    def on_get(self, i: ir.Get) -> None:
        self.names[i.to] = self.define(f"load i64, ptr %l{self.local_index[i.local]}")

    def on_set(self, i: ir.Set) -> None:
        self.line(f"store i64 {self.operand(i.value)}, ptr %l{self.local_index[i.local]}")

    def on_binary(self, i: ir.Binary) -> None:
        left, right = self.operand(i.left), self.operand(i.right)
        op = i.op
        if op in COMPARISONS:
            bit = self.define(f"icmp {COMPARISONS[op]} i64 {left}, {right}")
            value = self.define(f"zext i1 {bit} to i64")
        elif op in ("min", "max"):
            value = self.define(f"call i64 @llvm.s{op}.i64(i64 {left}, i64 {right})")
        elif op == "draw":
            value = self.draw(left, right)
        elif op in ("//", "%"):
            value = self.divide(i, left, right)
        elif op in ("<<", ">>"):
            value = self.shift(i, left, right)
        elif self.checked and op in OVERFLOWING:
            pair = self.define(f"call {{i64, i1}} @llvm.{OVERFLOWING[op]}.with.overflow.i64(i64 {left}, i64 {right})")
            value = self.define(f"extractvalue {{i64, i1}} {pair}, 0")
            over = self.define(f"extractvalue {{i64, i1}} {pair}, 1")
            self.unless(self.define(f"xor i1 {over}, true"), "overflow", i.at, op)
        else:
            value = self.define(f"{PLAIN[op]} i64 {left}, {right}")
        self.names[i.to] = value

    def draw(self, key: str, number: str) -> str:
        """softnet.units.draw(), whose sums and products are taken modulo 2**64."""
        step = self.define(f"mul i64 {number}, {signed(GAMMA)}")
        z = self.define(f"add i64 {key}, {step}")
        for shift, factor in zip((30, 27), FACTORS, strict=True):
            folded = self.define(f"xor i64 {z}, {self.define(f'lshr i64 {z}, {shift}')}")
            z = self.define(f"mul i64 {folded}, {signed(factor)}")
        last = self.define(f"lshr i64 {z}, 31")
        return self.define(f"lshr i64 {self.define(f'xor i64 {z}, {last}')}, 32")

    def divide(self, i: ir.Binary, left: str, right: str) -> str:
        """Python's floor division and its remainder."""
        if isinstance(i.right, int) and i.right > 0 and i.right & (i.right - 1) == 0:
            if i.op == "//":
                return self.define(f"ashr i64 {left}, {i.right.bit_length() - 1}")
            return self.define(f"and i64 {left}, {i.right - 1}")
        if not isinstance(i.right, int):
            self.unless(self.define(f"icmp ne i64 {right}, 0"), "divide", i.at, i.op)
        rest = self.define(f"srem i64 {left}, {right}")
        signs = self.define(f"xor i64 {rest}, {right}")
        differs = self.define(f"icmp slt i64 {signs}, 0")
        uneven = self.define(f"icmp ne i64 {rest}, 0")
        lower = self.define(f"and i1 {differs}, {uneven}")
        if i.op == "//":
            quotient = self.define(f"sdiv i64 {left}, {right}")
            one = self.define(f"zext i1 {lower} to i64")
            return self.define(f"sub i64 {quotient}, {one}")
        more = self.define(f"select i1 {lower}, i64 {right}, i64 0")
        return self.define(f"add i64 {rest}, {more}")

    def shift(self, i: ir.Binary, left: str, right: str) -> str:
        """Shifts by 0 to 63; to the right by more gives the sign, as in Python."""
        if i.op == ">>":
            if isinstance(i.right, int) and i.right >= 0:
                return self.define(f"ashr i64 {left}, {min(i.right, 63)}")
            self.unless(self.define(f"icmp sge i64 {right}, 0"), "shift", i.at, i.op, right)
            count = self.define(f"call i64 @llvm.umin.i64(i64 {right}, i64 63)")
            return self.define(f"ashr i64 {left}, {count}")
        if not (isinstance(i.right, int) and 0 <= i.right < 63):
            self.unless(self.define(f"icmp ult i64 {right}, 63"), "shift", i.at, i.op, right)
        value = self.define(f"shl i64 {left}, {right}")
        if self.checked:
            back = self.define(f"ashr i64 {value}, {right}")
            self.unless(self.define(f"icmp eq i64 {back}, {left}"), "overflow", i.at, i.op)
        return value

    def on_bit_length(self, i: ir.BitLength) -> None:
        magnitude = self.define(f"call i64 @llvm.abs.i64(i64 {self.operand(i.value)}, i1 false)")
        zeros = self.define(f"call i64 @llvm.ctlz.i64(i64 {magnitude}, i1 false)")
        self.names[i.to] = self.define(f"sub i64 64, {zeros}")

    # -- memory

    def address(self, place: ir.Place, at: ir.At) -> str:
        """The address of a place; raw ones are checked against the memory's size."""
        address = self.operand(place.address)
        if place.kind == ir.RAW and self.checked:
            size = self.load(str(RUN_WORDS["size"]), "run.size")
            self.unless(self.define(f"icmp ult i64 {address}, {size}"), "memory", at, "", address)
        return address

    def on_load(self, i: ir.Load) -> None:
        self.names[i.to] = self.load(self.address(i.place, i.at), i.place.field)

    def on_store(self, i: ir.Store) -> None:
        self.store(self.address(i.place, i.at), self.operand(i.value), i.place.field)

    def on_atomic(self, i: ir.Atomic) -> None:
        address = self.operand(i.place.address)
        old = self.load(address, i.place.field)
        args = [self.operand(a) for a in i.args]
        if i.op == "cmpxchg":
            same = self.define(f"icmp eq i64 {old}, {args[0]}")
            new = self.define(f"select i1 {same}, i64 {args[1]}, i64 {old}")
        else:
            new = args[0] if i.op == "xchg" else self.define(f"{i.op} i64 {old}, {args[0]}")
        self.store(address, new, i.place.field)
        self.names[i.to] = old

    def on_barrier(self, i: ir.Barrier) -> None:
        """Contexts take turns: memory is sequentially consistent."""

    def on_offset(self, i: ir.Offset) -> None:
        base = self.operand(i.base)
        if i.checked:
            self.unless(self.define(f"icmp ne i64 {base}, 0"), "null", i.at, i.what)
        self.names[i.to] = self.define(f"add nsw i64 {base}, {i.words}") if i.words else base

    def on_element(self, i: ir.Element) -> None:
        index = self.operand(i.index)
        if not (isinstance(i.index, int) and 0 <= i.index < i.count):
            self.unless(self.define(f"icmp ult i64 {index}, {i.count}"), "index", i.at, str(i.count), index)
        words = index if i.stride == 1 else self.define(f"mul nsw i64 {index}, {i.stride}")
        self.names[i.to] = self.define(f"add nsw i64 {self.operand(i.base)}, {words}")

    def directory(self, struct: str, word: int) -> str:
        """Base (0) or count (1) of a structure's table: written once, before the run."""
        row = self.module.observer_index.get(struct)
        if row is not None:
            where = self.word(str(self.module.engine["observed"]))
            start = self.define(f"load i64, ptr {where}, !invariant.load !0")
            at = self.word(self.define(f"add i64 {start}, {2 * row + word}"))
            return self.define(f"load i64, ptr {at}, !invariant.load !0")
        address = self.module.table_dir + 2 * self.module.table_index[struct] + word
        return self.define(f"load i64, ptr {self.word(str(address))}, !invariant.load !0")

    def on_table(self, i: ir.Table) -> None:
        index = self.operand(i.index)
        if i.checked:
            inside = self.define(f"icmp ult i64 {index}, {self.directory(i.struct, 1)}")
            self.unless(inside, "index", i.at, i.struct, index)
        words = self.define(f"mul nsw i64 {index}, {self.module.strides[i.struct]}")
        self.names[i.to] = self.define(f"add nsw i64 {self.directory(i.struct, 0)}, {words}")

    def on_table_length(self, i: ir.TableLength) -> None:
        self.names[i.to] = self.directory(i.struct, 1)

    def on_index_of(self, i: ir.IndexOf) -> None:
        address = self.operand(i.address)
        if i.checked:
            self.unless(self.define(f"icmp ne i64 {address}, 0"), "null", i.at, i.struct)
        distance = self.define(f"sub i64 {address}, {self.directory(i.struct, 0)}")
        self.names[i.to] = self.define(f"sdiv i64 {distance}, {self.module.strides[i.struct]}")

    # -- calls and control

    def on_call(self, i: ir.Call) -> None:
        args = "".join(f", i64 {self.operand(a)}" for a in i.args)
        keep = "preserve_mostcc " if self.module.functions[i.function].facts.inline == "never" else ""
        value = self.define(f'call {keep}i64 @"{i.function}"(ptr %S{args})')
        if i.to is not None:
            self.names[i.to] = value

    def on_call_pointer(self, i: ir.CallPointer) -> None:
        number = self.operand(i.pointer)
        count = len(self.module.function_ids) + 1
        self.unless(self.define(f"icmp ult i64 {number}, {count}"), "pointer", i.at, str(len(i.args)), number)
        arity_at = self.define(f"getelementptr inbounds [{count} x i8], ptr @arity, i64 0, i64 {number}")
        arity = self.define(f"load i8, ptr {arity_at}, !invariant.load !0")
        fits = self.define(f"icmp eq i8 {arity}, {len(i.args)}")
        self.unless(fits, "pointer", i.at, str(len(i.args)), number)
        entry = self.define(f"getelementptr inbounds [{count} x ptr], ptr @targets, i64 0, i64 {number}")
        target = self.define(f"load ptr, ptr {entry}, !invariant.load !0")
        args = "".join(f", i64 {self.operand(a)}" for a in i.args)
        value = self.define(f"call i64 {target}(ptr %S{args})")
        if i.to is not None:
            self.names[i.to] = value

    def on_point(self, i: ir.Point) -> None:
        if self.text.count_points:
            count = self.load(str(RUN_WORDS["points"]), "run.points")
            self.store(str(RUN_WORDS["points"]), self.define(f"add i64 {count}, 1"), "run.points")
        if not self.text.run_ahead:
            self.line("call void @give_way(ptr %S)")
            return
        over = self.define(f"icmp sgt i64 {self.engine('now')}, {self.engine('lim')}")
        self.when_rare(over, "call void @give_way(ptr %S)")

    def on_suspend(self, i: ir.Suspend) -> None:
        self.line("call void @give_way(ptr %S)")

    def on_trace(self, i: ir.Trace) -> None:
        number = self.module.events[i.event]
        cpu = self.define(f"mul i64 {self.engine('cpu')}, {len(self.module.events)}")
        row = self.define(f"add i64 {self.engine('count_base')}, {cpu}")
        address = self.define(f"add i64 {row}, {number}")
        count = self.load(address, "memory")
        self.store(address, self.define(f"add i64 {count}, 1"), "memory")
        bit = self.define(f"and i64 {self.engine('trace_mask')}, {1 << number}")
        traced = self.define(f"icmp ne i64 {bit}, 0")
        args = ", ".join(f"i64 {self.operand(a)}" for a in i.args)
        self.when_rare(traced, f"call preserve_mostcc void @record(ptr %S, i64 {number}, {args})")

    def on_check(self, i: ir.Check) -> None:
        self.unless(self.define(f"icmp ne i64 {self.operand(i.value)}, 0"), i.code, i.at, i.what)

    def on_fuel(self, i: ir.Fuel) -> None:
        if i.counted and self.function.shipped and not self.checked:
            return
        left = self.define(f"sub i64 {self.load(str(RUN_WORDS['fuel']), 'run.fuel')}, 1")
        self.store(str(RUN_WORDS["fuel"]), left, "run.fuel")
        # A test for "below 0" uses the flags of the subtraction in memory; a test for 0 would load the word again.
        self.unless(self.define(f"icmp sge i64 {left}, 0"), "fuel", i.at)

    # -- ends of blocks

    def on_jump(self, i: ir.Jump) -> None:
        self.line(f'br label %"{i.target}"')

    def on_branch(self, i: ir.Branch) -> None:
        condition = self.define(f"icmp ne i64 {self.operand(i.value)}, 0")
        self.line(f'br i1 {condition}, label %"{i.yes}", label %"{i.no}"')

    def on_return(self, i: ir.Return) -> None:
        self.line(f"ret i64 {0 if i.value is None else self.operand(i.value)}")
