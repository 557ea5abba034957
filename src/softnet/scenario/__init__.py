# SPDX-License-Identifier: GPL-2.0-or-later
"""What a user describes: a TOML file or Python objects, checked, as one frozen ``Scenario``.

``load_scenario`` reads a file; ``softnet.scenario.traffic`` turns its traffic into arrivals. The reference of
every key is docs/scenario.md.
"""

from __future__ import annotations

from softnet.scenario.allowed import json_schema
from softnet.scenario.events import Change, changes
from softnet.scenario.fields import RELEASES, Sched
from softnet.scenario.kernel_models import Kernel, KernelConfig, Sysctl, ThreadSetting
from softnet.scenario.load import (
    KernelChoice,
    apply_kernel,
    apply_overrides,
    load_scenario,
    parse_kernel,
    scenario_from_dict,
)
from softnet.scenario.models import (
    Application,
    Cyclictest,
    Event,
    Hog,
    Loopback,
    Machine,
    Measure,
    Nic,
    Scenario,
    Sender,
    Task,
    Traffic,
)
from softnet.scenario.problems import Problem, ScenarioProblems
from softnet.scenario.traffic_models import CaptureTraffic, ConstantTraffic, OnOffTraffic, PoissonTraffic

__all__ = [
    "RELEASES",
    "Application",
    "CaptureTraffic",
    "Change",
    "ConstantTraffic",
    "Cyclictest",
    "Event",
    "Hog",
    "Kernel",
    "KernelChoice",
    "KernelConfig",
    "Loopback",
    "Machine",
    "Measure",
    "Nic",
    "OnOffTraffic",
    "PoissonTraffic",
    "Problem",
    "Scenario",
    "ScenarioProblems",
    "Sched",
    "Sender",
    "Sysctl",
    "Task",
    "ThreadSetting",
    "Traffic",
    "apply_kernel",
    "apply_overrides",
    "changes",
    "json_schema",
    "load_scenario",
    "parse_kernel",
    "scenario_from_dict",
]
