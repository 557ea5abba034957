# SPDX-License-Identifier: GPL-2.0-or-later
"""The fair class against an implementation of its own, theory, and what real kernels answered.

The functions of a release are called one after another on a booted image, as the machine calls them; the clock is set by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.linux.eevdf_reference import Eevdf, Task
from tests.linux.support import named, patch_file, scenario

from softnet.linux.kernel.sched.core import sched_prio_to_weight
from softnet.simulate.simulation import Simulation
from softnet.units import mix

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("hasty_code")]

MS = 1_000_000
TICK = 4 * MS
SLICES = {1: 700_000, 2: 1_400_000, 3: 1_400_000, 4: 2_100_000, 8: 2_800_000, 16: 2_800_000}


class Cpu:
    """CPU 0 of a booted image with tasks of these nice values, called 0, 1, ... All sleep at first, and the clock stands at 0."""

    def __init__(self, kernel: str, nices: list[int], cpus: int = 4) -> None:
        what = scenario(
            kernel,
            machine={"cpus": cpus},
            task=[{"kind": "hog", "cpu": 0, "name": f"t{n}", "sched": f"other:{nice}"} for n, nice in enumerate(nices)],
            measure={"duration_ms": 1},
        )
        self.image = Simulation(what, engine="reference").image
        self.call = self.image.linked.machine
        pids = [task.pid for task in self.image.tasks if task.comm.startswith("t") and task.comm[1:].isdigit()]
        self.rq = self.image.ref("cpu_hw", 0)
        self.idle = self.rq.idle
        self.tasks = [self.image.ref("task_struct", pid - 1) for pid in pids]
        # What boot made runnable goes to sleep, with no lag and no time.
        while (p := self.pick()) is not None:
            self.sleep(p)
        self.now_word = self.image.engine_word("now")
        self.image.memory[self.image.engine_word("cpu")] = 0

    def name(self, p: Any) -> int | None:
        return None if p is None or p == self.idle else next(n for n, task in enumerate(self.tasks) if task == p)

    def pick(self) -> Any:
        self.rq.need_resched = 0
        found = self.call["pick_next_task"](self.rq, self.rq.task)
        if self.rq.task != self.idle and self.rq.task is not None:
            self.rq.task.on_cpu = 0
        self.rq.task = self.idle if found is None else found
        if found is not None:
            found.on_cpu = 1
        return found

    def sleep(self, p: Any) -> None:
        p.state = 1
        self.call["try_to_block_task"](self.rq, p)

    def wake(self, n: int) -> None:
        self.tasks[n].state = 0
        if self.tasks[n].on_rq:
            self.call["ttwu_runnable"](self.rq, self.tasks[n])
        else:
            self.call["ttwu_do_activate"](self.rq, self.tasks[n], 0)

    def at(self, now: int) -> None:
        self.image.memory[self.now_word] = now


def draws(seed: int) -> Iterator[int]:
    """Numbers by chance."""
    n = 0
    while True:
        n += 1
        yield mix(seed, 0, n) & 0x7FFFFFFF


def random_life(kernel: str, seed: int, steps: int, nice: bool) -> tuple[int, int, int]:
    """A CPU and the reference live through the same ticks, sleeps and wakeups; (choices, near ties, preemptions).

    A choice may differ only where exact fractions are within rounding of each other: the kernel's vruntime is whole nanoseconds.
    """
    chance = draws(seed)
    count = 2 + next(chance) % 4
    nices = [next(chance) % 11 - 5 if nice else 0 for _ in range(count)]
    cpus = (1, 2, 4, 8)[next(chance) % 4]
    cpu = Cpu(kernel, nices, cpus)
    ref = Eevdf(SLICES[cpus], TICK, kernel == "6.12")
    tasks = [Task(n, Fraction(sched_prio_to_weight[nices[n] + 20], 1024)) for n in range(count)]
    awake: set[int] = set()
    now, last, near, choices, preempted = 0, 0, 0, 0, 0
    for _ in range(steps):
        kind = next(chance) % 4
        now = (now // TICK + 1) * TICK if kind == 0 else now + 1 + next(chance) % (3 * MS)
        asleep = [n for n in range(count) if n not in awake]
        running = cpu.name(cpu.rq.task)
        if (kind == 1 and running is None) or (kind > 1 and not asleep):
            continue
        cpu.at(now)
        ran, last = now - last, now
        asked = True
        if kind == 0:
            asked = ref.run(ran)
            cpu.call["scheduler_tick"](cpu.rq)
        elif kind == 1:
            assert running is not None
            awake.discard(running)
            cpu.sleep(cpu.tasks[running])
            ref.run(ran)
            ref.sleep()
        else:
            n = asleep[next(chance) % len(asleep)]
            awake.add(n)
            cpu.wake(n)
            asked = ref.wake(tasks[n], ran)
        if not cpu.rq.need_resched and kind != 1 and not asked:
            continue
        preempted += kind not in (0, 1)
        found, expected = cpu.name(cpu.pick()), ref.pick()
        choices += 1
        if found != (None if expected is None else expected.name):
            near += 1
            assert found is not None
            assert expected is not None
            assert close(ref, tasks[found], expected), (kernel, seed, now, found, expected)
            ref.curr = tasks[found]
            ref.curr.protected = ref.curr.deadline
        follow(cpu, tasks, ref)
    return choices, near, preempted


def close(ref: Eevdf, found: Task, expected: Task) -> bool:
    """Whether rounding explains the choice: some microseconds of virtual time either way."""
    margin = 5_000
    return abs(found.deadline - expected.deadline) < margin or abs(found.v - ref.average()) < margin


def follow(cpu: Cpu, tasks: list[Task], ref: Eevdf) -> None:
    """Rounding must not add up: who competes is the same, and the reference's lag is the kernel's."""
    competing = [task.name for task in ref.competing]
    assert sorted(competing) == [n for n, task in enumerate(cpu.tasks) if task.se.on_rq]
    for task in ref.competing:
        got = cpu.tasks[task.name].se.vruntime - cpu.call["avg_vruntime"](cpu.rq.cfs)
        assert abs(got - (task.v - ref.average())) < 10_000, task


@pytest.mark.parametrize("kernel", ["6.9", "6.12"])
@pytest.mark.parametrize("nice", [False, True], ids=["equal", "nice"])
def test_eevdf_chooses_as_the_paper_does(kernel: str, nice: bool) -> None:
    choices = near = preempted = 0
    for seed in range(12):
        found = random_life(kernel, seed, 250, nice)
        choices, near, preempted = choices + found[0], near + found[1], preempted + found[2]
    assert choices > 1000
    assert preempted > 100
    assert near <= choices // 20


def run_hogs(kernel: str, nices: list[int], ticks: int) -> tuple[list[int], int]:
    """Hogs that only ticks interrupt: how long each ran, and the largest lag in ns of service that one ever had."""
    cpu = Cpu(kernel, nices)
    for n in range(len(nices)):
        cpu.wake(n)
    cpu.pick()
    got = [0] * len(nices)
    weights = [sched_prio_to_weight[nice + 20] for nice in nices]
    most = 0
    for tick in range(1, ticks + 1):
        cpu.at(tick * TICK)
        running = cpu.name(cpu.rq.task)
        assert running is not None
        got[running] += TICK
        cpu.call["scheduler_tick"](cpu.rq)
        ideal = [tick * TICK * w // sum(weights) for w in weights]
        most = max(most, *(abs(a - b) for a, b in zip(got, ideal, strict=True)))
        if cpu.rq.need_resched:
            cpu.pick()
    return got, most


@pytest.mark.parametrize("kernel", ["6.1", "6.9", "6.12"])
@pytest.mark.parametrize("nices", [[0, 0], [0, 5], [-5, 0, 5], [0, 0, 0, 10]], ids=str)
def test_hogs_share_the_cpu_by_weight(kernel: str, nices: list[int]) -> None:
    ticks = 5000
    got, _ = run_hogs(kernel, nices, ticks)
    weights = [sched_prio_to_weight[nice + 20] for nice in nices]
    for ns, weight in zip(got, weights, strict=True):
        assert ns == pytest.approx(ticks * TICK * weight / sum(weights), rel=0.03, abs=16 * MS)


@pytest.mark.parametrize("kernel", ["6.9", "6.12"])
@pytest.mark.parametrize("nices", [[0, 0], [0, 0, 0, 0, 0], [-5, 0, 5], [0, 10]], ids=str)
def test_lag_stays_within_eevdfs_bound(kernel: str, nices: list[int]) -> None:
    """Theorem 1 of the paper: |lag| < max(r, q). A request ends at a tick: r is a whole number of them."""
    _, most = run_hogs(kernel, nices, 2000)
    request = -(-SLICES[4] // TICK) * TICK
    assert most <= 2 * request


@pytest.mark.parametrize("cpus", [1, 2, 3, 4, 8, 16])
def test_tunables_grow_with_the_cpus(cpus: int) -> None:
    """1 + ilog2(min(cpus, 8)); 6.1 fair.c:238, 6.12 fair.c:183."""
    factor = {1: 1, 2: 2, 3: 2, 4: 3, 8: 4, 16: 4}[cpus]
    old = Cpu("6.1", [0], cpus).image.ref("sched_sysctls", 0)
    assert old.sysctl_sched_latency == 6 * MS * factor
    assert old.sysctl_sched_min_granularity == 750_000 * factor
    assert old.sysctl_sched_wakeup_granularity == MS * factor
    assert Cpu("6.12", [0], cpus).image.ref("sched_sysctls", 0).sysctl_sched_base_slice == SLICES[cpus]


def played(kernel: str, duration_ms: int, *, cpus: int = 4, **tables: Any) -> Any:
    return Simulation(
        scenario(kernel, machine={"cpus": cpus}, measure={"duration_ms": duration_ms}, **tables), trace="full"
    ).finish()


def turns(run: Any, cpu: int, comms: set[str], sim_tasks: Any) -> list[tuple[int, int]]:
    """(time, pid) of each switch to one of these tasks."""
    pids = {task.pid for task in sim_tasks if task.comm in comms}
    return [(r.time_ns, r.b) for r in named(run, "sched_switch") if r.cpu == cpu and r.b in pids]


def hogs(kernel: str, sched: str, duration_ms: int, cpus: int) -> list[int]:
    """How long each turn of two hogs on CPU 0 took, in ns."""
    what = scenario(
        kernel,
        machine={"cpus": cpus},
        task=[{"kind": "hog", "cpu": 0, "name": name, "sched": sched} for name in ("one", "two")],
        measure={"duration_ms": duration_ms},
    )
    sim = Simulation(what, trace="full")
    times = [t for t, _ in turns(sim.finish(), 0, {"one", "two"}, sim.image.tasks)]
    return [b - a for a, b in pairwise(times)]


def test_turns_of_two_hogs_on_6_1() -> None:
    """6.1.192 fair.c:726, :4910: with 8 CPUs a slice of 12 ms, more than which must have passed at a tick of 4 ms."""
    long = [ns for ns in hogs("6.1", "other", 400, 8) if ns > 50_000]
    assert len(long) >= 20
    assert all(round(ns / MS) in (12, 16) for ns in long[1:]), long


def test_turns_of_two_hogs_on_6_12() -> None:
    """6.12.117 fair.c:1028: with 4 CPUs a slice of 2.1 ms, which ends at a tick of 4 ms."""
    long = [ns for ns in hogs("6.12", "other", 200, 4) if ns > 50_000]
    assert len(long) >= 40
    assert all(round(ns / MS) == 4 for ns in long[1:]), long


@pytest.mark.parametrize("kernel", ["6.1", "6.12"])
def test_the_quantum_of_sched_rr(kernel: str) -> None:
    """include/linux/sched/rt.h: RR_TIMESLICE, 100 ms."""
    long = [ns for ns in hogs(kernel, "rr:10", 450, 2) if ns > 50_000]
    assert [round(ns / MS) for ns in long] == [100, 100, 100, 100], long


def test_fifo_hogs_take_no_turns() -> None:
    assert hogs("6.12", "fifo:10", 300, 2) == []


def waits(kernel: str, service_ns: int, hog: bool = True) -> list[int]:
    """How long an application waits for its CPU after each wakeup: a packet each 9.7 ms, with a hog on its CPU."""
    what = scenario(
        kernel,
        machine={"cpus": 4},
        application=[{"name": "sink", "kind": "udp", "cpu": 2, "dst_ports": [9], "service_ns": service_ns}],
        sender=[{"cpu": 0, "to": "sink", "interval_ns": 9_700_000, "size": 200}],
        task=[{"kind": "hog", "cpu": 2}] if hog else [{"kind": "hog", "cpu": 3}],
        measure={"duration_ms": 1500, "warmup_ms": 10},
    )
    sim = Simulation(what, trace="full")
    run = sim.finish()
    (pid,) = [task.pid for task in sim.image.tasks if task.comm == "sink"]
    woken: int | None = None
    found = []
    for r in named(run, "sched_wakeup", "sched_switch"):
        if r.event == named(run, "sched_wakeup")[0].event and r.a == pid:
            woken = r.time_ns
        elif r.event == named(run, "sched_switch")[0].event and r.b == pid and woken is not None:
            found.append(r.time_ns - woken)
            woken = None
    return found


@pytest.mark.parametrize("kernel", ["6.12", "6.18"])
def test_an_application_beside_a_hog(kernel: str) -> None:
    """A real 6.12.117: of 150 wakeups 10 waited for 1.43 to 3.96 ms, the others not (each 200 us of work, a packet each 9.7 ms).

    A real 6.18.44, on two CPUs at full speed: 6.9 % waited for more than a millisecond, p99 is 3.96 ms (docs/model.md).
    """
    found = waits(kernel, 200_000)
    late = [ns for ns in found if ns > MS]
    assert len(found) >= 145
    assert 5 <= len(late) <= 20, late
    assert all(ns < 4_200_000 for ns in late), late
    assert max(late) > 2_500_000, late
    assert sorted(found)[len(found) // 2] < 50_000


def test_an_application_alone_on_6_12() -> None:
    assert max(waits("6.12", 200_000, hog=False)) < 50_000


def test_short_work_beside_a_hog_preempts() -> None:
    """A real 6.12.117, 8 us of work: 148 of 150 within 0.1 ms, since it keeps a little credit."""
    found = waits("6.12", 8_000)
    assert sum(ns > 100_000 for ns in found) <= 4, found


def starved(kernel: str) -> tuple[Any, list[tuple[int, int]]]:
    """2.5 s with a FIFO hog on an application's CPU, a packet each 10 ms: the result, and when others ran there, (from, to)."""
    what = scenario(
        kernel,
        machine={"cpus": 2},
        application=[{"name": "sink", "kind": "udp", "cpu": 1, "dst_ports": [9]}],
        sender=[{"cpu": 0, "to": "sink", "interval_ns": 10_000_000, "size": 200}],
        task=[{"kind": "hog", "cpu": 1, "sched": "fifo:50"}],
        measure={"duration_ms": 2500},
    )
    sim = Simulation(what, trace="full")
    run = sim.finish()
    (hog,) = [task.pid for task in sim.image.tasks if task.comm == "hog"]
    found, left = [], None
    for r in named(run, "sched_switch"):
        if r.cpu == 1 and r.a == hog:
            left = r.time_ns
        elif r.cpu == 1 and r.b == hog and left is not None:
            found.append((left, r.time_ns))
    return run.result, found


