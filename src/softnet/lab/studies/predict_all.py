# SPDX-License-Identifier: GPL-2.0-or-later
"""Every prediction at once: the scenarios that no table was fitted to, on every arm, with the errors as they come.

What an arm could not be asked (a guest that did not come up in time) is a row of its own and not left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softnet.lab.errors import LabError, LabTimeout
from softnet.lab.studies.replay import guest_costs
from softnet.lab.studies.scenario_prediction import Prediction, predict
from softnet.units import format_ns

if TYPE_CHECKING:
    from softnet.lab.play.run import Arm, Options


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
    arms: Sequence[Arm],
    chosen: Sequence[HeldOut],
    examples: Path,
    *,
    options: Options,
    say: Callable[[str], None],
    keep: Callable[[Sequence[Attempt]], None],
) -> list[Attempt]:
    """Predict and run each; ``keep`` is given what there is after every one, so that an interrupted run is not lost.

    Raises ``LabError`` where a scenario file is not there, before anything boots.
    """
    from softnet.scenario import load_scenario

    missing = [held.file for held in chosen if not (examples / held.file).exists()]
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
            if arm.name in dead:
                done.append(Attempt(held.name, arm.name, None, f"not tried again: {dead[arm.name]}"))
                keep(done)
                continue
            say(f"{held.name} on {arm.name}")
            try:
                told: Prediction = predict(arm, scenario, guest_costs(arm), options=options, say=say, stretch=held.stretch)
                done.append(Attempt(held.name, arm.name, told.as_json()))
            except LabError as error:
                say(f"{held.name} on {arm.name}: {error.message}")
                done.append(Attempt(held.name, arm.name, None, error.message))
                if isinstance(error, LabTimeout):
                    dead[arm.name] = error.message
            keep(done)
    return done


def read(path: Path) -> list[Attempt]:
    """What ``run_all`` kept. Raises ``LabError`` for what is no such file."""
    try:
        rows = json.loads(path.read_text())["predictions"]
        return [Attempt(row["scenario"], row["arm"], row["prediction"], row["failed"]) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabError(
            "no predictions of an earlier run",
            where=str(path),
            found=str(error),
            expected="what softnet lab predict --all --out wrote",
        ) from error


def _figure(row: dict[str, Any], key: str) -> str:
    return format_ns(row[key]).replace(" us", " µs") if row["unit"] else str(row[key])


def error_text(row: dict[str, Any]) -> str:
    """``+5.0 %``; "–" where the kernel did nothing of the kind."""
    return "–" if row["error_permille"] is None else f"{row['error_permille'] / 10:+.1f} %"


def _quantity(row: dict[str, Any]) -> str:
    """Latencies of all applications are one quantity for each quantile."""
    return f"latency {row['name'].rpartition(' ')[2]}" if row["unit"] else str(row["name"])


def rows_of(attempts: Iterable[Attempt]) -> list[list[str]]:
    """One row a figure: scenario, arm, figure, predicted, measured, error."""
    out = []
    for attempt in attempts:
        if attempt.told is None:
            out.append([attempt.scenario, attempt.arm, "not measured", "", "", attempt.failed])
            continue
        for row in attempt.told["rows"]:
            figures = [_figure(row, "predicted"), _figure(row, "measured"), error_text(row)]
            out.append([attempt.scenario, attempt.arm, str(row["name"]), *figures])
    return out


def summary_rows(attempts: Iterable[Attempt]) -> list[list[str]]:
    """One row a quantity: how often it was predicted, the median of the errors' sizes, the worst and where that was."""
    errors: dict[str, list[tuple[int, int, str]]] = {}
    for attempt in attempts:
        for row in attempt.told["rows"] if attempt.told is not None else ():
            if row["error_permille"] is not None:
                where = f"{attempt.scenario} on {attempt.arm}"
                errors.setdefault(_quantity(row), []).append((abs(row["error_permille"]), row["error_permille"], where))
    out = []
    for quantity, found in errors.items():
        found.sort()
        middle, worst = found[len(found) // 2][0], found[-1]
        out.append([quantity, str(len(found)), f"{middle / 10:.1f} %", f"{worst[1] / 10:+.1f} %", worst[2]])
    return out


FIGURES_HEADER = ("scenario", "arm", "figure", "predicted", "measured", "error")
SUMMARY_HEADER = ("quantity", "predictions", "median error", "worst", "where")


def document(attempts: Sequence[Attempt], command: str) -> str:
    """The tables as a Markdown document, for docs."""
    from softnet.lab.verdicts import markdown

    known = [attempt.told for attempt in attempts if attempt.told is not None]
    ran = ", ".join(dict.fromkeys(told["ran"] for told in known)) or "nothing"
    kernels = list(dict.fromkeys((told["arm"], told["release"], told["costs"]) for told in known))
    deviations = list(dict.fromkeys(text for told in known for text in told["deviations"]))
    lines = [
        "# Predicted and measured",
        "",
        f"`{command}`, guests run by {ran}. The error is (predicted − measured) / measured;",
    ]
    lines += [
        "of a figure that the kernel has none of there is no error. ×100 is `--stretch 100`.",
        "No table was fitted to these scenarios.",
        "",
    ]
    lines += [*markdown(["arm", "kernel", "costs"], kernels), "", "## Errors by quantity", ""]
    lines += [*markdown(SUMMARY_HEADER, summary_rows(attempts)), "", "## Every figure", ""]
    lines += [*markdown(FIGURES_HEADER, rows_of(attempts)), ""]
    if deviations:
        lines += ["## What the guests did otherwise", "", *(f"- {text}" for text in deviations), ""]
    return "\n".join(lines)
