# SPDX-License-Identifier: GPL-2.0-or-later
"""The folder of an experiment: every finished run at once, and the results as Parquet.

``runs.journal`` takes each run when it ends, a line each, by one write at its end; it keeps runs of earlier versions of the
experiment, too. A line carries its checksum: what a killed process left of one is dropped. ``runs.parquet`` and
``experiment.json`` are made from it, whole or not at all, in the order of the arms and seeds: the same bytes whatever
the order in which runs ended. One process at a time writes into a folder.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

from softnet.errors import SoftnetError, printable
from softnet.files import UNREADABLE, atomic, from_json
from softnet.sweep.design import needs_extra
from softnet.sweep.factors import level_value, shown
from softnet.sweep.identity import SCHEMA
from softnet.sweep.measures import Value

if TYPE_CHECKING:
    from softnet.sweep.plan import Planned

JOURNAL: Final = "runs.journal"
RESULTS: Final = "runs.parquet"
ABOUT: Final = "experiment.json"
ROW_GROUP: Final = 1 << 16


class Finished(NamedTuple):
    """What came of a run: its figures in the order of the measures, or why there are none."""

    values: list[Value]
    failed: str


class Journal:
    """The runs that are done; open it to add more."""

    def __init__(self, folder: Path, columns: Sequence[str]) -> None:
        self.path = folder / JOURNAL
        self.columns = list(columns)
        self.done: dict[str, Finished] = {}
        self.added: Callable[[], None] | None = None
        """Called when a run was added."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise SoftnetError("the runs cannot be kept", where=str(folder), found=error.strerror or str(error),
                               expected="a folder that may be written", hint="--out DIR")  from None  # fmt: skip
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._fd)
            raise SoftnetError(
                "another sweep writes into this folder", where=str(folder), hint="wait for it, or --out another"
            ) from None

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def load(self, wanted: frozenset[str] | None) -> None:
        """Take up the runs that are wanted, all for None; cut off what a killed process left of a line."""
        with open(self._fd, "rb", closefd=False) as stream:
            end, columns = self._read(stream, wanted)
        os.ftruncate(self._fd, end)
        if columns != self.columns:
            self._write({"columns": self.columns, "schema": SCHEMA})

    def merge(self, journal: bytes, wanted: frozenset[str] | None) -> None:
        """Add what another journal has, and this one not, of the runs that are wanted."""
        mine = dict(self.done)
        self._read(io.BytesIO(journal), wanted)
        theirs, self.done = self.done, mine
        for run_id, finished in theirs.items():
            if run_id not in mine:
                self.add(run_id, finished)

    def _read(self, stream: IO[bytes], wanted: frozenset[str] | None) -> tuple[int, list[str]]:
        """Take up the runs of a journal that are wanted; how long its whole lines are, and the columns of the last."""
        end = 0
        columns: list[str] = []
        for line in stream:
            if not line.endswith(b"\n"):
                break
            end += len(line)
            record = _read_line(line)
            if isinstance(record, dict) and isinstance(record.get("columns"), list):
                columns = record["columns"]
            elif isinstance(record, dict) and isinstance(record.get("id"), str) and (wanted is None or record["id"] in wanted):
                if len(record.get("v", ())) == len(columns) or record.get("failed"):
                    self._take(record, columns)
        return end, columns

    def _take(self, record: Mapping[str, Any], columns: Sequence[str]) -> None:
        failed = record.get("failed", "")
        found = dict(zip(columns, record.get("v", ()), strict=False))
        if failed or all(name in found for name in self.columns):
            self.done[record["id"]] = Finished([found.get(name) for name in self.columns] if not failed else [], failed)

    def add(self, run_id: str, finished: Finished) -> None:
        """Keep a run. It is in the file when this returns."""
        record: dict[str, Any] = {"id": run_id, "v": finished.values}
        if finished.failed:
            record["failed"] = finished.failed
        self._write(record)
        self.done[run_id] = finished
        if self.added is not None:
            self.added()

    def _write(self, record: Mapping[str, Any]) -> None:
        body = json.dumps(record, separators=(",", ":"), allow_nan=False).encode()
        line = b"%08x %s\n" % (zlib.crc32(body), body)
        try:
            while line:
                line = line[os.write(self._fd, line) :]
        except OSError as error:
            raise SoftnetError("the runs cannot be kept", where=str(self.path), found=error.strerror or str(error)) from None


def _read_line(line: bytes) -> Any:
    """What a line of the journal says; None for one that is damaged."""
    try:
        check, _, body = line.rstrip(b"\n").partition(b" ")
        return from_json(body) if int(check, 16) == zlib.crc32(body) else None
    except UNREADABLE:
        return None


