# SPDX-License-Identifier: GPL-2.0-or-later
"""From a TOML file, with overrides from the command line, to a ``Scenario``."""

from __future__ import annotations

import copy
import os
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path as FilePath
from typing import Any, Final, NamedTuple, get_args, get_origin

from softnet.errors import ScenarioError
from softnet.files import deeper_than, from_toml, holds_endless_number, read_bounded
from softnet.release import RT_SUFFIX, THREADS_ARG, THREADS_SUFFIX, first_with, instead_of, releases
from softnet.scenario.allowed import keys_at
from softnet.scenario.fields import RELEASES, Settings
from softnet.scenario.locate import Path, key_lines
from softnet.scenario.models import Scenario
from softnet.scenario.problems import Problem, ScenarioProblems, did_you_mean, place, raise_problems
from softnet.scenario.traffic_models import STANDARD_INPUT, CaptureTraffic
from softnet.units import whole_number

#: A scenario is written by hand; a file larger than this is something else.
FILE_BYTES_MAX: Final = 4 * 1024 * 1024

STEPS_MAX: Final = 16
"""Names, one in another, in the key of a setting."""
_TOP_ALIASES: Final = {
    "sysctl": ("kernel", "sysctl"),
    "threads": ("kernel", "threads"),
    "config": ("kernel", "config"),
}
_TEXTS: Final = frozenset(("rps_cpus", "flow_limit_cpu_bitmap", "irq_cpus", "isolated_cpus", "release"))
"""Keys whose value may be a text that looks like a number."""
_TABLE_LISTS: Final = ("nic", "traffic", "application", "sender", "task", "event")


class KernelChoice(NamedTuple):
    """What a shorthand such as ``6.12-rt`` stands for."""

    release: str
    flavour: str
    boot_args: tuple[str, ...]

    @property
    def rt(self) -> bool:
        """Whether it is a PREEMPT_RT kernel."""
        return self.flavour == "rt"


def load_scenario(path: str | FilePath, overrides: Sequence[str] = ()) -> Scenario:
    """Read a scenario from a TOML file.

    Parameters
    ----------
    path:
        The file. Relative paths inside it start from its folder.
    overrides:
        Settings such as ``sysctl.skb_defer_max=128``, which replace what the file says.

    Raises ``ScenarioError`` with every problem of the file at once, each with its line.
    """
    source = str(path)
    data = read_bounded(path, FILE_BYTES_MAX, ScenarioError, "scenario")
    raw = from_toml(data, source, ScenarioError, "scenario")
    text = data.decode()
    return scenario_from_dict(raw, overrides, source=source, directory=FilePath(path).parent, lines=key_lines(text))


def scenario_from_dict(
    raw: dict[str, Any],
    overrides: Sequence[str] = (),
    *,
    source: str = "the scenario",
    directory: FilePath = FilePath("."),
    lines: dict[Path, int] | None = None,
) -> Scenario:
    """A scenario from plain dicts and lists, such as TOML or JSON holds, with overrides applied.

    ``lines`` gives the line of each key where it is known, ``directory`` what relative paths start from.
    """
    applied = apply_overrides(raw, overrides)
    origins = _origins(applied, overrides)
    try:
        scenario = _validate_all(applied).placed_at(directory)
        raise_problems(_missing_files(scenario), source, applied)
    except ScenarioProblems as error:
        raise place(error, source, lines or {}, origins, applied) from None
    return scenario


def _validate_all(raw: dict[str, Any]) -> Scenario:
    """Validate; where the keys alone are wrong, also report what would not fit together without them."""
    try:
        return Scenario.model_validate(raw)
    except ScenarioProblems as error:
        unknown = [
            problem.path for problem in error.problems if problem.message in ("unknown key", "a sysctl that softnet does not model")
        ]
        if len(unknown) != len(error.problems):
            raise
        pruned = copy.deepcopy(raw)
        for path in unknown:
            table: Any = pruned
            for step in path[:-1]:
                table = table[step]
            del table[path[-1]]
        try:
            Scenario.model_validate(pruned)
        except ScenarioProblems as more:
            raise ScenarioProblems([*error.problems, *more.problems]) from None
        raise


