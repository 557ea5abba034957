# SPDX-License-Identifier: GPL-2.0-or-later
"""The two calls: ``run`` one scenario, ``compare`` arms of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from softnet.errors import SoftnetError
from softnet.processes import Workers, can_work
from softnet.simulate.result import Trace
from softnet.simulate.simulation import Checks, Progress, Run, Setup, Simulation

if TYPE_CHECKING:
    from softnet.scenario import Scenario
    from softnet.simulate.arms import Arm
    from softnet.simulate.comparison import Comparison

DEFAULT_SEEDS = 5


def resolve(
    scenario: Scenario | str | Path, kernel: str = "", settings: Sequence[str] = (), boot_args: Sequence[str] = ()
) -> Scenario:
    """The scenario with another kernel, settings, and words for its command line. Raises ScenarioError."""
    from softnet import scenario as scenarios

    if isinstance(scenario, str | Path) and not boot_args:
        # All at once: the file need not be right for the kernel that it names itself, and problems keep their lines.
        return scenarios.load_scenario(scenario, [*([f"kernel={kernel}"] if kernel else []), *settings])
    base = scenarios.load_scenario(scenario) if isinstance(scenario, str | Path) else scenario
    if not kernel and not settings and not boot_args:
        return base
    raw = base.to_dict()
    if kernel:
        raw = scenarios.apply_kernel(raw, kernel)
    if boot_args:
        table = raw.setdefault("kernel", {})
        given = table.get("boot_args", [])
        table["boot_args"] = [*given, *(word for word in boot_args if word not in given)]
    return scenarios.scenario_from_dict(raw, list(settings), directory=base.directory)


def run(
    scenario: Scenario | str | Path,
    *,
    kernel: str = "",
    settings: Sequence[str] = (),
    patches: Sequence[str] = (),
    seed: int | None = None,
    engine: str = "auto",
    trace: str | None = None,
    checks: Checks = False,
    progress: Progress | None = None,
    trace_file: str | Path | None = None,
) -> Run:
    """Run a scenario once.

    ``kernel`` is a shorthand as "6.12-rt", ``settings`` are overrides as "sysctl.skb_defer_max=128", ``patches`` are files;
    ``trace`` is "off", "decisions" or "full" (default: the scenario's); ``checks`` turns on the lock checks and the run-time
    invariants, and "strict" stops at the first that does not hold; ``trace_file`` takes the trace while
    the run goes on, so that memory does not grow with it (``softnet.simulate.tracefile``). Raises InvariantError for that,
    SoftnetError for bad input, KernelStop when a kernel function stops the run.
    """
    resolved = resolve(scenario, kernel, settings)
    setup = Setup(patches=patches, seed=seed, engine=engine, trace=trace, checks=checks, trace_file=trace_file)
    return Simulation(resolved, setup).finish(progress)


class _Job(NamedTuple):
    scenario: Scenario
    arm: Arm
    setup: Setup


def _work(job: _Job) -> Run:
    return Simulation(job.scenario, job.setup).finish()


class Compared(NamedTuple):
    """A comparison with, per arm, the trace of its first seed (empty when none was asked for)."""

    comparison: Comparison
    traces: dict[str, Trace]


def compare(
    scenario: Scenario | str | Path,
    arms: Sequence[Arm | str],
    *,
    settings: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    engine: str = "auto",
    trace: str = "off",
    checks: Checks = False,
    processes: int | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    trace_folder: str | Path | None = None,
) -> Compared:
    """Run every arm with every seed on the same arrivals.

    ``seeds`` defaults to five from the scenario's on; ``trace`` is recorded for each arm's first seed, in memory or in a file
    of ``trace_folder`` (``trace_names()``); ``progress`` is called with (runs done, runs in all, what just ended). The result
    does not depend on ``processes``. Ctrl-C ends the comparison: half of a run is no basis for one.
    """
    # A run needs neither of them, and starts sooner without.
    from softnet.simulate.arms import parse_arms
    from softnet.simulate.comparison import Comparison

    chosen = [parse_arms([arm])[0] if isinstance(arm, str) else arm for arm in arms]
    if len({arm.label for arm in chosen}) != len(chosen):
        chosen = parse_arms([arm if isinstance(arm, str) else arm.label for arm in arms])
    if len(chosen) < 2:
        raise SoftnetError(
            "a comparison needs two arms",
            where="--arm",
            found=str(len(chosen)),
            expected="at least 2",
            hint="softnet compare SCENARIO --arm 6.9-rt --arm 6.10-rt",
        )
    scenarios = {arm.label: resolve(resolve(scenario, "", settings), arm.kernel, arm.settings, arm.boot_args) for arm in chosen}
    first = scenarios[chosen[0].label]
    seed_list = tuple(seeds) if seeds else tuple(range(first.measure.seed, first.measure.seed + DEFAULT_SEEDS))
    first_seed = seed_list[0]
    folder = Path(trace_folder) if trace_folder is not None else None
    jobs = []
    names = trace_names([arm.label for arm in chosen])
    for arm in chosen:
        file = str(folder / names[arm.label]) if folder is not None and trace != "off" else ""
        for seed in seed_list:
            setup = Setup(patches=arm.patches, seed=seed, engine=engine, trace="off", checks=checks)
            if seed == first_seed:
                setup = replace(setup, trace=trace, trace_file=file or None)
            jobs.append(_Job(scenarios[arm.label], arm, setup))
    runs = _run_all(jobs, processes, progress)
    results = {arm.label: tuple(r.result for job, r in zip(jobs, runs, strict=True) if job.arm is arm) for arm in chosen}
    traces = {arm.label: next(r.trace for job, r in zip(jobs, runs, strict=True) if job.arm is arm) for arm in chosen}
    comparison = Comparison(first.name, first.description, tuple(arm.label for arm in chosen), seed_list, results)
    return Compared(comparison, traces if trace != "off" else {})


LABEL_MAX = 100
"""Characters of an arm's label in the name of its file."""


def trace_names(labels: Sequence[str]) -> dict[str, str]:
    """The name of each arm's trace file: no two are the same, in capital letters or small ones."""
    plain = {label: "".join(c if c.isascii() and (c.isalnum() or c in "-._") else "_" for c in label) for label in labels}
    taken = [name.lower() for name in plain.values()]
    for label, name in plain.items():
        if taken.count(name.lower()) > 1 or len(name) > LABEL_MAX:
            # No plain name has a plus sign.
            digest = hashlib.sha256(label.encode("utf-8", "surrogatepass")).hexdigest()[:12]
            plain[label] = f"{name[:LABEL_MAX]}+{digest}"
    return {label: f"trace-{name}.softnet.gz" for label, name in plain.items()}


def _run_all(jobs: list[_Job], processes: int | None, progress: Callable[[int, int, str], None] | None) -> list[Run]:
    count = processes if processes is not None else min(len(jobs), len(os.sched_getaffinity(0)))

    def done(n: int, job: _Job) -> None:
        if progress is not None:
            progress(n, len(jobs), f"{job.arm.label}, seed {job.setup.seed}")

    out: list[Run] = []
    if count <= 1 or not can_work():
        for n, job in enumerate(jobs, start=1):
            out.append(_work(job))
            if out[-1].result.partial:
                raise KeyboardInterrupt
            done(n, job)
        return out
    with Workers(min(count, len(jobs))) as workers:
        for n, (job, run) in enumerate(zip(jobs, workers.results(_work, [(job,) for job in jobs]), strict=True), start=1):
            out.append(run)
            done(n, job)
    return out
