# SPDX-License-Identifier: GPL-2.0-or-later
"""The configurations that ``softnet verify`` explores unless told otherwise, and configurations as one line of text."""

from __future__ import annotations

from dataclasses import fields, replace

from softnet.errors import ScenarioError, SoftnetError
from softnet.release import DEFAULT, releases
from softnet.scenario import parse_kernel
from softnet.units import whole_number
from softnet.verify.inside.words import VX_STORE_BUFFER_MAX
from softnet.verify.model import DRIVER_KINDS, EVENTS, WITHOUT_SKBS, Config, Driver, Event, cards_of, nr_actions

AIMED = ("rps", "hotplug", "close", "busy")
"""Kinds of driver whose last number is the CPU that they act upon."""
NOT_TEXT = ("name", "drivers", "events", "patches", "property_files", "properties", "without", "mended")
"""What a configuration's line of text does not say, or says in another way."""

ACTIONS_MAX = 254
"""A state remembers by a byte which action led to it, and 255 is none."""
SKBS_MAX = 1024
PREEMPT = ("", "none", "voluntary", "full", "lazy")

KERNELS = releases()[DEFAULT].kernels
"""The three modes: IPI, threads, PREEMPT_RT."""


def standard(kernel: str, cpus: int = 2, skbs: int = 2, patches: tuple[str, ...] = ()) -> list[Config]:
    """The standard configurations of a kernel: CPU 0 allocates and receives, the others free ``skbs`` skbs each.

    With ``defer_max`` 2 the watermark is 1: the second skb on the list kicks. A list for each node takes one skb less than the
    limit and may be longer than it is counted: there 5 is the least with which a kick can be lost, and each frees two more.
    """
    base = Config("", kernel=kernel, cpus=cpus, patches=patches)
    if releases()[parse_kernel(kernel).release].has("defer_nodes"):
        base, skbs = replace(base, defer_max=5), skbs + 2
    free = tuple(Driver("free", cpu, skbs) for cpu in range(1, cpus))
    # On PREEMPT_RT a device's handler is a thread: netif_rx() from a hard interrupt would take a sleeping lock there.
    device = "netif_rx" if base.preempt_rt else "irq"
    small = replace(base, budget=1, dev_weight=1)
    # Sleeping locks make many more states: with RPS only wakeups preempt there.
    steered = replace(base, rps=True, resched=device == "irq")
    where = less = "" if steered.resched else ", no ticks"
    # With threads each packet wakes a task of the other CPU: by wake lists both ways make six times the states, more than fit.
    crossed = steered
    if parse_kernel(kernel).boot_args:
        crossed, less = replace(steered, ttwu_queue=False), ", no wake list"
    return [
        replace(base, name="deferred frees", drivers=free),
        replace(base, name="and a device's interrupt", drivers=(*free, Driver(device, 0))),
        replace(base, name="and two local packets", drivers=(*free, Driver("netif_rx", 0, 2))),
        replace(small, name="budget and weight 1", drivers=(*free, Driver(device, 0, 2))),
        replace(steered, name=f"RPS to CPU 0{where}", drivers=(*free, Driver("rps", cpus - 1, 1, 0, 0))),
        replace(crossed, name=f"RPS both ways{less}", drivers=(Driver("rps", 1, 1, 0, 0), Driver("rps", 0, 1, 0, 1))),
    ]


def to_text(config: Config) -> str:
    """A configuration in one line, without its patches and its name: what differs from the defaults."""
    parts = [f"kernel={config.kernel}"]
    plain = Config("")
    for f in fields(Config):
        value = getattr(config, f.name)
        if f.name in NOT_TEXT or f.name == "kernel" or value == getattr(plain, f.name):
            continue
        parts.append(f"{f.name}={int(value) if isinstance(value, bool) else value}")
    parts += [f"driver={d.kind}:{d.cpu}:{d.count}:{d.target if d.kind in AIMED else d.alloc_cpu}" for d in config.drivers]
    parts += [f"event={e.name}:{e.value}" for e in config.events]
    return ",".join(parts)


def from_text(text: str, patches: tuple[str, ...] = ()) -> Config:
    """The configuration of such a line. Raises SoftnetError that names the part that is wrong."""
    config = Config("replay", patches=patches)
    kinds = {f.name: type(getattr(config, f.name)) for f in fields(Config)}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if key == "driver":
            config = replace(config, drivers=(*config.drivers, driver_of(value)))
        elif key == "event":
            config = replace(config, events=(*config.events, event_of(value, ":")))
        elif not equals or key not in kinds or key in NOT_TEXT:
            raise SoftnetError("not a part of a configuration", found=repr(part), expected="KEY=VALUE such as cpus=2")
        elif kinds[key] is str:
            config = replace(config, **{key: value})  # type: ignore[arg-type]
        elif (number := whole_number(value, negative=True)) is None:
            raise SoftnetError(f"{key} is a number", found=repr(value), expected="such as 2")
        elif kinds[key] is bool and number not in (0, 1):
            raise SoftnetError(f"{key} is on or off", found=repr(value), expected="1 or 0")
        else:
            config = replace(config, **{key: kinds[key](number)})
    return check(config)


def driver_of(text: str) -> Driver:
    """``KIND:CPU[:COUNT[:CPU]]``; the last number is the target of rps, else the CPU that allocated the skbs."""
    kind, *words = text.split(":")
    numbers = [number for number in map(whole_number, words) if number is not None]
    if kind not in DRIVER_KINDS or not 1 <= len(words) <= 3 or len(numbers) != len(words):
        raise SoftnetError("not a driver", where="driver", found=repr(text),
                           expected=f"KIND:CPU[:COUNT[:CPU]], KIND {', '.join(DRIVER_KINDS)}")  # fmt: skip
    cpu, count, other = [*numbers, *[1, 0][len(numbers) - 1 :]]
    return Driver(kind, cpu, count, 0 if kind in AIMED else other, other if kind in AIMED else 0)


