# SPDX-License-Identifier: GPL-2.0-or-later
"""A scenario: its tables, which fit together."""

from __future__ import annotations

from typing import Any, Self

from pydantic import ValidationError, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler

from softnet.scenario.tables import (
    Application,
    Cyclictest,
    Event,
    Hog,
    Kernel,
    Loopback,
    Machine,
    Measure,
    Nic,
    Sender,
    Tables,
    Task,
    TextList,
    Traffic,
)


class Scenario(Tables):
    """A scenario whose tables fit together. Frozen; equal scenarios give equal runs.

    Built from keyword arguments or by ``softnet.scenario.load_scenario``. Raises ``ScenarioError`` with
    every problem at once.
    """

    @model_validator(mode="wrap")
    @classmethod
    def _one_error_for_all(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        from softnet.scenario.check import cross_check
        from softnet.scenario.problems import raise_problems, translate

        try:
            scenario = handler(value)
        except ValidationError as error:
            raise_problems(translate(error, value if isinstance(value, dict) else {}))
        raise_problems(cross_check(scenario))
        return scenario

    def notes(self) -> tuple[str, ...]:
        """What the kernel will do otherwise than the scenario says, in sentences (not errors)."""
        from softnet.scenario.deviations import deviations

        return tuple(deviations(self))


__all__ = [
    "Application",
    "Cyclictest",
    "Event",
    "Hog",
    "Kernel",
    "Loopback",
    "Machine",
    "Measure",
    "Nic",
    "Scenario",
    "Sender",
    "Task",
    "TextList",
    "Traffic",
]
