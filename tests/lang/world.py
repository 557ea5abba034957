# SPDX-License-Identifier: GPL-2.0-or-later
"""Loading of small patch files on top of the base kernel of these tests."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path
from types import ModuleType

from softnet.lang.program.program import Program, collect

BASE = Path(__file__).parent / "base_kernel.py"
COSTS = ("ip_rcv", "tcp_v4_rcv", "copy_to_user")
EVENTS = {"netif_rx": 2, "process_backlog": 2, "napi_schedule": 2}

_serial = itertools.count()


def load(path: Path, package: str = "tests_patch") -> ModuleType:
    """Execute a file as a module of its own name, twice if asked twice."""
    spec = importlib.util.spec_from_file_location(f"{package}_{next(_serial)}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def program_with(*patches: Path) -> Program:
    """The base kernel with patches over it."""
    return collect([load(BASE), *(load(patch) for patch in patches)], {})
