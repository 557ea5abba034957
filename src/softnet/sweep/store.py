# SPDX-License-Identifier: GPL-2.0-or-later
"""The folder of an experiment: every finished run at once, and the results as Parquet.

``runs.journal`` takes each run when it ends, a line each, by one write at its end; it keeps runs of earlier versions of the
experiment, too. A line carries its checksum: what a killed process left of one is dropped. ``runs.parquet`` and
``experiment.json`` are made from it, whole or not at all, in the order of the arms and seeds: the same bytes whatever
the order in which runs ended. One process at a time writes into a folder.
"""

from __future__ import annotations

import bisect
import fcntl
import io
import itertools
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
ROW_GROUP: Final = 1 << 14
"""Rows of a group of the Parquet file; so many are in memory when it is written."""
LINE_BYTES: Final = 4096
"""About what the line of a run takes."""


class Finished(NamedTuple):
    """What came of a run: its figures in the order of the measures, or why there are none."""

    values: list[Value]
    failed: str


class Journal(Mapping[str, Finished]):
    """The runs that are done, by what identifies each; open it to add more.

    Of a run only its place in the file is in memory: figures are read when they are asked for.
    """

    def __init__(self, folder: Path, columns: Sequence[str]) -> None:
        self.path = folder / JOURNAL
        self.columns = list(columns)
        self.added: Callable[[], None] | None = None
        """Called when a run was added."""
        self._places: dict[str, int] = {}
        """Of each run, where its line begins."""
        self._heads: list[tuple[int, list[str]]] = []
        """From where on the lines have which columns."""
        self._end = 0
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

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._places

    def __getitem__(self, run_id: str) -> Finished:
        place = self._places[run_id]
        columns = self._heads[bisect.bisect_right(self._heads, place, key=lambda head: head[0]) - 1][1]
        found = self._figures(_read_line(self._line(place)), columns)
        if found is None:
            raise SoftnetError("a run that was kept has changed", where=str(self.path), found=f"another line at byte {place:,}",
                               hint="nothing but softnet writes into this file")  # fmt: skip
        return found

    def _line(self, place: int) -> bytes:
        """The line that begins there."""
        line = b""
        while not (end := line.find(b"\n") + 1) and (more := os.pread(self._fd, LINE_BYTES, place + len(line))):
            line += more
        return line[:end]

    def load(self, wanted: frozenset[str] | None) -> None:
        """Take up the runs that are wanted, all for None; cut off what a killed process left of a line."""
        with open(self._fd, "rb", closefd=False) as stream:
            for place, record, columns in _records(stream):
                if record is None:
                    self._end = place
                    continue
                if not self._heads or self._heads[-1][1] is not columns:
                    self._heads.append((place, columns))
                if (wanted is None or record["id"] in wanted) and self._figures(record, columns) is not None:
                    self._places[record["id"]] = place
        os.ftruncate(self._fd, self._end)
        if not self._heads or self._heads[-1][1] != self.columns:
            self._write({"columns": self.columns, "schema": SCHEMA})
            self._heads.append((self._end, self.columns))

    def merge(self, journal: bytes, wanted: frozenset[str] | None) -> None:
        """Add what another journal has, and this one not, of the runs that are wanted."""
        for _, record, columns in _records(io.BytesIO(journal)):
            if record is None or (wanted is not None and record["id"] not in wanted):
                continue
            found = self._figures(record, columns)
            if found is not None and record["id"] not in self:
                self.add(record["id"], found)

    def _figures(self, record: Any, columns: Sequence[str]) -> Finished | None:
        """What a record says of the measures that are asked for; None if it does not have them all."""
        try:
            failed, values = record.get("failed", ""), record.get("v", ())
            if failed:
                return Finished([], str(failed))
            named = dict(zip(columns, values, strict=True))
            return Finished([named[name] for name in self.columns], "")
        except (AttributeError, KeyError, TypeError, ValueError):
            return None

    def add(self, run_id: str, finished: Finished) -> None:
        """Keep a run. It is in the file when this returns."""
        record: dict[str, Any] = {"id": run_id, "v": finished.values}
        if finished.failed:
            record["failed"] = finished.failed
        self._places[run_id] = self._write(record)
        if self.added is not None:
            self.added()

    def _write(self, record: Mapping[str, Any]) -> int:
        """Where the record's line begins."""
        body = json.dumps(record, separators=(",", ":"), allow_nan=False).encode()
        line = b"%08x %s\n" % (zlib.crc32(body), body)
        place, self._end = self._end, self._end + len(line)
        try:
            while line:
                line = line[os.write(self._fd, line) :]
        except OSError as error:
            raise SoftnetError("the runs cannot be kept", where=str(self.path), found=error.strerror or str(error)) from None
        return place


def _records(stream: IO[bytes]) -> Iterator[tuple[int, Any, list[str]]]:
    """Of each run in a journal: where its line begins, what it says, and its columns; at last where whole lines end, and None."""
    end = 0
    columns: list[str] = []
    for line in stream:
        if not line.endswith(b"\n"):
            break
        place, end = end, end + len(line)
        record = _read_line(line)
        if not isinstance(record, dict):
            continue
        if isinstance(record.get("columns"), list):
            columns = record["columns"]
        elif isinstance(record.get("id"), str):
            yield place, record, columns
    yield end, None, columns


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


def _table(planned: Planned, rows: Sequence[tuple[int, int]], done: Mapping[str, Finished], pa: Any) -> Any:
    """Finished runs, given by arm and seed, as an Arrow table: run, arm, the factors, seed, failed, the measures."""
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
) -> int:
    """runs.parquet and experiment.json; how many runs there are.

    ``dropped``: an arm's number -> after how many seeds it was given no more.
    """
    pa = arrow()
    rows = (
        (arm.number, seed)
        for arm in planned.arms
        for seed in seeds[: dropped.get(arm.number, len(seeds))]
        if arm.run_id(seed) in done
    )
    count = 0
    schema = _table(planned, (), done, pa).schema
    with atomic(folder / RESULTS) as stream, pa.parquet.ParquetWriter(stream, schema, compression="zstd") as parquet:
        while group := list(itertools.islice(rows, ROW_GROUP)):
            parquet.write_table(_table(planned, group, done, pa))
            count += len(group)
    with atomic(folder / ABOUT) as stream:
        stream.write((json.dumps(about(planned, seeds, dropped), indent=1, ensure_ascii=False) + "\n").encode())
    return count


def failure_text(error: Exception) -> str:
    """Why a run failed, on one line."""
    return printable(" ".join(str(error).split()))[:300]