def event_of(text: str, between: str = "=") -> Event:
    """``NAME=VALUE``: a setting that changes while the system runs."""
    name, found, value = text.partition(between)
    number = whole_number(value)
    if name not in EVENTS or not found or number is None:
        raise SoftnetError("not a change of a setting", where="event", found=repr(text),
                           expected=f"NAME{between}NUMBER, NAME one of {', '.join(EVENTS)}")  # fmt: skip
    return Event(name, number)


def _check_event(event: Event) -> None:
    """A setting takes while the system runs what it takes at boot. Raises SoftnetError."""
    from softnet.scenario import scenario_from_dict

    if event.name == "rps_cpus":
        return
    try:
        scenario_from_dict({"kernel": {"sysctl": {event.name: event.value}}})
    except ScenarioError as error:
        raise SoftnetError("not a value of the setting", where=f"event {event.name}", found=error.found or str(event.value),
                           expected=error.expected) from None  # fmt: skip


def check(config: Config) -> Config:
    """Raises SoftnetError for a driver on a CPU that the machine does not have, and for a machine out of range."""
    if not 1 <= config.cpus <= 8:
        raise SoftnetError("the explorer takes 1 to 8 CPUs", where="cpus", found=str(config.cpus))
    if not 1 <= config.nodes <= config.cpus:
        raise SoftnetError("a NUMA node has a CPU at least", where="nodes", found=str(config.nodes), expected=f"1 to {config.cpus}")
    if config.memory_model not in ("sc", "tso"):
        raise SoftnetError("not a memory model", where="memory_model", found=repr(config.memory_model),
                           expected="sc (sequentially consistent) or tso (x86's, with store buffers)")  # fmt: skip
    if not 1 <= config.store_buffer <= VX_STORE_BUFFER_MAX:
        raise SoftnetError("a store buffer holds 1 to 8 stores", where="store_buffer", found=str(config.store_buffer))
    if config.liveness and config.memory_model == "tso":
        raise SoftnetError("liveness is asked of sequentially consistent memory", where="--liveness", found="tso", expected="sc")
    if config.preempt not in PREEMPT:
        raise SoftnetError("not a preemption model", where="preempt", found=repr(config.preempt), expected=", ".join(PREEMPT[1:]))
    for event in config.events:
        _check_event(event)
    if not config.drivers:
        raise SoftnetError("nothing would happen", where="driver", found="no driver", expected="at least one")
    if (config.rps_cpus or any(e.name == "rps_cpus" for e in config.events)) and not config.rps:
        raise SoftnetError("without CONFIG_RPS nothing is steered", where="rps_cpus", found="rps=0", expected="--set rps=1")
    if config.rps_cpus >> config.cpus or any(e.name == "rps_cpus" and e.value >> config.cpus for e in config.events):
        raise SoftnetError("a mask with CPUs that there are not", where="rps_cpus", found=hex(config.rps_cpus),
                           expected=f"at most {hex((1 << config.cpus) - 1)}")  # fmt: skip
    for d in config.drivers:
        if d.kind == "hotplug":
            if d.cpu == d.target:
                raise SoftnetError(
                    "the task that takes a CPU down runs on another one", where="driver hotplug", found=f"CPU {d.cpu}"
                )
            if d.count > 2:
                raise SoftnetError("hotplug is down (1), or down and up again (2)", where="driver hotplug", found=str(d.count))
        if d.kind in ("close", "busy"):
            if d.target not in cards_of(config):
                what = "stop" if d.kind == "close" else "poll"
                raise SoftnetError(f"no card to {what}", where=f"driver {d.kind}", found=f"CPU {d.target}",
                                   expected=f"--driver nic:{d.target}, a card whose interrupts that CPU takes")  # fmt: skip
            if d.kind == "close" and d.count > 2:
                raise SoftnetError("close is down (1), or down and up again (2)", where="driver close", found=str(d.count))
        if d.kind == "irq" and config.kernel.endswith("-rt"):
            raise SoftnetError("a hard interrupt may not call netif_rx() on PREEMPT_RT, which takes locks that sleep",
                               where="driver irq", found=config.kernel, expected="netif_rx or nic",
                               hint="a handler is a thread there")  # fmt: skip
        if d.kind == "rps" and not config.rps:
            raise SoftnetError("without CONFIG_RPS nothing is steered", where="driver rps", found="rps=0", expected="--set rps=1",
                               hint="the kernel has no enqueue on another CPU's backlog then")  # fmt: skip
        for cpu in (d.cpu, d.alloc_cpu, d.target):
            if cpu >= config.cpus:
                raise SoftnetError("a driver on a CPU that there is not", where=f"driver {d.kind}", found=str(cpu),
                                   expected=f"0 to {config.cpus - 1}")  # fmt: skip
        if d.count < 1:
            raise SoftnetError("a driver that does nothing", where=f"driver {d.kind}", found=str(d.count), expected="1 or more")
    if nr_actions(config) > ACTIONS_MAX:
        raise SoftnetError("too much may happen for the explorer", where="driver, event", found=f"{nr_actions(config)} actions",
                           expected=f"at most {ACTIONS_MAX}, with the CPUs' and the store buffers' own")  # fmt: skip
    if (skbs := sum(d.count for d in config.drivers if d.kind not in WITHOUT_SKBS)) > SKBS_MAX:
        raise SoftnetError("too many skbs for the explorer", where="driver", found=str(skbs), expected=f"at most {SKBS_MAX}")
    return config
