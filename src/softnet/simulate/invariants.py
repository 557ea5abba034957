# SPDX-License-Identifier: GPL-2.0-or-later
"""Run-time checks of the invariants I1 to I13 on the reference engine: ``run(…, checks=True)`` or ``checks="strict"``.

The checks observe; they never change a run. What they find goes to ``Result.warnings``; strict checks stop at the first
thing that is no known finding of the real kernel. Each check says in ``STATEMENTS`` and in its own text when its invariant
must hold.
"""

from __future__ import annotations

from softnet.errors import InvariantError
from softnet.simulate.image import Image
from softnet.simulate.invariants_calls import CallChecks
from softnet.simulate.invariants_defer import DeferChecks
from softnet.simulate.invariants_locks import LockChecks
from softnet.simulate.invariants_napi import NapiChecks
from softnet.simulate.invariants_skb import SkbChecks
from softnet.simulate.invariants_watch import (
    BOUND_NS,
    KNOWN,
    STATEMENTS,
    Report,
    Violation,
    Watch,
)
from softnet.trace import EVENTS

__all__ = [
    "BOUND_NS", "KNOWN", "SAMPLE_SWITCHES", "STATEMENTS", "InvariantError", "Invariants", "Report", "Violation",
]  # fmt: skip

SAMPLE_SWITCHES = 4
"""State is looked at before every switch to a context for the CPU that is about to act, and at each fourth one for one
more CPU in turn. What may be wrong for an instant only is checked by observers of the functions concerned, at each call."""


class Invariants:
    """All checks over one booted image. Make it after boot and before the first context runs."""

    def __init__(self, image: Image, *, strict: bool = False) -> None:
        self.image = image
        self.report = Report(strict)
        watch = self.watch = Watch(image, self.report)
        self.napis = NapiChecks(watch)
        self.defer = DeferChecks(watch, self.napis)
        self.skbs = SkbChecks(watch)
        self.calls = CallChecks(watch)
        self.locks = LockChecks(watch)
        self.observers = [watch.events.get(event.name, []) for event in EVENTS]
        self.switches = 0

    def event(self, event: int, a: int, b: int, c: int) -> None:
        """Every traced event, recorded or not."""
        for observer in self.observers[event]:
            observer(a, b, c)

    def observe(self) -> None:
        """Look at the state between two contexts: the next one's CPU, and the others in turn."""
        cpu, now = self.watch.cpu(), self.watch.now()
        self._check(cpu, now)
        self.switches += 1
        if self.switches % SAMPLE_SWITCHES == 0:
            self._check(self.switches // SAMPLE_SWITCHES % self.image.nr_cpus, now)
            self.napis.check_devices(now)

    def _check(self, cpu: int, now: int) -> None:
        self.napis.check_cpu(cpu, now)
        self.defer.check_cpu(cpu, now)
        self.skbs.check_cpu(cpu, now)

    def settings_changed(self) -> None:
        """The scenario changed a setting between two switches."""
        self.defer.settings_changed()

    def finish(self, now_ns: int) -> list[str]:
        """Look at everything once more at the end of the run; what was found, in words."""
        # While all idle nothing is observed: what is wrong now was wrong when the last CPU fell idle.
        last = max(self.image.word("cpu_hw", c, "time_since") for c in range(self.image.nr_cpus))
        for at in (min(last, now_ns), now_ns):
            for cpu in range(self.image.nr_cpus):
                self._check(cpu, at)
            self.napis.check_devices(at)
        self.skbs.finish(now_ns, self._idle())
        return self.report.warnings()

    def _idle(self) -> bool:
        """Whether no context has anything in hand: every CPU idles and every task sleeps."""
        image = self.image
        if any(
            image.word("cpu_hw", c, "task") != image.word("cpu_hw", c, "idle") for c in range(image.nr_cpus)
        ):
            return False
        if any(image.word("cpu_hw", c, "depth") for c in range(image.nr_cpus)):
            return False
        tasks = range(image.nr_cpus, len(image.tasks))
        return not any(
            image.word("task_struct", t, "on_rq") or image.word("task_struct", t, "state") & 0x1000
            for t in tasks
        )
