# SPDX-License-Identifier: GPL-2.0-or-later
"""What an experiment's runs need on another machine, and what a worker there does with it: captures, patches, compiled kernels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from softnet.cluster.shipped import Shipment
from softnet.image.costnames import cost_names
from softnet.lang.check.once import check_key
from softnet.lang.native.compile import Packed, builder_kind, pack, unpack
from softnet.lang.program import cache
from softnet.simulate.program import load_program, scenario_costs
from softnet.sweep.worker import Job, run_once
from softnet.trace import EVENT_ID

if TYPE_CHECKING:
    from softnet.machine.costtable import CostTable
    from softnet.scenario import Scenario
    from softnet.sweep.plan import SweepArm
    from softnet.sweep.store import Finished


class Kernel(NamedTuple):
    """What a kernel is made from."""

    scenario: Scenario
    patches: tuple[str, ...]
    costs: str


@dataclass
class RunsShipment(Shipment):
    """All that the arms' runs need beside their scenarios."""

    costs: dict[str, CostTable] = field(default_factory=dict)
    """By the hash of its rows."""
    kernels: dict[str, Kernel] = field(default_factory=dict)
    """Of each kernel's digest an example."""
    marks: list[str] = field(default_factory=list)
    """Under what it is known that the kernels' texts have passed the check."""

    def compiled(self, *, sent: bool) -> list[Packed]:
        """The compiled kernels, made where the cache has none."""
        found = []
        for kernel in self.kernels.values():
            patches = tuple(self.place_of(path, sent=sent) for path in kernel.patches)
            program = load_program(kernel.scenario, patches, self.costs[kernel.costs])
            packed = pack(program, {name: i for i, name in enumerate(cost_names(program))}, EVENT_ID)
            if packed is not None:
                found.append(packed)
        return found

    def unpack(self) -> None:
        """In a worker: into its cache."""
        for mark in self.marks:
            cache.mark(mark)
        for packed in self.native.get(builder_kind(), []):
            unpack(packed)


@dataclass(frozen=True)
class Runs:
    """A piece of work: runs of one arm, one after the other."""

    arm: str
    kernel: str
    costs: str
    scenario: Scenario
    patches: tuple[str, ...]
    seeds: tuple[int, ...]
    engine: str

    @property
    def count(self) -> int:
        """How many runs."""
        return len(self.seeds)

    def make(self, shipment: RunsShipment, tell: Callable[[int, Finished], None], stopped: Callable[[], bool]) -> list[Finished]:
        """In a worker: make the runs. Raises as run_once()."""
        scenario, patches = placed(self.scenario, shipment), tuple(map(shipment.place_of, self.patches))
        costs = self.costs, shipment.costs[self.costs]
        found = []
        for number, seed in enumerate(self.seeds):
            done = run_once(Job(self.arm, self.kernel, scenario, patches, seed, self.engine), costs)
            tell(number, done)
            found.append(done)
            if stopped():
                break
        return found


class Packer:
    """Gathers what goes to the workers of an experiment."""

    def __init__(self, token: str = "") -> None:
        self.shipment = RunsShipment(token)
        self._costs: dict[str, str] = {}
        self._linked: set[tuple[str, str]] = set()
        self._packed: set[str] = set()

    def costs(self, scenario: Scenario) -> str:
        """The hash of a scenario's cost table, which is packed."""
        named = f"{scenario.machine.costs} {scenario.directory}"
        if named not in self._costs:
            table = scenario_costs(scenario)
            digest = hashlib.sha256(repr(sorted(table.rows.items())).encode()).hexdigest()
            self.shipment.costs[digest] = table
            self._costs[named] = digest
        return self._costs[named]

    def add(self, arm: SweepArm) -> bool:
        """Pack what an arm needs; whether anything was new. Raises SoftnetError for what cannot be sent."""
        if arm.digest in self._packed:
            return False
        self._packed.add(arm.digest)
        shipment = self.shipment
        before = len(shipment.files), len(self._linked)
        for path in (*captures_of(arm.scenario), *arm.patches):
            shipment.add_file(path)
        costs = self.costs(arm.scenario)
        if (arm.kernel, costs) not in self._linked:
            self._linked.add((arm.kernel, costs))
            table = shipment.costs[costs]
            shipment.kernels[arm.kernel] = Kernel(arm.scenario, arm.patches, costs)
            program = load_program(arm.scenario, arm.patches, table)
            shipment.marks.append(check_key(program, table.rows))
            shipment.add_memo(program)
        return before != (len(shipment.files), len(self._linked))


def captures_of(scenario: Scenario) -> list[str]:
    """The files that a scenario's traffic comes from, as this process opens them."""
    return [str(scenario.resolve(source.file)) for source in scenario.traffic if hasattr(source, "file")]


def placed(scenario: Scenario, shipment: RunsShipment) -> Scenario:
    """The scenario with its captures where this machine, a worker, has them."""
    if not captures_of(scenario):
        return scenario
    traffic: list[Any] = []
    for source in scenario.traffic:
        if hasattr(source, "file"):
            traffic.append(source.model_copy(update={"file": shipment.place_of(str(scenario.resolve(source.file)))}))
        else:
            traffic.append(source)
    return scenario.model_copy(update={"traffic": tuple(traffic)})
