# SPDX-License-Identifier: GPL-2.0-or-later
"""Results that were kept as files, read back and set side by side: ``result.json`` of ``softnet run``, ``comparison.json`` of
``softnet compare``, and what ``--json`` of either prints.

A file may come from anywhere: it is read in bounded memory, checked whole, and its texts are made harmless.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from softnet.errors import SoftnetError, printable
from softnet.files import DEPTH_MAX, deeper_than, from_json, read_bounded
from softnet.simulate import comparison as comparing
from softnet.simulate import result as resulting
from softnet.simulate.comparison import Comparison
from softnet.simulate.result import TIME_CLASS_NAMES, Result

SCHEMA: Final = "softnet-diff/1"
BYTES_MAX: Final = 256 << 20
RESULT_NAMES: Final = ("result.json", "comparison.json")
"""What a folder of results holds, of which one is read."""
_INTEGER_MAX: Final = (1 << 63) - 1
_KEYS_SHOWN: Final = 12
_VALUE_LENGTH: Final = 40
_NO_REMARK: Final = ("kernel.release", "kernel.flavour", "kernel.preempt", "measure.seed", "description")
"""Of a scenario: what an arm's label says, what pairs the runs, and what is no setting."""
_ARRIVAL_TABLES: Final = ("traffic", "nic", "machine", "measure")
"""Tables of a scenario that may decide which packets arrive when."""


@dataclass(frozen=True)
class Stored:
    """The runs of one file."""

    path: Path
    scenario: str
    description: str
    results: dict[str, tuple[Result, ...]]
    """Arm -> its runs, each with a seed of its own. A single run is one arm, its kernel's label."""


@dataclass(frozen=True)
class Difference:
    """What two files have in common, arm by arm: the old one's is the base of each comparison."""

    names: tuple[str, str]
    """The two files, in short."""
    comparisons: tuple[Comparison, ...]
    left_out: tuple[str, ...]
    """Sentences about arms that one file alone has."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON document of ``softnet diff --json``."""
        rows = [{**one.to_dict(), "remarks": list(one.remarks)} for one in self.comparisons]
        return {"schema": SCHEMA, "old": self.names[0], "new": self.names[1], "left_out": list(self.left_out), "comparisons": rows}


def stored_path(argument: str | Path) -> Path | None:
    """The file of results that an argument names, in a folder its result.json or comparison.json; None if it names none.

    A name that ends in ``.json`` is a file's, whether there is one or not.
    """
    path = Path(argument)
    if path.is_dir():
        return next((path / name for name in RESULT_NAMES if (path / name).is_file()), None)
    return path if path.suffix == ".json" or path.is_file() else None


def read_stored(path: str | Path) -> Stored:
    """Read a file of results. Raises SoftnetError, with the place in it, for anything else."""
    data = read_bounded(path, BYTES_MAX, SoftnetError, "stored result")
    expected = "what softnet run or softnet compare writes with --out, or prints with --json"
    try:
        document = from_json(data)
    except ValueError as error:
        raise SoftnetError("not JSON", where=str(path), found=str(error)[:200], expected=expected) from None
    if not isinstance(document, dict) or not isinstance(document.get("schema"), str):
        raise SoftnetError("not a stored result", where=str(path), found=_kind(document), expected=expected)
    schema = document["schema"]
    if schema not in (resulting.SCHEMA, comparing.SCHEMA):
        family = schema.partition("/")[0] in (resulting.SCHEMA.partition("/")[0], comparing.SCHEMA.partition("/")[0])
        hint = "it was written by another version of softnet" if family else expected
        raise SoftnetError(
            "not a stored result of this schema", where=f"{path}: schema", found=schema[:100],
            expected=f"{resulting.SCHEMA} or {comparing.SCHEMA}", hint=hint,
        )  # fmt: skip
    if deeper_than(document, DEPTH_MAX):
        raise SoftnetError("nested too deeply", where=str(path), expected=f"at most {DEPTH_MAX} levels")
    return _stored(Path(path), _harmless(document, str(path)))


def _stored(path: Path, document: dict[str, Any]) -> Stored:
    if document["schema"] == resulting.SCHEMA:
        result = _result(document, str(path))
        return Stored(path, result.scenario, result.description, {result.kernel["label"]: (result,)})
    arms, found = document.get("arms"), document.get("results")
    if not isinstance(found, dict) or not isinstance(arms, list) or not arms or sorted(map(str, arms)) != sorted(found):
        raise _bad(f"{path}: arms", _kind(arms), "the names of the results")
    results: dict[str, tuple[Result, ...]] = {}
    for arm in arms:
        rows = found[arm] if isinstance(arm, str) else None
        if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
            raise _bad(f"{path}: results.{arm}", _kind(rows), "a list of results")
        results[arm] = tuple(_result(row, f"{path}: results.{arm}.{n}") for n, row in enumerate(rows))
        seeds = [r.seed for r in results[arm]]
        if len(set(seeds)) < len(seeds):
            raise _bad(f"{path}: results.{arm}", f"seeds {seeds}"[:100], "runs with different seeds")
    first = results[arms[0]][0]
    return Stored(path, first.scenario, first.description, results)


