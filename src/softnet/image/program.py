# SPDX-License-Identifier: GPL-2.0-or-later
"""The program of an image: the machine's modules and a kernel's, linked with the configuration that a scenario gives."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING

from softnet.lang.program.program import Program, collect
from softnet.linux import releases
from softnet.machine import MACHINE_MODULES, state
from softnet.workload import HOUSEKEEPING_MODULES, WORKLOAD_MODULES

if TYPE_CHECKING:
    from softnet.scenario.models import Scenario

PREEMPT_MODELS = {
    "none": state.PREEMPT_MODEL_NONE,
    "voluntary": state.PREEMPT_MODEL_VOLUNTARY,
    "full": state.PREEMPT_MODEL_FULL,
    "lazy": state.PREEMPT_MODEL_LAZY,
    "rt": state.PREEMPT_MODEL_RT,
}


def load_modules(names: Iterable[str]) -> list[ModuleType]:
    """Import a stack of modules by name."""
    return [importlib.import_module(name) for name in names]


def kernel_modules(scenario: Scenario) -> list[ModuleType]:
    """The modules of the scenario's kernel, as it is configured, and of what runs beside it."""
    names = releases.modules_for(scenario.kernel.release, scenario.kernel.flavour)
    built = constants(scenario)
    names = tuple(name for name in names if built.get(releases.patch_info(name).get("config", ""), True))
    return load_modules((*names, *WORKLOAD_MODULES, *(HOUSEKEEPING_MODULES if scenario.governed else ())))


def make_program(modules: Iterable[ModuleType], constants: Mapping[str, int]) -> Program:
    """Collect machine and kernel into one program."""
    program = collect([*load_modules(MACHINE_MODULES), *modules], constants)
    entries = tuple(sorted(name for name, d in program.functions.items() if d.facts.entry))
    return replace(program, pointed=entries)


def constants(scenario: Scenario) -> dict[str, int]:
    """The configuration that the kernel is linked with."""
    kernel = scenario.kernel
    return {
        "CONFIG_PREEMPT_RT": int(kernel.rt),
        "CONFIG_PREEMPT_MODEL": PREEMPT_MODELS[kernel.preempt],
        "CONFIG_RPS": int(kernel.config.RPS),
        "CONFIG_NET_FLOW_LIMIT": int(kernel.config.NET_FLOW_LIMIT),
        "CONFIG_NET_RX_BUSY_POLL": int(scenario.polls_busy),
        "HZ": kernel.hz,
        "CONFIG_CPU_IDLE": int(scenario.governed),
        "OTHER_DEVICES": int(any(source.kind == "interrupt" for source in scenario.machine.noise)),
        "CPU_IDLE_FORCE_POLL": int(kernel.idle_poll),
    }
