# SPDX-License-Identifier: GPL-2.0-or-later
"""References that are known not to be NULL: what is marked by hand, and that whatever is marked never is NULL."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.lang.world import COSTS, EVENTS, program_with

from softnet.lang import ir
from softnet.lang.check.subset import typed_program
from softnet.lang.lowering.lower import lower_program
from softnet.lang.passes.null_checks import mark_sound, mark_sound_alone

HEAD = """from __future__ import annotations

from softnet.lang.declare import Struct, hw, hwfunc, kfunc
from softnet.lang.intrinsics import BUG_ON, container_of, index_of, likely, table


class engine_state(Struct):
    now: int = hw()
    cost_atomic: int = hw()


@hwfunc(price_only=True)
def line_read(address: int) -> None:
    pass


@hwfunc(price_only=True)
def line_write(address: int) -> None:
    pass


@kfunc
def entry(q: int) -> int:
    sd = table(softnet_data, 0)
    skb = sd.input_head
"""


def left(tmp_path: Path, body: str, function: str = "entry", *, alone: bool = False) -> list[str]:
    """The lines of a function on which a reference is still tested, by the comments at their ends."""
    path = tmp_path / f"patch{len(list(tmp_path.iterdir()))}.py"
    path.write_text(HEAD + body)
    typed = typed_program(program_with(path))
    module = lower_program(typed, {name: i for i, name in enumerate(COSTS)}, {name: i for i, name in enumerate(EVENTS)})
    module.pointed = {"pointed"}
    if alone:
        mark_sound_alone(module)
    else:
        mark_sound(module)
    lines = path.read_text().splitlines()
    found = {
        i.at.line
        for block in module.functions[function].blocks
        for i in block.body
        if isinstance(i, ir.Offset | ir.IndexOf) and i.checked
    }
    return [lines[n - 1].partition("# ")[2] for n in sorted(found)]


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("    a = skb.len  # a\n    return skb.cpu  # b\n", ["a"]),
        ("    if skb is None:\n        return 0\n    return skb.len  # a\n", []),
        ("    if skb is not None:\n        return skb.len  # a\n    return skb.cpu  # b\n", ["b"]),
        ("    if skb:\n        return skb.len  # a\n    return skb.cpu  # b\n", ["b"]),
        ("    if not skb or skb.len & 1:  # a\n        return 0\n    return skb.cpu  # b\n", []),
        ("    while (skb := skb.next):  # a\n        q = skb.len  # b\n    return skb.cpu  # c\n", ["a", "c"]),
        ("    if (other := skb.next):  # a\n        return other.len  # b\n    return other.cpu  # c\n", ["a", "c"]),
        ("    if likely(skb is not None) and skb.len > 1:  # a\n        return skb.cpu  # b\n    return 0\n", []),
        ("    if skb is None or skb.len > 1:  # a\n        return 0\n    return skb.cpu  # b\n", []),
        ("    if q > 1:\n        q = skb.len  # a\n    return skb.cpu  # b\n", ["a", "b"]),
        ("    if q > 1:\n        q = skb.len  # a\n    else:\n        q = skb.cpu  # b\n    return skb.cpu  # c\n", ["a", "b"]),
        (
            "    if q > 1:\n        skb = skb.next  # a\n    else:\n        q = skb.len  # b\n    return skb.cpu  # c\n",
            ["a", "b", "c"],
        ),
        ("    n = 0\n    while skb is not None:\n        n += skb.len  # a\n        skb = skb.next  # b\n    return n\n", []),
        ("    n = 0\n    while n < 3:\n        n += skb.len  # a\n        skb = skb.next  # b\n    return n\n", ["a"]),
        ("    n = 0\n    while n < 3:\n        n += skb.len  # a\n    return skb.cpu  # b\n", ["a", "b"]),
        ("    BUG_ON(skb is None)\n    return skb.len  # a\n", []),
        ("    other = skb\n    BUG_ON(other is None)\n    return skb.len  # a\n", []),
        ("    return index_of(sd)  # a\n", []),
        ("    return index_of(skb) + skb.len  # a\n", ["a"]),
        ("    return container_of(sd.backlog, softnet_data, 'backlog').processed  # a\n", []),
    ],
    ids=range(20),
)
def test_what_a_path_has_tested_is_not_tested_again(tmp_path: Path, body: str, wanted: list[str]) -> None:
    assert left(tmp_path, body) == wanted


CALLED = """    if skb is not None:
        q = length(skb)
    return q


