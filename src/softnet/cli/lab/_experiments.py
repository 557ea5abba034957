# SPDX-License-Identifier: GPL-2.0-or-later
"""`softnet lab experiment`, `seed` and `reproduce`: experiments of our own."""

from __future__ import annotations

from pathlib import Path

import click

from softnet.cli.lab._shared import (
    arms_of,
    guest_options,
    json_option,
    options_of,
    print_json,
    print_results,
    say_aloud,
    say_nothing,
    write_results,
)


@click.command()
@click.argument("name", type=click.Choice(["first-kick"]))
@click.option(
    "--kernel",
    "kernels",
    multiple=True,
    help="A kernel to run it on; may be repeated. Default: the five arms.",
)
@click.option("--connections", type=click.IntRange(2, 1000), default=110, show_default=True, help="skbs to free.")
@click.option(
    "--skb-defer-max",
    type=click.IntRange(0, 100_000),
    default=64,
    show_default=True,
    help="net.core.skb_defer_max.",
)
@guest_options
@json_option
def experiment(
    name: str,
    kernels: tuple[str, ...],
    connections: int,
    skb_defer_max: int,
    accel: str,
    timeout_seconds: float,
    out: Path | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Run an experiment whose answer is exact. Status 1: a kernel answered otherwise."""
    from softnet.lab import show
    from softnet.lab.play.run import ARMS
    from softnet.lab.studies import experiments

    say = say_nothing if quiet else say_aloud
    expected = experiments.expected_first_kick(skb_defer_max, connections)
    options = options_of(accel, timeout_seconds)
    results = [
        experiments.first_kick(arm, connections=connections, skb_defer_max=skb_defer_max, options=options, say=say)
        for arm in arms_of(kernels or ARMS, (), say)
    ]
    write_results(results, out, say)
    found = [experiments.first_kick_at(result.trace) for result in results]
    if as_json:
        rows = [
            {
                "first_kick_at": at,
                "expected": expected,
                "story": experiments.story_text(experiments.story(result.trace)),
                **result.as_json(),
            }
            for result, at in zip(results, found, strict=True)
        ]
        print_json(rows)
    else:
        click.echo(f"{connections} skbs of CPU 0 freed on CPU 1, skb_defer_max {skb_defer_max}; events in their order:\n")
        for result, at in zip(results, found, strict=True):
            verdict = "as expected" if at == expected else f"EXPECTED {expected}"
            click.echo(f"{result.arm}: first kick at {at or 'no skb'}, {verdict}")
            click.echo(f"    {experiments.story_text(experiments.story(result.trace))}")
        click.echo()
        for line in [*show.ran_lines(results), *show.remarks(results)]:
            click.echo(line)
    return 0 if all(at == expected for at in found) else 1


@click.command()
@click.option(
    "--duration-ms",
    type=click.IntRange(50, 60_000),
    default=1000,
    show_default=True,
    help="Length of each run.",
)
@click.option("--costs", default="default", show_default=True, help="The model's cost table, by name or path.")
@guest_options
@json_option
def seed(
    duration_ms: int,
    costs: str,
    accel: str,
    timeout_seconds: float,
    out: Path | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Show the seed patch, model beside kernel: 6.1-rt and 6.12-rt, 6.12 without and with its threads."""
    from softnet.lab import show
    from softnet.lab.studies import seed as lab_seed

    say = say_nothing if quiet else say_aloud
    arms = arms_of(lab_seed.ARMS, (), say)
    options = options_of(accel, timeout_seconds)
    results = lab_seed.run(arms, duration_ms, options=options, say=say, costs=costs)
    loads, kicks = [result.load for result in results], [result.kick for result in results]
    if out is not None:
        write_results(loads, out / "load", say)
        write_results(kicks, out / "first-kick", say)
    if as_json:
        print_json([result.as_json() for result in results])
        return 0
    click.echo(f"{lab_seed.scenario(duration_ms).description} {duration_ms} ms.\n")
    for pair in lab_seed.pairs(results):
        click.echo(lab_seed.beside_table(pair) + "\n")
    print_results(loads)
    click.echo("\nOne CPU frees 110 skbs of another, idle one (softnet lab experiment first-kick):\n")
    click.echo(lab_seed.kick_table(results) + "\n")
    for line in [*show.remarks(kicks), *lab_seed.story(results)]:
        click.echo(line)
    return 0


@click.command()
@click.argument("name", type=click.Choice(["C1", "C4", "C5", "offline-kick", "dead-queue"]))
@click.option(
    "--kernel",
    "kernels",
    multiple=True,
    help="A kernel to run it on; may be repeated. Default: those in which the model has it.",
)
@click.option("--tries", type=click.IntRange(1), help="Give up after so many tries. Not of C4, which needs no luck.")
@guest_options
@json_option
def reproduce(
    name: str,
    kernels: tuple[str, ...],
    tries: int | None,
    accel: str,
    timeout_seconds: float,
    out: Path | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Try a predicted defect on real kernels, unchanged ones. Status 0: seen on all; 1: not seen on one."""
    from softnet.lab import show
    from softnet.lab.studies import experiments
    from softnet.lab.studies import reproduce as races

    say = say_nothing if quiet else say_aloud
    options = options_of(accel, timeout_seconds)
    if name == "C4":
        arms = arms_of(kernels or ("6.1", "6.12", "6.12-rt"), (), say)
        results = [experiments.c4(arm, options=options, say=say) for arm in arms]
        seen = [experiments.c4_seen(result.trace) for result in results]
        text, told = experiments.C4_TEXT, [experiments.c4_report(result) for result in results]
    else:
        defect = races.DEFECTS[name]
        arms = arms_of(kernels or defect.arms, (), say)
        results = [races.attempt(defect, arm, options=options, say=say, tries=tries) for arm in arms]
        seen = [races.seen(defect, result) for result in results]
        text, told = defect.text, [races.report(defect, result) for result in results]
    write_results(results, out, say)
    if as_json:
        print_json(
            [
                {"seen": is_seen, "report": lines, **result.as_json()}
                for is_seen, lines, result in zip(seen, told, results, strict=True)
            ]
        )
        return 0 if all(seen) else 1
    click.echo(text + "\n")
    for line in (line for lines in told for line in lines):
        click.echo(line)
    click.echo()
    for line in [*show.ran_lines(results), *show.remarks(results)]:
        click.echo(line)
    return 0 if all(seen) else 1
