# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run is: the hash of everything that determines its figures. Two runs of one hash are one run."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

from softnet.image.program import constants
from softnet.lang.program.digest import program_digest
from softnet.simulate.result import SCHEMA as RESULT_SCHEMA

if TYPE_CHECKING:
    from softnet.lang.program.program import Program
    from softnet.machine.costtable import CostTable
    from softnet.scenario import Scenario

SCHEMA: Final = "softnet-sweep/1"
DECIDING: Final = ("image", "scenario", "simulate", "machine", "sweep/measures.py", "units.py", "trace.py")
"""Parts of softnet that decide what a run finds, beside the kernel's own text and the compiler, which program_digest() takes in."""


@functools.cache
def softnet_digest() -> str:
    """The hash of softnet's own text, as far as it decides figures; and of numpy's version, which draws the arrivals."""
    digest = hashlib.sha256(metadata.version("numpy").encode())
    root = Path(__file__).parents[1]
    for part in DECIDING:
        for path in sorted((root / part).rglob("*.py")) if (root / part).is_dir() else [root / part]:
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def kernel_digest(program: Program) -> str:
    """The hash of a kernel: its source, the patches on it, its configuration, and the compiler."""
    return program_digest(program)


def scenario_digest(scenario: Scenario, kernel: str, costs: CostTable) -> str:
    """The hash of a scenario after all settings but the seed, of its kernel, its captures and its cost table.

    What a scenario is called, and whether a trace is recorded, changes no figure and does not enter it.
    """
    tables = scenario.to_dict(defaults=True)
    for name in ("name", "description"):
        tables.pop(name, None)
    for name in ("seed", "trace"):
        tables["measure"].pop(name, None)
    files = []
    for source in tables.get("traffic", []):
        if "file" in source:
            files.append(_file_digest(scenario.resolve(source["file"])))
    prices = [[row.name, row.section, row.ns, row.ps_per_byte, row.spread_permille] for row in costs.rows.values()]
    rest = [SCHEMA, RESULT_SCHEMA, softnet_digest(), kernel, tables, files, prices]
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    status = path.stat()
    return _digest_of(str(path), status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=64)
def _digest_of(path: str, mtime_ns: int, size: int) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def program_key(scenario: Scenario, patches: Sequence[str]) -> str:
    """What decides which program a scenario has, within one process."""
    kernel = scenario.kernel
    return json.dumps(
        [kernel.release, kernel.flavour, constants(scenario), list(patches), scenario.machine.costs, str(scenario.directory)]
    )
