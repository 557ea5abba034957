# SPDX-License-Identifier: GPL-2.0-or-later
"""``[[machine.noise]]``: what disturbs CPUs beside the scenario's own work; profiles by name. Off unless it is asked for."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import BeforeValidator, Field

from softnet.scenario.fields import CPU_LIST_ALLOWED, CpuList, Settings, list_to_tuple, required, setting, us_to_ns

Us = Annotated[float, Field(ge=0, le=10**7)]


class Noise(Settings):
    """One source of noise, on each of its CPUs by itself."""

    kind: Annotated[
        Literal["interrupt", "steal", "smi"],
        required(
            "interrupt: another device's handler runs. steal: a hypervisor takes the CPU away, or hardware stops it. smi: firmware"
            " stops all CPUs at once."
        ),
    ]
    interval_us: Annotated[
        float, required("Mean time from one to the next; each is half of it to one and a half.", unit="us", ge=10, le=10**9)
    ]
    duration_us: Annotated[
        tuple[Us, Us],
        BeforeValidator(list_to_tuple),
        required("How long it lasts: the least and the most, drawn evenly.", unit="us"),
    ]
    cpus: CpuList = setting((), "CPUs that it disturbs; empty: every one. An smi disturbs all.", allowed=CPU_LIST_ALLOWED)

    @property
    def interval_ns(self) -> int:
        """``interval_us`` in ns."""
        return us_to_ns(self.interval_us)

    @property
    def duration_ns(self) -> tuple[int, int]:
        """``duration_us`` in ns."""
        return us_to_ns(self.duration_us[0]), us_to_ns(self.duration_us[1])


class Profile(NamedTuple):
    """Noise by name."""

    sources: tuple[dict[str, Any], ...]
    source: str
    """Where its figures are from, and what of them is assumed."""


PROFILES: Final = {
    "bare-metal": Profile(
        ({"kind": "steal", "interval_us": 7_600_000, "duration_us": [1, 3]},),
        "Linux 6.18, Documentation/tools/rtla/rtla-hwnoise.rst, seven CPUs for ten minutes: 4 such noises and 75 NMIs on a CPU, 2"
        " to 4 us the longest; lengths in between are assumed",
    ),
    "guest": Profile(
        ({"kind": "steal", "interval_us": 111_000, "duration_us": [1, 202]},),
        "Linux 6.18, Documentation/trace/osnoise-tracer.rst, a guest of eight CPUs for a second: 1 to 23 hardware noises on a"
        " CPU, 202 us the longest; lengths in between are assumed",
    ),
    "smi": Profile(
        ({"kind": "smi", "interval_us": 1_000_000, "duration_us": [50, 150]},),
        "150 us is the longest SMI that Intel's BIOS test suite lets pass; how often, and the shortest, are assumed",
    ),
    "busy-devices": Profile(
        ({"kind": "interrupt", "interval_us": 1000, "duration_us": [1, 10]},),
        "assumed: a disk or another card, a thousand interrupts a second on each CPU",
    ),
}
NOISE_ALLOWED: Final = "a list of tables, or one of: " + ", ".join(f'"{name}"' for name in PROFILES)


def name_to_noise(value: Any) -> Any:
    """``noise = "guest"`` says what the profile's tables say."""
    if isinstance(value, str) and value in PROFILES:
        value = list(PROFILES[value].sources)
    return list_to_tuple(value)
