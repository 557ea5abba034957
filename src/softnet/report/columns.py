# SPDX-License-Identifier: GPL-2.0-or-later
"""A schedule in columns, one per CPU: context, function, source line, what was read or written, with its value."""

from __future__ import annotations

from pathlib import Path

from softnet.verify.replay.schedule import LOCK_CALLS, SHOWN_CALLS, Access, Schedule, Step, flags

NUMBER_WIDTH = 5
OF_CPUS = ("softnet_data", "call_single_queue", "skb_defer_node")
"""Structures that each CPU has, with what several CPUs are about: skb_defer_node one for each NUMA node."""
OF_CARDS = ("nic_vector", "napi.state")
"""Of a card: who owns its NAPI."""
DELAYED = {"buffer": "(in the store buffer)", "flush": "reaches memory"}
TASK_STATES = {0: "TASK_RUNNING", 1: "TASK_INTERRUPTIBLE", 2: "TASK_UNINTERRUPTIBLE", 0x40: "TASK_PARKED"}


def relevant(schedule: Schedule) -> set[int]:
    """Addresses that two CPUs touch and one of them writes, poll lists, and who owns a card's NAPI: what the schedule is about."""
    touched: dict[int, set[int]] = {}
    written: set[int] = set()
    for step in schedule.steps:
        for access in step.accesses:
            if access.leaf is None or (access.leaf.table not in OF_CPUS and not of_card(access)):
                continue
            cpus = touched.setdefault(access.address, set())
            cpus.add(step.cpu)
            if access.leaf.path == "backlog.poll_list.next" or of_card(access):
                cpus.add(-1)
            if access.what != "read" and not access.what.endswith("-old"):
                written.add(access.address)
    return {a for a, who in touched.items() if len(who) > 1 and a in written} | delayed(schedule)


def of_card(access: Access) -> bool:
    """Whether the access is to the word that says who owns a card's NAPI."""
    return access.leaf is not None and (access.leaf.table, access.leaf.path) == OF_CARDS


def delayed(schedule: Schedule) -> set[int]:
    """Addresses of stores that waited in a store buffer while another CPU acted; of a task's state, while it was woken."""
    under_way: dict[int, list[tuple[int, int]]] = {}
    acted: dict[int, int] = {}
    woken: dict[int, int] = {}
    found: set[int] = set()
    for step in schedule.steps:
        for access in step.accesses:
            if access.what == "buffer":
                under_way.setdefault(step.cpu, []).append((access.address, step.number))
            elif access.what == "flush" and under_way.get(step.cpu):
                address, since = under_way[step.cpu].pop(0)
                if access.leaf is not None and access.leaf.table == "task_struct":
                    waited = woken.get(sorted(schedule.tasks)[access.leaf.index], 0) > since
                else:
                    waited = any(number > since for cpu, number in acted.items() if cpu != step.cpu)
                if waited:
                    found.add(address)
            elif access.call == "try_to_wake_up":
                woken[access.address] = step.number
        acted[step.cpu] = step.number
    return found


def lines_of(step: Step, about: set[int], every: bool, schedule: Schedule) -> list[str]:
    """What a step shows."""
    out = [f"* {step.title}"] if step.title else []
    function = ""
    for access in step.accesses:
        text = access_text(access, schedule)
        shown = every
        if access.leaf is not None:
            shown = shown or access.address in about
        elif access.call in SHOWN_CALLS:
            shown = True
        elif access.call in LOCK_CALLS:
            shown = shown or "input_pkt_queue" in lock_name(access, schedule)
        if not shown:
            continue
        place = f"{access.function} ({Path(access.file).name}:{access.line})"
        if place != function:
            out.append(place)
            function = place
        out.append("  " + text)
    return out


def context_place(step: Step) -> str:
    """A step of a cycle that touches nothing shared: where it is."""
    if not step.accesses:
        return "goes on"
    access = step.accesses[-1]
    return f"{access.function} ({Path(access.file).name}:{access.line})"


def lock_name(access: Access, schedule: Schedule) -> str:
    """The path of the lock of a lock call."""
    leaf = schedule.leaves.get(access.address)
    return f"{leaf.table}[{leaf.index}].{leaf.path}" if leaf is not None else ""


