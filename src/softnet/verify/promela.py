# SPDX-License-Identifier: GPL-2.0-or-later
"""A configuration as a Promela model, so that SPIN explores it: other code, another search, other storage.

Each CPU is a process of SPIN's whose options are its actions; what comes from outside is a process, too. A step is C, made
from the same intermediate form as the native code (softnet.verify.codegen.c_model). SPIN's state vector holds for each word that
changes its difference from the first state, in the smallest type that the explorer's own search found enough; a value that
does not fit, or a change of another word, stops SPIN with an error.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from softnet.errors import SoftnetError
from softnet.files import atomic
from softnet.properties.statements import in_order
from softnet.units import FACTORS, GAMMA
from softnet.verify.arena import Arena, Limits
from softnet.verify.codegen import c_model as cmodel
from softnet.verify.codegen.frames import FRAME_WORDS_MAX, Rules, state_fields
from softnet.verify.codegen.points import reachable
from softnet.verify.inside import words
from softnet.verify.model import STACK_WORDS, Config, not_state, store_buffer
from softnet.verify.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

TYPES: Final = ("signed char", "short", "int", "long")
BITS: Final = (8, 16, 32, 64)
ENTRY_POINTS: Final = (
    "vx_enabled",
    "vx_perform",
    "vx_warn",
    "verify_after",
    "verify_state",
    "verify_terminal",
    "irqs_disabled",
)


C_BEGINS: Final = "/* Made by softnet: the steps of a configuration. */"
"""The first line of the model's C, whose name the user does not give."""


def _begins(path: Path, text: str) -> bool:
    """Whether the file begins so."""
    try:
        with open(path, "rb") as stream:
            return stream.read(len(text)) == text.encode()
    except OSError:
        return False


@dataclass(frozen=True)
class Export:
    """What was written."""

    promela: Path
    code: Path
    vector_bytes: int
    """Of the words of the state, without SPIN's own."""
    states: int
    transitions: int
    terminals: int
    verdict: Verdict
    """What the explorer found, for comparison."""

    @property
    def spin_states(self) -> int:
        """How many states SPIN stores: for each terminal state two more, of the process that looks at it."""
        return self.states + 2 * self.terminals

    @property
    def spin_transitions(self) -> int:
        """What SPIN counts as transitions: stored and matched states, so the first state is one."""
        return self.transitions + 2 * self.terminals + 1


def export(config: Config, path: Path, limits: Limits | None = None) -> Export:
    """Write ``path`` (Promela) and beside it ``path`` with the suffix .h (C). Raises SoftnetError.

    The explorer searches the configuration first, exactly, to know the words that change; if it does not finish, or finds a
    violation, all words are given 32 bits.
    """
    code_path = path.with_suffix(".h")
    if code_path == path:
        raise SoftnetError("the model's C goes beside it", where=str(path), expected="another suffix than .h, such as .pml")
    if os.path.lexists(code_path) and not _begins(code_path, C_BEGINS):
        raise SoftnetError("the model's C would replace a file that softnet did not write", where=str(code_path),
                           expected="no such file", hint=f"name the model otherwise than {path}")  # fmt: skip
    if store_buffer(config):
        raise SoftnetError("a model for SPIN has no store buffers", where="--memory-model", found="tso", expected="sc")
    limits = replace(limits or Limits(), storage="exact")
    # SPIN knows no owners, and looks for no data races.
    machine = Arena(replace(config, owned=False, races=False), limits, hasty=True)
    machine.settle()
    first = machine.words.copy()
    code = machine.start()
    while code == words.VX_MORE:
        if machine.outgrew():
            machine.optimise()
        code = machine.explore(100_000)
    verdict = {words.VX_DONE: Verdict.HOLDS, words.VX_FULL: Verdict.INCONCLUSIVE}.get(code, Verdict.VIOLATED)
    kinds = widths(machine, first) if code == words.VX_DONE else wide(machine, first)
    vector = Vector(kinds)
    with atomic(path) as text, atomic(code_path) as code_text:
        text.write(promela_text(machine, vector, code_path.name).encode())
        code_text.write(c_text(machine, first, vector).encode())
    get = machine.get
    return Export(path, code_path, vector.size(), get("states"), get("transitions"), get("terminals"), verdict)


# -- the state vector


