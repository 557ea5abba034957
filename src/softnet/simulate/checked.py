# SPDX-License-Identifier: GPL-2.0-or-later
"""A scenario, its captures and patches, checked without running it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from softnet.image.plan import SKB_POOL_MAX, skbs_needed
from softnet.scenario import Scenario
from softnet.scenario.traffic import capture_notes
from softnet.simulate.api import resolve
from softnet.simulate.program import load_program, scenario_costs


@dataclass(frozen=True)
class Checked:
    """What would run, and what the kernel or the model would do otherwise than written."""

    scenario: str
    kernel: str
    cpus: int
    duration_ns: int
    costs: str
    functions: int
    """How many functions the kernel has with its machine and patches."""
    patches: list[str]
    captures: list[str]
    """Of each capture: packets, flows, how much of the file arrives."""
    notes: list[str]
    """What would not be as written."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON document of ``softnet check --json``."""
        return asdict(self)

    def __str__(self) -> str:
        patched = f", patched by {', '.join(self.patches)}" if self.patches else ""
        first = (
            f"{self.scenario}: sound. {self.kernel}, {self.cpus} CPUs, {self.duration_ns / 1e6:g} ms, costs {self.costs},"
            f" {self.functions} functions{patched}"
        )
        return "\n".join([first, *(f"  {line}" for line in self.captures), *(f"  not as written: {note}" for note in self.notes)])


def check(
    scenario: Scenario | str | Path, *, kernel: str = "", settings: Sequence[str] = (), patches: Sequence[str] = ()
) -> Checked:
    """Check a scenario; the arguments are those of ``softnet.run()``. Raises SoftnetError with every problem that a file has."""
    made = resolve(scenario, kernel, settings)
    costs = scenario_costs(made)
    program = load_program(made, patches, costs)
    captures = capture_notes(made)
    notes = list(made.notes())
    if skbs_needed(made) > SKB_POOL_MAX:
        notes.append(
            f"up to {skbs_needed(made):,} skbs may be in use at once, and the model holds {SKB_POOL_MAX:,}: a run that"
            " needs more stops"
        )
    patched = [name for name in program.modules if not name.startswith("softnet.")]
    return Checked(
        made.name, f"{made.kernel.release} {made.kernel.flavour}", made.machine.cpus, made.measure.duration_ns, costs.name,
        len(program.functions), patched, captures, notes,
    )  # fmt: skip