def _harmless(value: Any, where: str) -> Any:
    """The document with texts that no terminal obeys. Raises SoftnetError for a number that is none of a result's."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(key): _harmless(item, where) for key, item in value.items()}
    if isinstance(value, list):
        return [_harmless(item, where) for item in value]
    if isinstance(value, int) and not -_INTEGER_MAX - 1 <= value <= _INTEGER_MAX:
        raise _bad(where, "a whole number of more than 64 bits", "64 bits")
    if isinstance(value, float) and not math.isfinite(value):
        raise _bad(where, str(value), "a number")
    return value


@functools.cache
def _validator() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Result)


def _result(document: dict[str, Any], where: str) -> Result:
    """A result of its ``to_dict()``. A histogram's sum is the mean times the count: the document does not hold it."""
    from pydantic import ValidationError

    fields = {key: value for key, value in document.items() if key != "schema"}
    for key in ("latency", "wakeup_latency", "preempted_latency"):
        if isinstance(fields.get(key), dict):
            fields[key] = {name: _histogram_fields(name, row) for name, row in fields[key].items()}
    try:
        result: Result = _validator().validate_python(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])[:200]
        found = "nothing" if first["type"] == "missing" else _short(first["input"])
        raise _bad(f"{where}: {place}", found, first["msg"][:1].lower() + first["msg"][1:]) from None
    _check(result, where)
    return result


def _histogram_fields(name: str, row: Any) -> Any:
    """The fields of a Histogram, from the row of a document; what is no such row stays as it is."""
    if not isinstance(row, dict):
        return row
    taken = {key: row[key] for key in ("kind", "count", "min_ns", "max_ns", "buckets") if key in row}
    if type(row.get("count")) is int and type(row.get("mean_ns")) is int:
        taken["sum_ns"] = row["count"] * row["mean_ns"]
    return {"name": name, **taken}


def _check(result: Result, where: str) -> None:
    """Raises SoftnetError where a result lacks a figure that comparisons ask for, or contradicts itself."""
    lacking = [name for name, _, _ in comparing.COUNTER_METRICS if name not in result.counters]
    if lacking:
        raise _other_version(f"{where}: counters", f"no {', '.join(lacking)}")
    for cpu, row in enumerate(result.cpu_time_ns):
        if set(row) != set(TIME_CLASS_NAMES):
            raise _other_version(f"{where}: cpu_time_ns.{cpu}", ", ".join(row) or "nothing", ", ".join(TIME_CLASS_NAMES))
    for cpu, row in enumerate(result.softnet_columns):
        if set(row) != set(result.softnet_columns[0]):
            raise _bad(f"{where}: softnet_columns.{cpu}", ", ".join(row) or "nothing", "the columns of the first CPU")
    kernel = result.kernel
    for key in ("label", "release"):
        if not isinstance(kernel.get(key), str) or not kernel[key]:
            raise _bad(f"{where}: kernel.{key}", _short(kernel.get(key)), "a text")
    patches = kernel.get("patches")
    if not isinstance(patches, list) or not all(isinstance(name, str) for name in patches):
        raise _bad(f"{where}: kernel.patches", _short(patches), "a list of names")
    for kind in ("latency", "wakeup_latency", "preempted_latency"):
        for name, h in getattr(result, kind).items():
            ordered = all(low < high and count > 0 for low, high, count in h.buckets)
            if h.count != sum(count for _, _, count in h.buckets) or not ordered or (h.count and h.min_ns > h.max_ns):
                raise _bad(f"{where}: {kind}.{name}", f"{h.count} samples", "as many as the buckets hold")


def _bad(where: str, found: str, expected: str) -> SoftnetError:
    return SoftnetError("not a stored result", where=where, found=found, expected=expected)


def _other_version(where: str, found: str, expected: str = "every figure of a comparison") -> SoftnetError:
    return SoftnetError("a result of another version of softnet", where=where, found=found, expected=expected, hint="run it again")


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "an object without a schema"
    return "nothing" if value is None else f"{_short(value)} ({type(value).__name__})"


