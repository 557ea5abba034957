# SPDX-License-Identifier: GPL-2.0-or-later
"""``calibrate()``: start the worker, hear what it measured, make the rows."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from softnet.errors import HostError
from softnet.host.calibrate.fit import GROUPS, Fit, Fitted, Model
from softnet.host.calibrate.surroundings import Surroundings, marks, surroundings, ticks
from softnet.host.calibrate.worker import STEPS
from softnet.host.tracefs import remove_leftovers, tracing_folder
from softnet.host.tree import Tree

SCHEMA: Final = "softnet-calibration/1"
MODEL_STEPS: Final = len(GROUPS) + 3
ALL_STEPS: Final = STEPS + MODEL_STEPS
_END_SECONDS: Final = 5.0

Progress = Callable[[int, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrateOptions:
    """``trace``: None is where the rights are there. ``share``: of 1,000, how many of the readings are taken; for tests."""

    trace: bool | None = None
    share: int = 1000


@dataclass(frozen=True, slots=True)
class Calibration:
    """What came of it. ``measured``: all that the worker told."""

    rows: dict[str, Fitted]
    where: Surroundings
    date: str
    marks: list[str]
    notes: list[str]
    traced: bool
    seconds: float
    measured: dict[str, Any] = field(default_factory=dict)
    checks: list[dict[str, Any]] = field(default_factory=list)
    """What nothing was fitted to, as measured and in the model (Fit.checks)."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        rows = [
            {"name": row.name, "section": row.section, "ps_per_byte" if row.per_byte else "ns": row.value,
             "spread_permille": row.spread_permille, "provenance": row.provenance, "source": row.source,
             "estimate": row.estimate.to_dict() if row.estimate is not None else None}
            for row in self.rows.values()
        ]  # fmt: skip
        return {
            "schema": SCHEMA, "date": self.date, "machine": self.where.to_dict(), "traced": self.traced, "seconds": self.seconds,
            "marks": self.marks, "notes": self.notes, "checks": self.checks, "rows": rows,
            "figures": self.measured["figures"], "flows": self.measured["flows"], "pauses": self.measured["pauses"],
        }  # fmt: skip


def may_trace() -> str:
    """Why nothing can be traced; nothing if it can."""
    try:
        tracing_folder()
    except HostError as error:
        return error.message
    return ""


def calibrate(options: CalibrateOptions, shown: Progress = lambda done, text: None) -> Calibration:
    """Measure this machine. Raises HostError; nothing of it stays, whatever ends this process."""
    began = time.monotonic()
    why_not = may_trace()
    if options.trace and why_not:
        raise HostError(
            "nothing can be traced here", where="--trace", found=why_not, hint="as root, with tracefs mounted; or --no-trace"
        )
    tracing = not why_not and options.trace is not False
    tree = Tree("/")
    before = ticks(tree)
    measured = _worker(["trace"] if tracing else [], options.share, shown)
    found = surroundings(tree)
    its = marks(found, before, ticks(tree), measured.pop("cpu_s"))
    notes = list(measured["notes"])
    if not tracing:
        notes.append(f"without tracepoints ({why_not or '--no-trace'}): a packet's way is measured as a whole, not stage by stage")
    if measured["removed"]:
        notes.append(f"removed what a killed softnet had left: {', '.join(measured['removed'])}")
    step = STEPS

    def told(text: str) -> None:
        nonlocal step
        shown(min(step, ALL_STEPS), text)
        step += 1

    fit = Fit(measured, Model(found.release), told)
    rows = fit.all()
    checks = fit.checks()
    traced = any("traced" in flow for flow in measured["flows"])
    seconds = round(time.monotonic() - began, 1)
    return Calibration(rows, found, time.strftime("%Y-%m-%d"), its, notes + fit.notes, traced, seconds, measured, checks)


def _worker(words: list[str], share: int, shown: Progress) -> dict[str, Any]:
    """What a worker measured. Raises HostError; it is gone behind this, and so is its instance."""
    with _started([sys.executable, "-m", "softnet.host.calibrate.worker", str(share), *words]) as process:
        assert process.stdout is not None
        for line in process.stdout:
            row = json.loads(line)
            if "done" in row:
                return {**row["done"], "cpu_s": row["cpu_s"]}
            if "error" in row:
                message, where, found, expected, hint = row["error"]
                raise HostError(message, where=where, found=found, expected=expected, hint=hint)
            shown(row["step"], row["what"])
        process.wait()
    raise HostError("what measures ended before it was done", found=_end(process.returncode), hint="try it again")


def _end(status: int) -> str:
    return f"killed by signal {-status}" if status < 0 else f"exit status {status}"


@contextlib.contextmanager
def _started(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with its input; killed if it does not, and then its instance is removed here."""
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True, env=environment
        )
    except OSError as error:
        raise HostError("what measures cannot be started", where=command[0], found=error.strerror or str(error)) from None
    try:
        yield process
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        if process.returncode < 0:
            with contextlib.suppress(HostError, OSError):
                remove_leftovers(tracing_folder())
