# SPDX-License-Identifier: GPL-2.0-or-later
"""What a simulation links: the scenario's kernel, the user's patches, the observers; and the costs that they ask for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from softnet.image.program import constants, kernel_modules, load_modules, make_program
from softnet.lang.check.once import ensure_checked
from softnet.lang.program.program import Program
from softnet.linux import releases
from softnet.machine.costtable import CostTable, load_cost_table, shipped_tables
from softnet.properties.history import CHECK_MODULES, KICK_MODULES, WHERE_MODULES
from softnet.simulate.observers import OBSERVER_MODULES

if TYPE_CHECKING:
    from softnet.scenario import Scenario


def load_program(
    scenario: Scenario, patches: Sequence[str] = (), costs: CostTable | None = None, *, checks: bool = False
) -> Program:
    """The scenario's kernel with the user's patch files on top, and the observers of the invariants if it is to be checked.

    Raises SubsetErrors, also for a cost that its table lacks.
    """
    modules = kernel_modules(scenario)
    if checks:
        modules += load_modules(WHERE_MODULES[scenario.kernel.has("defer_nodes")])
    modules += [m for _, m in releases.load_patches(patches, scenario.kernel.release, scenario.kernel.flavour)]
    modules += load_modules(OBSERVER_MODULES)
    if checks:
        work = scenario.kernel.has("kick_by_work_item")
        modules += load_modules(CHECK_MODULES + KICK_MODULES[work])
    program = make_program(modules, constants(scenario))
    ensure_checked(program, (costs or scenario_costs(scenario)).rows)
    return program


def scenario_costs(scenario: Scenario) -> CostTable:
    """The cost table that a scenario names: a shipped one, or a file beside it. Raises CostError."""
    name = scenario.machine.costs
    return load_cost_table(name if name in shipped_tables() else str(scenario.resolve(name)))
