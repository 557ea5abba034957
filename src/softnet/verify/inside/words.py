# SPDX-License-Identifier: GPL-2.0-or-later
"""The search's own words and constants, and those of the harness."""

from __future__ import annotations

from softnet.lang import Struct, array, hw, hwfunc
from softnet.lang.intrinsics import table
from softnet.machine.state import task_struct

# What a driver does.
VX_FREE = 0
VX_NETIF_RX = 1
VX_RPS = 2
VX_IRQ = 3
VX_PLUG = 4
VX_NIC = 5
VX_CALL = 6
VX_CLOSE = 7
VX_BUSY = 8

VX_BH_UNLOCKED = 0
"""Whether BH off leaves a CPU's tasks beside each other: PREEMPT_RT from 6.18 on."""

# What vx_explore() returns.
VX_MORE = 0
VX_DONE = 1
VX_FULL = 2
VX_VIOLATION = 3
VX_MACHINE = 4
VX_FAILED = 5
VX_GROW = 6
"""The table of fingerprints is full enough to be doubled."""
VX_DISOWNED = 7
"""A CPU touched what was assumed another one's own: the search must begin anew."""
VX_STORE_BUFFER_MAX = 8
"""Of a CPU's store buffer at most."""
VX_PER_CPU = 4
"""Actions of each CPU."""
VX_BLOCKED = -2
VX_OUTSIDE = 255
"""The CPU number of actions from outside of the machine."""
VX_FUEL = 1 << 20
VX_PHASE_WORD = 3
VX_FUEL_WORD = 4
VX_UNDO_WORD = 6
"""Where the undo log's next entry goes; pause() uses the word when the search has returned."""
VX_END_WORD = 7
"""Behind the frame of the function that stopped; fail() uses the word when there is nothing to go on with."""
VX_FRAME_WORD = 12
VX_LIMIT_WORD = 15
VX_FRAME_WORDS_MAX = 96
VX_SWITCHED = -3
"""What a step returns that ended where its context gave the CPU to another one."""
VX_READ_ONLY = 255
"""In the table of owners: words that nobody writes while the search runs."""
VX_WALK_STEPS = 2000
"""Of a run by chance at most."""
VX_TASK_WORD = 256
"""In the table of machines' words: a task's."""
VX_LEARNING = 254
"""In the table of owners: every access is noted."""
VX_OPEN_MAX = 48
"""Open accesses of a context (softnet.verify.inside.races), of 16 words each."""
VX_COMP_WORDS = 4
VX_PENDING_WORDS = 4
VX_RECENT_WORDS = 1 << 15
"""Of the table of fingerprints that were met lately: four of five children that are not new are among them. So many words stay in a
processor's cache, and no other processor takes them. A power of two."""
VX_LINES_WORDS = 32
"""How far apart stand words that several threads change: four cache lines."""
VX_FOUND = 0
VX_STOP = 1
VX_SHARED = 2
"""Of these words: how many states were found, whether all shall stop, and first of those of the parts."""
VX_BITS = 3
"""Bits that a member of a swarm keeps of a state."""
VX_LEVEL_WORDS = 8
"""Of a level of its path: the rows of the children that wait, how many, which is next; the action that led here, where its words
begin and end, and the hash of the state before."""
VX_TRY = 500
"""States that it expands in a try, behind the walk."""
VX_IDLE = 20
"""After so many tries that met nothing new comes the last one."""
VX_LAST_TRY = 1 << 40
VX_SALT = 0x2F0B4C5D
"""What the last try adds to the hashes of states, to tell what it has gone through itself."""
VX_SAMPLE_KEY = 0x5A3C
"""By which states get into the samples of a swarm."""


