# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine under the kernel, by small programs: interrupts, priority inheritance, preemption, isolation.

A program is a patch that gives the scenario's hogs another body: ``hog_thread(data)``, the ``data``-th of them. It notes
what it did, and when, by the event ``cyclictest``.
"""

from __future__ import annotations

import pytest
from tests.linux.support import named, patch_file, scenario

from softnet.machine import state
from softnet.simulate.simulation import Simulation

pytestmark = pytest.mark.usefixtures("hasty_code")

MS = 1_000_000

PROGRAM = '''@kfunc
def sleep_until(at: int) -> None:
    """As clock_nanosleep(TIMER_ABSTIME)."""
    set_current_state(TASK_INTERRUPTIBLE)
    schedule_hrtimeout_abs(at)


@kfunc
def note(what: int) -> None:
    """Record that this point was reached."""
    trace_cyclictest(what, local_clock())


'''


def play(tmp_path, text, tasks, kernel="6.12-rt", cpus=1, duration_ms=12, **kernel_table):
    """Run a program as the body of these tasks; what it noted, (number, time) in order, and the run."""
    what = scenario(
        kernel,
        machine={"cpus": cpus},
        kernel={"hz": 250, **kernel_table},
        measure={"duration_ms": duration_ms},
        task=[{"kind": "hog", "cpu": cpu, "sched": sched, "name": f"t{n}"} for n, (cpu, sched) in enumerate(tasks)],
    )
    sim = Simulation(what, patches=[patch_file(tmp_path, "program", PROGRAM + text)], trace="full", checks="strict")
    run = sim.finish()
    return [(r.a, r.b) for r in named(run, "cyclictest")], run, sim


def engine_word(sim, name):
    return sim.image.memory[sim.image.engine_word(name)]


@pytest.mark.parametrize("kernel", ["6.12", "6.12-rt"])
def test_an_interrupt_strikes_in_the_middle_of_work(kernel):
    """The frame comes at some nanosecond of a hog's millisecond of computing: so does the interrupt."""
    what = scenario(
        kernel,
        machine={"cpus": 1},
        kernel={"hz": 100},
        nic=[{"name": "eth0", "irq_cpus": [0]}],
        traffic=[{"kind": "constant", "rate_pps": 2003, "flows": 1, "proto": "udp", "start_ms": 0.123457}],
        task=[{"kind": "hog", "cpu": 0, "sched": "other"}],
        measure={"duration_ms": 5},
    )
    sim = Simulation(what, trace="full", engine="reference")
    run = sim.finish()
    entry = engine_word(sim, "cost_irq_entry")
    arrivals = [r.time_ns for r in named(run, "nic_rx")]
    struck = [r.time_ns for r in named(run, "irq_handler_entry") if r.a == state.VECTOR_DEVICE]
    assert len(arrivals) > 8
    assert struck == [at + entry for at in arrivals]
    assert entry > 0
    assert len({at % 1000 for at in struck}) > 4


@pytest.mark.slow
def test_interrupted_work_takes_its_time_and_the_interrupts(tmp_path):
    """3 ms of work end 3 ms later and the length of what interrupted it, which is on the books of others."""
    text = '''@kfunc
def hog_thread(data: int) -> None:
    """Work once."""
    if data == 0:
        note(1)
        work_ns(3000000)
        note(2)
    sleep_for_ever()
'''
    noted, run, _ = play(tmp_path, text, [(0, "other")], kernel="6.12", duration_ms=6, hz=1000)
    (_, start), (_, end) = noted
    assert end > start + 3 * MS
    inside = [r for r in named(run, "irq_handler_entry", "irq_handler_exit") if start < r.time_ns < end]
    assert len(inside) >= 6
    used = run.result.cpu_time_ns[0]
    assert used["task"] >= 3 * MS
    assert end - start - 3 * MS <= used["hardirq"] + used["softirq"]
    assert sum(used.values()) == 6 * MS


INVERSION = '''@kfunc
def hog_thread(data: int) -> None:
    """0 holds the lock for a millisecond; 1 and 2 come meanwhile; 2 wants the lock, 1 only the CPU."""
    lock = per_cpu(softnet_data, 0).defer_lock
    if data == 0:
        spin_lock(lock)
        note(0)
        work_ns(1000000)
        spin_unlock(lock)
        note(10)
    elif data == 1:
        sleep_until(500000)
        note(1)
        work_ns(3000000)
        note(11)
    else:
        sleep_until(300000)
        note(2)
        spin_lock(lock)
        note(12)
        spin_unlock(lock)
    sleep_for_ever()
'''


@pytest.mark.slow
def test_rt_locks_lend_priority(tmp_path):
    """The owner runs at the waiter's priority until it unlocks: the one in the middle cannot hold both up."""
    noted, run, sim = play(tmp_path, INVERSION, [(0, "fifo:10"), (0, "fifo:20"), (0, "fifo:50")])
    at = dict(noted)
    assert [what for what, _ in noted] == [0, 2, 12, 1, 11, 10]
    assert at[12] < at[0] + 1_200_000
    low = next(t.pid for t in sim.image.tasks if t.comm == "t0")
    boosts = [(r.a, r.b, r.c) for r in named(run, "sched_pi_setprio")]
    assert boosts == [(low, 89, 49), (low, 49, 89)]


