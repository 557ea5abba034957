# SPDX-License-Identifier: GPL-2.0-or-later
"""Patches with random functions: a user's code in all of the restricted Python's forms, for the engines to agree on.

``patch_text(seed)`` overrides sock_recv_timestamp() with itself and a call of random statements over a structure that every CPU
shares. Some of them overflow, shift too far or leave an array: then both engines must stop at the same place.
"""

from __future__ import annotations

import random
from typing import Final

from tests.mutation import Edit, function_text

HEAD: Final = '''# SPDX-License-Identifier: GPL-2.0-or-later
"""Random functions, seed {seed}."""

from __future__ import annotations

from softnet.lang import Struct, array, embed, kfunc, percpu, private, shared

FUZZ_SIZE = {size}


class fuzz_state(Struct):
    """Words that every CPU reads and writes."""

    a: int = shared(line=0)
    b: int = shared(line=1)
    c: int = private()
    d: int = percpu(line=3)
    h: int = array(FUZZ_SIZE)
    to: fuzz_state = private()


class net_hotdata(Struct, extends=True):
    """There is always one."""

    fuzz: fuzz_state = embed(line=40)
'''

CALL: Final = Edit(
    "sock_recv_timestamp",
    "skb.nr_packets = 0",
    """
    container_of(msg, app, "msg").service_ns = 500 + (fuzz(table(net_hotdata, 0).fuzz, skb.len, skb.hash & 1023) & 255)
    skb.nr_packets = 0
    """,
)
"""sock_recv_timestamp() is the same in every kernel."""
PLACES: Final = ("f.a", "f.b", "f.c", "f.d")