def _missing_files(scenario: Scenario) -> list[Problem]:
    problems = []
    for index, traffic in enumerate(scenario.traffic):
        if isinstance(traffic, CaptureTraffic) and traffic.file == STANDARD_INPUT:
            from softnet.scenario.capture import captured_input

            captured_input()
        elif isinstance(traffic, CaptureTraffic) and not os.path.isfile(scenario.resolve(traffic.file)):
            problems.append(
                Problem(
                    ("traffic", index, "file"),
                    "no such capture",
                    f'"{traffic.file}"',
                    'a pcap or pcapng file, or "-" for standard input; relative paths start from the scenario\'s folder',
                )
            )
    costs = scenario.machine.costs
    if costs.endswith(".toml") and not os.path.isfile(scenario.resolve(costs)):
        problems.append(
            Problem(
                ("machine", "costs"),
                "no such cost table",
                f'"{costs}"',
                "a TOML file, or the name of a shipped table",
            )
        )
    return problems


def parse_kernel(text: str) -> KernelChoice:
    """``6.12``, ``6.12-rt`` or ``6.12-threads`` as release, flavour and boot arguments."""
    release, _, suffix = text.strip().partition("-")
    threaded = first_with("backlog_threads")
    allowed = ", ".join(RELEASES) + f", each also with -rt, and from {threaded} with -threads"
    if release not in RELEASES or suffix not in ("", "rt", "threads") or text.strip().endswith("-"):
        raise ScenarioError("unknown kernel", where=f"kernel {text}", found=f'"{text}"', expected=allowed, hint=_meant(text))
    if suffix == "threads" and not releases()[release].has("backlog_threads"):
        raise ScenarioError(
            f"{release} has no backlog threads",
            where=f"kernel {text}",
            found=f'"{text}"',
            expected=f"{threaded}-threads or later",
            hint="backlog threads came with v6.10 (commit dad6b9770263)",
        )
    boot_args = (THREADS_ARG,) if suffix == "threads" else ()
    return KernelChoice(release, "rt" if suffix == "rt" else "plain", boot_args)


def _meant(text: str) -> str:
    """A hint: for a release that there is not, the one before it; for a slip of the pen, what is nearest."""
    return instead_of(text) or did_you_mean(
        text, [f"{known}{tail}" for known in RELEASES for tail in ("", RT_SUFFIX, THREADS_SUFFIX)]
    )


def apply_kernel(raw: dict[str, Any], text: str) -> dict[str, Any]:
    """The scenario with the kernel of a shorthand; its other kernel settings stay."""
    choice = parse_kernel(text)
    out = copy.deepcopy(raw)
    kernel = out.setdefault("kernel", {})
    if not isinstance(kernel, dict):
        kernel = out["kernel"] = {}
    kept = [arg for arg in kernel.get("boot_args", []) if arg != THREADS_ARG]
    kernel.update(release=choice.release, flavour=choice.flavour, boot_args=[*kept, *choice.boot_args])
    if choice.rt or kernel.get("preempt") == "rt":
        kernel.pop("preempt", None)
    return out


