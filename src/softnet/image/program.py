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
from softnet.workload import WORKLOAD_MODULES

if TYPE_CHECKING:
    from softnet.scenario.models import Scenario

PREEMPT_MODELS = {
    "none": state.PREEMPT_MODEL_NONE,
    "voluntary": state.PREEMPT_MODEL_VOLUNTARY,
    "full": state.PREEMPT_MODEL_FULL,
    "lazy": state.PREEMPT_MODEL_LAZY,
    "rt": state.PREEMPT_MODEL_RT,
}


BOOT_POINTERS = (
    "app_thread", "backlog_napi_setup", "backlog_napi_should_run", "cpu_startup_entry", "cpu_stopper_thread", "cpuhp_thread",
    "cyclictest_thread", "hog_thread", "irq_thread", "ksoftirqd_should_run", "napi_threaded_poll", "run_backlog_napi",
    "run_ksoftirqd", "sender_thread", "smpboot_thread_fn", "softnet_msix_clean_rings", "softnet_poll", "worker_thread",
)  # fmt: skip
"""Functions whose address softnet.image.boot and ``add_task`` store; the kernel's own text takes the others."""


def load_modules(names: Iterable[str]) -> list[ModuleType]:
    """Import a stack of modules by name."""
    return [importlib.import_module(name) for name in names]


def kernel_modules(scenario: Scenario) -> list[ModuleType]:
    """The modules of the scenario's kernel and of what runs beside it."""
    return load_modules((*releases.modules_for(scenario.kernel.release, scenario.kernel.flavour), *WORKLOAD_MODULES))


def make_program(modules: Iterable[ModuleType], constants: Mapping[str, int]) -> Program:
    """Collect machine and kernel into one program."""
    return replace(collect([*load_modules(MACHINE_MODULES), *modules], constants), pointed=BOOT_POINTERS)


def constants(scenario: Scenario) -> dict[str, int]:
    """The configuration that the kernel is linked with."""
    kernel = scenario.kernel
    return {
        "CONFIG_PREEMPT_RT": int(kernel.rt),
        "CONFIG_PREEMPT_MODEL": PREEMPT_MODELS[kernel.preempt],
        "CONFIG_RPS": int(kernel.config.RPS),
        "CONFIG_NET_FLOW_LIMIT": int(kernel.config.NET_FLOW_LIMIT),
        "HZ": kernel.hz,
    }