@kfunc
def length(skb: sk_buff) -> int:
    return skb.len  # a
"""


def test_a_parameter_is_sound_if_every_call_passes_a_sound_one(tmp_path: Path) -> None:
    assert left(tmp_path, CALLED, "length") == []
    again = "\n\n@kfunc\ndef other(skb: sk_buff) -> int:\n    return length({}) + skb.len\n"
    assert left(tmp_path, CALLED + again.format("skb.next"), "length") == ["a"]
    assert left(tmp_path, CALLED + again.format("None"), "length") == ["a"]
    assert left(tmp_path, CALLED + again.format("skb"), "length") == ["a"]


@pytest.mark.parametrize("name", ["pointed", "actor_set", "length"])
def test_of_a_function_entered_from_outside_nothing_is_known(tmp_path: Path, name: str) -> None:
    wanted = [] if name == "length" else ["a"]
    assert left(tmp_path, CALLED.replace("length", name), name) == wanted
    assert left(tmp_path, CALLED.replace("length", name), name, alone=True) == ["a"]


def test_a_recursive_function_keeps_what_its_first_call_brought(tmp_path: Path) -> None:
    walk = "\n\n@kfunc\ndef walk(skb: sk_buff) -> int:\n    if skb.len > 1:  # a\n        return walk({})\n    return 0\n"
    called = CALLED.replace("return skb.len  # a", "return walk(skb)") + walk
    assert left(tmp_path, called.format("skb"), "walk") == []
    assert left(tmp_path, called.format("skb.next"), "walk") == ["a"]


def test_a_result_is_sound_if_every_return_gives_a_sound_one(tmp_path: Path) -> None:
    body = "    found = find(q)\n    return found.processed  # a\n\n\n@kfunc\ndef find(q: int) -> softnet_data:\n"
    assert left(tmp_path, body + "    return table(softnet_data, q)\n") == []
    assert left(tmp_path, body + "    if q > 1:\n        return None\n    return table(softnet_data, q)\n") == ["a"]
    assert left(tmp_path, body + "    if q > 1:\n        return find(q - 1)\n    return table(softnet_data, q)\n") == []


# -- whatever is marked never is NULL

LOCALS = ("p", "q", "r")
AT = ir.At(1, 1)


class Writer:
    """Makes functions of random instructions over three locals."""

    def __init__(self, random: random.Random, names: list[str]) -> None:
        self.random, self.names = random, names

    def module(self) -> ir.Module:
        functions = {name: self.function(name) for name in self.names}
        return ir.Module(functions, {}, {}, {}, {}, {}, 0, {}, {n for n in self.names if self.random.random() < 0.2})

    def function(self, name: str) -> ir.Function:
        labels = [f"b{i}" for i in range(self.random.randint(1, 6))]
        blocks = [self.block(label, labels) for label in labels]
        return ir.Function(name, "kfunc", True, "f.py", 1, LOCALS[:2], True, list(LOCALS), blocks)

    def block(self, label: str, labels: list[str]) -> ir.Block:
        self.temps: list[ir.Temp] = []
        block = ir.Block(label)
        for _ in range(self.random.randint(0, 6)):
            block.body.append(self.instr())
        how = self.random.random()
        if how < 0.25:
            block.end = ir.Return(AT, self.operand())
        elif how < 0.5:
            block.end = ir.Jump(AT, self.random.choice(labels))
        else:
            block.end = ir.Branch(AT, self.operand(), self.random.choice(labels), self.random.choice(labels))
        return block

    def temp(self) -> ir.Temp:
        return ir.Temp(len(self.temps) + 1)

    def operand(self) -> ir.Operand:
        if self.temps and self.random.random() < 0.9:
            return self.random.choice(self.temps[-2:])
        return self.random.choice([0, 0, 7])

    def instr(self) -> ir.Instr:
        choice, operand = self.random.random(), self.operand()
        to = self.temp()
        if choice < 0.35 or not self.temps:
            made: ir.Instr = ir.Get(AT, to, self.random.choice(LOCALS))
        elif choice < 0.48:
            return ir.Set(AT, self.random.choice(LOCALS), operand)
        elif choice < 0.6:
            made = ir.Offset(AT, to, operand, 1, "s.f")
        elif choice < 0.7:
            made = ir.Load(AT, to, ir.Place(operand, "s.f", "private"))
        elif choice < 0.85:
            made = ir.Binary(AT, to, self.random.choice(["==", "!="]), operand, self.random.choice([0, self.operand()]))
        elif choice < 0.9:
            return ir.Check(AT, operand, "bug-on")
        else:
            made = ir.Call(AT, to, self.random.choice(self.names), (operand, self.operand()))
        self.temps.append(to)
        return made


class Stopped(Exception):
    """The run ended: by a test that failed, or since it was long enough."""


class Machine:
    """Runs a module's functions; what a load gives is drawn."""

    def __init__(self, module: ir.Module, random: random.Random) -> None:
        self.module, self.random, self.left = module, random, 100

    def run(self, name: str, args: tuple[int, ...], depth: int = 0) -> int:
        function = self.module.functions[name]
        blocks = {block.label: block for block in function.blocks}
        values: dict[object, int] = dict.fromkeys(function.locals, 0) | dict(zip(function.params, args, strict=True))
        block = function.blocks[0]
        while True:
            self.left -= 1
            if self.left < 0 or depth > 20:
                raise Stopped
            for instr in block.body:
                self.step(instr, values, depth)
            end = block.end
            if isinstance(end, ir.Return):
                return self.value(end.value or 0, values)
            if isinstance(end, ir.Branch):
                block = blocks[end.yes if self.value(end.value, values) else end.no]
            else:
                assert isinstance(end, ir.Jump)
                block = blocks[end.target]

    def value(self, operand: ir.Operand, values: dict[object, int]) -> int:
        return operand if isinstance(operand, int) else values[operand]

    def step(self, instr: ir.Instr, values: dict[object, int], depth: int) -> None:
        match instr:
            case ir.Get(_, to, local):
                values[to] = values[local]
            case ir.Set(_, local, value):
                values[local] = self.value(value, values)
            case ir.Offset(_, to, base, words, _, checked):
                if self.value(base, values) == 0:
                    assert checked, "NULL where no test is made"
                    raise Stopped
                values[to] = self.value(base, values) + words
            case ir.Load(_, to):
                values[to] = self.random.choice([0, 7, 9])
            case ir.Binary(_, to, op, left, right):
                values[to] = int((self.value(left, values) == self.value(right, values)) == (op == "=="))
            case ir.Check(_, value):
                if not self.value(value, values):
                    raise Stopped
            case ir.Call(_, ir.Temp() as to, function, args):
                values[to] = self.run(function, tuple(self.value(a, values) for a in args), depth + 1)
            case _:
                raise AssertionError(instr)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_what_is_not_tested_is_never_null(seed: int) -> None:
    source = random.Random(seed)
    module = Writer(source, ["entry", "f", "g", "h"]).module()
    mark_sound(module, ["entry"])
    for _ in range(12):
        for name in sorted({"entry"} | module.pointed):
            args = (source.choice([0, 7]), source.choice([0, 9]))
            with contextlib.suppress(Stopped):
                Machine(module, source).run(name, args)
