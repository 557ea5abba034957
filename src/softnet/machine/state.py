# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine's structures. All of their fields are ``hw``: no interaction point, no cost."""

from __future__ import annotations

from softnet.lang import Struct, array, embed, fnptr, hw, private, shared

NEVER = 1 << 60
"""A time that does not come."""

MASK_WORDS = 8
"""A CPU mask is 8 words of 32 bits: 256 CPUs."""

# Classes of CPU time, the rows of the result's cpu_time table.
TIME_IDLE = 0
TIME_USER = 1
TIME_SYSTEM = 2
TIME_HARDIRQ = 3
TIME_SOFTIRQ = 4
TIME_KSOFTIRQD = 5
TIME_BACKLOG_NAPI = 6
TIME_IRQ_THREAD = 7
TIME_NAPI_THREAD = 8
TIME_TASK = 9
TIME_CLASSES = 10

# Kinds of context.
CTX_TASK = 0
CTX_IRQ = 1

# Scheduling policies, include/uapi/linux/sched.h.
SCHED_NORMAL = 0
SCHED_FIFO = 1
SCHED_RR = 2
SCHED_IDLE_TASK = 7

# Task states, include/linux/sched.h.
TASK_RUNNING = 0
TASK_INTERRUPTIBLE = 1
TASK_UNINTERRUPTIBLE = 2
TASK_PARKED = 0x40
TASK_RTLOCK_WAIT = 0x1000

# preempt_count(), include/linux/preempt.h.
PREEMPT_OFFSET = 1
SOFTIRQ_OFFSET = 0x100
SOFTIRQ_DISABLE_OFFSET = 0x200
SOFTIRQ_MASK = 0xFF00
HARDIRQ_OFFSET = 0x10000
HARDIRQ_MASK = 0xF0000

# Preemption models, kernel/sched/core.c preempt_dynamic_mode and CONFIG_PREEMPT_RT.
PREEMPT_MODEL_NONE = 0
PREEMPT_MODEL_VOLUNTARY = 1
PREEMPT_MODEL_FULL = 2
PREEMPT_MODEL_LAZY = 3
PREEMPT_MODEL_RT = 4

# Interrupt vectors as the machine hands them to do_interrupt().
VECTOR_TIMER = 1
VECTOR_CALL_FUNCTION_SINGLE = 2
VECTOR_RESCHEDULE = 3
VECTOR_DEVICE = 4

# What next_context() returns instead of a context.
STOP_TIME = -1
STOP_REFILL = -2
STOP_ERROR = -3
STOP_IDLE = -4

# Errors a run can stop with, engine_state.error.
ERROR_BUG_ON = 1
ERROR_SPIN_RECURSION = 2
ERROR_UNLOCK_NOT_OWNER = 3
ERROR_SLEEP_IN_ATOMIC = 4
ERROR_GUARD = 5
ERROR_LOCKDEP = 6


class engine_state(Struct):
    """The singleton ``hw``: clock and bounds of the running context, and where the tables stand."""

    now: int = hw()
    lim: int = hw()
    cpu: int = hw(init=-1)
    ctx: int = hw(init=-1)
    seed: int = hw()
    nr_cpus: int = hw()
    nr_actors: int = hw()
    cpus: int = hw()
    """The tournament tree of the CPUs: where it stands, its first leaf, its depth."""
    cpu_leaves: int = hw()
    cpu_depth: int = hw()
    devices: int = hw()
    """That of all other actors; an actor's leaf is device_leaves + its number."""
    device_leaves: int = hw()
    device_depth: int = hw()
    dir_base: int = hw()
    dir_lines: int = hw()
    line_mine: int = hw()
    line_bit: int = hw()
    line_only: int = hw()
    cost_base: int = hw()
    count_base: int = hw()
    hist_base: int = hw()
    wake_hists: int = hw()
    stop_at: int = hw(init=NEVER)
    running: int = hw()
    error: int = hw()
    observed: int = hw()
    """Where the directory of the observers' tables stands, 0 in a run that nobody observes."""
    error_arg: int = hw()
    cost_line_local: int = hw()
    cost_line_remote: int = hw()
    cost_atomic: int = hw()
    cost_ipi: int = hw()
    cost_handoff: int = hw()
    cost_context_switch: int = hw()
    cost_irq_entry: int = hw()
    cost_irq_exit: int = hw()
    cost_idle_exit: int = hw()
    cost_wakeup: int = hw()
    cost_poll_wake: int = hw()
    preempt_model: int = hw()
    tick_ns: int = hw()
    switches: int = hw()
    line_transfers: int = hw()
    slice_ns: int = hw()
    wakeup_gran_ns: int = hw()
    arrivals: int = hw()
    arrival_head: int = hw()
    arrival_tail: int = hw()
    arrival_more: int = hw()
    events: int = hw()
    trace_mask: int = hw()
    nr_movable: int = hw()
    """Tasks that may run on more than one CPU."""
    next_key: int = hw()
    """The key (machine/events.py) of who acts next after the CPU that runs."""


