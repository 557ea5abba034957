# SPDX-License-Identifier: GPL-2.0-or-later
"""What machine functions declare is held against what they do: the fields to which they store, in all that they call."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest

from softnet.errors import SubsetError
from softnet.image.costnames import cost_names
from softnet.lang import ir
from softnet.lang.check.subset import typed_program
from softnet.lang.declare import FunctionFacts, hwfunc
from softnet.lang.lowering.lower import lower_program
from softnet.lang.program.program import Program
from softnet.scenario import apply_kernel, scenario_from_dict
from softnet.simulate.program import load_program
from softnet.trace import EVENT_ID

KERNELS = ("6.1", "6.12", "6.12-rt")


@functools.cache
def build(kernel: str) -> tuple[ir.Module, Program]:
    """A kernel, lowered as the explorer has it."""
    program = load_program(scenario_from_dict(apply_kernel({"name": "facts", "measure": {"duration_ms": 1}}, kernel)), [])
    costs = {name: i for i, name in enumerate(cost_names(program))}
    return lower_program(typed_program(program), costs, EVENT_ID, checks=True), program


@pytest.fixture(scope="module", params=KERNELS)
def linked(request: pytest.FixtureRequest) -> tuple[ir.Module, Program]:
    return build(request.param)


def stores(module: ir.Module, name: str, seen: set[str]) -> set[str]:
    """The fields to which a machine function stores, itself or in what it calls but for prices and statistics."""
    seen.add(name)
    found: set[str] = set()
    for block in module.functions[name].blocks:
        for i in block.body:
            if isinstance(i, ir.Store | ir.Atomic):
                found.add(i.place.field)
            elif isinstance(i, ir.Call) and i.function not in seen and not module.functions[i.function].facts.price_only:
                found |= stores(module, i.function, seen)
    return found


def state(module: ir.Module, program: Program, name: str) -> set[str]:
    """The fields among them that are part of a state."""
    counted = {f"{s.name}.{f.name}" for s in program.structs.values() for f in s.fields.values() if f.statistic or s.engine}
    return {field for field in stores(module, name, set()) if field.partition(".")[0] in program.structs} - counted


OF_OWN_CPU = {"cpu_hw", "context", "nic_queue"}
"""Structures of which a CPU writes its own instance, unseen by others, without a locked instruction. A receive queue is
its driver's. What another CPU reads is written with a lock."""


def contradictions(module: ir.Module, program: Program, name: str, facts: FunctionFacts) -> list[str]:
    """What a declaration says that the function's text denies."""
    written = state(module, program, name)
    found = []
    if (facts.price_only or facts.visible == "own context") and written:
        found.append(f"{name}() writes {sorted(written)}, which others can see")
    if facts.x86 == "plain load" and {field for field in written if field.partition(".")[0] != "nic_queue"}:
        found.append(f"{name}() is no load: it writes {sorted(written)}")
    if facts.x86 == "none" and {field for field in written if field.partition(".")[0] not in OF_OWN_CPU} - {
        "task_struct.migrate_disabled",
        "irq_line.next",
        "irq_line.pending",
    }:
        found.append(f"{name}() writes {sorted(written)} with no instruction")
    if facts.stores and facts.stores not in written:
        found.append(f"{name}() does not store to {facts.stores}")
    if facts.visible in ("own cpu", "preempt_count", "own interrupts", "migration") and any(
        field.startswith("spinlock_t.owner") for field in written
    ):
        found.append(f"{name}() takes or frees a lock")
    if facts.reads and facts.reads.partition(".")[0] not in program.structs:
        found.append(f"{name}() reads {facts.reads}, which is not declared")
    return found


@pytest.mark.slow
def test_declarations_say_what_the_functions_do(linked: tuple[ir.Module, Program]) -> None:
    module, program = linked
    said = {name: f.facts for name, f in module.functions.items() if f.kind == "hwfunc"}
    assert [text for name, facts in said.items() for text in contradictions(module, program, name, facts)] == []


def test_whatever_the_kernel_calls_of_the_machine_says_all(linked: tuple[ir.Module, Program]) -> None:
    """Calls that the compiler itself makes, for prices and checks of locks, are among them."""
    module, _ = linked
    called = {
        i.function
        for function in module.functions.values()
        if function.kind == "kfunc"
        for block in function.blocks
        for i in block.body
        if isinstance(i, ir.Call) and module.functions[i.function].kind == "hwfunc"
    }
    assert {"line_read", "spin_acquire", "rx_len"} <= called
    assert [name for name in sorted(called) if not module.functions[name].facts.complete] == []


WRONG = (
    ("try_to_wake_up", {"visible": "own context"}),
    ("preempt_count_add", {"visible": "own context"}),
    ("migrate_count", {"visible": "own context"}),
    ("nic_rx_pop", {"visible": "own context"}),
    ("irq_ack", {"visible": "own context"}),
    ("spin_acquire", {"visible": "own cpu"}),
    ("spin_try", {"x86": "plain load"}),
    ("hrtimer_start", {"x86": "none"}),
    ("try_to_wake_up", {"x86": "none"}),
    ("spin_release", {"x86": "none"}),
    ("set_task_state", {"x86": "none"}),
    ("set_task_state", {"x86": "plain store spinlock_t.owner"}),
    ("set_task_state", {"price_only": True}),
    ("scheduler_tick", {"price_only": True}),
)


@pytest.mark.parametrize(("name", "said"), WRONG, ids=lambda value: value if isinstance(value, str) else "-".join(value))
def test_a_wrong_declaration_is_noticed(name: str, said: dict[str, object]) -> None:
    module, program = build("6.12")
    facts = replace(module.functions[name].facts, **said)  # type: ignore[arg-type]
    assert contradictions(module, program, name, facts) != []


def test_a_field_that_decides_is_no_statistic(linked: tuple[ir.Module, Program]) -> None:
    _, program = linked
    fields = [f for s in program.structs.values() for f in s.fields.values()]
    assert not [f.where for f in fields if f.statistic and f.decides_turn]
    assert {f.name for f in fields if f.decides_turn} == {"now", "lim", "cpu", "ctx", "stop_at", "running", "error"}


def test_misspelt_words_are_refused() -> None:
    with pytest.raises(SubsetError, match="unknown visibility"):
        hwfunc(visible="own contxt", x86="none")  # type: ignore[call-overload]
    with pytest.raises(SubsetError, match="unknown kind of x86 instruction") as caught:
        hwfunc(visible="all", x86="plain")
    assert '"plain store STRUCTURE.FIELD"' in caught.value.expected
