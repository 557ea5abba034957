# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine's two fast tables, the tree of actors and the directory of cache lines, against slow ones that say the same."""

from __future__ import annotations

import random

import pytest

from softnet.errors import SoftnetError
from softnet.lang.native import switch_runtime as native_runtime
from softnet.machine import events, state
from softnet.scenario import Scenario, apply_kernel, scenario_from_dict
from softnet.simulate.simulation import Simulation


def machine(cpus: int, nics: int = 1, queues: int = 1) -> Scenario:
    """A machine of that many CPUs, the second half on another node."""
    raw = {
        "name": "tables",
        "machine": {"cpus": cpus, "numa_nodes": min(cpus, 2)},
        "nic": [{"name": f"eth{n}", "queues": queues, "irq_cpus": [0] * queues} for n in range(nics)],
        "measure": {"duration_ms": 1, "warmup_ms": 0},
    }
    return scenario_from_dict(apply_kernel(raw, "6.12"))


@pytest.mark.parametrize("cpus", [3, 40])
def test_the_tree_finds_the_first_and_how_far_it_may_run(cpus: int) -> None:
    image = Simulation(machine(cpus), engine="reference").image
    call = image.linked.machine
    stop = 10_000
    call["stop_set"](stop)
    times = [0] * cpus + [state.NEVER] * (image.nr_actors - cpus)
    draw = random.Random(cpus)
    for _ in range(400):
        actor = draw.randrange(image.nr_actors)
        times[actor] = draw.choice([draw.randrange(20), draw.randrange(20_000), state.NEVER])
        if actor < cpus:
            cpu = image.ref("cpu_hw", actor)
            cpu.t = times[actor]
            call["cpu_update"](cpu)
        else:
            call["actor_set"](actor, times[actor])
        first = min(range(image.nr_actors), key=lambda a: (times[a], a))
        key = min(image.memory[tree + 1] for tree in (image.regions.cpus, image.regions.devices))
        if times[first] < stop:
            assert (key >> 12, key & 0xFFF) == (times[first], first)
        else:
            assert (key >> 12, key & 0xFFF) == (stop - 1, events.STOP_ACTOR)
        if first < cpus:
            image.memory[image.engine_word("cpu")] = first
            call["look_ahead"]()
            others = [times[a] - (a < first) for a in range(image.nr_actors) if a != first]
            assert call["run_ahead_bound"]() == min([stop - 1, *others])


@pytest.mark.parametrize("cpus", [2, 33])
def test_the_directory_prices_each_access(cpus: int) -> None:
    scenario = machine(cpus)
    node = scenario.machine.numa_node
    image = Simulation(scenario, engine="reference").image
    call, memory = image.linked.machine, image.memory
    now, cpu_word = image.engine_word("now"), image.engine_word("cpu")
    local, remote = (memory[image.engine_word(f"cost_line_{where}")] for where in ("local", "remote"))
    addresses = [image.layout.tables["cpu_hw"].base + 5, image.layout.tables["context"].base + 3]
    writer: dict[int, int] = {}
    copies: dict[int, set[int]] = {a: set() for a in addresses}
    draw = random.Random(cpus)
    for _ in range(600):
        cpu, address, write = draw.randrange(cpus), draw.choice(addresses), draw.random() < 0.3
        held = copies[address]
        free = held == {cpu} and writer.get(address) == cpu if write else cpu in held
        # Nobody's line is written at no price; of readers only, those of the writer's 32 CPUs are noticed.
        if write and address not in writer and not any(c >> 5 == cpu >> 5 for c in held):
            free = True
        price = 0 if free else local
        if not free and node(writer.get(address, cpu)) != node(cpu):
            price = remote
        memory[cpu_word] = cpu
        call["line_owner"](image.ref("cpu_hw", cpu))
        before = memory[now]
        call["line_write" if write else "line_read"](address)
        assert memory[now] - before == price
        copies[address] = {cpu} if write else held | {cpu}
        if write:
            writer[address] = cpu


def test_compiled_code_and_the_machine_agree_on_a_key() -> None:
    assert native_runtime.ACTOR_MASK == events.ACTOR_MASK
    assert 1 << events.ACTOR_BITS == events.ACTOR_MASK + 1


def test_more_queues_than_actors_are_refused() -> None:
    with pytest.raises(SoftnetError, match="too many receive queues"):
        Simulation(machine(256, nics=16, queues=256), engine="reference")
