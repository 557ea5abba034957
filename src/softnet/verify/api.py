# SPDX-License-Identifier: GPL-2.0-or-later
"""Verification as calls that return data: configurations, outcomes, what each property comes to, counterexamples.

``softnet verify`` is these calls and softnet.report.verify, which writes them down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from softnet.cluster.wanted import wanted_cluster
from softnet.errors import SoftnetError
from softnet.properties.statements import Property
from softnet.release import DEFAULT
from softnet.verify.model import Config, known_properties, store_buffer
from softnet.verify.parallel import SECONDS, Progress, search_all, search_in_turn
from softnet.verify.properties import named
from softnet.verify.search import Known, Limits, Outcome
from softnet.verify.small import large_of, small_of_all
from softnet.verify.standard import KERNELS, check, driver_of, event_of, from_text, standard, to_text
from softnet.verify.swarm import members_of, swarms
from softnet.verify.verdict import Verdict, Why, omission

if TYPE_CHECKING:
    from softnet.verify.replay.schedule import Schedule, Step


@dataclass(frozen=True)
class VerifyOptions:
    """How configurations are made: the small ones of a kernel, or one with drivers of your own, and what all have."""

    patches: tuple[str, ...] = ()
    thorough: bool = False
    """Whether the standard configurations and other large ones follow the small ones."""
    cpus: int = 2
    """Of the standard configurations and of one with drivers of your own."""
    skbs: int = 2
    """How many skbs each CPU frees in the standard configurations."""
    drivers: tuple[str, ...] = ()
    """``KIND:CPU[:COUNT[:CPU]]`` each; with them there is one configuration instead of the small ones."""
    settings: tuple[str, ...] = ()
    """``KEY=VALUE`` each."""
    events: tuple[str, ...] = ()
    """``NAME=VALUE`` each: a setting that changes while the system runs."""
    property_files: tuple[str, ...] = ()
    properties: tuple[str, ...] = ()
    """Names, or numbers of invariants such as I6; all properties if empty."""
    without: tuple[str, ...] = ()
    """Names or numbers of those that are not checked."""
    liveness: bool = False
    """Of every configuration; some small ones are asked for it anyway."""
    memory_model: str | None = None
    store_buffer: int | None = None
    storage: str = "exact"
    """How states are kept (Limits.storage): liveness needs them whole."""
    reduce: bool = True


def configurations(kernels: Sequence[str] = (), options: VerifyOptions | None = None) -> list[Config]:
    """What is to be explored, of each kernel (the three standard ones for none). Raises SoftnetError for what does not fit."""
    options = options or VerifyOptions()
    kernels = kernels or KERNELS
    if options.drivers:
        found = [_own(kernel, options) for kernel in kernels]
    else:
        if not options.thorough and (options.cpus, options.skbs) != (2, 2):
            raise SoftnetError("the small configurations have CPUs and skbs of their own", where="--cpus, --skbs",
                               found=f"{options.cpus} CPUs, {options.skbs} skbs", expected="--thorough, or --driver")  # fmt: skip
        found = small_of_all(kernels, options.patches)
        if options.thorough:
            for kernel in kernels:
                found += standard(kernel, options.cpus, options.skbs, options.patches) + large_of(kernel, options.patches)
    return list(_as_asked(found, options))


def _own(kernel: str, options: VerifyOptions) -> Config:
    """The configuration with the drivers that are named."""
    plain = standard(kernel, options.cpus, options.skbs, options.patches)[0]
    return replace(plain, name="yours", drivers=tuple(driver_of(d) for d in options.drivers))


def _as_asked(configs: Sequence[Config], options: VerifyOptions) -> Iterator[Config]:
    """The configurations with what the options say of all. Raises SoftnetError."""
    for config in configs:
        if options.settings:
            config = replace(from_text(",".join([to_text(config), *options.settings]), options.patches), name=config.name)
        model = options.memory_model or config.memory_model
        # What is small has liveness and store buffers where they find something; asked of all, one gives way to the other.
        own = config.liveness and model == "sc" and options.storage == "exact"
        asked = options.liveness and (model == "sc" or model == options.memory_model or bool(options.drivers))
        config = check(
            replace(
                config,
                memory_model=model,
                store_buffer=options.store_buffer or config.store_buffer,
                reduce=options.reduce,
                liveness=own or asked,
                events=(*config.events, *map(event_of, options.events)),
                property_files=options.property_files,
            )
        )
        yield _asked(config, options)


def _asked(config: Config, options: VerifyOptions) -> Config:
    """The configuration with the properties to check: who asks for some asks for *deadlock*, too, unless told otherwise."""
    known = known_properties(config)
    without = named(options.without, known, "--without")
    names = named(options.properties, known)
    if names and "deadlock" not in (*names, *without):
        names = (*names, "deadlock")
    if names and not set(names) - set(without):
        raise SoftnetError("nothing is left to check", where="--without", found=", ".join(without))
    return replace(config, properties=names, without=without)


def _alone(given: Mapping[str, bool]) -> None:
    """Refuse what several threads of one search do not go with."""
    if found := [name for name, is_given in given.items() if is_given]:
        raise SoftnetError("several threads search with hash compaction, one configuration after the other", where="--cores",
                           found=", ".join(found), expected="--storage compact, without that")  # fmt: skip


def searches(
    configs: Sequence[Config],
    limits: Limits | None = None,
    *,
    max_seconds: float = SECONDS,
    together: float | None = None,
    jobs: int = 1,
    progress: Callable[[Progress], None] | None = None,
    save: Path | None = None,
    resume: Path | None = None,
    strict: bool = False,
    cluster: str = "",
    swarm: int = 0,
    seed: int = 0,
) -> Iterator[tuple[Outcome, float]]:
    """The outcomes in the order of the configurations, each with its seconds, up to the first violation.

    What the shipped kernel is known to break is noted and searched past; with ``strict`` it is a violation like any other.

    Limits are each search's own, ``max_seconds`` too; with ``together`` all searches share so many seconds instead. Ctrl-C ends
    the search that runs, which is then the last. On a ``cluster`` (``tcp://HOST:PORT`` of a Dask scheduler, ``local:N``,
    ``slurm:N``, ``kubernetes:N``) the outcomes are the same. With ``swarm`` each configuration is searched by so many members of a
    swarm (softnet.verify.swarm), the first with this ``seed``, each with the limits. Raises SoftnetError.
    """
    if (save or resume) and len(configs) != 1:
        raise SoftnetError("one search is saved or resumed", where="--save, --resume", found=f"{len(configs)} configurations",
                           expected="one --kernel and --driver")  # fmt: skip
    storage = limits.storage if limits is not None else "exact"
    if swarm and (save or resume or storage != "exact" or any(config.liveness for config in configs)):
        raise SoftnetError("a swarm has a storage of its own, which keeps too little of a state for that", where="--swarm",
                           found="--storage, --liveness, --save or --resume", expected="without them")  # fmt: skip
    if limits is not None and limits.cores > 1:
        _alone({
            f"--storage {storage}": storage != "compact", f"--jobs {jobs}": jobs > 1, "--cluster": bool(cluster),
            "--save": bool(save), "--resume": bool(resume), "--swarm": bool(swarm),
            "--liveness": any(config.liveness for config in configs),
        })  # fmt: skip
    if cluster and (save or resume):
        raise SoftnetError("a search on a cluster is not saved", where="--save, --resume", found=f"--cluster {cluster}")
    bounds: Limits | Sequence[Limits] = limits or Limits()
    if swarm:
        configs, bounds = members_of(configs, limits or Limits(), swarm, seed)
    if cluster:
        from softnet.verify.elsewhere import search_on

        found = search_on(wanted_cluster(cluster), configs, bounds, max_seconds, together=together, strict=strict)
    elif jobs > 1 and len(configs) > 1:
        found = search_all(configs, bounds, max_seconds, jobs, together=together, strict=strict)
    else:
        found = search_in_turn(configs, bounds, max_seconds, progress, together=together, save=save, resume=resume, strict=strict)
    try:
        for outcome, seconds in swarms(found, swarm, seed) if swarm else found:
            yield outcome, seconds
            if outcome.failure is not None or outcome.why is Why.INTERRUPTED:
                return
    finally:
        found.close()


class Standing(StrEnum):
    """What searches say of one property."""

    HOLDS = "holds"
    WITHIN_LIMITS = "holds up to the limits"
    """A search did not finish."""
    NOT_MET = "no violation met"
    """A swarm: it may have left out anything."""
    VIOLATED = "violated"
    NOT_DECIDED = "not decided"
    """Another property was violated first."""
    NOT_ASKED = "not checked"
    NEEDS_LIVENESS = "not checked (--liveness)"
    NOTHING_TO_CHECK = "nothing to check"
    """What the property is about does not happen in these configurations."""
    KNOWN = "known"
    """The shipped kernel is known to break it here: softnet.properties.findings."""


class LeftOut(StrEnum):
    """What does not happen in the configurations, so that the verdict does not speak of it."""

    STORE_BUFFERS = "store buffers"
    LONGER_STORE_BUFFERS = "longer store buffers"
    HOTPLUG = "hotplug"
    TIME = "time"
    EVENTS = "events"


@dataclass(frozen=True)
class PropertyStanding:
    """A property, None for what stops a kernel function, and what the searches say of it."""

    property: Property | None
    standing: Standing
    times: int = 0
    """How often there was what the property is about, where it is about something."""
    findings: tuple[str, ...] = ()
    """The numbers of known findings that break it."""
    because: str = ""
    """Why it is not decided, where that is not another violation."""


UNKNOWN_LIST: Final = "this kernel stores to softnet_data.defer_list nowhere; its patch can say where its list is"
STUCK: Final = "a task is stuck with skbs of its own"
ABOUT_THE_LIST: Final = ("over the limit", "count without list")


@dataclass
class Verification:
    """Outcomes of searches, and what they come to."""

    searches: list[tuple[Outcome, float]] = field(default_factory=list)
    """Each with its seconds; a violation is the last."""

    @property
    def outcomes(self) -> list[Outcome]:
        """Without the seconds."""
        return [outcome for outcome, _ in self.searches]

    @property
    def violation(self) -> Outcome | None:
        """The search that found a violation."""
        return next((outcome for outcome in self.outcomes if outcome.failure is not None), None)

    @property
    def verdict(self) -> Verdict:
        """Of all: violated if one is, else inconclusive if one is."""
        if self.violation is not None:
            return Verdict.VIOLATED
        return Verdict.INCONCLUSIVE if any(o.verdict is Verdict.INCONCLUSIVE for o in self.outcomes) else Verdict.HOLDS

    @property
    def omission(self) -> float:
        """A bound on the probability that hash compaction left out a state; 0 for exact storage."""
        return sum(omission(o.states) for o in self.outcomes if o.storage == "compact")

    @property
    def known(self) -> list[tuple[Outcome, Known]]:
        """The violations that are findings on the shipped kernel, in the order in which they were met."""
        return [(outcome, known) for outcome in self.outcomes for known in outcome.known]

    @property
    def changes(self) -> list[str]:
        """What each patch changes, in words, once for each kernel where that differs."""
        return list(dict.fromkeys(line for outcome in self.outcomes for line in outcome.changes))

    def properties(self) -> list[PropertyStanding]:
        """Each property, and at the end what stops a kernel function: one holds only if all searches were exhausted."""
        config = self.outcomes[-1].config
        known = known_properties(config)
        if any(o.config.liveness for o in self.outcomes):
            config = replace(config, liveness=True)
        rows = [self._standing(prop, config) for prop in known.values()]
        unnamed = self._undisturbed()
        if self.violation is not None:
            assert self.violation.failure is not None
            named_one = any(p.name == self.violation.failure.name for p in known.values())
            unnamed = Standing.NOT_DECIDED if named_one else Standing.VIOLATED
        return [*rows, PropertyStanding(None, unnamed)]

    def _standing(self, prop: Property, config: Config) -> PropertyStanding:
        if prop.name in config.without or (config.properties and prop.name not in config.properties):
            return PropertyStanding(prop, Standing.NOT_ASKED)
        if prop.invariants.startswith("L") and not config.liveness:
            return PropertyStanding(prop, Standing.NEEDS_LIVENESS)
        times = sum(outcome.premises.get(prop.name, 0) for outcome in self.outcomes)
        failure = self.violation.failure if self.violation is not None else None
        if failure is not None and prop.name in (failure.name, *failure.also):
            return PropertyStanding(prop, Standing.VIOLATED, times)
        findings = tuple(dict.fromkeys(known.finding for _, known in self.known if known.property == prop.name))
        if findings:
            return PropertyStanding(prop, Standing.KNOWN, times, findings)
        if failure is not None:
            return PropertyStanding(prop, Standing.NOT_DECIDED)
        if prop.name == "conservation" and any(
            o.list_unknown and any(d.kind == "free" for d in o.config.drivers) for o in self.outcomes
        ):
            return PropertyStanding(prop, Standing.NOT_DECIDED, because=UNKNOWN_LIST)
        if prop.name == "conservation" and any(o.stuck_with_skbs for o in self.outcomes):
            return PropertyStanding(prop, Standing.NOT_DECIDED, because=STUCK)
        if prop.premise and not times:
            because = UNKNOWN_LIST if prop.name in ABOUT_THE_LIST and any(o.list_unknown for o in self.outcomes) else ""
            return PropertyStanding(prop, Standing.NOTHING_TO_CHECK, because=because)
        return PropertyStanding(prop, self._undisturbed(), times)

    def _undisturbed(self) -> Standing:
        """Of what no search found violated."""
        if any(outcome.swarm is not None for outcome in self.outcomes):
            return Standing.NOT_MET
        return Standing.WITHIN_LIMITS if self.verdict is Verdict.INCONCLUSIVE else Standing.HOLDS

    def left_out(self) -> list[LeftOut]:
        """What the verdict does not speak of: what no configuration has."""
        configs = [o.config for o in self.outcomes]
        found = [LeftOut.LONGER_STORE_BUFFERS if any(map(store_buffer, configs)) else LeftOut.STORE_BUFFERS]
        if not any(d.kind == "hotplug" for c in configs for d in c.drivers):
            found.append(LeftOut.HOTPLUG)
        if not any(c.ticks for c in configs):
            found.append(LeftOut.TIME)
        if not any(c.events for c in configs):
            found.append(LeftOut.EVENTS)
        return found

    def counterexample(self) -> Schedule | None:
        """The shortest schedule to the violation, every access written down."""
        from softnet.verify.replay.schedule import replay

        if self.violation is None:
            return None
        schedule = replay(self.violation.config, self.violation.actions)
        return schedule if schedule.failure is None else replace(schedule, failure=self.violation.failure)


def verify(
    kernel: str = DEFAULT,
    options: VerifyOptions | None = None,
    *,
    limits: Limits | None = None,
    max_seconds: float = SECONDS,
    together: float | None = None,
    jobs: int = 1,
    progress: Callable[[Progress], None] | None = None,
    strict: bool = False,
    cluster: str = "",
) -> Verification:
    """Explore every interleaving of small configurations of a kernel. Raises SoftnetError for what does not fit."""
    configs = configurations([kernel], options)
    found = searches(
        configs, limits, max_seconds=max_seconds, together=together, jobs=jobs, progress=progress, strict=strict, cluster=cluster
    )
    return Verification(list(found))


# -- a schedule once more


@dataclass(frozen=True)
class Replayed:
    """A schedule that was replayed from its line of text."""

    schedule: Schedule
    repeats: int
    """How many of the last steps repeat for ever."""
    remarks: list[str]
    """What the reference engine, or two engines beside each other, found."""


def schedule_of(text: str, patches: tuple[str, ...], property_files: tuple[str, ...]) -> tuple[Config, list[int], int]:
    """Configuration, actions and how many repeat for ever of a line of text that softnet verify prints. Raises SoftnetError."""
    from softnet.verify.replay.schedule import decode, repeats_of

    what, slash, encoded = text.rpartition("/")
    if not slash:
        raise SoftnetError("not a schedule", found=repr(text), expected="CONFIGURATION/SCHEDULE as softnet verify prints it")
    actions, repeats = decode(encoded), repeats_of(encoded)
    return replace(from_text(what, patches), property_files=property_files), actions, repeats


def replay_schedule(
    config: Config, actions: list[int], repeats: int = 0, *, engine: str = "native", stop: Callable[[Step], bool] | None = None
) -> Replayed:
    """Replay in the search's native code, in plain Python (``reference``), or in both, compared after each step (``both``).

    Raises SoftnetError for a schedule that does not fit, and where two engines differ.
    """
    from softnet.verify.replay.places import told
    from softnet.verify.replay.schedule import replay

    remarks: list[str] = []
    if engine == "native":
        schedule = replay(config, actions, stop)
    else:
        from softnet.verify.replay.agreement import PairedReplay
        from softnet.verify.replay.reference import ReferenceReplay, watched

        runs = ReferenceReplay(config) if engine == "reference" else PairedReplay(config)
        reference = runs.reference if isinstance(runs, PairedReplay) else runs
        schedule, remarks = watched(reference, runs, actions, repeats, stop)
        if isinstance(runs, PairedReplay):
            remarks.append(runs.summary(schedule))
    if schedule.failure is not None and schedule.failure.address:
        schedule = replace(schedule, failure=told(config, actions[: len(schedule.steps)], schedule.failure))
    return Replayed(schedule, repeats if len(schedule.steps) == len(schedule.actions) else 0, remarks)