class explorer(Struct, engine=True):
    """The search's own words; one. Addresses are of words of S behind the image."""

    stacks: int = hw()
    """The contexts' parts of memory, ``stack_words`` each: 0 where its running frame begins, 1 where that ends, 2 the first."""
    stack_words: int = hw()
    log: int = hw()
    """The undo log: address and old word by turns."""
    log_from: int = hw()
    saved: int = hw()
    """The part of memory of the context that ran, as it was before."""
    ran: int = hw()
    """1 + that context; 0 for none."""
    hash: int = hw()
    """Of the state in memory: a sum over its parts, kept up to date."""
    states: int = hw()
    max_states: int = hw()
    head: int = hw()
    """States that are expanded."""
    transitions: int = hw()
    terminals: int = hw()
    ends: int = hw()
    """Hash compaction: the sum of the terminal states' fingerprints."""
    ends_at: int = hw()
    """Where the terminal states' numbers are written down, and how many at most; for who compares searches."""
    ends_room: int = hw()
    depth: int = hw()
    level_end: int = hw()
    nr_actions: int = hw()
    nr_drivers: int = hw()
    at_action: int = hw()
    violated: int = hw()
    """A mask of properties that the last state violates."""
    properties: int = hw()
    """A mask of the properties that count."""
    in_terminal: int = hw()
    blocked: int = hw()
    part_of: int = hw()
    """Address -> 1 + the component (exact) or slot (compact) that it is; 0 for none."""
    marks: int = hw()
    """Of each component or slot: whether it is on the list ``marked``."""
    marked: int = hw()
    nr_marked: int = hw()
    # Exact storage: components' values by number, states as rows of numbers.
    nr_comps: int = hw()
    comps: int = hw()
    """Per component: its list of addresses, how many, 1 + the context whose frames they are, unused."""
    frames_comp: int = hw()
    """The first component that is a context's frames."""
    cur: int = hw()
    want: int = hw()
    key_words: int = hw()
    store: int = hw()
    store_used: int = hw()
    store_room: int = hw()
    step_room: int = hw()
    """What the actions of one state can add to the store at most."""
    ctable: int = hw()
    ctable_mask: int = hw()
    values: int = hw()
    pool: int = hw()
    index: int = hw()
    index_mask: int = hw()
    # Hash compaction: fingerprints, each state's parent and action, and the states that wait as differences.
    prints: int = hw()
    prints_shift: int = hw()
    """64 less the bits of the table's size."""
    prints_max: int = hw()
    recent: int = hw()
    """Those that were met lately, each at its low bits; 0 for a search that keeps no fingerprints."""
    trail: int = hw()
    trail_action: int = hw()
    slots: int = hw()
    """Slot -> address."""
    nr_slots: int = hw()
    shadow: int = hw()
    """Slot -> its word in the state that was written last."""
    value_bits: int = hw()
    pending: int = hw()
    """The children of a state: fingerprint, action, where their words begin and end in the log."""
    nr_pending: int = hw()
    read_at: int = hw()
    """In halves of words, as the next four."""
    read_end: int = hw()
    write_at: int = hw()
    write_room: int = hw()
    queue: int = hw()
    """Where the queue begins that is written."""
    other: int = hw()
    other_room: int = hw()
    peak: int = hw()
    """The most halves of words that a level took."""
    # One of several threads that share a search (softnet.verify.inside.parts).
    parts: int = hw()
    """How many they are; 0 where the search is one thread's."""
    here: int = hw()
    """Where this thread's memory begins, in halves of words: what threads tell each other is a place in the process."""
    part: int = hw()
    """This thread's number."""
    shared: int = hw()
    """Words that all threads change, VX_LINES_WORDS apart: VX_FOUND, VX_STOP; of each part which of the chunks that it wrote is
    next, and behind that word how many there are and where their rows begin.
    """
    told: int = hw()
    """How many of this thread's states are in that sum."""
    written: int = hw()
    """Rows of the chunks that this thread writes: where each begins and ends."""
    nr_written: int = hw()
    chunk_states: int = hw()
    """How many states a chunk has."""
    chunk_left: int = hw()
    """How many states the present one still takes."""
    base: int = hw()
    """Slot -> its word in the search's first state, from which each chunk's first state is told."""
    apart_marks: int = hw()
    """Of each slot: whether it is on the list ``apart``, of those in which memory may differ from that."""
    apart: int = hw()
    nr_apart: int = hw()
    # A member of a swarm: its bits, the path to the state in memory, the children that wait along it.
    seed: int = hw()
    """Its hashes are those with this key and the two behind it."""
    bits: int = hw()
    """In halves of words."""
    bits_mask: int = hw()
    path: int = hw()
    path_n: int = hw()
    path_room: int = hw()
    waiting_at: int = hw()
    waiting_end: int = hw()
    """Where there is room for the children of one more state at least."""
    order: int = hw()
    """The key of the hash that orders the children, in this try."""
    tries: int = hw()
    try_end: int = hw()
    """The try ends when so many states are expanded."""
    walk: int = hw()
    """How many steps the walk still takes."""
    salt: int = hw()
    """In the last try: VX_SALT."""
    idle: int = hw()
    """How many tries met nothing new, up to this one."""
    states_then: int = hw()
    """How many states were met when the try began."""
    cut: int = hw()
    """How often a child was left out for want of room."""
    sample: int = hw()
    """Hashes of the states that all members note, if they meet them."""
    sample_n: int = hw()
    sample_room: int = hw()
    sample_below: int = hw()
    warned: int = hw()
    """The number of the place whose WARN_ON_ONCE fired last."""
    locks: int = hw()
    """Where the table of locks stands: address and class of each."""
    nr_locks: int = hw()
    lock_classes: int = hw()
    # Liveness (softnet.verify.inside.cycles): of each state its edges, who can go on, what is owed; then Tarjan's tables.
    live_first: int = hw()
    live_edges: int = hw()
    live_enabled: int = hw()
    live_owed: int = hw()
    live_nr_edges: int = hw()
    live_max_edges: int = hw()
    live_state: int = hw()
    live_index: int = hw()
    live_low: int = hw()
    live_comp: int = hw()
    live_stack: int = hw()
    live_call: int = hw()
    live_at: int = hw()
    live_alive: int = hw()
    # Ownership (softnet.verify.ownership): which CPUs touch a word, and what a search has assumed of that.
    touched: int = hw()
    """Address -> a bit for each CPU that reads it, 32 bits further one for each that writes it."""
    disowned: int = hw()
    """An address that was touched by another CPU than its owner; 0 while the assumptions hold."""
    untouched: int = hw()
    """Per CPU: whether only it touches its own machine's words."""
    home: int = hw()
    """1 + the CPU that an action from outside belongs to; 0 for none."""
    machine_of: int = hw()
    """Address -> 1 + the CPU of whose machine the word is: its registers, run queue, tasks and interrupt lines; 0 for none."""
    sleeping_locks: int = hw()
    switches: int = hw()
    """Per place where a context may have stopped: whether it had given the CPU away there."""
    # Data races (softnet.verify.inside.races).
    races: int = hw()
    """Whether they are looked for now."""
    race_masks: int = hw()
    """Address -> 1 if somebody reads it, and 1 << 32 if somebody writes it."""
    race_with: int = hw()
    """Of the race that was found: the context whose access was open, or -1 - the CPU whose access was early."""
    race_how: int = hw()
    early: int = hw()
    """Per address, CPU and way of access: the stamp of the state in which it was noted, and the locks that were held."""
    stamp: int = hw()
    """A number for the state that is expanded."""
    unasked: int = hw()
    """How many words that nobody was thought to write turned out to be written: accesses to them were not looked at."""
    open_full: int = hw()
    """Whether a step had more open accesses than there is room for: then a race may be missed."""
    lock_order: int = hw()
    """Matrix of classes: row held, column taken under it, -1 until seen, then state << 8 | action of the first time."""