def test_the_fair_server_of_6_12() -> None:
    """deadline.c:1829 (6.12). A real 6.12.117 delivered 186 of 250 packets, half of them at once, and the worst after 856 ms.

    The server is put off to the last 50 ms of its period, then runs whoever wakes at once, for a whole period (what the application
    needs of that is little), and then is put off again. On the real kernel that first happened 856 ms after the start: from 1.856 s
    to 2.5 s are 64 packets that did not arrive. Here the period begins with time: 950 ms, and 55 packets.
    """
    result, others = starved("6.12")
    starts = [start / MS for start, _ in others if start > MS]
    assert abs(starts[0] - 950) < 1
    assert len(starts) >= 95
    assert max(starts) < 1960
    assert result.counters["delivered"] == 195
    assert result.latency["sink"].quantile_ns(1, 2) < 50_000


def test_real_time_throttling_of_6_1() -> None:
    """rt.c:1002 (6.1): after 950 ms at a tick the real-time tasks wait for the next second."""
    result, others = starved("6.1")
    long = [(start, end) for start, end in others if end - start > 10 * MS]
    assert [round(start / MS, -1) for start, _ in long] == [950, 1950]
    assert all(40 <= round((end - start) / MS) <= 52 for start, end in long), long
    assert result.counters["delivered"] == 200


