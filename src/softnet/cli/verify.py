# SPDX-License-Identifier: GPL-2.0-or-later
"""Explore every interleaving of small configurations; print the schedule that breaks a property.

Exit status: 0 every property holds, all searches exhausted; 1 violated; 2 bad input; 4 inconclusive: a search did not
finish, or was interrupted.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from softnet.errors import SoftnetError

if TYPE_CHECKING:
    from softnet.verify.arena import Limits
    from softnet.verify.model import Config
    from softnet.verify.search import Outcome

EXIT_VIOLATED = 1
EXIT_INCONCLUSIVE = 4


@click.command("verify", help=__doc__)
@click.option("--kernel", "kernels", multiple=True, metavar="RELEASE[-rt|-threads]", help="Default: 6.12, 6.12-threads, 6.12-rt.")
@click.option("--patch", "patches", multiple=True, type=click.Path(), help="A patch file of yours, on top of the release.")
@click.option("--cpus", type=click.IntRange(2, 8), default=2, show_default=True, help="CPUs of the standard configurations.")
@click.option("--skbs", type=click.IntRange(1, 16), default=2, show_default=True, help="skbs that each CPU frees there.")
@click.option(
    "--driver",
    "drivers",
    multiple=True,
    metavar="KIND:CPU[:COUNT[:CPU]]",
    help="One configuration of your own instead: free, netif_rx, rps (to the last CPU), irq, nic, hotplug, call.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Of every configuration: defer_max, budget, dev_weight, rps, preempt, resched, any_order, ticks, …",
)
@click.option(
    "--event",
    "events",
    multiple=True,
    metavar="NAME=VALUE",
    help="A setting that changes while it runs: skb_defer_max, netdev_max_backlog, netdev_budget, dev_weight, rps_cpus.",
)
@click.option("--property-file", "property_files", multiple=True, type=click.Path(), help="A file with properties of yours.")
@click.option("--property", "properties", multiple=True, help="Check only this property, deadlock, and what stops a function.")
@click.option("--liveness", is_flag=True, help="Ask the graph of the finished search, too: does anything stay owed for ever?")
@click.option(
    "--memory-model",
    type=click.Choice(["sc", "tso"]),
    help="tso: x86's, where stores wait in each CPU's store buffer and loads pass them. Default: sc, sequentially consistent.",
)
@click.option("--store-buffer", type=click.IntRange(1, 8), metavar="N", help="Stores that a buffer holds, with tso.  [default: 4]")
@click.option("--no-reduce", is_flag=True, help="Stop at every interaction point.")
@click.option("--max-states", type=click.IntRange(min=1), default=20_000_000, show_default=True, help="Of one search.")
@click.option("--memory", "memory_mb", type=click.IntRange(min=64), default=2048, show_default=True, help="Of one search, in MB.")
@click.option("--max-seconds", type=click.FloatRange(min=0), default=60.0, show_default=True, help="Of one search.")
@click.option(
    "--storage",
    type=click.Choice(["exact", "compact"]),
    default="exact",
    show_default=True,
    help="exact keeps states whole; compact keeps 64 bits of each, for large searches.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="So many configurations at once, each in a process of its own with --memory of its own.",
)
@click.option(
    "--save",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where the one search goes if a limit or Ctrl-C stops it.",
)
@click.option(
    "--resume",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Go on with a search that was saved.",
)
@click.option(
    "--export-promela",
    "promela",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Write the one configuration as a model for SPIN, and FILE with the suffix .h beside it.",
)
@click.option("--all-accesses", is_flag=True, help="Show every access of a counterexample, not those that conflict.")
@click.option("--html", "html", type=click.Path(dir_okay=False), help="Write a counterexample as a page with a sequence diagram.")
@click.option("--perfetto", "perfetto", type=click.Path(dir_okay=False), help="Write a counterexample for ui.perfetto.dev.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option("--width", type=click.IntRange(80, 400), default=110, show_default=True, help="Columns of a counterexample.")
def command(kernels: tuple[str, ...], patches: tuple[str, ...], cpus: int, skbs: int, drivers: tuple[str, ...],
            settings: tuple[str, ...], events: tuple[str, ...], property_files: tuple[str, ...],
            properties: tuple[str, ...], liveness: bool, memory_model: str | None, store_buffer: int | None,
            no_reduce: bool, max_states: int, memory_mb: int,
            max_seconds: float, storage: str, jobs: int, save: Path | None, resume: Path | None, promela: str | None,
            all_accesses: bool, html: str | None, perfetto: str | None,
            as_json: bool, quiet: bool, width: int) -> None:  # fmt: skip
    """Verify."""
    from softnet.verify.model import store_buffer as entries_of
    from softnet.verify.search import Limits
    from softnet.verify.standard import KERNELS, check, driver_of, event_of, from_text, standard, to_text

    configs: list[Config] = []
    for kernel in kernels or KERNELS:
        found = standard(kernel, cpus, skbs, patches)
        if drivers:
            found = [replace(found[0], name="yours", drivers=tuple(driver_of(d) for d in drivers))]
        for config in found:
            if settings:
                config = replace(from_text(",".join([to_text(config), *settings]), patches), name=config.name)
            config = replace(
                config, memory_model=memory_model or config.memory_model, store_buffer=store_buffer or config.store_buffer
            )
            config = replace(config, reduce=not no_reduce, liveness=liveness, events=(*config.events, *map(event_of, events)))
            configs.append(check(replace(config, property_files=property_files, properties=_asked(properties))))
    limits = Limits(max_states, memory_mb << 20, storage)
    if promela is not None:
        _export(configs, promela, limits)
        return
    if (save or resume) and len(configs) != 1:
        raise SoftnetError("one search is saved or resumed", where="--save, --resume", found=f"{len(configs)} configurations",
                           expected="one --kernel and --driver")  # fmt: skip
    outcomes: list[tuple[Outcome, float]] = []
    if jobs > 1 and len(configs) > 1:
        from softnet.cli._searches import search_all

        found_in_turn = search_all(configs, limits, max_seconds, jobs)
    else:
        found_in_turn = _in_turn(configs, limits, max_seconds, quiet or as_json, save, resume)
    for outcome, seconds in found_in_turn:
        outcomes.append((outcome, seconds))
        if not as_json:
            width_of_verdict = (22 if storage == "exact" else 58) + (38 if entries_of(configs[0]) else 0)
            if len(outcomes) == 1:
                click.echo(_head(width_of_verdict))
            click.echo(_row(*outcomes[-1], width_of_verdict))
        if outcome.failure is not None or outcome.why == "interrupted":
            break
    found_in_turn.close()
    _write(outcomes[-1][0], html, perfetto, all_accesses)
    _finish(outcomes, as_json, all_accesses, width)


def _in_turn(
    configs: list[Config], limits: Limits, max_seconds: float, quiet: bool, save: Path | None, resume: Path | None
) -> Generator[tuple[Outcome, float], None, None]:
    """One search after the other, with progress."""
    from softnet.verify.search import search

    for config in configs:
        begin = time.monotonic()
        outcome = search(config, limits, _progress(config, begin, max_seconds, quiet), save=save, resume=resume)
        yield outcome, time.monotonic() - begin


def _export(configs: list[Config], path: str, limits: Limits) -> None:
    """Write the model for SPIN, and say what SPIN should find."""
    from softnet.verify.promela import export

    if len(configs) != 1:
        raise SoftnetError("a model for SPIN is of one configuration", where="--export-promela", found=f"{len(configs)}",
                           expected="one --kernel and --driver")  # fmt: skip
    found = export(configs[0], Path(path), limits)
    click.echo(f"{found.promela}, {found.code}: {found.vector_bytes:,} bytes a state")
    expected = f"; SPIN should store {found.spin_states:,} states" if found.verdict == "holds (exhausted)" else ""
    click.echo(f"softnet: {found.verdict}, {found.states:,} states, {found.transitions:,} transitions{expected}")


def _write(outcome: Outcome, html: str | None, perfetto: str | None, every: bool) -> None:
    """The counterexample in files, if there is one and they are wanted."""
    from softnet.report import counterexample as files
    from softnet.verify.replay.schedule import replay

    if outcome.failure is None or (html is None and perfetto is None):
        return
    schedule = replay(outcome.config, outcome.actions)
    if html is not None:
        page = files.page(schedule, f"violated: {outcome.failure.name}", outcome.failure.text, replay_command(outcome), every=every,
                          repeats=outcome.repeats)  # fmt: skip
        files.write_page(html, page)
    if perfetto is not None:
        files.write_perfetto(perfetto, schedule, repeats=outcome.repeats)


def replay_command(outcome: Outcome) -> str:
    """The command that shows the counterexample once more."""
    from softnet.verify.replay.schedule import encode
    from softnet.verify.standard import to_text

    config = outcome.config
    files = "".join(f" --patch {p}" for p in config.patches) + "".join(f" --property-file {p}" for p in config.property_files)
    return f"softnet replay-schedule{files} '{to_text(config)}/{encode(outcome.actions, outcome.repeats)}'"


def _asked(names: tuple[str, ...]) -> tuple[str, ...]:
    """The properties to check: a run that hangs has no end, so who asks for some asks for *deadlock*, too."""
    return (*names, "deadlock") if names and "deadlock" not in names else names


def _progress(config: Config, begin: float, max_seconds: float, quiet: bool) -> Any:
    shown = begin

    def tell(states: int, transitions: int, frontier: int) -> bool:
        nonlocal shown
        now = time.monotonic()
        if not quiet and now - shown > 2:
            shown = now
            rate = transitions / (now - begin)
            text = f"{states:,} states, {frontier:,} waiting, {rate:,.0f} transitions/s"
            click.echo(f"{config.kernel}, {config.name}: {text}", err=True)
        return now - begin < max_seconds

    return tell


def _head(wide: int) -> str:
    return f"{'kernel':<14}{'configuration':<28}{'verdict':<{wide}}{'states':>12}{'transitions':>14}{'depth':>7}{'seconds':>9}"


def _row(outcome: Outcome, seconds: float, wide: int) -> str:
    config = outcome.config
    return (
        f"{config.kernel:<14}{config.name:<28}{outcome.verdict:<{wide}}{outcome.states:>12,}{outcome.transitions:>14,}"
        f"{outcome.depth:>7}{seconds:>9.1f}" + (f"  ({outcome.why})" if outcome.why else "")
    )


def _finish(outcomes: list[tuple[Outcome, float]], as_json: bool, all_accesses: bool, width: int) -> None:
    """Properties, the counterexample if there is one, and the exit status."""
    last = outcomes[-1][0]
    status = 0
    if any(o.verdict == "inconclusive" for o, _ in outcomes):
        status = EXIT_INCONCLUSIVE
    if last.failure is not None:
        status = EXIT_VIOLATED
    if as_json:
        click.echo(json.dumps([_to_dict(o, seconds) for o, seconds in outcomes], indent=2))
    else:
        click.echo("\n" + _table(outcomes))
        if last.failure is None:
            click.echo(_bounds(outcomes))
        if last.failure is not None:
            click.echo(counterexample(last, all_accesses, width))
    sys.exit(status)


def _table(outcomes: list[tuple[Outcome, float]]) -> str:
    """What was checked: a property holds only if every search that checked it was exhausted."""
    from softnet.verify.model import known_properties, store_buffer
    from softnet.verify.search import exhausted, omission

    last = outcomes[-1][0]
    known = known_properties(last.config)
    holds = exhausted(sum(omission(o.states) for o, _ in outcomes if o.storage == "compact"), store_buffer(last.config))
    bound = any(o.verdict == "inconclusive" for o, _ in outcomes)
    idle = {}
    if not any(d.kind == "hotplug" for o, _ in outcomes for d in o.config.drivers):
        idle["stranded"] = "no CPU goes offline"
    if not any(o.config.kernel.endswith("-rt") for o, _ in outcomes):
        idle["NET_RX from an IPI"] = "no PREEMPT_RT"
    lines = []
    for prop in known.values():
        if last.config.properties and prop.name not in last.config.properties:
            verdict = "not checked"
        elif prop.invariants.startswith("L") and not last.config.liveness:
            verdict = "not checked (--liveness)"
        elif prop.name in idle and last.failure is None:
            verdict = f"nothing to check: {idle[prop.name]}"
        elif last.failure is not None:
            verdict = "violated" if prop.name == last.failure.name else "not decided"
        else:
            verdict = "holds up to the limits" if bound else holds
        lines.append(f"{prop.name:<22}{prop.invariants:<5}{verdict}")
    other = "locks, BUG_ON, lists, NULL"
    verdict = "holds up to the limits" if bound else holds
    if last.failure is not None:
        named = any(p.name == last.failure.name for p in known.values())
        verdict = "not decided" if named else "violated"
    lines.append(f"{other:<27}{verdict}")
    return "\n".join(lines)


def _bounds(outcomes: list[tuple[Outcome, float]]) -> str:
    """What the searches left out: a verdict is about the configurations and what may happen in them."""
    from softnet.verify.model import store_buffer

    configs = [o.config for o, _ in outcomes]
    entries = store_buffer(configs[0])
    memory = (
        f"a CPU's store buffer holds {entries} stores (--store-buffer)"
        if entries
        else ("memory is sequentially consistent (--memory-model tso: stores wait in x86's store buffers)")
    )
    left_out = [memory]
    if not all(any(d.kind == "hotplug" for d in c.drivers) for c in configs):
        left_out.append("no CPU goes offline (--driver hotplug:0:2:1: CPU 1 does, and comes back)")
    if not all(c.ticks for c in configs):
        left_out.append("time does not pass (--set ticks=1: a poll may meet net_rx_action()'s time limit)")
    if not any(c.events for c in configs):
        left_out.append("no setting changes (--event skb_defer_max=N and others)")
    return "\nThe verdict is for these configurations, where " + ";\n  ".join(left_out) + "."


def counterexample(outcome: Outcome, every: bool, width: int) -> str:
    """The shortest schedule to the violation, in columns, and the text that replays it."""
    from softnet.verify.columns import render
    from softnet.verify.replay.schedule import replay

    assert outcome.failure is not None
    schedule = replay(outcome.config, outcome.actions)
    where = f"\n  at {outcome.failure.where}" if outcome.failure.where else ""
    return (
        f"\nviolated: {outcome.failure.name}: {outcome.failure.text}{where}\n"
        f"the shortest schedule, {len(outcome.actions)} steps"
        + (f", of which the last {outcome.repeats} repeat for ever" if outcome.repeats else "")
        + "; steps that touch nothing shared are left out\n\n"
        + render(schedule, width, every=every, repeats=outcome.repeats)
        + "\n"
        + "\n".join(schedule.ends)
        + f"\n\n{replay_command(outcome)}"
    )


def _to_dict(outcome: Outcome, seconds: float) -> dict[str, Any]:
    from softnet.verify.replay.schedule import encode
    from softnet.verify.standard import to_text

    failure = outcome.failure
    return {
        "configuration": to_text(outcome.config), "name": outcome.config.name, "patches": list(outcome.config.patches),
        "verdict": outcome.verdict, "why": outcome.why, "states": outcome.states, "transitions": outcome.transitions,
        "depth": outcome.depth, "terminal_states": outcome.terminals, "frontier": outcome.frontier,
        "seconds": round(seconds, 3), "bytes": outcome.bytes_used,
        "violated": None if failure is None else {"property": failure.name, "text": failure.text, "where": failure.where},
        "schedule": encode(outcome.actions, outcome.repeats) if outcome.actions else None,
        "repeats": outcome.repeats,
    }  # fmt: skip