def arrow() -> Any:
    """pyarrow with its Parquet part. Raises SoftnetError where it is missing."""
    try:
        import pyarrow as pa
        import pyarrow.parquet
    except ImportError:
        raise needs_extra("pyarrow") from None
    return pa


def about(planned: Planned, seeds: Sequence[int], dropped: Mapping[int, int]) -> dict[str, Any]:
    """experiment.json: what the results are of; ``folder`` is where its paths start from."""
    wanted = planned.asked.experiment
    return {
        "schema": SCHEMA, "scenario": planned.name, "folder": str(planned.asked.folder), "file": wanted.scenario,
        "settings": list(wanted.settings),
        "patches": list(wanted.patches), "design": wanted.design,
        "duration_ns": planned.arms[0].scenario.measure.duration_ns, "warmup_ns": planned.arms[0].scenario.measure.warmup_ns,
        "factors": [
            {"key": f.key, "column": f.column, "levels": list(f.levels),
             "range": None if f.range is None else {"low": f.range.low, "high": f.range.high, "log": f.range.log}}
            for f in planned.factors
        ],
        "seeds": list(seeds), "shown": [m.name for m in planned.shown],
        "until": None if planned.until is None else {"measure": planned.until[0].name, "share": planned.until[1]},
        "measures": [m._asdict() for m in planned.measures],
        "goal": None if planned.goal is None else planned.goal.measure.name,
        "subject_to": [limit._asdict() for limit in planned.limits],
        "arms": [
            {"levels": list(arm.levels), "digest": arm.digest}
            | ({"dropped_after": dropped[arm.number]} if arm.number in dropped else {})
            for arm in planned.arms
        ],
    }  # fmt: skip


def _level_columns(planned: Planned, rows: Sequence[tuple[int, int]], pa: Any) -> Iterator[tuple[str, Any]]:
    """The factors' columns: integers or floats where all levels are, else texts."""
    for at, factor in enumerate(planned.factors):
        by_arm = [level_value(arm.levels[at]) for arm in planned.arms]
        if all(type(value) is int for value in by_arm):
            kind = pa.int64()
        elif all(type(value) in (int, float) for value in by_arm):
            kind, by_arm = pa.float64(), [float(value) for value in by_arm]
        else:
            kind, by_arm = pa.string(), [shown(arm.levels[at]) for arm in planned.arms]
        yield factor.column, pa.array([by_arm[arm] for arm, _ in rows], kind)


def results_table(planned: Planned, seeds: Sequence[int], done: Mapping[str, Finished], dropped: Mapping[int, int]) -> Any:
    """The finished runs as an Arrow table: run, arm, the factors, seed, failed, the measures.

    ``dropped``: an arm's number -> after how many seeds it was given no more.
    """
    pa = arrow()
    rows = [
        (arm.number, seed)
        for arm in planned.arms
        for seed in seeds[: dropped.get(arm.number, len(seeds))]
        if arm.run_id(seed) in done
    ]
    found = [done[planned.arms[arm].run_id(seed)] for arm, seed in rows]
    columns: dict[str, Any] = {
        "run": pa.array([planned.arms[arm].run_id(seed) for arm, seed in rows], pa.string()),
        "arm": pa.array([arm for arm, _ in rows], pa.int64()),
    }
    columns.update(_level_columns(planned, rows, pa))
    columns["seed"] = pa.array([seed for _, seed in rows], pa.int64())
    columns["failed"] = pa.array([run.failed or None for run in found], pa.string())
    for at, measure in enumerate(planned.measures):
        kind = pa.float64() if measure.unit == "%" else pa.int64()
        columns[measure.column] = pa.array([run.values[at] if run.values else None for run in found], kind)
    return pa.table(columns).replace_schema_metadata({"softnet": SCHEMA})


def write_results(
    folder: Path, planned: Planned, seeds: Sequence[int], done: Mapping[str, Finished], dropped: Mapping[int, int]
) -> Any:
    """runs.parquet and experiment.json; the table."""
    table = results_table(planned, seeds, done, dropped)
    pa = arrow()
    sink = io.BytesIO()
    pa.parquet.write_table(table, sink, compression="zstd", row_group_size=ROW_GROUP)
    with atomic(folder / RESULTS) as stream:
        stream.write(sink.getvalue())
    with atomic(folder / ABOUT) as stream:
        stream.write((json.dumps(about(planned, seeds, dropped), indent=1, ensure_ascii=False) + "\n").encode())
    return table


def failure_text(error: Exception) -> str:
    """Why a run failed, on one line."""
    return printable(" ".join(str(error).split()))[:300]
