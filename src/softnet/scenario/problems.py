# SPDX-License-Identifier: GPL-2.0-or-later
"""What is wrong with a scenario: every problem at once, each with its place.

This module words the errors that pydantic finds; ``check.py`` words those that it cannot see.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from softnet.errors import ScenarioError
from softnet.release import instead_of
from softnet.scenario.allowed import allowed_text, keys_at, schema_at, show
from softnet.scenario.kernel_models import UNMODELLED_SYSCTLS
from softnet.scenario.locate import Path


class Problem(NamedTuple):
    """One thing that is wrong. ``path`` leads to the key; ``where`` is filled in by whoever knows the file."""

    path: Path
    message: str
    found: str = ""
    expected: str = ""
    hint: str = ""
    where: str = ""


class ScenarioProblems(ScenarioError):
    """Every problem of one scenario. With a single one, it reads like any other error."""

    problems: tuple[Problem, ...]
    source: str

    def __init__(self, problems: Iterable[Problem], source: str = "") -> None:
        self.problems = tuple(problems)
        self.source = source
        first = self.problems[0]
        if len(self.problems) == 1:
            super().__init__(first.message, where=first.where, found=first.found, expected=first.expected, hint=first.hint)
        else:
            super().__init__(f"{len(self.problems)} problems", where=source or "the scenario")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problems, self.source)

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return super().__str__()
        each = (ScenarioProblems([problem]) for problem in self.problems)
        return "\n\n".join([super().__str__(), *map(str, each)])


def raise_problems(problems: Iterable[Problem], source: str = "", raw: Any = None) -> None:
    """Raise ``ScenarioProblems`` if there are any, each labelled with its key where it has no place yet."""
    labelled = [problem if problem.where else problem._replace(where=label(problem.path, raw)) for problem in problems]
    if labelled:
        raise ScenarioProblems(labelled, source)


def place(
    error: ScenarioProblems, source: str, lines: Mapping[Path, int], overrides: Mapping[Path, str], raw: Any
) -> ScenarioProblems:
    """The same problems with file and line, or with the override that a value came from, in file order."""
    placed: list[tuple[int, Problem]] = []
    for problem in error.problems:
        override = _longest(problem.path, overrides)
        line = _longest(problem.path, lines)
        if override is not None and (line is None or len(override) >= len(line)):
            placed.append((10**9, problem._replace(where=overrides[override])))
            continue
        number = lines[line] if line is not None else 0
        at = f"{source}:{number}" if number else source
        key = label(problem.path, raw)
        placed.append((number, problem._replace(where=f"{at}: {key}" if key else at)))
    placed.sort(key=lambda pair: pair[0])
    return ScenarioProblems([problem for _, problem in placed], source)


def _longest(path: Path, known: Mapping[Path, Any]) -> Path | None:
    """The longest beginning of ``path`` that is known."""
    for length in range(len(path), 0, -1):
        if path[:length] in known:
            return path[:length]
    return None


def label(path: Path, raw: Any) -> str:
    """A path as a user would say it: ``nic.eth0.queues``, ``traffic[1].rate_pps``."""
    text = ""
    node = raw
    for step in path:
        try:
            node = node[step]
        except (KeyError, IndexError, TypeError):
            node = None
        if isinstance(step, int):
            name = node.get("name") if isinstance(node, dict) else None
            text += f".{name}" if isinstance(name, str) and name else f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint naming the nearest known word, or nothing."""
    import difflib  # only a mistake needs it

    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else ""


def translate(error: ValidationError, raw: Any) -> list[Problem]:
    """pydantic's errors in our words, one for each key."""
    problems: dict[Path, Problem] = {}
    for item in error.errors(include_url=False):
        path = clean_path(item["loc"], raw, item["type"])
        problem = _translate_one(item, path, raw)
        problems.setdefault(problem.path, problem)
    return list(problems.values())


