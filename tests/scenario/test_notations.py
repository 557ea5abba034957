# SPDX-License-Identifier: GPL-2.0-or-later
"""Sets of CPUs and kernels as the kernel's own files and ``--kernel`` write them.

The masks are read by the kernel itself where a test may ask it: a thread's affinity is set by sched_setaffinity(2) and read back
from /proc, which prints Cpus_allowed as a mask and Cpus_allowed_list as a list.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softnet.errors import ScenarioError
from softnet.scenario.events import changes
from softnet.scenario.fields import parse_cpu_list, parse_cpu_mask, parse_figure
from softnet.scenario.load import scenario_from_dict
from softnet.simulate.api import resolve

BASE: dict[str, Any] = {"machine": {"cpus": 32}, "nic": [{"name": "eth0", "queues": 4}]}


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("fe", (1, 2, 3, 4, 5, 6, 7)),
        ("FE", (1, 2, 3, 4, 5, 6, 7)),
        ("0xf", (0, 1, 2, 3)),
        ("10", (4,)),
        ("00000000,0000000f", (0, 1, 2, 3)),
        ("1,00000001", (0, 32)),
        ("0", ()),
        ("", ()),
        ("0-7", (0, 1, 2, 3, 4, 5, 6, 7)),
        ("0-2,16", (0, 1, 2, 16)),
        ("1,3", None),
        ("zz", None),
        ("-1", None),
    ],
)
def test_masks(text: str, cpus: tuple[int, ...] | None) -> None:
    assert parse_cpu_mask(text) == cpus


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("0-3", (0, 1, 2, 3)),
        ("3", (3,)),
        ("1,3", (1, 3)),
        ("0-3, 8", (0, 1, 2, 3, 8)),
        ("0-15:2/4", (0, 1, 4, 5, 8, 9, 12, 13)),
        ("", ()),
        ("3-1", None),
        ("0-7:0/2", None),
        ("fe", None),
        ("1,,2", None),
        (",".join(["0-9999"] * 1000), None),
    ],
)
def test_lists(text: str, cpus: tuple[int, ...] | None) -> None:
    assert parse_cpu_list(text) == cpus


@given(cpus=st.sets(st.integers(0, 255)))
def test_what_the_kernel_would_print_is_read(cpus: set[int]) -> None:
    """bitmap_print_to_pagebuf(): groups of eight digits, the highest first."""
    mask = sum(1 << cpu for cpu in cpus)
    groups = [f"{mask >> 32 * group & 0xFFFF_FFFF:08x}" for group in reversed(range(8))]
    assert parse_cpu_mask(",".join(groups)) == tuple(sorted(cpus))
    assert parse_cpu_list(",".join(map(str, sorted(cpus)))) == tuple(sorted(cpus))


def test_the_running_kernels_own_words_are_read() -> None:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    words = dict(re.findall(r"^(Cpus_allowed\w*):\s*(\S+)$", status, re.MULTILINE))
    allowed = tuple(sorted(os.sched_getaffinity(0)))
    assert parse_cpu_mask(words["Cpus_allowed"]) == allowed
    assert parse_cpu_list(words["Cpus_allowed_list"]) == allowed


def nic_of(overrides: list[str], **keys: Any) -> Any:
    return scenario_from_dict({**BASE, "nic": [{**BASE["nic"][0], **keys}]}, overrides).nic[0]


def test_a_scenario_takes_them() -> None:
    nic = nic_of([], rps_cpus="fe", irq_cpus="0-3")
    assert (nic.rps_cpus, nic.irq_cpus) == ((1, 2, 3, 4, 5, 6, 7), (0, 1, 2, 3))
    event = {"at_ms": 1, "set": "nic.eth0.rps_cpus", "value": "0-2,16"}
    assert changes(scenario_from_dict({**BASE, "event": [event]}))[0].value == (0, 1, 2, 16)


@pytest.mark.parametrize(
    ("setting", "key", "cpus"),
    [
        ("nic.rps_cpus=10", "rps_cpus", (4,)),
        ("nic.rps_cpus=fe", "rps_cpus", (1, 2, 3, 4, 5, 6, 7)),
        ("nic.eth0.rps_cpus=0-2,16", "rps_cpus", (0, 1, 2, 16)),
        ("nic.rps_cpus=[1,2]", "rps_cpus", (1, 2)),
        ("nic.irq_cpus=4-7", "irq_cpus", (4, 5, 6, 7)),
    ],
)
def test_an_override_takes_them(setting: str, key: str, cpus: tuple[int, ...]) -> None:
    assert getattr(nic_of([setting]), key) == cpus


@pytest.mark.parametrize("text", ["1,3", "zz", "5-2", "100000000,0"])
def test_what_is_no_set_of_cpus_is_told(text: str) -> None:
    with pytest.raises(ScenarioError, match=r"nic\.eth0\.rps_cpus: not in the form that it must have") as caught:
        nic_of([], rps_cpus=text)
    assert 'a mask such as "fe"' in str(caught.value)


@pytest.mark.parametrize(
    ("kernel", "label", "preempt"),
    [
        ({"release": "6.12-rt"}, "6.12-rt", "rt"),
        ({"release": "6.12-rt", "flavour": "rt"}, "6.12-rt", "rt"),
        ({"release": "6.12-threads"}, "6.12-threads", "voluntary"),
        ({"release": "6.12-threads", "boot_args": ["threadirqs"], "preempt": "full"}, "6.12-threads", "full"),
    ],
)
def test_a_kernels_shorthand_is_a_release(kernel: dict[str, Any], label: str, preempt: str) -> None:
    made = scenario_from_dict({**BASE, "kernel": kernel}).kernel
    assert (made.label, made.preempt) == (label, preempt)
    assert set(kernel.get("boot_args", [])) <= set(made.boot_args)


@pytest.mark.parametrize("kernel", [{"release": "6.12-rt", "flavour": "plain"}, {"release": "6.9-threads"}, {"release": "6.12-"}])
def test_a_shorthand_that_cannot_be_is_told(kernel: dict[str, Any]) -> None:
    with pytest.raises(ScenarioError, match=r"kernel\.release: not an allowed value"):
        scenario_from_dict({**BASE, "kernel": kernel})


def test_a_release_on_the_command_line_is_no_number() -> None:
    assert scenario_from_dict(BASE, ["kernel.release=6.10"]).kernel.release == "6.10"
    assert scenario_from_dict(BASE, ["kernel.release=6.10-rt"]).kernel.label == "6.10-rt"


def test_another_kernel_makes_a_file_right_that_is_not_for_its_own(tmp_path: Path) -> None:
    """The bound of two ticks came with v6.14: a file that breaks it is not for 6.18, and is for 6.9."""
    path = tmp_path / "old.toml"
    path.write_text('[kernel]\nrelease = "6.18"\nhz = 250\n[kernel.sysctl]\nnetdev_budget_usecs = 2000\n', encoding="utf-8")
    with pytest.raises(
        ScenarioError, match=r"old\.toml:5: kernel\.sysctl\.netdev_budget_usecs: less than two ticks, which 6\.18 refuses"
    ):
        resolve(path)
    assert resolve(path, "6.9").kernel.sysctl.netdev_budget_usecs == 2000
    with pytest.raises(ScenarioError, match=r"old\.toml:5: "):
        resolve(path, "6.19-rt", ["machine.cpus=2"])
    assert resolve(path, settings=["sysctl.netdev_budget_usecs=9000"]).kernel.release == "6.18"


@pytest.mark.parametrize(
    ("text", "unit", "number"),
    [
        ("5ms", "ms", 5),
        ("5 ms", "us", 5000),
        ("1.5s", "ms", 1500),
        ("250us", "ms", 0.25),
        ("250µs", "ns", 250_000),
        ("64K", "bytes", 65_536),
        ("1G", "bytes", 1 << 30),
        ("1.5M", "packets/s", 1_500_000),
        ("5ms", "bytes", None),
        ("5M", "ms", None),
        ("5", "ms", None),
        ("5ms", "", None),
        ("-5ms", "ms", None),
        ("5 minutes", "ms", None),
    ],
)
def test_figures_with_their_units(text: str, unit: str, number: float | None) -> None:
    assert parse_figure(text, unit) == number


def test_a_scenario_takes_figures_with_their_units() -> None:
    traffic = {"kind": "constant", "rate_pps": "1.5M", "start_ms": "500us"}
    raw = {**BASE, "traffic": [traffic], "measure": {"duration_ms": "1s", "warmup_ms": "5ms"}}
    scenario = scenario_from_dict(raw)
    assert (scenario.measure.duration_ns, scenario.measure.warmup_ns) == (1_000_000_000, 5_000_000)
    assert scenario.traffic[0].start_ms == 0.5
    assert traffic["rate_pps"] == "1.5M"
    with pytest.raises(ScenarioError, match="duration_ms"):
        scenario_from_dict({**BASE, "measure": {"duration_ms": "5M"}})