def apply_overrides(raw: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """A copy of a scenario's dict with settings replaced.

    ``sysctl.skb_defer_max=128``, ``machine.cpus=8``, ``nic.eth0.rps_cpus=[1,2]``, ``traffic.0.rate_pps=5000``
    (list members by name or position), ``kernel=6.12-rt``. Values are TOML; a bare word is a text. An override
    without a list member, ``nic.ring=512``, is for every member.
    """
    out = copy.deepcopy(raw)
    for text in overrides:
        key, equals, value_text = text.partition("=")
        key = key.strip()
        if not equals or not key:
            raise ScenarioError(
                "not a setting",
                where=f"--set {text}",
                found=f'"{text}"',
                expected="KEY=VALUE, such as sysctl.skb_defer_max=128",
            )
        if key == "kernel":
            out = apply_kernel(out, value_text.strip().strip("\"'"))
            continue
        value = _value(value_text.strip())
        if key.rpartition(".")[2] in _TEXTS and not isinstance(value, (str, list)):
            value = value_text.strip()  # 10 is a mask, 6.12 a release: neither is a number
        for path in _targets(out, key, text):
            _assign(out, path, value, text)
    return out


def _value(text: str) -> Any:
    try:
        found = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text
    return text if deeper_than(found, STEPS_MAX) or holds_endless_number(found) else found


def _targets(raw: dict[str, Any], key: str, text: str) -> list[Path]:
    """The paths that an override's key means."""
    steps = [step.strip() for step in key.split(".")]
    if len(steps) > STEPS_MAX:
        raise ScenarioError("unknown key", where=f"--set {text[:80]}…", found=f"{len(steps)} names, one in another",
                            expected=f"at most {STEPS_MAX}")  # fmt: skip
    head: Path = _TOP_ALIASES.get(steps[0], (steps[0],))
    if head[0] not in Scenario.model_fields:
        known = [*Scenario.model_fields, *_TOP_ALIASES]
        raise ScenarioError(
            "unknown key",
            where=f"--set {text}",
            found=steps[0],
            expected="one of " + ", ".join(known),
            hint=did_you_mean(steps[0], known),
        )
    rest = steps[1:]
    if head[0] not in _TABLE_LISTS:
        return [(*head, *rest)]
    items = raw.get(head[0])
    items = items if isinstance(items, list) else []
    if len(rest) == 1:
        chosen = list(range(len(items)))
    else:
        chosen = _members(head[0], items, rest[0]) if rest else []
        rest = rest[1:]
    if not chosen or not rest:
        names = [str(_name_of(head[0], item) or index) for index, item in enumerate(items)]
        raise ScenarioError(
            f"no such {head[0]}",
            where=f"--set {text}",
            found=key,
            expected=f"{head[0]}.NAME.KEY with NAME one of " + ", ".join(names) if names else f"a scenario with a [[{head[0]}]]",
        )
    return [(*head, index, *rest) for index in chosen]


def _name_of(table: str, item: Any) -> Any:
    """The name that a list member has, or has when it is given none."""
    if not isinstance(item, dict):
        return None
    default = {"nic": "eth0", "sender": "sender", "task": item.get("kind")}.get(table)
    return item.get("name", default)


def _members(table: str, items: list[Any], name: str) -> list[int]:
    by_name = [index for index, item in enumerate(items) if _name_of(table, item) == name]
    if by_name:
        return by_name
    position = whole_number(name)
    return [position] if position is not None and position < len(items) else []


def _assign(raw: dict[str, Any], path: Path, value: Any, text: str) -> None:
    known = [] if _is_plain_key(path) else keys_at(path[:-1], raw)
    if known and path[-1] not in known:
        raise ScenarioError(
            "unknown key",
            where=f"--set {text}",
            found=str(path[-1]),
            expected="one of " + ", ".join(known),
            hint=did_you_mean(str(path[-1]), known),
        )
    table: Any = raw
    for step in path[:-1]:
        table = table[step] if isinstance(table, list) and isinstance(step, int) else table.setdefault(step, {})
        if not isinstance(table, (dict, list)):
            raise ScenarioError("not a table", where=f"--set {text}", found=str(step), expected="a key below a table")
    if isinstance(table, list) and not isinstance(path[-1], int):
        raise ScenarioError("not a table", where=f"--set {text}", found=str(path[-2]), expected="a key below a table",
                            hint="a list is set as a whole: rps_cpus=[1,2]")  # fmt: skip
    table[path[-1]] = value


def _is_plain_key(path: Path) -> bool:
    """Whether the models alone say that there is such a key; the schema, which knows all of them, takes longer to make."""
    model: Any = Scenario
    for step in path[:-1]:
        if isinstance(step, int):
            continue
        field = model.model_fields.get(step)
        model = field.annotation if field is not None else None
        if get_origin(model) is tuple:
            model = get_args(model)[0]
        if not (isinstance(model, type) and issubclass(model, Settings)):
            return False
    return path[-1] in model.model_fields


def _origins(raw: dict[str, Any], overrides: Sequence[str]) -> dict[Path, str]:
    """Which override each overridden path came from, for messages."""
    origins: dict[Path, str] = {}
    for text in overrides:
        key = text.partition("=")[0].strip()
        if key == "kernel":
            shorthand = f"--kernel {text.partition('=')[2].strip()}"
            origins.update({("kernel", name): shorthand for name in ("release", "flavour", "boot_args")})
        else:
            origins.update(dict.fromkeys(_targets(raw, key, text), f"--set {text}"))
    return origins
