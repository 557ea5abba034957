# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine's structures. All of their fields are ``hw``: no interaction point, no cost.

Times are nanoseconds of virtual time since the start of the run, durations and costs nanoseconds, addresses and sizes words of 64
bits. ``statistic``: nothing but counting and time-keeping depends on the field, so it is no part of a state that is explored.
``decides_turn``: the machine decides by the field who acts next.
"""

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
TASK_WAKING = 0x200
TASK_RTLOCK_WAIT = 0x1000

# What try_to_wake_up() answers; from WAKE_LISTED on, the caller owes the rest (kernel/sched/core.c ttwu_queue_wakelist()).
WAKE_NOT = 0
WAKE_DONE = 1
WAKE_LISTED = 2

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
VECTOR_OTHER = 5

# Kinds of noise (machine/noise.py).
NOISE_INTERRUPT = 0
NOISE_STEAL = 1
NOISE_SMI = 2

# What next_context() returns instead of a context.
STOP_TIME = -1
STOP_REFILL = -2
STOP_ERROR = -3
STOP_IDLE = -4

# Priorities, include/linux/sched/prio.h: a lower number is more important.
MAX_RT_PRIO = 100
DEFAULT_PRIO = 120
MAX_PRIO = 140

# Errors a run can stop with, engine_state.error.
ERROR_BUG_ON = 1
ERROR_SPIN_RECURSION = 2
ERROR_UNLOCK_NOT_OWNER = 3
ERROR_SLEEP_IN_ATOMIC = 4
ERROR_GUARD = 5
ERROR_LOCKDEP = 6


class engine_state(Struct, engine=True):
    """The singleton ``hw``: clock and bounds of the running context, and where the tables stand."""

    now: int = hw(decides_turn=True)
    """The running CPU's clock, in ns."""
    lim: int = hw(decides_turn=True)
    """The last time, in ns, up to which the running context may act before anybody else does."""
    cpu: int = hw(init=-1, decides_turn=True)
    """The number of the CPU that runs, from 0."""
    ctx: int = hw(init=-1, decides_turn=True)
    """The id of the context that runs."""
    seed: int = hw()
    """The run's seed, 31 bits."""
    nr_cpus: int = hw()
    """How many CPUs there are."""
    nr_actors: int = hw()
    """How many actors there are (machine/events.py): CPUs, their timers, NIC queues, the arrivals."""
    cpus: int = hw()
    """The address of the tournament tree of the CPUs."""
    cpu_leaves: int = hw()
    """The number of its first leaf."""
    cpu_depth: int = hw()
    """How many matches there are from a leaf to its root."""
    devices: int = hw()
    """The address of the tournament tree of all other actors."""
    device_leaves: int = hw()
    """An actor's leaf there is device_leaves + its number."""
    device_depth: int = hw()
    """How many matches there are from a leaf to its root."""
    dir_base: int = hw()
    """The address of the directory of cache lines (machine/cache.py)."""
    dir_lines: int = hw()
    """How many cache lines it knows."""
    line_mine: int = hw()
    """The address of the directory's words for the running CPU's group of 32."""
    line_bit: int = hw()
    """The running CPU's bit in them."""
    line_only: int = hw()
    """The word of a line that the running CPU alone holds, as its writer."""
    cost_base: int = hw()
    """The address of the cost table: two words a row, the least ns and how many values there are."""
    count_base: int = hw()
    """The address of the counts of events, a row of them for each CPU."""
    hist_base: int = hw()
    """The address of the histograms (machine/stats.py)."""
    wake_hists: int = hw()
    """The number of the first histogram of wakeup latencies; there is one for each class of CPU time."""
    preempt_hists: int = hw()
    """The same of the waits of tasks that had to give way."""
    stop_at: int = hw(init=NEVER, decides_turn=True)
    """When the run stops, in ns."""
    running: bool = hw(decides_turn=True)
    """Whether a context runs; else the devices act, or somebody outside."""
    error: int = hw(decides_turn=True)
    """One of ERROR_*, for which the run stops; 0 for none."""
    observed: int = hw()
    """The address of the directory of the observers' tables, 0 in a run that nobody observes."""
    error_arg: int = hw()
    """What the error is about: a pid, a lock's address."""
    cost_line_local: int = hw()
    """Of the transfer of a cache line from a CPU of the same node, in ns."""
    cost_line_remote: int = hw()
    """Of the transfer of a cache line from another node, in ns."""
    cost_atomic: int = hw()
    """Of a locked instruction, in ns."""
    cost_ipi: int = hw()
    """From the sending of an inter-processor interrupt until it is pending, in ns."""
    cost_ipi_send: int = hw()
    """What sending one takes the sender, in ns."""
    cost_handoff: int = hw()
    """From the release of a spinlock until the first waiter sees it, in ns."""
    cost_context_switch: int = hw()
    """Of a switch of tasks, in ns."""
    cost_irq_entry: int = hw()
    """Of the entry into an interrupt, in ns."""
    cost_irq_exit: int = hw()
    """Of the return from an interrupt, in ns."""
    cost_idle_exit: int = hw()
    """Of the way out of a halted CPU, in ns."""
    cost_wakeup: int = hw()
    """Of try_to_wake_up() that wakes, in ns; by way of the wake list half of it is the woken CPU's."""
    cost_poll_wake: int = hw()
    """From the setting of NEED_RESCHED until a polling idle CPU sees it, in ns."""
    preempt_model: int = hw()
    """One of PREEMPT_MODEL_*."""
    tick_ns: int = hw()
    """The length of a tick, in ns: 10**9 // HZ."""
    noise_first: int = hw()
    """The number of the first source of noise as an actor; of the arrivals where there is none."""
    tick_in_idle: bool = hw()
    """Whether the tick goes on when a CPU idles, until the kernel stops it; else it stops by itself."""
    switches: int = hw()
    """How often a context was resumed."""
    line_transfers: int = hw()
    """How many cache lines were transferred, on all CPUs."""
    arrivals: int = hw()
    """The address of the buffer of arrivals (machine/nic.py)."""
    arrival_head: int = hw()
    """The row of the next arrival."""
    arrival_tail: int = hw()
    """The row after the last one in the buffer."""
    arrival_more: bool = hw()
    """Whether more will come when the buffer is empty."""
    trace_mask: int = hw()
    """A bit for each event that is recorded, by softnet.trace.EVENT_ID."""
    nr_movable: int = hw()
    """Tasks that may run on more than one CPU."""
    next_key: int = hw()
    """The key (machine/events.py) of who acts next after the CPU that runs."""