@pytest.mark.slow
def test_without_inheritance_it_is_inverted(tmp_path):
    """The same program without the loan: the middle one goes first."""
    quiet = (
        INVERSION
        + '''

@kfunc
def rt_spin_lock(lock: spinlock_t) -> None:
    """Wait by sleeping and looking again, lending nothing."""
    while not rt_try_take(lock):
        sleep_until(local_clock() + 100000)
    migrate_disable()
'''
    )
    noted, _, _ = play(tmp_path, quiet, [(0, "fifo:10"), (0, "fifo:20"), (0, "fifo:50")])
    assert [what for what, _ in noted].index(11) < [what for what, _ in noted].index(12)


LATERAL = '''@kfunc
def hog_thread(data: int) -> None:
    """0 takes the lock over and over; 1, on another CPU, wants it once."""
    lock = per_cpu(softnet_data, 0).defer_lock
    if data == 0:
        for _ in range(4):
            spin_lock(lock)
            note(0)
            work_ns(500000)
            spin_unlock(lock)
    else:
        sleep_until(200000)
        spin_lock(lock)
        note(1)
        spin_unlock(lock)
    sleep_for_ever()
'''


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second", "order"),
    [
        ("fifo:50", "fifo:50", [0, 1, 0, 0, 0]),
        ("fifo:50", "fifo:49", [0, 0, 0, 0, 1]),
        ("other", "other", [0, 0, 0, 0, 1]),
        ("other:5", "other", [0, 0, 0, 0, 1]),
        ("other", "fifo:1", [0, 1, 0, 0, 0]),
    ],
)
def test_real_time_equals_do_not_steal_a_lock(tmp_path, first, second, order):
    """kernel/locking/rtmutex.c:420 (6.12), rt_mutex_steal(): equals may take a lock from who waits, but not real-time ones."""
    noted, _, _ = play(tmp_path, LATERAL, [(0, first), (1, second)], cpus=2)
    assert [what for what, _ in noted] == order


PREEMPTION = '''@kfunc
def hog_thread(data: int) -> None:
    """0 stays in the kernel for 9 ms with two points to switch at; the others want the CPU meanwhile."""
    if data == 0:
        sleep_until(100000)
        work_ns(4500000)
        might_sleep()
        work_ns(4500000)
        cond_resched()
        note(0)
    elif data == 1:
        sleep_until(3000000)
        note(1)
    else:
        sleep_until(6000000)
        note(2)
    sleep_for_ever()
'''


def waits(tmp_path, kernel, preempt):
    """When the fair task of 3 ms and the FIFO task of 6 ms got the CPU, in units of 0.5 ms."""
    tasks = [(0, "other"), (0, "other"), (0, "fifo:10")]
    noted, _, _ = play(tmp_path, PREEMPTION, tasks, kernel=kernel, preempt=preempt)
    at = dict(noted)
    return at[1] * 2 // MS, at[2] * 2 // MS


@pytest.mark.slow
def test_preemption_models(tmp_path):
    """none waits for cond_resched(), voluntary for might_sleep(), lazy for the tick if the task is fair, full for nothing."""
    assert waits(tmp_path, "6.12", "none") == (18, 18)
    assert waits(tmp_path, "6.12", "voluntary") == (9, 18)
    assert waits(tmp_path, "6.12", "full") == (6, 12)
    assert waits(tmp_path, "6.12", "lazy") == (8, 12)
    assert waits(tmp_path, "6.12-rt", "rt") == (6, 12)


def isolated_run(isolated):
    """CPUs 0 and 1 are busy, CPU 2 idles; NAPI threads may run where the kernel lets them."""
    what = scenario(
        "6.12-rt", machine={"cpus": 3, "isolated_cpus": isolated},
        nic=[{"name": "eth0", "irq_cpus": [0], "threaded": True}],
        traffic=[{"kind": "constant", "rate_pps": 50_000, "flows": 4, "proto": "udp"}],
        task=[{"kind": "hog", "cpu": 0, "sched": "fifo:90"}, {"kind": "hog", "cpu": 1, "sched": "fifo:90", "duty": 0.9},
              {"kind": "cyclictest", "cpu": 2, "interval_us": 200, "sched": "fifo:80"}],
        kernel={"threads": {"irq": "fifo:95"}},
        measure={"duration_ms": 4},
    )  # fmt: skip
    sim = Simulation(what, trace="full", checks="strict")
    run = sim.finish()
    cpus_of = {t["pid"]: t["cpus"] for t in run.result.tasks}
    return {tuple(cpus_of[r.b]) for r in named(run, "sched_switch") if r.cpu == 2}


def test_isolated_cpus_run_only_what_is_bound_to_them():
    assert isolated_run([2]) == {(2,)}
    assert any(len(cpus) > 1 for cpus in isolated_run([]))
