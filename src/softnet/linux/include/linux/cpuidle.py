# SPDX-License-Identifier: GPL-2.0-or-later
"""include/linux/cpuidle.h (6.1): idle states, and what a CPU keeps of them.

Statistics and prices all of it: which state a CPU idles in decides when it runs again and nothing else. A CPU works on its own
with interrupts off, so the functions are the machine's kind. A pointer to a local in C is a field here: ``*stop_tick`` and
``*delta_next``.
"""

from __future__ import annotations

from softnet.lang import Struct, array, hw, private

CPUIDLE_STATE_MAX = 10
CPUIDLE_FLAG_POLLING = 1
CPUIDLE_FLAG_MWAIT = 2
"""Ours: the state is entered by mwait, which watches NEED_RESCHED. C knows that in the driver's ->enter()."""

KTIME_MAX = 1 << 60
"""The machine's NEVER."""
NSEC_PER_USEC = 1000
UINT_MAX = 0xFFFFFFFF
INT_MAX = 0x7FFFFFFF

CPUIDLE_GOVERNOR_MENU = 1
CPUIDLE_GOVERNOR_TEO = 2
CPUIDLE_GOVERNOR_HALTPOLL = 3


class cpuidle_state(Struct):
    """An idle state of the driver; one row for each, by depth."""

    exit_latency_ns: int = hw()
    """The longest that waking from it takes, by which governors choose."""
    target_residency_ns: int = hw()
    """How long a CPU must stay for it to pay."""
    wake_ns: int = hw()
    """What waking from it takes here."""
    flags: int = hw()
    """Bits of CPUIDLE_FLAG_*."""
    disable: bool = hw()
    """states_usage[].disable, of all CPUs alike."""


class cpuidle_driver(Struct):
    """The driver and its governor; one."""

    halt: int = private()
    """No driver, and CPUs idle by hlt: the boot argument idle=halt, and most guests. Else without one by mwait, as mwait_idle()."""
    state_count: int = hw()
    governor: int = hw()
    """cpuidle_curr_governor: one of CPUIDLE_GOVERNOR_*."""
    latency_req_ns: int = hw(init=1 << 60)
    """cpu_latency_qos_limit(), the tightest of those who hold /dev/cpu_dma_latency."""


class cpuidle_device(Struct, per_cpu=True):
    """A CPU's idling."""

    last_state_idx: int = hw(statistic=True)
    last_residency_ns: int = hw(statistic=True)
    """How long the last idling lasted, with the way out of it; 0 if there was none."""
    poll_limit_ns: int = hw(statistic=True)
    """How long the polling state polls, 0 until it is worked out."""
    poll_time_limit: bool = hw(statistic=True)
    """The last polling ended for that."""
    stop_tick: bool = hw(statistic=True)
    """What the governor says of the tick."""
    delta_next: int = hw(statistic=True)
    """What tick_nohz_get_sleep_length() says of the next event if the tick goes on."""
    usage: int = array(CPUIDLE_STATE_MAX, hw(statistic=True))
    """states_usage[].usage: how often each state was entered."""
    time_ns: int = array(CPUIDLE_STATE_MAX, hw(statistic=True))
    """How long it was idle in each."""
    above: int = array(CPUIDLE_STATE_MAX, hw(statistic=True))
    """How often each was too deep: left before its target residency."""
    below: int = array(CPUIDLE_STATE_MAX, hw(statistic=True))
    """How often the next deeper one would have paid."""