class context(Struct):
    """One flow of control: a task's, or one of a CPU's two interrupt levels."""

    id: int = hw()
    """Its index: first the interrupt levels, two for each CPU, then the tasks by pid."""
    kind: int = hw()
    """CTX_TASK or CTX_IRQ."""
    cpu: int = hw()
    """The CPU on which it runs or ran last."""
    task: task_struct = hw()
    """The task whose flow it is, None for an interrupt level."""
    prev: context = hw()
    """Of an interrupt level: what it interrupted."""
    remain: int = hw()
    """What is left of the computing that was interrupted, in ns; NEVER while it waits."""
    irqs_off: bool = hw()
    """Whether it runs with interrupts off."""
    user: bool = hw()
    """Whether it is in user mode."""
    wait_next: context = hw(statistic=True)
    """The next in the queue of a spinlock, where the explorer lets nobody queue."""
    wait_since: int = hw(statistic=True)
    """When it began to wait for a lock, in ns."""
    waiting_for: spinlock_t = hw(statistic=True)
    """The spinlock in whose queue it stands, where the explorer lets nobody queue."""
    time_class: int = hw(statistic=True)
    """What its time counts as, one of TIME_*; of an interrupt level: what the time before it counted as."""


class task_struct(Struct):
    """A task as the scheduler sees it; ``thread_fn(data)`` is its body."""

    pid: int = hw()
    """Its number, from 1: its index in the table + 1."""
    comm: int = hw()
    """Not used: names are outside, in TaskInfo."""
    data: int = hw()
    """The argument of thread_fn."""
    thread_fn: fnptr = hw()
    """Its body, of one argument."""
    ctx: context = hw()
    """Its flow of control."""
    state: int = hw()
    """__state: TASK_RUNNING or bits of TASK_*."""
    saved_state: int = hw()
    """Its own state while it waits for a sleeping lock (PREEMPT_RT)."""
    cpu: int = hw()
    """The CPU on whose queue it is, or on which it ran last."""
    policy: int = hw()
    """One of SCHED_*."""
    prio: int = hw(init=DEFAULT_PRIO)
    """Its effective priority, 0 to 139; below MAX_RT_PRIO it is a real-time one."""
    normal_prio: int = hw(init=DEFAULT_PRIO)
    """The priority without what was lent to it."""
    on_rq: bool = hw()
    """Whether it waits on a run queue; the running task does not, one whose dequeue is delayed does."""
    on_cpu: bool = hw()
    """Whether it runs."""
    rq_next: task_struct = hw()
    """The next on the run queue."""
    preempt_count: int = hw()
    """preempt_count() while it does not run."""
    migrate_disabled: int = hw()
    """The depth of its migrate_disable() sections."""
    time_class: int = hw(statistic=True)
    """What its time counts as, one of TIME_*."""
    allowed: int = array(MASK_WORDS, hw())
    """The CPUs on which it may run, 32 to a word."""
    nr_allowed: int = hw()
    """How many those are."""
    softirq_disable_cnt: int = private(line=3)
    """Its share of preempt_count()'s softirq bits (PREEMPT_RT)."""
    pi_blocked_on: spinlock_t = hw()
    """The sleeping lock for which it waits."""
    pi_next: task_struct = hw()
    """The next waiter of that lock, by priority."""
    pi_locks: spinlock_t = hw()
    """The first of the locks that it holds and others wait for."""
    rt_spinning: bool = hw()
    """Whether it spins for a sleeping lock whose owner runs."""
    woken_at: int = hw(statistic=True)
    """When it was woken, in ns; 0 once it has run since."""
    preempted_at: int = hw(statistic=True)
    """When it had to give way though it could have run on, in ns; 0 once it has run since."""
    nr_switches: int = hw(statistic=True)
    """How often it was switched out."""
    nr_wakeups: int = hw(statistic=True)
    """How often it was woken."""
    sleep_timer: hrtimer = embed()
    """The timer of schedule_hrtimeout()."""
    kthread_flags: int = shared(line=4)
    """Bits of KTHREAD_*, kernel/kthread.c."""


