# SPDX-License-Identifier: GPL-2.0-or-later
"""`softnet lab experiment`, `seed` and `reproduce`: experiments of our own."""

from __future__ import annotations

from collections.abc import Sequence

import click

from softnet.cli.lab._shared import Guests, guest_options, json_option, kernels_option, print_json, status_of


@click.command()
@click.argument("name", type=click.Choice(["first-kick"]))
@kernels_option()
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
def experiment(name: str, kernels: tuple[str, ...], connections: int, skb_defer_max: int, guests: Guests, as_json: bool) -> int:
    """Run an experiment whose answer is exact. Status 1: a kernel answered otherwise."""
    from softnet.lab.play.arm import arms_here
    from softnet.lab.studies import experiments
    from softnet.report import lab_defects, lab_tables

    expected = experiments.expected_first_kick(skb_defer_max, connections)
    results = [
        experiments.first_kick(arm, connections=connections, skb_defer_max=skb_defer_max, options=guests.options, say=guests.say)
        for arm in guests.arms(kernels or arms_here())
    ]
    guests.write(results)
    found = [experiments.first_kick_at(result.trace) for result in results]
    if as_json:
        rows = [
            {
                "first_kick_at": at,
                "expected": expected,
                "story": lab_defects.story_text(experiments.story(result.trace)),
                **result.as_json(),
            }
            for result, at in zip(results, found, strict=True)
        ]
        print_json(rows)
    else:
        click.echo(f"{connections} skbs of CPU 0 freed on CPU 1, skb_defer_max {skb_defer_max}; events in their order:\n")
        for result, at in zip(results, found, strict=True):
            click.echo("\n".join(lab_defects.first_kick_lines(result, at, expected, guests.paper)))
        click.echo("\n" + "\n".join(lab_tables.closing_lines(results, guests.paper)))
    return status_of(results, 0 if all(at == expected for at in found) else 1)


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
def seed(duration_ms: int, costs: str, guests: Guests, as_json: bool) -> int:
    """Show the seed patch, model beside kernel: 6.1-rt and 6.12-rt, 6.12 without and with its threads."""
    from softnet.lab.studies import seed as lab_seed
    from softnet.report.lab_seed import seed_text

    arms = guests.arms(lab_seed.ARMS, below=("load", "first-kick"))
    results = lab_seed.run(arms, duration_ms, options=guests.options, say=guests.say, costs=costs)
    loads, kicks = [result.load for result in results], [result.kick for result in results]
    guests.write(loads, "load")
    guests.write(kicks, "first-kick")
    if as_json:
        print_json([result.as_json() for result in results])
    else:
        click.echo(f"{lab_seed.scenario(duration_ms).description} {duration_ms} ms.\n")
        click.echo(seed_text(results, guests.paper))
    return status_of([*loads, *kicks])


def _here(seen: Sequence[str]) -> Sequence[str]:
    """Of the arms on which a defect was seen those that can be had."""
    from softnet.lab.play.arm import arms_here

    here = arms_here()
    return [arm for arm in seen if arm in here] or seen


@click.command()
@click.argument("name", type=click.Choice(["C1", "C4", "C5", "offline-kick", "dead-queue"]))
@kernels_option("those on which it was seen, if they can be had")
@click.option("--tries", type=click.IntRange(1), help="Give up after so many tries. Not of C4, which needs no luck.")
@guest_options
@json_option
def reproduce(name: str, kernels: tuple[str, ...], tries: int | None, guests: Guests, as_json: bool) -> int:
    """Try a predicted defect on real kernels, unchanged ones. Status 0: seen on all; 1: not seen on one."""
    from softnet.lab.studies import experiments
    from softnet.lab.studies import reproduce as races
    from softnet.report import lab_defects, lab_tables

    options, say = guests.options, guests.say
    if name == "C4":
        arms = guests.arms(kernels or _here(experiments.C4_ARMS))
        results = [experiments.c4(arm, options=options, say=say) for arm in arms]
        seen = [experiments.c4_seen(result.trace) for result in results]
        text, reports = experiments.C4_TEXT, [lab_defects.c4_lines(result, guests.paper) for result in results]
    else:
        defect = races.DEFECTS[name]
        arms = guests.arms(kernels or _here(defect.arms))
        results = [races.attempt(defect, arm, options=options, say=say, tries=tries) for arm in arms]
        seen = [races.seen(defect, result) for result in results]
        text, reports = defect.text, [lab_defects.defect_lines(defect, result, guests.paper) for result in results]
    guests.write(results)
    status = 0 if all(seen) else 1
    if as_json:
        rows = zip(seen, reports, results, strict=True)
        print_json([{"seen": is_seen, "report": lines, **result.as_json()} for is_seen, lines, result in rows])
    else:
        lines = [text, "", *(line for report in reports for line in report), "", *lab_tables.closing_lines(results, guests.paper)]
        click.echo("\n".join(lines))
    return status_of(results, status)
