# SPDX-License-Identifier: GPL-2.0-or-later
"""Governors of idle states against an implementation of their own; what they do to a packet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.linux.cpuidle_reference import Governor, Haltpoll, Idled, Menu, Now, State, Teo
from tests.linux.support import scenario

from softnet.simulate.simulation import Simulation
from softnet.units import mix

NEVER = 1 << 60
TICK = 4_000_000
LIMITS = (NEVER, NEVER, 0, 1_000, 5_000, 150_000)
FORMS: dict[str, type[Governor]] = {"menu": Menu, "teo": Teo, "haltpoll": Haltpoll}


class Cpu:
    """CPU 0 of a booted image whose governor is called by hand."""

    def __init__(self, kernel: str, governor: str, states: list[State], limit: int) -> None:
        rows = [
            {"name": f"S{i}", "exit_latency_us": s.exit / 1000, "target_residency_us": s.residency / 1000}
            for i, s in enumerate(states) if i
        ]  # fmt: skip
        idle: dict[str, Any] = {
            "states": rows, "governor": governor, "disable": [f"S{i}" if i else "POLL" for i, s in enumerate(states) if s.off],
        }  # fmt: skip
        if limit != NEVER:
            idle["latency_limit_us"] = limit / 1000
        self.image = Simulation(
            scenario(kernel, machine={"cpus": 1, "idle": idle}, measure={"duration_ms": 1}), engine="reference"
        ).image
        self.image.memory[self.image.engine_word("cpu")] = 0
        self.call = self.image.linked.machine
        self.rq = self.image.ref("cpu_hw", 0)
        self.drv, self.dev = self.image.ref("cpuidle_driver", 0), self.image.ref("cpuidle_device", 0)
        self.timer = self.image.ref("rt_bandwidth", 0).rt_period_timer

    def choose(self, at: int, now: Now) -> tuple[int, bool]:
        self.image.memory[self.image.engine_word("now")] = at
        self.rq.tick_at = NEVER if now.tick is None else at + now.tick
        self.timer.expires, self.rq.timer_head = at + now.timer, self.timer
        return self.call["cpuidle_select"](self.drv, self.dev), bool(self.dev.stop_tick)

    def idled(self, at: int, how: Idled) -> None:
        self.image.memory[self.image.engine_word("now")] = at + how.span
        self.dev.last_residency_ns = how.ns
        self.dev.poll_time_limit = int(how.polled_out)
        self.rq.got_idle_tick = int(how.by_tick)
        self.call["cpuidle_reflect"](self.drv, self.dev, how.state)

    def refused(self) -> None:
        self.call["cpuidle_not_entered"](self.dev)
        self.call["cpuidle_reflect"](self.drv, self.dev, -1)


def draws(seed: int) -> Iterator[int]:
    """Numbers by chance."""
    n = 0
    while True:
        n += 1
        yield mix(seed, 0, n) & 0x7FFFFFFF


def states_by(chance: Iterator[int], count: int, off: bool) -> list[State]:
    """The polling state and deeper ones, some of them off."""
    found = [State(0, 0, True, off and next(chance) % 8 == 0)]
    exit_us = residency_us = 1
    for _ in range(count):
        exit_us += next(chance) % (1 + 3 * exit_us)
        residency_us = max(residency_us + next(chance) % (1 + 3 * residency_us), exit_us)
        found.append(State(exit_us * 1000, residency_us * 1000, False, off and next(chance) % 5 == 0))
    return found


def life(kernel: str, governor: str, seed: int, steps: int) -> set[int]:
    """A governor and the reference see the same; the states that were chosen."""
    chance = draws(seed)
    count = 1 if governor == "haltpoll" else 1 + next(chance) % 5
    states = states_by(chance, count, governor != "haltpoll")
    limit = LIMITS[next(chance) % len(LIMITS)]
    cpu = Cpu(kernel, governor, states, limit)
    ref = FORMS[governor](states, TICK, limit, kernel)
    ref.boot()
    at, chosen, typical = 0, set(), 20_000
    for step in range(steps):
        if step % 12 == 0:
            typical = 1000 << next(chance) % 15
        timer = (1000 << next(chance) % 22) + next(chance) % 1000
        tick = None if next(chance) % 4 == 0 else 1 + next(chance) % TICK
        now = Now(timer, tick)
        found, stop = cpu.choose(at, now)
        expected = ref.choose(now)
        said = f"{kernel} {governor}, seed {seed}, step {step}: {now}, states {states}, limit {limit}"
        assert (found, stop or tick is None) == (expected.state, expected.stop_tick or tick is None), said
        chosen.add(found)
        if next(chance) % 16 == 0:
            cpu.refused()
            ref.refused()
            at += 1000
            continue
        by_tick = tick is not None and not stop and next(chance) % 4 == 0
        polled_out = states[found].polling and next(chance) % 3 == 0
        ns = (timer, typical + next(chance) % (1 + typical // 8), next(chance) % (2 * timer))[next(chance) % 3]
        how = Idled(found, ns, ns + next(chance) % 3000, by_tick, polled_out)
        cpu.idled(at, how)
        ref.idled(how)
        at += how.span + 1000
    return chosen


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["6.1", "6.12", "6.18", "7.3"])
@pytest.mark.parametrize("governor", list(FORMS))
def test_the_choices_are_those_of_an_obvious_governor(governor: str, kernel: str) -> None:
    """Random states, limits, timers and idle times; most states are chosen at some time."""
    chosen: set[int] = set()
    for seed in range(12):
        chosen |= life(kernel, governor, seed, 60)
    assert len(chosen) >= (2 if governor == "haltpoll" else 5)