class cpu_hw(Struct):
    """One CPU: what it runs, when it acts next, what interrupts wait, its run queue and its timers."""

    id: int = hw()
    """Its number, from 0."""
    t: int = hw()
    """When its context acts next, in ns: until then it computes; NEVER while it waits."""
    cur: context = hw()
    """The context that it runs."""
    depth: int = hw()
    """How many of its interrupt levels are in use, 0 to 2."""
    irq0: context = hw()
    """The lower interrupt level."""
    irq1: context = hw()
    """The upper interrupt level, above an interrupt that has interrupts on."""
    irq_head: irq_line = hw()
    """The pending interrupts, by time."""
    irq_from: int = hw(statistic=True)
    """Not before that may an interrupt strike, in ns."""
    preempt_count: int = hw()
    """preempt_count(), by the bits of include/linux/preempt.h."""
    need_resched: bool = hw()
    """TIF_NEED_RESCHED of the running task."""
    need_resched_lazy: bool = hw()
    """TIF_NEED_RESCHED_LAZY of the running task."""
    online: bool = hw(init=1)
    """Whether it is in cpu_online_mask."""
    active: bool = hw(init=1)
    """Whether it is in cpu_active_mask: it is not going down."""
    node: int = hw()
    """Its NUMA node, from 0."""
    llc: int = hw()
    """Its last-level cache, sd_llc_id: the first CPU that shares it."""
    task: task_struct = hw()
    """The task that it runs, also below an interrupt."""
    idle: task_struct = hw()
    """Its idle task."""
    rt_head: task_struct = hw()
    """The waiting real-time tasks, by priority."""
    fair_head: task_struct = hw()
    """The waiting fair tasks, in the order of the kernel's tree."""
    nr_running: int = hw()
    """How many tasks wait; the running one is not among them."""
    ttwu_pending: bool = hw()
    """Whether woken tasks wait on its wake list: it does not count as idle."""
    idle_waiting: bool = hw()
    """Whether it halts, or polls, in its idle task."""
    polling: bool = hw()
    """TIF_POLLING_NRFLAG: whether its idle task watches need_resched."""
    idle_spins: bool = hw()
    """Whether it spins instead of halting."""
    idle_exit: int = hw(statistic=True)
    """What it takes to leave its idling for an interrupt, in ns."""
    idle_wake: int = hw(statistic=True)
    """The same when somebody writes NEED_RESCHED, which it watches."""
    stopped_until: int = hw(statistic=True)
    """Up to when a source of noise stops it, in ns."""
    idle_left: int = hw(statistic=True)
    """When it had left its last idling, in ns."""
    got_idle_tick: bool = hw(statistic=True)
    """ts->got_idle_tick: whether a tick struck while it idled."""
    time_class: int = hw(statistic=True)
    """What its time counts as now, one of TIME_*."""
    time_since: int = hw(statistic=True)
    """Up to when its time is counted, in ns."""
    time_spent: int = array(TIME_CLASSES, hw(statistic=True))
    """Time by class, in ns."""
    spin_ns: int = hw(statistic=True)
    """Time in the queues of spinlocks, in ns."""
    timer_head: hrtimer = hw()
    """Its armed timers, by time."""
    tick_at: int = hw(statistic=True)
    """When the next tick is due, in ns; NEVER while it idles."""
    isolated: bool = hw()
    """isolcpus: it pulls no tasks."""
    rnd_key: int = hw()
    """The key of its stream of random numbers, 32 bits."""
    rnd_count: int = hw(statistic=True)
    """How many of them were drawn."""
    line_mine: int = hw()
    """What engine_state.line_mine is while it runs."""
    line_bit: int = hw()
    """What engine_state.line_bit is while it runs."""
    line_only: int = hw()
    """What engine_state.line_only is while it runs."""
    line_transfers: int = hw(statistic=True)
    """How many cache lines it fetched from others."""
    context_switches: int = hw(statistic=True)
    """How often it switched tasks."""


