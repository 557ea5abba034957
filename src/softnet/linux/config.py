# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's configuration, as the functions test it; the image builder gives the values in force when it links."""

from __future__ import annotations

CONFIG_PREEMPT_RT = 0
CONFIG_RPS = 1
CONFIG_NET_FLOW_LIMIT = 1
CONFIG_NET_RX_BUSY_POLL = 0
HZ = 250
CONFIG_CPU_IDLE = 0
OTHER_DEVICES = 0
"""Ours: whether devices interrupt that are none of the model's."""
CPU_IDLE_FORCE_POLL = 0
"""cpu_idle_force_poll, kernel/sched/idle.c: the boot argument idle=poll."""
