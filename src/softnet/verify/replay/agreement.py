# SPDX-License-Identifier: GPL-2.0-or-later
"""Two engines, one source: a schedule in both at once, held to the same memory and the same accesses after every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from softnet.errors import SoftnetError
from softnet.verify.arena import Failure
from softnet.verify.model import Config
from softnet.verify.replay.reference import ReferenceReplay
from softnet.verify.replay.schedule import Access, NativeReplay, Replay, Schedule, Step


class PairedReplay(Replay):
    """The explorer's native code and plain Python, step by step. Raises SoftnetError at the first difference.

    Without ``log`` the native code is the search's own, which writes no accesses down to compare.
    """

    def __init__(self, config: Config, *, log: bool = True) -> None:
        self.native = NativeReplay(replace(config, owned=False), log=log)
        self.reference, self.log = ReferenceReplay(config), log
        self.model, self.image, self.words = self.native.model, self.native.image, self.native.words
        self.addresses = self.reference.addresses()
        self._at = "before the first step"
        self.compare()

    def perform(self, action: int) -> int:
        code, other = self.native.perform(action), self.reference.perform(action)
        if code != other:
            raise self.disagree(f"code {code} in native code, {other} in the reference engine")
        self.compare()
        return code

    def compare(self) -> None:
        """Every word of the state, but for the frames, which only native code has in memory; and every access."""
        for a in self.addresses:
            if int(self.native.words[a]) != self.reference.words[a]:
                leaf = self.model.words_of[a]
                raise self.disagree(
                    f"{leaf.table}[{leaf.index}].{leaf.path} is {int(self.native.words[a])} in native code, "
                    f"{self.reference.words[a]} in the reference engine"
                )

    def accesses(self) -> list[Access]:
        if not self.log:
            return self.reference.accesses()
        mine, other = self.native.accesses(), self.reference.accesses()
        for a, b in zip(mine, other, strict=False):
            if a != b:
                raise self.disagree(f"{a} in native code, {b} in the reference engine")
        if len(mine) != len(other):
            raise self.disagree(f"{len(mine)} accesses in native code, {len(other)} in the reference engine")
        return mine

    def step(self, number: int, action: int) -> tuple[Step, int]:
        self._at = f"step {number}"
        return super().step(number, action)

    def failure(self, code: int) -> Failure:
        mine, other = self.native.failure(code), self.reference.failure(code)
        if mine != other:
            raise self.disagree(f"{mine} in native code, {other} in the reference engine")
        return mine

    def early_race(self, actions: Sequence[int]) -> Failure | None:
        # Plain Python takes no step back.
        return self.native.early_race(actions)

    def stacks(self) -> list[str]:
        return self.native.stacks()

    def summary(self, schedule: Schedule) -> str:
        """What was compared, in a line."""
        accesses = sum(len(step.accesses) for step in schedule.steps)
        return (
            f"both engines agree after each of {len(schedule.steps)} steps: {len(self.addresses)} words of state; "
            f"{accesses} accesses and calls with their values and lines"
        )

    def disagree(self, found: str) -> SoftnetError:
        """The two engines differ: that is a bug of softnet."""
        return SoftnetError(
            "the two engines disagree: please report it with the schedule", where=self._at, found=found, expected="the same in both"
        )
