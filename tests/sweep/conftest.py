# SPDX-License-Identifier: GPL-2.0-or-later
"""A small experiment: two CPUs, little traffic, two milliseconds; its kernel is in the cache after the first test."""

from __future__ import annotations

from pathlib import Path

import pytest

SCENARIO = """\
name = "small"

[machine]
cpus = 2

[kernel]
release = "6.12"

[[nic]]
name = "eth0"
irq_cpus = [0]
ring = 64

[[traffic]]
kind = "poisson"
rate_pps = 40_000
flows = 8
proto = "tcp"
dst_ports = [80]

[[application]]
name = "web"
cpus = [0, 1]
dst_ports = [80]

[measure]
duration_ms = 2
"""

VARY = ("sysctl.netdev_budget=2,300", 'nic.rps_cpus=[],"2"')


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SCENARIO)
    return path