def _short(value: Any) -> str:
    """A value as JSON, in a few characters."""
    text = printable(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= _VALUE_LENGTH else f"{text[: _VALUE_LENGTH - 2]} …"


def difference(old: Stored, new: Stored) -> Difference:
    """Set two files side by side: each arm that both have, or the only arm of each; runs are paired by their seeds.

    Raises SoftnetError where they have no arm, or an arm's runs no seed in common.
    """
    common = [(arm, arm) for arm in old.results if arm in new.results]
    if not common and len(old.results) == len(new.results) == 1:
        common = [(next(iter(old.results)), next(iter(new.results)))]
    if not common:
        raise SoftnetError(
            "the two files have no arm in common",
            where=f"{old.path}, {new.path}",
            found=f"{', '.join(old.results)}; {', '.join(new.results)}",
            expected="an arm that both have, or one arm in each",
        )
    names = short_names(old.path, new.path)
    left_out = []
    for stored, name, used in ((old, names[0], {a for a, _ in common}), (new, names[1], {b for _, b in common})):
        only = [arm for arm in stored.results if arm not in used]
        if only:
            left_out.append(f"Only {name} has {', '.join(only)}.")
    return Difference(names, tuple(_paired(old, new, pair, names) for pair in common), tuple(left_out))


def short_names(old: Path, new: Path) -> tuple[str, str]:
    """What tells two files apart: the last part of their paths in which they differ; of a folder of results its own name."""
    first, second = (list(path.parts[:-1] if path.name in RESULT_NAMES and path.parent.name else path.parts) for path in (old, new))
    if first == second:
        return (old.name, new.name) if old != new else (first[-1], f"{first[-1]} again")
    while first and second and first[-1] == second[-1]:
        del first[-1], second[-1]
    return printable(first[-1] if first else str(old)), printable(second[-1] if second else str(new))


def _paired(old: Stored, new: Stored, pair: tuple[str, str], names: tuple[str, str]) -> Comparison:
    before, after = ({r.seed: r for r in stored.results[arm]} for stored, arm in zip((old, new), pair, strict=True))
    seeds = tuple(seed for seed in before if seed in after)
    if not seeds:
        raise SoftnetError(
            "no seed is in both files, so no two runs had the same arrivals",
            where=f"{old.path}, {new.path}: {' and '.join(dict.fromkeys(pair))}",
            found=f"seeds {_listed(before)}; {_listed(after)}",
            expected="a seed that both have",
            hint="softnet run --seed N, softnet compare --seeds N",
        )
    labels = pair if pair[0] != pair[1] else tuple(f"{name}:{pair[0]}" for name in names)
    rows = {label: tuple(runs[seed] for seed in seeds) for label, runs in zip(labels, (before, after), strict=True)}
    keys = differing_keys(before[seeds[0]], after[seeds[0]])
    remarks = [text for text in (_keys_remark(keys),) if text]
    for name, runs in zip(names, (before, after), strict=True):
        only = [seed for seed in runs if seed not in seeds]
        if only:
            remarks.append(f"Left out: seeds that only {name} has ({_listed(only)}).")
    known = all(r.asked for runs in rows.values() for r in runs)
    if not known:
        remarks.append("A file does not hold its scenario, so that only a part of what was asked could be compared.")
    same = known and not any(key.partition(".")[0] in _ARRIVAL_TABLES for key in keys)
    return Comparison(new.scenario, new.description, tuple(labels), seeds, rows, tuple(remarks), same)


def _listed(seeds: Sequence[int] | Mapping[int, Any]) -> str:
    shown = list(seeds)
    return ", ".join(map(str, shown[:8])) + (", …" if len(shown) > 8 else "")


def _keys_remark(keys: Mapping[str, tuple[Any, Any]]) -> str:
    if not keys:
        return ""
    told = [f"{key} ({_or_default(a)} and {_or_default(b)})" for key, (a, b) in list(keys.items())[:_KEYS_SHOWN]]
    more = f", and {len(keys) - _KEYS_SHOWN} more" if len(keys) > _KEYS_SHOWN else ""
    return f"Not the same was asked: {', '.join(told)}{more}."


def _or_default(value: Any) -> str:
    return "not set" if value is None else _short(value)


def differing_keys(old: Result, new: Result) -> dict[str, tuple[Any, Any]]:
    """Dotted key, as --set takes it -> what each of two runs was asked there (None: not said, the default).

    Kernel and seed are left out. A result without its scenario is known by a few of its own fields.
    """
    if old.asked and new.asked:
        first, second = (dict(_flat(r.asked)) for r in (old, new))
    else:
        first, second = map(_of_fields, (old, new))
    first["costs"], second["costs"] = old.costs, new.costs
    for values, r in ((first, old), (second, new)):
        values["kernel.hz"] = r.kernel.get("hz")
        values["kernel.patches"] = [name for name in r.kernel["patches"] if not name.startswith("softnet.")] or None
    names = [*first, *(key for key in second if key not in first)]
    return {key: (first.get(key), second.get(key)) for key in names if first.get(key) != second.get(key) and key not in _NO_REMARK}


def _of_fields(result: Result) -> dict[str, Any]:
    return {
        "name": result.scenario, "machine.cpus": result.cpus, "measure.duration_ns": result.duration_ns,
        "measure.warmup_ns": result.warmup_ns, "kernel.sysctl": result.kernel.get("sysctl"),
        "kernel.boot_args": result.kernel.get("boot_args"),
    }  # fmt: skip


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The settings of nested tables; a list of tables is counted, any other list is one value."""
    tables = isinstance(value, list) and value and all(isinstance(item, dict) for item in value)
    items = value.items() if isinstance(value, dict) else enumerate(value) if tables else None
    if items is None:
        yield prefix, value
        return
    for key, item in items:
        yield from _flat(item, f"{prefix}.{key}" if prefix else str(key))