def widths(machine: Arena, first: Any) -> dict[int, int]:
    """Address -> which of TYPES holds its difference from the first state, of the words that ever differ."""
    import numpy as np

    store, used = machine.regions["store"], machine.get("store_used")
    low = [np.array(first[np.array(a)]) for a in machine.comps.addresses]
    high = [a.copy() for a in low]
    at = 1
    while at < used:
        k, count = int(store[at]) & 0xFFFFFFFF, int(store[at]) >> 32
        value = store[at + 1 : at + 1 + count]
        np.minimum(low[k][:count], value, out=low[k][:count])
        np.maximum(high[k][:count], value, out=high[k][:count])
        if count < len(low[k]):
            np.minimum(low[k][count:], 0, out=low[k][count:])
            np.maximum(high[k][count:], 0, out=high[k][count:])
        at += count + 1
    found = {}
    for addresses, least, most in zip(machine.comps.addresses, low, high, strict=True):
        for address, a, b in zip(addresses, least.tolist(), most.tolist(), strict=True):
            base = int(first[address])
            if a != base or b != base:
                found[address] = kind_of((a - base, b - base))
    return found


def wide(machine: Arena, first: Any) -> dict[int, int]:
    """32 bits for every word of the state, 64 where the first state's value needs them."""
    return {a: max(2, kind_of((int(first[a]), -int(first[a])))) for addresses in machine.comps.addresses for a in addresses}


def kind_of(differences: Iterable[int]) -> int:
    """The smallest of TYPES that holds them all."""
    return next((k for k, bits in enumerate(BITS) if all(-(1 << bits - 1) <= d < 1 << bits - 1 for d in differences)), 3)