def clean_path(loc: tuple[str | int, ...], raw: Any, kind: str) -> Path:
    """pydantic's location without the names of union branches that it puts in between."""
    path: list[str | int] = []
    node = raw
    for depth, step in enumerate(loc):
        last = depth == len(loc) - 1
        if isinstance(node, dict) and step in node:
            node = node[step]
        elif isinstance(node, (list, tuple)) and isinstance(step, int) and step < len(node):
            node = node[step]
        elif hasattr(node, "model_fields") and hasattr(node, str(step)):
            node = getattr(node, str(step))
        elif not (last and kind == "missing"):
            continue
        path.append(step)
    return tuple(path)


def _translate_one(item: Any, path: Path, raw: Any) -> Problem:
    kind = item["type"]
    found = show(item["input"])
    node = schema_at(path, raw)
    expected = allowed_text(node)
    if "[key]" in item["loc"]:
        names = allowed_text(schema_at(path[:-1], raw))
        hint = did_you_mean(str(path[-1]), names.replace(",", "").split())
        return Problem(path, "no such name", str(path[-1]), names, hint)
    if kind == "extra_forbidden":
        return _unknown_key(path, raw)
    if kind == "missing":
        about = str(node.get("description", "")).rstrip(".")
        what = "missing key" if isinstance(path[-1], str) else "missing element"
        return Problem(path, what, expected=f"{expected} ({about})" if about else expected)
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        return _bad_kind(item, path, raw)
    if kind.endswith("_type") or kind.startswith(("int_", "float_", "bool_")):
        return Problem(path, "wrong type", found, expected)
    if kind in ("too_short", "too_long", "string_too_short", "string_too_long"):
        return Problem(path, "wrong length", found, f"{expected}: {_length(item)}")
    if kind in ("literal_error", "enum"):
        values = [str(value) for value in node.get("enum", [])]
        quoted = isinstance(item["input"], str) and not isinstance(node["enum"][0], str)
        unknown = instead_of(str(item["input"])) if path[-1] == "release" else ""
        hint = "write it without quotes" if quoted else unknown or did_you_mean(str(item["input"]), values)
        return Problem(path, "not an allowed value", found, expected, hint)
    if kind == "string_pattern_mismatch":
        return Problem(path, "not in the form that it must have", found, expected)
    return Problem(path, "out of range", found, expected or item["msg"])


def _length(item: Any) -> str:
    """The bound that a text or list breaks."""
    thing = "character" if item["type"].startswith("string") else "element"
    context = item["ctx"]
    bound = context.get("min_length", context.get("max_length"))
    side = "at least" if "min_length" in context else "at most"
    return f"{side} {bound} {thing}{'' if bound == 1 else 's'}"


def _unknown_key(path: Path, raw: Any) -> Problem:
    key = str(path[-1])
    if path[:-1] == ("kernel", "sysctl") and key in UNMODELLED_SYSCTLS:
        return Problem(path, "a sysctl that softnet does not model", hint=UNMODELLED_SYSCTLS[key])
    known = keys_at(path[:-1], raw)
    return Problem(path, "unknown key", expected="one of " + ", ".join(known), hint=did_you_mean(key, known))


def _bad_kind(item: Any, path: Path, raw: Any) -> Problem:
    context = item.get("ctx", {})
    tags = str(context.get("expected_tags", "")).replace("'", "").split(", ")
    if not tags[0]:
        tags = list(schema_at(path, raw).get("discriminator", {}).get("mapping", {}))
    expected = "one of " + ", ".join(f'"{tag}"' for tag in tags)
    if item["type"] == "union_tag_not_found":
        if not isinstance(item["input"], dict):
            return Problem(path, "wrong type", show(item["input"]), "a table")
        return Problem((*path, "kind"), "missing key", expected=expected)
    found = str(context.get("tag", ""))
    return Problem((*path, "kind"), "unknown kind", show(found), expected, did_you_mean(found, tags))
