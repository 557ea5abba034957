# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's agent: read the plan, set the machine up, trace, do the work, send everything home."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback

from softnet.lab.guest import cards, load, races, script, threads, tracefs
from softnet.lab.guest.channel import Channel
from softnet.lab.guest.files import read_text, task_names, write_setting
from softnet.lab.guest.plans import Complaint, FactsResult, Found, Hello, Plan, Result

_COMPLAINT_MARKS = ("WARNING:", "BUG:", "Oops", "rcu: INFO", "handler #", "lockup", "throttling")


def complaints() -> list[str]:
    """What the kernel's log says that no run should make it say."""
    log = subprocess.run(["/bin/busybox", "dmesg"], capture_output=True, text=True, check=False).stdout
    return [line for line in log.splitlines() if any(mark in line for mark in _COMPLAINT_MARKS)]


def run(plan: Plan, channel: Channel) -> Result | FactsResult:
    """Carry out the plan; the returned dictionary is the result frame."""
    if plan["kind"] == "facts":
        return tracefs.send_facts(plan, channel)
    if plan["kind"] == "misbehave":
        return script.misbehave(plan["how"], channel)
    # The cards first: settings and threads may be theirs.
    files = cards.create(plan["work"]["cards"]) if plan["kind"] == "load" else {}
    for path, value in plan["settings"]:
        write_setting(path, value)
    threads_set = threads.apply(plan["threads"])
    trace = tracefs.Tracer(plan["trace"])
    done: Found
    if plan["kind"] == "script":
        done = script.run(plan["work"], trace)
    elif plan["kind"] == "race":
        done = races.run(plan["work"], trace, channel)
    else:
        done = load.run(plan["work"], files, trace, channel)
    trace.stop()
    names = {**task_names(), **done.pop("task_names", {})}
    channel.say("sending the trace")
    return {
        "threads_set": threads_set,
        "work": done,
        "softnet_stat_before": trace.stat_before,
        "softnet_stat_after": trace.stat_after,
        "threads": names,
        "trace": trace.send(channel),
        "complaints": complaints(),
    }


def main() -> int:
    """Say hello, run the plan, say bye."""
    channel = Channel()
    plan: Plan = json.loads(read_text("/lab/plan.json"))
    uname = os.uname()
    hello: Hello = {
        "release": uname.release,
        "version": uname.version,
        "cpus": os.sysconf("SC_NPROCESSORS_ONLN"),
        "command_line": read_text("/proc/cmdline").strip(),
    }
    channel.send_json("H", hello)
    try:
        channel.send_json("R", run(plan, channel))
    except Exception as error:  # Whatever it was, the host must hear of it.
        told: Complaint = {"message": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        channel.send_json("E", told)
        return 1
    channel.send("B", b"")
    return 0


if __name__ == "__main__":
    sys.exit(main())