class Vector:
    """Where each word of the state stands in SPIN's vector: an array for each type."""

    def __init__(self, kinds: dict[int, int]) -> None:
        self.counts = [0, 0, 0, 0]
        self.slot: dict[int, int] = {}
        for address, kind in kinds.items():
            self.slot[address] = self.counts[kind] << 2 | kind
            self.counts[kind] += 1

    def size(self) -> int:
        """Bytes."""
        return sum(n * bits // 8 for n, bits in zip(self.counts, BITS, strict=True))


# -- the model


def promela_text(machine: Arena, vector: Vector, code: str) -> str:
    """The processes and their options."""
    from softnet.verify.standard import to_text

    config = machine.model.config
    per_cpu = words.VX_PER_CPU
    actions = machine.get("nr_actions")
    lines = [
        f"/* softnet: {to_text(config)}",
        f"   spin -a FILE; gcc -O2 -w -DSAFETY -DNOREDUCE -DVECTORSZ={vector_bytes_max(vector.size())} -o pan pan.c",
        "   ./pan -m1000000 -w24",
        f"   The steps are in {code}. A state is what changed since the first one. */",
    ]
    lines += [f'c_state "{TYPES[k]} P{k}[{n}]" "Global"' for k, n in enumerate(vector.counts) if n]
    lines += [f'c_code {{ \\#include "{code}" }}', ""]
    groups = [(f"cpu{n}", range(n * per_cpu, (n + 1) * per_cpu)) for n in range(config.cpus)]
    groups.append(("outside", range(config.cpus * per_cpu, actions)))
    for name, numbers in groups:
        lines += [f"active proctype {name}() {{", "end:", "  do"]
        lines += [f"  :: d_step {{ c_expr {{ CAN{a} }} -> c_code {{ act({a}); }} }}" for a in numbers]
        lines += ["  od", "}", ""]
    lines += [
        "/* Where nothing can happen any more, the properties of terminal states are tested: two states more for each. */",
        "active proctype rest() {", "  timeout -> c_code { at_rest(); };", "end:", "  false", "}", "",
    ]  # fmt: skip
    return "\n".join(lines)


def vector_bytes_max(size: int) -> int:
    """What SPIN must be told as the size of its vector at most (-DVECTORSZ), for ``size`` bytes of ours."""
    return (size + 1024 + 255) // 256 * 256


def c_text(machine: Arena, first: Any, vector: Vector) -> str:
    """The steps, the memory they work on, and what SPIN's options call."""
    model = machine.model
    module = model.module
    empty = {n: replace(module.functions[n], blocks=[]) for n in ("vx_run", *cmodel.LEFT_OUT)}
    whole = replace(module, functions={**module.functions, **empty})
    # All functions of the kernel, so that their places have the numbers that the first state's frames hold.
    everything = reachable(module, model.roots, model.program)
    roots = [*ENTRY_POINTS, *sorted(n for n in everything if module.functions[n].kind == "kfunc")]
    used = reachable(whole, roots, model.program)
    fields = {f"{s.name}.{f.name}": f.kind for s in model.program.structs.values() for f in s.fields.values()}
    rules = Rules(whole, fields, model.changing, model.config.reduce, model.facts)
    tables = model.image.layout.tables
    shared = cmodel.Shared(
        rules, state_fields(model.changing, not_state(model.program)), {n: (t.base, t.count) for n, t in tables.items()}
    )
    body = cmodel.translate(used, shared)
    if any(model.frames.entries[n] != pc for n, pc in shared.frames.entries.items()):
        raise AssertionError("places are numbered otherwise than in the first state")
    size = machine.stacks + model.nr_contexts * STACK_WORDS
    words_text = ", ".join(f"{{{a}, {constant(v)}}}" for a, v in enumerate(first[:size].tolist()) if v)
    slots_text = ", ".join(f"{{{a}, {s}}}" for a, s in vector.slot.items())
    offset, engine = module.offsets, module.engine
    numbers = {
        "SIZE": size, "STACKS": machine.stacks, "STACK_WORDS": STACK_WORDS, "FRAME_WORDS_MAX": FRAME_WORDS_MAX,
        "EXPLORER": tables["explorer"].base, "ACTIONS": machine.get("nr_actions"), "PER_CPU": words.VX_PER_CPU,
        "CPUS": model.config.cpus, "BLOCKED": words.VX_BLOCKED, "FUEL": words.VX_FUEL, "PROPERTIES": machine.get("properties"),
        "CUR": offset["cpu_hw.cur"], "CPU_ID": offset["cpu_hw.id"], "CPU_T": offset["cpu_hw.t"], "CTX_ID": offset["context.id"],
        **{f"HW_{name.upper()}": engine[name] for name in ("cpu", "ctx", "now", "running", "error")},
    }  # fmt: skip
    names = ", ".join(f'[{n}] = "{p.name}"' for n, p in model.properties.items())
    accesses = [f"case {k}: return mem[a] + now.P{k}[s >> 2];" for k, n in enumerate(vector.counts) if n]
    stores = [
        f"case {k}: now.P{k}[s >> 2] = d; if (now.P{k}[s >> 2] != d) outside(a); return;" for k, n in enumerate(vector.counts) if n
    ]
    return "\n".join(
        [
            C_BEGINS,
            *(f"#define {name} {value}L" for name, value in numbers.items()),
            f"static const struct {{ long at, value; }} memory0[] = {{ {words_text} }};",
            f"static const struct {{ int at, slot; }} slots0[] = {{ {slots_text} }};",
            f"static const char *property_names[64] = {{ {names} }};",
            f"static const int order[] = {{ {', '.join(map(str, in_order(sum(1 << n for n in model.properties))))} }};",
            HEAD.replace("GAMMA", f"{GAMMA}UL")
            .replace("FACTOR0", f"{FACTORS[0]}UL")
            .replace("FACTOR1", f"{FACTORS[1]}UL")
            .replace("LOADS", " ".join(accesses))
            .replace("STORES", " ".join(stores)),
            *body,
            TAIL,
            # SPIN takes no call for an expression, as it might change something.
            *(f"#define CAN{a} can({a})" for a in range(machine.get("nr_actions"))),
        ]
    )


def constant(value: int) -> str:
    """A word in C."""
    return f"{value}L" if value > -(1 << 63) else "(-9223372036854775807L - 1)"


HEAD: Final = r"""
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long mem[SIZE];
static int slot[SIZE];
static long phase, result, frame, frame_end, frame_limit, fuel;
static long work[SIZE], stamp[SIZE], epoch = 1, changed[SIZE], nr_changed;
static int ready = -1, booted;
static jmp_buf way_out;
static char why[256];

static void boot(void)
{
  for (long a = 0; a < SIZE; a++) slot[a] = -1;
  for (size_t i = 0; i < sizeof memory0 / sizeof memory0[0]; i++) mem[memory0[i].at] = memory0[i].value;
  for (size_t i = 0; i < sizeof slots0 / sizeof slots0[0]; i++) slot[slots0[i].at] = slots0[i].slot;
  booted = 1;
}
static void outside(long a)
{
  fprintf(stderr, "softnet: word %ld took a value that the explorer never saw\n", a);
  exit(3);
}
static void fail(const char *kind, const char *function, int line)
{
  snprintf(why, sizeof why, "%s in %s() line %d", kind, function, line);
  longjmp(way_out, 1);
}
/* A step works beside the state: what it stored is in work[], and gets into SPIN's vector when the step is done. */
static inline long ld(long a)
{
  int s = slot[a];
  if (stamp[a] == epoch) return work[a];
  if (s < 0) return mem[a];
  switch (s & 3) { LOADS }
  return 0;
}
static inline void st(long a, long v)
{
  if (stamp[a] != epoch) { stamp[a] = epoch; changed[nr_changed++] = a; }
  work[a] = v;
}
static void put(long a, long v)
{
  int s = slot[a];
  long d = v - mem[a];
  if (s < 0) { if (d) outside(a); return; }
  switch (s & 3) { STORES }
}
static inline long floor_div(long a, long b) { long q = a / b; return (a % b != 0 && (a < 0) != (b < 0)) ? q - 1 : q; }
static inline long floor_mod(long a, long b) { long r = a % b; return (r != 0 && (r < 0) != (b < 0)) ? r + b : r; }
static inline long shift_left(long a, long b) { return (long)((unsigned long)a << b); }
static inline long shift_right(long a, long b) { return a >> (b > 63 ? 63 : b); }
static inline long min_of(long a, long b) { return a < b ? a : b; }
static inline long max_of(long a, long b) { return a > b ? a : b; }
static inline long draw_of(long key, long number) {
  unsigned long z = (unsigned long)key + (unsigned long)number * GAMMA;
  z = (z ^ z >> 30) * FACTOR0;
  z = (z ^ z >> 27) * FACTOR1;
  return (long)((z ^ z >> 31) >> 32);
}
static inline long bit_length(long a) { return a == 0 ? 0 : 64 - __builtin_clzl(a < 0 ? -(unsigned long)a : (unsigned long)a); }
extern void (*uerror)(char *);
static long vx_run(long v, long c, long from);
"""

TAIL: Final = r"""
static long vx_run(long v, long c, long from)
{
  long ctx = ld(ld(c + CUR) + CTX_ID), base = STACKS + ctx * STACK_WORDS, fp = base + ld(base);
  mem[HW_CPU] = ld(c + CPU_ID);
  mem[HW_CTX] = ctx;
  mem[HW_NOW] = 0;
  mem[HW_RUNNING] = 1;
  phase = from;
  frame_limit = base + STACK_WORDS - FRAME_WORDS_MAX;
  fuel = FUEL;
  while (fp > 0) fp = steps[ld(fp)](fp, ld(fp));
  mem[HW_RUNNING] = 0;
  if (fp == BLOCKED) return BLOCKED;
  st(base, frame - base);
  st(base + 1, frame_end - base);
  st(c + CPU_T, mem[HW_NOW]);
  mem[HW_NOW] = 0;
  verify_after();
  return 0;
}

static void anew(void)
{
  epoch++;
  nr_changed = 0;
  fuel = FUEL;
}
static long perform(int action)
{
  anew();
  return vx_perform(EXPLORER, action);
}

int can(int action)
{
  if (!booted) boot();
  ready = -1;
  anew();
  if (!vx_enabled(EXPLORER, action)) return 0;
  if (action >= PER_CPU * CPUS || action % PER_CPU > 1) return 1;
  if (setjmp(way_out)) return 1;
  if (perform(action) == BLOCKED) return 0;
  ready = action;
  return 1;
}

static void found(const char *what)
{
  static char text[300];
  snprintf(text, sizeof text, "violated: %s", what);
  uerror(text);
}
static void found_mask(long mask)
{
  mask &= PROPERTIES;
  for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
    if (mask >> order[i] & 1) { found(property_names[order[i]]); return; }
}
void act(int action)
{
  if (setjmp(way_out)) { found(why); return; }
  if (ready != action) perform(action);
  ready = -1;
  if (mem[HW_ERROR] != 0) { snprintf(why, sizeof why, "machine error %ld", mem[HW_ERROR]); found(why); return; }
  fuel = FUEL;
  found_mask(verify_state());
  for (long i = 0; i < nr_changed; i++) put(changed[i], work[changed[i]]);
}
void at_rest(void)
{
  long blocked = 0;
  anew();
  for (int a = 0; a < ACTIONS; a++) blocked += vx_enabled(EXPLORER, a) != 0;
  found_mask(verify_terminal(blocked));
}
"""
