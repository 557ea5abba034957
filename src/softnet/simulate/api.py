# SPDX-License-Identifier: GPL-2.0-or-later
"""The two calls: ``run`` one scenario, ``compare`` arms of it."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from softnet.errors import SoftnetError
from softnet.processes import Workers, can_work
from softnet.simulate.result import Trace
from softnet.simulate.series import Job, Series, run_in_worker
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
    does not depend on ``processes``; the default is the CPUs there are, if the first run says that it pays to start workers.
    Ctrl-C ends the comparison: half of a run is no basis for one.
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
    for number, arm in enumerate(chosen):
        file = str(folder / names[arm.label]) if folder is not None and trace != "off" else ""
        for seed in seed_list:
            setup = Setup(patches=arm.patches, seed=seed, engine=engine, trace="off", checks=checks)
            if seed == first_seed:
                setup = replace(setup, trace=trace, trace_file=file or None)
            jobs.append(Job(number, arm.label, scenarios[arm.label], setup))
    runs = _run_all(jobs, processes, progress)
    by_arm = {arm.label: runs[number * len(seed_list) : (number + 1) * len(seed_list)] for number, arm in enumerate(chosen)}
    results = {label: tuple(run.result for run in found) for label, found in by_arm.items()}
    traces = {label: found[0].trace for label, found in by_arm.items()}
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


WORTH_WORKERS = 20_000_000
"""Events of the runs that are left. Fewer take less CPU time here than worker processes take to start: about a second each."""
REFERENCE_SLOWER = 250
"""An event of the reference engine costs about as much as so many of the native one."""


def _run_all(jobs: list[Job], processes: int | None, progress: Callable[[int, int, str], None] | None) -> list[Run]:
    """Every job's run, in their order; here, or in worker processes if they were asked for or pay."""
    count = processes if processes is not None else min(len(jobs), len(os.sched_getaffinity(0)))
    out: dict[int, Run] = {}

    def done(number: int, run: Run) -> None:
        if run.result.partial:
            raise KeyboardInterrupt
        out[number] = run
        if progress is not None:
            progress(len(out), len(jobs), f"{jobs[number].label}, seed {jobs[number].setup.seed}")

    series = Series()
    if processes is None or count <= 1 or not can_work():
        for number, job in enumerate(jobs):
            if number == 1 and count > 1 and can_work() and _work(out[0]) * (len(jobs) - 1) >= WORTH_WORKERS:
                break
            done(number, series.run(job))
    if len(out) < len(jobs):
        _run_elsewhere(jobs, len(out), count, done)
    return [out[number] for number in range(len(jobs))]


def _work(run: Run) -> int:
    """How much there was to do in a run, in its measured part: in events of the native engine."""
    return sum(map(sum, run.result.events.values())) * (1 if run.result.engine == "native" else REFERENCE_SLOWER)


def _run_elsewhere(jobs: list[Job], first: int, count: int, done: Callable[[int, Run], None]) -> None:
    """The jobs from ``first`` on in worker processes; those that one worker gets together are of one arm."""
    size = -(-(len(jobs) - first) // count)
    groups = []
    for _, of_arm in itertools.groupby(jobs[first:], key=lambda job: job.number):
        waiting = [(job,) for job in of_arm]
        groups += [waiting[at : at + size] for at in range(0, len(waiting), size)]
    with Workers(min(count, len(groups))) as workers:
        for number, run in workers.as_they_come(run_in_worker, iter(groups)):
            if isinstance(run, SoftnetError):
                raise run
            done(first + number, run)