def access_text(access: Access, schedule: Schedule) -> str:
    """One access in words."""
    if access.leaf is None:
        if access.call == "try_to_wake_up":
            return f"wakes {schedule.task_at(access.address)}" + ("" if access.value else ": not asleep")
        if access.call in ("arch_send_call_function_single_ipi", "smp_send_reschedule"):
            return f"interrupts CPU{access.address}"
        if words := SHOWN_CALLS.get(access.call):
            return words[0 if access.value else -1]
        if access.call in LOCK_CALLS:
            verb = "locks" if access.call in ("spin_acquire", "rt_try_take") else "unlocks"
            return f"{verb} {lock_name(access, schedule).removesuffix('.owner')}"
        return f"{access.call}()"
    owner = ""
    if access.leaf.table in OF_CPUS:
        lists = schedule.config.nodes if access.leaf.table == "skb_defer_node" else 1
        owner = f"CPU{access.leaf.index // lists} " + (f"node {access.leaf.index % lists} " if lists > 1 else "")
    if of_card(access):
        owner = f"nic{access.leaf.index} "
    if access.leaf.table == "sk_buff":
        owner = f"skb {access.leaf.index + 1} "
    if access.leaf.table == "task_struct":
        owner = f"{schedule.task_named(access.leaf.index)} "
    if access.leaf.what == "spinlock_t.owner" and access.what in ("buffer", "flush"):
        return f"the unlock of {lock_name(access, schedule).removesuffix('.owner')} {DELAYED[access.what]}"
    if access.what in DELAYED:
        return f"{owner}{access.leaf.path} = {value_text(access, schedule)} {DELAYED[access.what]}"
    operation, _, part = access.what.partition("-")
    if part:
        verb = f"{operation}: was" if part == "old" else f"{operation}: now"
    else:
        verb = "==" if operation == "read" else "="
    return f"{owner}{access.leaf.path} {verb} {value_text(access, schedule)}"


def value_text(access: Access, schedule: Schedule) -> str:
    """A value: NAPI state by its flags, an address by what stands there."""
    assert access.leaf is not None
    if access.leaf.what == "napi_struct.state":
        return flags(access.value)
    if access.leaf.what == "task_struct.state":
        return TASK_STATES.get(access.value, str(access.value))
    leaf = schedule.leaves.get(access.value)
    if leaf is not None and access.leaf.what in schedule.references:
        if leaf.table == "sk_buff":
            return f"skb {leaf.index + 1}"
        path = leaf.path.rpartition(".")[0]
        return f"&CPU{leaf.index}.{path}" if leaf.table == "softnet_data" else f"&{leaf.table}[{leaf.index}].{path}"
    if access.leaf.what in schedule.references:
        return "NULL" if access.value == 0 else hex(access.value)
    return str(access.value)


def render(schedule: Schedule, width: int = 120, *, every: bool = False, repeats: int = 0) -> str:
    """The schedule as text of at most ``width`` columns; ``every`` shows all accesses, else those that conflict.

    The last ``repeats`` steps happen again and again: all their accesses are shown, and who runs in them.
    """
    cpus = schedule.config.cpus
    column = (width - NUMBER_WIDTH) // cpus
    about = relevant(schedule)
    out = [" " * NUMBER_WIDTH + "".join(f"CPU{cpu}".ljust(column) for cpu in range(cpus)).rstrip()]
    out.append(" " * NUMBER_WIDTH + "".join(("-" * (column - 2)).ljust(column) for _ in range(cpus)).rstrip())
    last = [""] * cpus
    for step in schedule.steps:
        again = repeats and step.number > len(schedule.steps) - repeats
        if repeats and step.number == len(schedule.steps) - repeats + 1:
            out.append(" " * NUMBER_WIDTH + f"from here on, {repeats} steps for ever ".ljust(width - NUMBER_WIDTH, "-"))
        lines = lines_of(step, about, every, schedule) or ([context_place(step)] if again else [])
        if not lines:
            continue
        number = f"{step.number:>{NUMBER_WIDTH - 1}} "
        if step.cpu < 0:
            out.append(number + lines[0])
            continue
        if step.context != last[step.cpu]:
            lines = [f"[{step.context}]", *lines]
            last[step.cpu] = step.context
        for line in lines:
            for piece in wrap(line, column - 2):
                out.append((number + " " * (column * step.cpu) + piece).rstrip())
                number = " " * NUMBER_WIDTH
    return "\n".join(out) + "\n"


def wrap(line: str, width: int) -> list[str]:
    """A line in pieces of the column's width; what follows is indented."""
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    out = []
    while len(line) > width:
        at = line.rfind(" ", len(indent), width + 1)
        at = at if at > len(indent) else width
        out.append(line[:at])
        line = indent + line[at:].lstrip()
    return [*out, line]
