# SPDX-License-Identifier: GPL-2.0-or-later
"""Make a fixture of a recording: nothing that names the machine stays in it.

``python -m tests.host.recordings RECORDED FIXTURE``: what softnet host record wrote on a machine, to what is kept here. Task names
that are not in KEPT become "task", in the pages too; of the machine's report stays what a replay reads.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from softnet.ftrace import tracedat
from softnet.host.recording import read_recording

KEPT = re.compile(r"(swapper|ksoftirqd|backlog_napi|kworker|migration|rcu)[^ ]*|python3?|softnet|bash", re.ASCII)
REPORT = ("schema", "preempt", "cpus", "config", "sysctl")
RELEASE = "6.18.44"


def anonymous(recorded: Path, fixture: Path) -> None:
    """Write the fixture."""
    data = tracedat.read(recorded)
    comms = {c for e in read_recording(recorded).events if e.name == "sched_switch" for c in (e.values[0], e.values[3])}
    for comm in sorted(comms):
        if not KEPT.fullmatch(comm):
            old, new = comm.encode().ljust(16, b"\0"), b"task".ljust(16, b"\0")
            data.pages = [[page.replace(old, new) for page in pages] for pages in data.pages]
    data.comms = ""
    told = json.loads(data.options[tracedat.OPTION_SOFTNET])
    told["machine"] = {key: value for key, value in told["machine"].items() if key in REPORT}
    told["machine"]["release"] = told["release"] = RELEASE
    data.options[tracedat.OPTION_SOFTNET] = json.dumps(told, sort_keys=True).encode()
    with fixture.open("wb") as stream:
        tracedat.write(data, stream)


if __name__ == "__main__":
    anonymous(Path(sys.argv[1]), Path(sys.argv[2]))
