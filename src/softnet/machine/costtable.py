# SPDX-License-Identifier: GPL-2.0-or-later
"""Cost tables: named costs in nanoseconds, each with its spread, provenance and source.

A table is a TOML file with ``name``, ``about`` and rows in the sections ``[machine.NAME]`` and ``[kernel.NAME]``. A user's
table may name another as its ``base`` and override rows.
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from pathlib import Path
from typing import Any, Final, NamedTuple

from softnet.errors import CostError, printable
from softnet.files import from_toml, read_bounded

PROVENANCES = ("published", "measured", "derived", "fitted", "assumed")
ROW_KEYS = ("ns", "ps_per_byte", "spread_permille", "provenance", "source")
NS_MAX = 10**9
FILE_BYTES_MAX: Final = 4 << 20
BASES_MAX: Final = 16

_SHIPPED: Final = Path(__file__).parent / "costs"


class CostRow(NamedTuple):
    """One cost: ``ns`` per call, or ``ps_per_byte`` for costs by length; ``spread_permille`` of it either way."""

    name: str
    section: str
    ns: int
    ps_per_byte: int
    spread_permille: int
    provenance: str
    source: str

    @property
    def base(self) -> int:
        """The number the model uses: ns, or picoseconds per byte."""
        return self.ps_per_byte if self.ps_per_byte else self.ns


class CostTable(NamedTuple):
    """A table by name: rows in the order of their names."""

    name: str
    about: str
    rows: dict[str, CostRow]
    file: str

    def row(self, name: str) -> CostRow:
        """The row of that name. Raises CostError when the table has none."""
        if name not in self.rows:
            raise CostError(
                "the cost table lacks a row that the kernel's functions use",
                where=self.file,
                found=f"no row {name!r}",
                expected="a row for every name given to work() and work_bytes()",
                hint=f"add [kernel.{name}] with ns, provenance and source",
            )
        return self.rows[name]

    def provenances(self) -> dict[str, int]:
        """Provenance -> how many rows have it, of those that any has."""
        counts = Counter([row.provenance for row in self.rows.values()])
        return {name: counts[name] for name in PROVENANCES if counts[name]}


def scaled(table: CostTable, permille: int) -> CostTable:
    """The table of a machine that takes ``permille`` thousandths of the time for everything."""
    rows = {
        name: row._replace(ns=row.ns * permille // 1000, ps_per_byte=row.ps_per_byte * permille // 1000)
        for name, row in table.rows.items()
    }
    return CostTable(table.name, table.about, rows, table.file)


def shipped_tables() -> list[str]:
    """The names of the tables that come with softnet."""
    return sorted(path.stem for path in _SHIPPED.glob("*.toml"))


def load_cost_table(name_or_path: str) -> CostTable:
    """A shipped table by name, or a user's by path. Raises CostError with file and row for anything wrong."""
    if name_or_path not in shipped_tables():
        return _load(name_or_path, ())
    # One of them may be another's base.
    stamps = tuple((path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(_SHIPPED.glob("*.toml")))
    table = _load_shipped(name_or_path, str(_SHIPPED), stamps)
    return table._replace(rows=dict(table.rows))


@functools.lru_cache(maxsize=8)
def _load_shipped(name: str, folder: str, stamps: tuple[tuple[str, int, int], ...]) -> CostTable:
    """A shipped table, read once while none of the files changes."""
    return _load(name, ())


def _load(name_or_path: str, via: tuple[str, ...]) -> CostTable:
    if name_or_path in via or len(via) > BASES_MAX:
        raise CostError(
            "cost tables name each other as base",
            where=name_or_path,
            found=" -> ".join((*via, name_or_path)),
            expected="a chain of bases that ends",
            hint="remove one base",
        )
    if name_or_path in shipped_tables():
        path = _SHIPPED / f"{name_or_path}.toml"
    else:
        path = Path(name_or_path)
    if not os.path.lexists(path):
        raise CostError(
            "no such cost table",
            where=name_or_path,
            found="neither a shipped table nor a file",
            expected=f"one of {', '.join(shipped_tables())}, or a path",
        )
    data = from_toml(read_bounded(path, FILE_BYTES_MAX, CostError, "cost table"), str(path), CostError, "cost table")
    rows: dict[str, CostRow] = {}
    base = data.get("base")
    if base is not None:
        if not isinstance(base, str):
            raise CostError("base must be a name or a path", where=f"{path}: base", found=repr(base), expected="a string")
        rows.update(_load(base, (*via, name_or_path)).rows)
    for section in ("machine", "kernel"):
        table = data.get(section, {})
        if not isinstance(table, dict):
            raise CostError(
                "a section must be a table",
                where=f"{path}: {section}",
                found=repr(table),
                expected=f"[{section}.NAME]",
            )
        for name, row in table.items():
            rows[name] = _row(path, section, name, row)
    unknown = sorted(set(data) - {"name", "about", "base", "machine", "kernel"})
    if unknown:
        raise CostError(
            "unknown key in the cost table",
            where=f"{path}: {unknown[0]}",
            found=unknown[0],
            expected="name, about, base, [machine.NAME], [kernel.NAME]",
        )
    name, about = printable(str(data.get("name", path.stem))), printable(str(data.get("about", "")), keep="\n")
    return CostTable(name, about, dict(sorted(rows.items())), str(path))


def _row(path: Path, section: str, name: str, row: Any) -> CostRow:
    where = f"{path}: {section}.{name}"
    if not isinstance(row, dict):
        raise CostError("a row must be a table", where=where, found=repr(row), expected=", ".join(ROW_KEYS))
    unknown = sorted(set(row) - set(ROW_KEYS))
    if unknown:
        raise CostError(
            "unknown key in a cost row",
            where=f"{where}.{unknown[0]}",
            found=unknown[0],
            expected=", ".join(ROW_KEYS),
        )
    if ("ns" in row) == ("ps_per_byte" in row):
        raise CostError(
            "a row needs ns or ps_per_byte, one of the two",
            where=where,
            found=", ".join(sorted(row)),
            expected="ns = 120, or ps_per_byte = 30",
        )
    numbers = {key: row.get(key, 0) for key in ("ns", "ps_per_byte", "spread_permille")}
    for key, value in numbers.items():
        bound = 1000 if key == "spread_permille" else NS_MAX
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= bound:
            raise CostError(
                "a cost must be a whole number",
                where=f"{where}.{key}",
                found=repr(value),
                expected=f"0 to {bound}",
            )
    provenance = row.get("provenance")
    if provenance not in PROVENANCES:
        raise CostError(
            "a row must say where it comes from",
            where=f"{where}.provenance",
            found=repr(provenance),
            expected=" | ".join(PROVENANCES),
            hint='provenance = "assumed" is honest, an empty one is not',
        )
    source = row.get("source", "")
    if not isinstance(source, str) or not source:
        raise CostError(
            "a row must name its source",
            where=f"{where}.source",
            found=repr(source),
            expected="text: what, where, how",
        )
    return CostRow(name, section, numbers["ns"], numbers["ps_per_byte"], numbers["spread_permille"], provenance, printable(source))