class Writer:
    """Random statements, every name assigned before it is read."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.size = self.random.choice((4, 8, 16))
        self.lines: list[str] = []
        self.names = ["x", "y", "v"]

    def word(self, depth: int) -> str:
        """An expression of an integer."""
        pick = self.random.random()
        if depth == 0 or pick < 0.2:
            leaves = (
                *self.names,
                *PLACES,
                self.index("f.h"),
                str(self.random.choice((0, 1, 3, 7, 64, 1000, -5))),
            )
            return self.random.choice(leaves)
        left, right = self.word(depth - 1), self.word(depth - 1)
        if pick < 0.55:
            return f"({left} {self.random.choice('+-*&|^')} {right})"
        if pick < 0.65:
            return f"({left} {self.random.choice(('//', '%'))} {self.random.choice((3, 4, 10, 64))})"
        if pick < 0.75:
            return f"({left} {self.random.choice(('<<', '>>'))} ({right} & 3))"
        if pick < 0.85:
            return f"{self.random.choice(('min', 'max'))}({left}, {right})"
        if pick < 0.9:
            return f"fls({left})"
        if pick < 0.95:
            return f"({left} if {self.condition(depth - 1)} else {right})"
        return f"({self.random.choice('-~')}{left})"

    def condition(self, depth: int) -> str:
        """An expression for an ``if``."""
        if self.random.random() < 0.2:
            return self.random.choice((f"{self.word(depth)} & 7", "f.to", "not f.to", "f.to is None"))
        compare = f"{self.word(depth)} {self.random.choice(('<', '<=', '>', '>=', '==', '!='))} {self.word(depth)}"
        if depth == 0 or self.random.random() < 0.7:
            return compare
        return f"{self.random.choice(('', 'not '))}({compare}) {self.random.choice(('and', 'or'))} ({self.condition(depth - 1)})"

    def index(self, name: str) -> str:
        """An element of the array; once in a while one that may not exist."""
        inside = f"{self.random.choice(self.names)} & {self.size - 1 if self.random.random() < 0.98 else 2 * self.size - 1}"
        return f"{name}[{inside}]"

    def place(self) -> str:
        return self.random.choice((*PLACES, self.index("f.h")))

    def statement(self, indent: str, depth: int) -> None:
        """One statement, its bodies included."""
        r = self.random
        simple = (
            lambda: f"{r.choice(('x', 'y', 'v'))} = {self.word(3)} & 65535",
            lambda: f"{self.place()} = {self.word(2)}",
            lambda: f"{self.place()} {r.choice(('+', '-', '^', '|'))}= {self.word(1)} & 255",
            lambda: f"v = {r.choice(('READ_ONCE', 'data_race', 'smp_load_acquire', 'atomic_inc_return'))}({self.place()}) & 4095",
            lambda: f"v = {r.choice(('xchg', 'WRITE_ONCE'))}({self.place()}, {self.word(1)})".replace("v = WRITE", "WRITE"),
            lambda: f"v = cmpxchg({self.place()}, {self.word(1)}, {self.word(1)})",
            lambda: f"{r.choice(('set_bit', 'clear_bit', '__set_bit'))}({self.word(1)} & 15, {self.place()})",
            lambda: f"x += {r.choice(('test_bit', 'test_and_set_bit', 'test_and_clear_bit'))}({self.word(1)} & 31, {self.place()})",
            lambda: f"atomic_add({self.word(1)} & 127, {self.place()})",
            lambda: r.choice(('work("ip_rcv")', f"work_ns({self.word(1)} & 255)")),
            lambda: f'trace("sysctl_set", {self.word(1)}, {self.word(1)})',
            lambda: f"v = fuzz_leaf({self.word(1)} & 4095, {self.word(1)} & 4095)",
            lambda: f"WARN_ON_ONCE({self.condition(1)})",
            lambda: f"f.to = {r.choice(('f', 'None'))}",
        )
        if depth == 0 or r.random() < 0.7:
            self.lines.append(indent + r.choice(simple)())
            return
        kind = r.choice(("if", "for", "while"))
        if kind == "if":
            test = self.condition(2) if r.random() < 0.8 else f"(v := {self.word(2)} & 7) and {self.condition(1)}"
            self.lines.append(f"{indent}if {test}:")
            self.body(indent + "    ", depth - 1)
            if r.random() < 0.5:
                self.lines.append(f"{indent}else:")
                self.body(indent + "    ", depth - 1)
        elif kind == "for":
            self.lines.append(f"{indent}for i{depth} in range({self.word(1)} & 3):")
            self.body(indent + "    ", depth - 1)
            self.leave(indent + "    ")
        else:
            self.lines += [f"{indent}n{depth} = {r.randrange(4)}"]
            if r.random() < 0.5:
                self.lines += [f"{indent}while n{depth} > 0:", f"{indent}    n{depth} -= 1"]
            else:
                self.lines += [f"{indent}while (n{depth} := n{depth} >> 1):"]
            self.body(indent + "    ", depth - 1)
            self.leave(indent + "    ")

    def leave(self, indent: str) -> None:
        if self.random.random() < 0.4:
            self.lines += [
                f"{indent}if {self.condition(1)}:",
                f"{indent}    {self.random.choice(('break', 'continue'))}",
            ]

    def body(self, indent: str, depth: int) -> None:
        for _ in range(self.random.randrange(1, 4)):
            self.statement(indent, depth)

    def function(self, head: str, statements: int) -> None:
        self.lines += ["", "", "@kfunc", head, "    v = 0"]
        for _ in range(statements):
            self.statement("    ", 2)
        self.lines.append(f"    return {self.word(2)}")


def patch_text(seed: int) -> str:
    """The text of a patch file."""
    writer = Writer(seed)
    leaf = Writer(seed + 10**6)
    leaf.lines += [
        "",
        "",
        "@kfunc",
        "def fuzz_leaf(x: int, y: int) -> int:",
        "    f = table(net_hotdata, 0).fuzz",
        "    v = x ^ y",
    ]
    leaf.lines.append(f"    return {leaf.word(3)} & 4095".replace("f.h[", "f.h[3 & "))
    writer.function("def fuzz(f: fuzz_state, x: int, y: int) -> int:", 9)
    caller = CALL.apply(function_text("6.12", CALL.function), "random patch")
    return HEAD.format(seed=seed, size=writer.size) + "\n\n" + caller + "\n".join([*leaf.lines, *writer.lines]) + "\n"