class irq_line(Struct):
    """A source of interrupts: pending or not, for which CPU, since when."""

    pending: bool = hw()
    """Whether the interrupt waits to be served; raising it again changes nothing."""
    at: int = hw(statistic=True)
    """When it became pending, in ns."""
    cpu: int = hw()
    """The CPU that it interrupts."""
    vector: int = hw()
    """One of VECTOR_*."""
    data: int = hw()
    """Of a device's line: the row of table(nic_queue, ...)."""
    next: irq_line = hw()
    """The next pending line of that CPU, by time."""


class hrtimer(Struct):
    """A high resolution timer on one CPU: ``function(timer)`` runs in hard interrupt context."""

    expires: int = hw()
    """When it expires, in ns."""
    active: bool = hw()
    """Whether it is armed."""
    cpu: int = hw()
    """The CPU on whose list it is."""
    function: fnptr = private()
    """What runs when it expires."""
    data: int = private()
    """For the function: a pid."""
    next: hrtimer = hw()
    """The next armed timer of that CPU, by time."""


class spinlock_t(Struct):
    """A spinlock; on PREEMPT_RT it sleeps."""

    owner: int = hw()
    """1 + the id of the context that holds it, 0 when it is free."""
    wait_head: context = hw()
    """The first of those who spin for it, in their order."""
    wait_tail: context = hw()
    """The last of them."""
    rt_waiters: task_struct = hw()
    """The tasks that wait for it as a sleeping lock, by priority."""
    pi_next: spinlock_t = hw()
    """The next of the locks with waiters that its owner holds."""
    unchecked: bool = hw()
    """Whether accesses to what it guards pass unchecked."""
    contended: int = hw(statistic=True)
    """How often somebody had to wait for it."""


class raw_spinlock_t(Struct):
    """A spinlock that spins on every flavour."""

    lock: spinlock_t = embed()


class local_lock_t(Struct):
    """A per-CPU lock: on PREEMPT_RT a sleeping spinlock, elsewhere disabled preemption."""

    lock: spinlock_t = embed()


class noise_source(Struct):
    """Something that disturbs CPUs now and then."""

    kind: int = hw()
    """One of NOISE_*."""
    cpu: int = hw()
    """Whom it disturbs; an SMI all."""
    interval_ns: int = hw()
    """The mean time from one to the next."""
    least_ns: int = hw()
    """How long it lasts at the least."""
    values: int = hw()
    """How many lengths there are from that on."""
    key: int = hw()
    """The key of its stream of random numbers, 32 bits."""
    drawn: int = hw()
    """How many of them were drawn."""


class nic_queue(Struct):
    """The device's side of a receive queue: ring, interrupt, coalescing."""

    ring: int = hw()
    """The address of its ring, ARRIVAL_WORDS words for each descriptor."""
    size: int = hw()
    """How many descriptors the ring has."""
    head: int = hw()
    """The descriptor that the driver takes next, from 0."""
    tail: int = hw()
    """The descriptor that the card fills next, from 0."""
    popped: int = hw()
    """Descriptors that the driver has taken and not given back."""
    free: int = hw()
    """Descriptors that the card may fill."""
    irq_enabled: bool = hw()
    """Whether the card may raise its interrupt."""
    irq_cpu: int = hw()
    """The CPU that it interrupts."""
    rx_usecs: int = hw()
    """ethtool -C rx-usecs: the longest wait for an interrupt, in microseconds; 0 for none."""
    rx_frames: int = hw()
    """ethtool -C rx-frames: so many waiting frames raise it at once; 0: no number does."""
    waiting_frames: int = hw()
    """Frames since the last interrupt."""
    raise_at: int = hw()
    """When the moderated interrupt is due, in ns; NEVER for none."""
    actor: int = hw()
    """Its number as an actor (machine/events.py)."""
    received: int = hw(statistic=True)
    """Frames that reached the ring."""
    dropped: int = hw(statistic=True)
    """Frames for which no descriptor was free."""
    irqs: int = hw(statistic=True)
    """Interrupts that it raised."""
