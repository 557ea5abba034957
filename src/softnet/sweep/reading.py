# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading the results of an experiment: as a table, and by SQL."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from softnet.errors import SoftnetError
from softnet.files import UNREADABLE, from_json, read_bounded
from softnet.sweep.design import needs_extra
from softnet.sweep.identity import SCHEMA
from softnet.sweep.store import ABOUT, RESULTS, arrow

ABOUT_BYTES_MAX: Final = 256 << 20


def read_about(folder: Path) -> dict[str, Any]:
    """experiment.json. Raises SoftnetError."""
    path = _file(folder, ABOUT)
    try:
        found = from_json(read_bounded(path, ABOUT_BYTES_MAX, SoftnetError, "experiment"))
        fine = found["schema"] == SCHEMA
    except UNREADABLE:
        fine = False
    if not fine:
        raise SoftnetError("not the results of an experiment", where=str(path), expected=f"the schema {SCHEMA}",
                           hint="run softnet sweep again: what is finished is not run again")  # fmt: skip
    about: dict[str, Any] = found
    return about


def _file(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise SoftnetError("no results of an experiment", where=str(folder), found=f"no {name}",
                           expected="a folder that softnet sweep --out wrote")  # fmt: skip
    return path


def read_table(folder: Path) -> Any:
    """runs.parquet as an Arrow table. Raises SoftnetError."""
    path = _file(folder, RESULTS)
    pa = arrow()
    try:
        # Without memory-mapping: the file may be replaced while it is read.
        return pa.parquet.read_table(path, memory_map=False)
    except (OSError, pa.ArrowException) as error:
        raise SoftnetError("the results cannot be read", where=str(path), found=str(error)[:200]) from None


def query(folder: Path, sql: str) -> Any:
    """What SQL says of the table ``runs`` of an experiment, as an Arrow table. Nothing else can be read, nothing written.

    Raises SoftnetError.
    """
    try:
        import duckdb
    except ImportError:
        raise needs_extra("duckdb") from None
    path = _file(folder, RESULTS)
    arrow()
    connection = duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False})
    try:
        name = str(path.absolute()).replace("'", "''")
        connection.execute(f"create view runs as select * from read_parquet('{name}')")
        # From here on only this file: a query is often pasted from elsewhere.
        connection.execute(f"set allowed_paths=['{name}']")
        connection.execute("set enable_external_access=false")
        connection.execute("set lock_configuration=true")
        found = connection.sql(sql)
        if found is None:
            raise SoftnetError("the query gives no rows", where="query", found=sql[:80], expected="a select")
        return found.to_arrow_table()
    except duckdb.Error as error:
        raise SoftnetError("the query cannot be answered", where="query", found=str(error).strip()[:600],
                           hint='the table is runs: softnet query DIR "describe runs"')  from None  # fmt: skip
    finally:
        connection.close()