class vx_premise(Struct, engine=True):
    """Of each property: how often there was what it is about, in the states found and the steps taken. No part of a state."""

    times: int = hw()


@hwfunc(visible="search", x86="none")
def vx_saw(number: int) -> None:
    """There is what the property is about."""
    table(vx_premise, number).times += 1


class verify_env(Struct, settings=True):
    """What may happen from outside, and how often; one. Bounds are set before the search."""

    jiffies: int = hw()
    ticks_left: int = hw()
    """How often time may jump past every limit in jiffies."""
    defer_max_most: int = hw()
    """The largest value that skb_defer_max takes."""
    list_own: int = hw()
    """Whether deferred skbs are kept elsewhere than in the shipped kernels."""
    list_unknown: int = hw()
    """Whether the harness does not know where this kernel keeps deferred skbs (softnet.properties.where)."""
    resched_left: int = hw()
    """How often a tick may still preempt, where that is bounded."""
    next_skb: int = hw()
    """The next skb that a driver of a network card gets."""
    stopped_by: int = hw()
    """1 + the CPU for which stop_machine() holds all others; 0 for none."""
    broken: int = hw()
    """A mask of properties that a function of the harness found violated."""
    closed: int = hw()
    """A mask of the cards whose NAPI a driver has disabled."""
    expired: int = hw()
    """A mask of the cards whose NAPI's timer has expired, and whose interrupt has not come."""
    prefer_busy_poll: int = hw()
    busy_poll_budget: int = hw()


class vx_event(Struct, settings=True):
    """A change of a setting while the system runs: which, to what, whether it happened."""

    kind: int = hw()
    value: int = hw()
    row: int = hw()
    done: int = hw()


class vx_sd(Struct, per_cpu=True):
    """What the harness notes of a CPU's softnet_data."""

    polling: int = hw()
    """Whether its backlog is being polled; without BH lock on PREEMPT_RT, 1 + the context that polls it."""
    in_defer_csd: int = hw()
    """Whether the defer list's function call runs."""
    producers: int = hw()
    """How many drivers defer to it."""


class vx_skb(Struct):
    """What the harness notes of an skb, same index as sk_buff."""

    deferred: int = hw()
    """Whether it was deferred since it was allocated: it was on a defer list, or skb_attempt_defer_free() left it in use."""


class sk_buff(Struct, extends=True):  # noqa: N801
    """What the search notes of an skb in the skb itself."""

    vx_freed: int = hw()
    """1 + the context that has freed it; an skb is not used again."""


class vx_driver(Struct):
    """A task of the harness: which of its actions it does, on skbs ``first`` to ``first + count - 1``."""

    task: task_struct = hw()
    kind: int = hw()
    started: int = hw()
    """Whether the task may go on; of an interrupt or a card, how often it was raised."""
    raised: int = hw()
    first: int = hw()
    count: int = hw()
    target: int = hw()
    busy: int = hw()
    """Whether it is inside skb_attempt_defer_free()."""
    home: int = hw()
    """The CPU that it acts on."""
    asked: int = hw()
    """How often busy polling has asked whether it is over."""


class vx_open(Struct):  # noqa: N801
    """What a context's last step touched plainly, that nothing orders yet (softnet.verify.inside.races); what is empty is 0."""

    n: int = hw()
    at: int = array(48, hw())
    """The address / 16, and whether an interrupt of the same CPU could have struck there."""
    locks: int = array(48, hw())
    """A mask of the locks that were held."""
    seen: int = array(48, hw())
    """A bit for each of the 16 words that was read, 16 bits further one for each that was written."""


class vx_buffer(Struct):
    """A CPU's store buffer, oldest first; what is empty is 0, so that equal buffers are equal words."""

    n: int = hw()
    at: int = array(8, hw())
    value: int = array(8, hw())
