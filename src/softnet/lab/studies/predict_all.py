# SPDX-License-Identifier: GPL-2.0-or-later
"""Every prediction at once: the scenarios that no table was fitted to, on every arm, with the errors as they come.

What an arm could not be asked (a guest that did not come up in time) is a row of its own and not left out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softnet.files import UNREADABLE, from_json
from softnet.lab.errors import LabError, LabTimeout
from softnet.lab.studies.replay import guest_costs
from softnet.lab.studies.scenario_prediction import Prediction, predict

if TYPE_CHECKING:
    from softnet.lab.play.arm import GuestArm
    from softnet.lab.play.run import GuestOptions


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A scenario file of ``examples``, how much slower it is played, and what is set so that a run is short."""

    file: str
    stretch: int
    settings: tuple[str, ...]

    @property
    def name(self) -> str:
        """As it stands in the tables."""
        return f"{self.file.removesuffix('.toml')} ×{self.stretch}"


HELD_OUT = (
    HeldOut("rps.toml", 100, ("measure.duration_ms=10",)),
    HeldOut("loopback.toml", 100, ("measure.duration_ms=6", "measure.warmup_ms=1")),
    HeldOut("changing-settings.toml", 50, ("measure.duration_ms=35",)),
    HeldOut("starved-cpu.toml", 20, ("measure.duration_ms=40",)),
)
"""None of them is among the experiments of a calibration (``softnet.lab.studies.calibrate``)."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A held-out scenario on an arm: ``told`` is what ``Prediction.as_json`` says, None with ``failed`` where there is none."""

    scenario: str
    arm: str
    told: dict[str, Any] | None
    failed: str = ""

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return {"scenario": self.scenario, "arm": self.arm, "prediction": self.told, "failed": self.failed}


def run_all(
    arms: Sequence[GuestArm],
    chosen: Sequence[HeldOut],
    examples: Path,
    *,
    options: GuestOptions,
    say: Callable[[str], None],
    keep: Callable[[Sequence[Attempt]], None],
) -> list[Attempt]:
    """Predict and run each; ``keep`` is given what there is after every one, so that an interrupted run is not lost.

    Raises ``LabError`` where a scenario file is not there, before anything boots.
    """
    from softnet.scenario import load_scenario

    missing = [held.file for held in chosen if not os.path.exists(examples / held.file)]
    if missing:
        raise LabError(
            "the held-out scenarios are not here",
            where=str(examples),
            found="no " + ", ".join(missing),
            hint="run it in a checkout of softnet, or say with --examples where its examples are",
        )
    done: list[Attempt] = []
    # Arms whose guest does not come up in its time: it would not for the next scenario either.
    dead: dict[str, str] = {}
    for held in chosen:
        scenario = load_scenario(examples / held.file, held.settings)
        for arm in arms:
            if arm.label in dead:
                done.append(Attempt(held.name, arm.label, None, f"not tried again: {dead[arm.label]}"))
                keep(done)
                continue
            say(f"{held.name} on {arm.label}")
            try:
                told: Prediction = predict(arm, scenario, guest_costs(arm), options=options, say=say, stretch=held.stretch)
                done.append(Attempt(held.name, arm.label, told.as_json()))
            except LabError as error:
                say(f"{held.name} on {arm.label}: {error.message}")
                done.append(Attempt(held.name, arm.label, None, error.message))
                if isinstance(error, LabTimeout):
                    dead[arm.label] = error.message
            keep(done)
    return done


def read(path: Path) -> list[Attempt]:
    """What ``run_all`` kept. Raises ``LabError`` for what is no such file."""
    try:
        rows = from_json(path.read_bytes())["predictions"]
        return [Attempt(row["scenario"], row["arm"], row["prediction"], row["failed"]) for row in rows]
    except (OSError, *UNREADABLE) as error:
        raise LabError(
            "no predictions of an earlier run",
            where=str(path),
            found=str(error),
            expected="what softnet lab predict --all --out wrote",
        ) from error