class context(Struct):
    """One flow of control: a task's, or one of a CPU's two interrupt levels."""

    id: int = hw()
    kind: int = hw()
    cpu: int = hw()
    task: task_struct = hw()
    prev: context = hw()
    remain: int = hw()
    irqs_off: int = hw()
    user: int = hw()
    wait_next: context = hw()
    wait_since: int = hw()
    waiting_for: spinlock_t = hw()
    time_class: int = hw()


class task_struct(Struct):
    """A task as the scheduler sees it; ``thread_fn(data)`` is its body."""

    pid: int = hw()
    comm: int = hw()
    data: int = hw()
    thread_fn: fnptr = hw()
    ctx: context = hw()
    state: int = hw()
    saved_state: int = hw()
    cpu: int = hw()
    policy: int = hw()
    prio: int = hw(init=120)
    normal_prio: int = hw(init=120)
    weight: int = hw(init=1024)
    on_rq: int = hw()
    on_cpu: int = hw()
    vruntime: int = hw()
    exec_start: int = hw()
    slice_used: int = hw()
    rq_next: task_struct = hw()
    preempt_count: int = hw()
    migrate_disabled: int = hw()
    time_class: int = hw()
    allowed: int = array(MASK_WORDS, hw())
    nr_allowed: int = hw()
    softirq_disable_cnt: int = private(line=3)
    pi_blocked_on: spinlock_t = hw()
    pi_next: task_struct = hw()
    pi_locks: spinlock_t = hw()
    rt_spinning: int = hw()
    woken_at: int = hw()
    nr_switches: int = hw()
    nr_wakeups: int = hw()
    sleep_timer: hrtimer = embed()
    kthread_flags: int = shared(line=4)


class cpu_hw(Struct):
    """One CPU: what it runs, when it acts next, what interrupts wait, its run queue and its timers."""

    id: int = hw()
    t: int = hw()
    cur: context = hw()
    depth: int = hw()
    irq0: context = hw()
    irq1: context = hw()
    irq_head: irq_line = hw()
    irq_from: int = hw()
    preempt_count: int = hw()
    need_resched: int = hw()
    need_resched_lazy: int = hw()
    online: int = hw(init=1)
    node: int = hw()
    task: task_struct = hw()
    idle: task_struct = hw()
    rt_head: task_struct = hw()
    fair_head: task_struct = hw()
    nr_running: int = hw()
    min_vruntime: int = hw()
    idle_waiting: int = hw()
    polling: int = hw()
    time_class: int = hw()
    time_since: int = hw()
    time_spent: int = array(TIME_CLASSES, hw())
    spin_ns: int = hw()
    timer_head: hrtimer = hw()
    tick_at: int = hw()
    isolated: int = hw()
    rnd_key: int = hw()
    rnd_count: int = hw()
    line_mine: int = hw()
    line_bit: int = hw()
    line_only: int = hw()
    line_transfers: int = hw()
    context_switches: int = hw()


class irq_line(Struct):
    """A source of interrupts: pending or not, for which CPU, since when."""

    pending: int = hw()
    at: int = hw()
    cpu: int = hw()
    vector: int = hw()
    data: int = hw()
    next: irq_line = hw()


class hrtimer(Struct):
    """A high resolution timer on one CPU: ``function(timer)`` runs in hard interrupt context."""

    expires: int = hw()
    active: int = hw()
    cpu: int = hw()
    function: fnptr = private()
    data: int = private()
    next: hrtimer = hw()


class spinlock_t(Struct):
    """A spinlock; on PREEMPT_RT it sleeps. ``owner`` is 1 + the holder's context id."""

    owner: int = hw()
    wait_head: context = hw()
    wait_tail: context = hw()
    rt_waiters: task_struct = hw()
    pi_next: spinlock_t = hw()
    unchecked: int = hw()
    contended: int = hw()


class raw_spinlock_t(Struct):
    """A spinlock that spins on every flavour."""

    lock: spinlock_t = embed()


class local_lock_t(Struct):
    """A per-CPU lock: on PREEMPT_RT a sleeping spinlock, elsewhere disabled preemption."""

    lock: spinlock_t = embed()


class nic_queue(Struct):
    """The device's side of a receive queue: ring, interrupt, coalescing."""

    ring: int = hw()
    size: int = hw()
    head: int = hw()
    tail: int = hw()
    popped: int = hw()
    free: int = hw()
    irq_enabled: int = hw()
    irq_cpu: int = hw()
    rx_usecs: int = hw()
    rx_frames: int = hw()
    waiting_frames: int = hw()
    raise_at: int = hw()
    actor: int = hw()
    received: int = hw()
    dropped: int = hw()
    irqs: int = hw()
