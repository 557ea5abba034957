# SPDX-License-Identifier: GPL-2.0-or-later
"""Settings changed while the traffic runs: what sysctl, sysfs and ethtool do to a live kernel, done between two events."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from softnet.errors import SoftnetError
from softnet.image import readout
from softnet.image.image import Image
from softnet.image.settings import set_rps_cpus, set_sysctl, update_static_keys
from softnet.machine import state
from softnet.scenario import Change, Scenario

WRITER = 0
"""The CPU that settings are written on: its cache takes the lines, and who reads them next fetches them from there."""


@contextmanager
def frozen(image: Image) -> Iterator[None]:
    """Touch kernel structures from outside, as a task on the CPU WRITER would: no time passes and no context gives way.

    Which CPU was dispatched last says nothing about who writes a sysctl, so it must not decide whose the lines are.
    """
    engine = ("now", "lim", "running", "line_transfers", "cpu", "line_mine", "line_bit", "line_only")
    words = [image.engine_word(name) for name in engine]
    words.append(readout.address(image, "cpu_hw", WRITER, "line_transfers"))
    kept = [image.memory[w] for w in words]
    image.memory[words[1]] = state.NEVER
    image.memory[words[2]] = 0
    image.memory[words[4]] = WRITER
    image.linked.machine["line_owner"](image.ref("cpu_hw", WRITER))
    try:
        yield
    finally:
        for word, value in zip(words, kept, strict=True):
            image.memory[word] = value


def apply_change(image: Image, scenario: Scenario, change: Change) -> None:
    """Apply one change. Raises SoftnetError for what cannot be changed in the model while it runs."""
    if change.table == "cpu":
        return  # the hotplug task of the image does it, in the model's own time: linux/kernel/cpu.py
    with frozen(image):
        if change.table == "sysctl" and isinstance(change.value, int):
            set_sysctl(image.linked.kernel, change.key, change.value, scenario.kernel.sysctl_values())
        elif change.table == "nic":
            _nic_change(image, scenario, change)
        elif change.table == "loopback" and change.key == "rps_cpus" and isinstance(change.value, tuple):
            set_rps_cpus(image.linked.kernel, 0, change.value, scenario.machine.isolated_cpus)
            update_static_keys(image.linked.kernel)
        else:
            raise unsupported(change)


def _nic_change(image: Image, scenario: Scenario, change: Change) -> None:
    first = scenario.queue_base[change.nic]
    queues = range(first, first + scenario.nic[change.nic].queues)
    kernel, value = image.linked.kernel, change.value
    device = kernel["table"](kernel["net_device"], 1 + change.nic)
    if change.key == "rps_cpus" and isinstance(value, tuple):
        for queue in queues:
            set_rps_cpus(kernel, 1 + queue, value, scenario.machine.isolated_cpus)
        update_static_keys(kernel)
    elif change.key in ("rx_usecs", "rx_frames") and isinstance(value, int):
        for queue in queues:
            setattr(image.ref("nic_queue", queue), change.key, value)
    elif change.key == "irq_cpus" and isinstance(value, tuple):
        for queue, cpu in zip(queues, value, strict=True):
            image.ref("nic_queue", queue).irq_cpu = cpu
    elif change.key in ("napi_defer_hard_irqs", "gro_flush_timeout") and isinstance(value, int):
        setattr(device, change.key, value)
    elif change.key == "gro" and isinstance(value, int):
        device.gro_on = value
    else:
        raise unsupported(change)


def unsupported(change: Change) -> SoftnetError:
    """A change that the scenario allows and the model does not make while it runs."""
    return SoftnetError(
        "the model cannot change this setting while it runs",
        where=f"event at {change.at_ns} ns: {change.table}.{change.key}",
        found=repr(change.value),
        expected="a sysctl; a NIC's rps_cpus, rx_usecs, rx_frames, irq_cpus, napi_defer_hard_irqs, "
        "gro_flush_timeout, gro; loopback.rps_cpus",
        hint="run two scenarios, before and after, and compare them",
    )