def test_an_unstarved_application_does_not_meet_the_server() -> None:
    """The server's timer is put off while fair tasks run, or the CPU idles: nothing else changes."""
    result = played(
        "6.12",
        2500,
        application=[{"name": "sink", "kind": "udp", "cpu": 1, "dst_ports": [9]}],
        sender=[{"cpu": 0, "to": "sink", "interval_ns": 10_000_000, "size": 200}],
    ).result
    assert result.counters["delivered"] >= 249


IN_THE_KERNEL = '''@kfunc
def hog_thread(data: int) -> None:
    """0 computes in the kernel for 3 ms; 1 wakes meanwhile, with a CPU's credit of sleep."""
    if data == 0:
        trace_cyclictest(0, local_clock())
        work_ns(3000000)
        preempt_disable()
        preempt_enable()
        trace_cyclictest(10, local_clock())
        user_work_ns(1000000)
    else:
        set_current_state(TASK_INTERRUPTIBLE)
        schedule_hrtimeout_abs(1000000)
        trace_cyclictest(1, local_clock())
    sleep_for_ever()
'''


@pytest.mark.parametrize(
    ("kernel", "preempt", "sched", "order"),
    [
        ("6.12-rt", "rt", "other", [0, 1, 10]),
        ("6.12-rt", "lazy", "other", [0, 10, 1]),
        ("6.12-rt", "lazy", "fifo:1", [0, 1, 10]),
        ("6.12", "full", "other", [0, 1, 10]),
        ("6.12", "lazy", "other", [0, 10, 1]),
    ],
)
def test_lazy_preemption_spares_a_fair_task_in_the_kernel(
    tmp_path: Path, kernel: str, preempt: str, sched: str, order: list[int]
) -> None:
    """debian/patches-rt/0017 to 0022 of 6.12 (7c70cb94d29c, v6.13): a fair task in the kernel is not preempted by a fair one.

    Real-time tasks preempt at once.
    """
    what = scenario(
        kernel,
        machine={"cpus": 1},
        kernel={"hz": 100},
        task=[{"kind": "hog", "cpu": 0, "name": name, "sched": how} for name, how in (("one", "other:19"), ("two", sched))],
        measure={"duration_ms": 9},
    )
    raw = what.model_copy(update={"kernel": what.kernel.model_copy(update={"preempt": preempt})})
    run = Simulation(raw, patches=[patch_file(tmp_path, "program", IN_THE_KERNEL)], trace="full").finish()
    assert [r.a for r in named(run, "cyclictest")] == order
