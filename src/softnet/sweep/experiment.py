# SPDX-License-Identifier: GPL-2.0-or-later
"""An experiment as its user writes it: a TOML file, or the words of a command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, ValidationError

from softnet.errors import ScenarioError, SoftnetError
from softnet.files import from_toml, read_bounded
from softnet.scenario.fields import Settings, TextList, setting
from softnet.scenario.locate import key_lines
from softnet.scenario.problems import Problem, ScenarioProblems, did_you_mean
from softnet.sweep.factors import KERNEL, Factor, checked_factors, factor_of_text, factor_of_value

FILE_BYTES_MAX: Final = 1 << 20
SEEDS_MAX: Final = 1000


class Experiment(Settings):
    """A scenario, what is varied, how often, and what is looked at."""

    scenario: str = Field(description="The scenario's file; a relative path starts from the folder of the experiment's file.")
    vary: dict[str, Any] = setting({}, "Key of the scenario, kernel or patch -> a list of levels, or { low, high, log }.")
    kernels: TextList = setting((), "Kernels as 6.12-rt: the factor kernel.")
    patches: TextList = setting((), "Patch files on top of every kernel.")
    settings: TextList = setting((), "Settings of every arm, as --set takes them.")
    seeds: int = setting(5, "Runs of each arm, from the scenario's seed on.", ge=1, le=SEEDS_MAX)
    design: Literal["grid", "lhs", "sobol", "search"] = setting(
        "grid", "All combinations, a Latin hypercube, a Sobol sample, or a search for the best."
    )
    runs: int | None = setting(None, "Combinations of a sample or a search.", ge=1, le=1 << 20)
    minimize: str = setting("", "The measure of which the lowest mean is looked for: web.p99.9.")
    maximize: str = setting("", "The measure of which the highest mean is looked for.")
    subject_to: TextList = setting((), "Limits that what is recommended keeps by its means: cpu < 40%, dropped <= 0.")
    race: bool = setting(False, "Give no more seeds to combinations that are surely not the best.")
    measure: TextList = setting((), "What is looked at, the most important first: web.p99, dropped, cpu.")
    until: str = setting("", "Add seeds until the intervals of a measure are that narrow: web.p99=5%.")
    max_seeds: int = setting(50, "Seeds at the most with until.", ge=2, le=SEEDS_MAX)


class Asked:
    """An experiment with the place of each of its keys, for messages, and the folder that its paths start from."""

    def __init__(self, experiment: Experiment, factors: Sequence[Factor], folder: Path, places: Mapping[str, str]) -> None:
        self.experiment = experiment
        self.folder = folder
        self._places = places
        self.factors = checked_factors(factors, self.where("vary"))

    def where(self, key: str) -> str:
        """Where a key of the experiment was given."""
        return self._places.get(key, f"--{key.replace('_', '-')}")

    def path(self, name: str) -> Path:
        """A path that the experiment names."""
        return self.folder / name


def asked_on_command_line(scenario: str, vary: Sequence[str], kernels: str = "", **given: Any) -> Asked:
    """An experiment from options; ``kernels`` is a list with commas. Raises SoftnetError."""
    names = tuple(name.strip() for name in kernels.split(",") if name.strip())
    experiment = Experiment(scenario=scenario, kernels=names, **given)
    factors = _kernels(names, "--kernels") + [factor_of_text(text) for text in vary]
    places = {"scenario": scenario, "settings": "--set", "patches": "--patch"}
    return Asked(experiment, factors, Path(), places)


def load_experiment(path: Path) -> Asked:
    """An experiment from a file. Raises SoftnetError with file, line and key."""
    data = read_bounded(path, FILE_BYTES_MAX, ScenarioError, "experiment")
    raw = from_toml(data, str(path), ScenarioError, "experiment")
    lines = key_lines(data.decode())

    def where(*steps: str | int) -> str:
        # A nested table, [vary] sysctl.netdev_budget, stands under its parts; "sysctl.netdev_budget" under itself.
        line = next((lines[steps[:n]] for n in range(len(steps), 0, -1) if steps[:n] in lines), 0)
        return f"{path}:{line}: {'.'.join(map(str, steps))}" if line else f"{path}: {'.'.join(map(str, steps))}"

    return _asked(raw, where, str(path), path.parent)


def asked_in_python(raw: Mapping[str, Any]) -> Asked:
    """An experiment from values, as its file would have them; paths start from the folder of the process. Raises SoftnetError."""
    return _asked(raw, lambda *steps: f"softnet.sweep.run(): {'.'.join(map(str, steps))}", "softnet.sweep.run()", Path())


def _asked(raw: Mapping[str, Any], where: Callable[..., str], name: str, folder: Path) -> Asked:
    try:
        experiment = Experiment.model_validate(raw)
    except ValidationError as error:
        raise ScenarioProblems([_problem(item, where) for item in error.errors(include_url=False)], name) from None
    factors = _kernels(experiment.kernels, where("kernels"))
    factors += [factor_of_value(".".join(steps), value, where("vary", *steps)) for steps, value in _flat(experiment.vary)]
    places = {name: where(name) for name in Experiment.model_fields}
    return Asked(experiment, factors, folder, places)


def _kernels(names: Sequence[str], where: str) -> list[Factor]:
    return [factor_of_value(KERNEL, list(names), where)] if names else []


def _flat(tables: Mapping[str, Any], above: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """Each factor with the steps that lead to it: TOML makes tables of a key with dots that has no quotes."""
    out: list[tuple[tuple[str, ...], Any]] = []
    for key, value in tables.items():
        if isinstance(value, dict) and not {"low", "high", "log"} & set(value) and value:
            out += _flat(value, (*above, key))
        else:
            out.append(((*above, key), value))
    return out


def _problem(item: Any, where: Any) -> Problem:
    """One of pydantic's errors in our words."""
    path = tuple(item["loc"])
    node = Experiment.model_fields.get(str(path[0]))
    about = (node.description or "").rstrip(".") if node is not None else ""
    found = repr(item["input"])[:80]
    kind = item["type"]
    if kind == "extra_forbidden":
        known = list(Experiment.model_fields)
        return Problem(path, "unknown key", expected=f"one of {', '.join(known)}", hint=did_you_mean(str(path[0]), known),
                       where=where(*path))  # fmt: skip
    if kind == "missing":
        return Problem(path, "missing key", expected=about, where=where(*path))
    message = "wrong type" if kind.endswith("_type") else "not an allowed value"
    return Problem(path, message, found, f"{item['msg'][0].lower()}{item['msg'][1:]} ({about})", where=where(*path))


def is_experiment(path: Path) -> bool:
    """Whether a TOML file is an experiment, which names a scenario. What cannot be read is none."""
    try:
        return "scenario" in from_toml(read_bounded(path, FILE_BYTES_MAX, ScenarioError, "file"), str(path), ScenarioError, "file")
    except SoftnetError:
        return False
