# SPDX-License-Identifier: GPL-2.0-or-later
"""``[machine.idle]``: the idle states of the CPUs, and how one is chosen. The shipped tables stand in ``idle_states.toml``."""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import BeforeValidator, Field

from softnet.scenario.fields import NAME_ALLOWED, Name, Settings, TextList, list_to_tuple, required, setting, us_to_ns

_FILE: Final = Path(__file__).parent / "idle_states.toml"
GOVERNORS: Final = ("menu", "teo", "haltpoll")
STATES_MAX: Final = 9
"""CPUIDLE_STATE_MAX, the polling state apart."""
NO_LIMIT_NS: Final = 1 << 60


class IdleState(Settings):
    """``[[machine.idle.states]]``: one idle state."""

    name: Annotated[Name, required("Name, as in /sys/devices/system/cpu/cpu0/cpuidle/stateN/name.", allowed=NAME_ALLOWED)]
    exit_latency_us: Annotated[
        float,
        required("The longest that waking from it takes, by which governors choose: the file latency.", unit="us", ge=0, le=10**6),
    ]
    target_residency_us: Annotated[
        float, required("How long a CPU must idle for the state to pay: the file residency.", unit="us", ge=0, le=10**7)
    ]
    wake_us: float | None = setting(
        None, "What waking from it takes in this run. Not given: exit_latency_us, the longest.", unit="us", ge=0, le=10**6
    )
    mwait: bool = setting(
        True, "Whether it is entered by mwait, which sees a task that is queued for the CPU; else that takes an interrupt."
    )

    @property
    def exit_ns(self) -> int:
        """``exit_latency_us`` in ns."""
        return us_to_ns(self.exit_latency_us)

    @property
    def residency_ns(self) -> int:
        """``target_residency_us`` in ns."""
        return us_to_ns(self.target_residency_us)

    @property
    def wake_ns(self) -> int:
        """``wake_us``, or what stands for it, in ns."""
        return us_to_ns(self.exit_latency_us if self.wake_us is None else self.wake_us)


POLL: Final = IdleState.model_construct(name="POLL", exit_latency_us=0.0, target_residency_us=0.0)
"""drivers/cpuidle/poll_state.c: every driver of x86 has it as its state 0."""


class IdleTable(NamedTuple):
    """A shipped table: states from the shallowest on, the polling one left out."""

    name: str
    about: str
    governor: str
    states: tuple[IdleState, ...]
    sources: tuple[str, ...]
    """Where each state's figures are from."""


@functools.cache
def idle_tables() -> dict[str, IdleTable]:
    """The shipped tables by name."""
    tables = {}
    for name, table in tomllib.loads(_FILE.read_text(encoding="utf-8")).items():
        rows = [dict(row) for row in table["state"]]
        sources = tuple(row.pop("source") for row in rows)
        states = tuple(IdleState.model_validate(row) for row in rows)
        tables[name] = IdleTable(name, table["about"], table.get("governor", "menu"), states, sources)
    return tables


class Idle(Settings):
    """``[machine.idle]``: what a CPU does when it has nothing to do."""

    table: str = setting("", "Name of a shipped table of idle states; empty: states says them.")
    states: Annotated[tuple[IdleState, ...], BeforeValidator(list_to_tuple), Field(max_length=STATES_MAX)] = setting(
        (), "Idle states from the shallowest on. The polling state comes before them by itself."
    )
    governor: Literal["menu", "teo", "haltpoll"] | None = setting(
        None,
        "Who chooses. Not given: menu, or what the table says.",
        source="drivers/cpuidle/governors/menu.c: the highest rating",
    )
    latency_limit_us: float | None = setting(
        None,
        "PM QoS: no state that takes longer to leave, as who holds /dev/cpu_dma_latency asks. 0: polling only. Not given: no limit",
        unit="us",
        source="include/linux/pm_qos.h: none",
        ge=0,
        le=10**7,
    )
    disable: TextList = setting((), "Names of states that are switched off, as by their file disable.")

    @property
    def chosen(self) -> tuple[IdleState, ...]:
        """The states, the table's or those that stand here, with the polling one; none if none is stated."""
        states = idle_tables()[self.table].states if self.table else self.states
        return (POLL, *states) if states else ()

    @property
    def chosen_governor(self) -> str:
        """The governor in force."""
        return self.governor or (idle_tables()[self.table].governor if self.table else "menu")

    @property
    def latency_limit_ns(self) -> int:
        """The limit in ns."""
        return NO_LIMIT_NS if self.latency_limit_us is None else us_to_ns(self.latency_limit_us)


def name_to_idle(value: Any) -> Any:
    """``idle = "icelake-server"`` says what ``idle = {table = "icelake-server"}`` says."""
    return {"table": value} if isinstance(value, str) else value
