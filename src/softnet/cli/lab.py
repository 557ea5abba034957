# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the same scenario on real kernels, booted in QEMU.

Nothing is installed and no root is needed: kernels and the guest's programs are Debian packages, downloaded
and unpacked into a cache. What ran a guest (KVM or emulation) stands in every result.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from softnet.lab.run import Arm, LabResult, Options

Command = TypeVar("Command", bound=Callable[..., Any])


def _say(text: str) -> None:
    click.echo(text, err=True)


def _quiet(text: str) -> None:
    """Progress that nobody asked for."""


def _as_json(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print machine-readable JSON.")(command)


def _guest_options(command: Command) -> Command:
    """What every command takes that boots a guest."""
    for option in (
        click.option(
            "--accel",
            type=click.Choice(["auto", "kvm", "tcg", "tcg-single"]),
            default="auto",
            show_default=True,
            help="What runs the guest; auto is KVM where it really works, else emulation.",
        ),
        click.option(
            "--timeout",
            "timeout_seconds",
            type=click.FloatRange(min=1),
            default=240.0,
            show_default=True,
            help="Seconds after which a guest is killed.",
        ),
        click.option(
            "--out", type=click.Path(file_okay=False, path_type=Path), help="Write results and traces here."
        ),
        click.option("--quiet", is_flag=True, help="No progress on stderr."),
    ):
        command = option(command)
    return command


def _options(accel: str, timeout_seconds: float) -> Options:
    from typing import cast

    from softnet.lab.qemu import AccelChoice, Bounds
    from softnet.lab.run import Options as Made

    return Made(cast("AccelChoice", accel), Bounds(min(90.0, timeout_seconds), timeout_seconds))


def _arms(names: tuple[str, ...], boot_args: tuple[str, ...], say: Callable[[str], None]) -> list[Arm]:
    from softnet.lab import kernels
    from softnet.lab.run import arm

    kernels.require_machine()
    return [arm(name, boot_args=boot_args, say=say) for name in names]


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=1))


def _write_out(results: list[LabResult], out: Path | None, say: Callable[[str], None]) -> None:
    from softnet.lab.run import write_out

    if out is not None:
        for result in results:
            write_out(result, out)
        say(f"results and traces are in {out}")


def _print_results(results: list[LabResult]) -> None:
    from softnet.lab import show

    click.echo(show.counts_table(results))
    latencies = show.latency_table(results)
    if latencies:
        click.echo("\n" + latencies)
    click.echo()
    for line in [*show.ran_lines(results), *show.remarks(results)]:
        click.echo(line)


@click.group()
def command() -> None:
    """Run the same scenario on real kernels, booted in QEMU."""


@command.command()
@_as_json
def doctor(as_json: bool) -> int:
    """Say what the lab needs here, what is missing, and the command that gets it. Status 1: something is."""
    from softnet.lab.doctor import examine

    checks = examine()
    if as_json:
        _print_json([check.as_json() for check in checks])
    else:
        for check in checks:
            mark = "ok     " if check.ok else ("MISSING" if check.needed else "-      ")
            click.echo(f"{mark}  {check.name}: {check.found}")
            if check.fix:
                click.echo(f"         {check.fix}")
    return 1 if any(check.needed and not check.ok for check in checks) else 0


@command.command()
@_as_json
def kernels(as_json: bool) -> int:
    """List the kernels that can be had and those that are here."""
    from softnet.lab import kernels as lab_kernels
    from softnet.lab import show

    offers = {offer.name: offer.package for offer in lab_kernels.available()}
    here = {kernel.name: kernel for kernel in lab_kernels.all_cached()}
    names = [*offers, *(name for name in here if name not in offers)]
    rows = [
        {
            "name": name,
            "package": offers.get(name, ""),
            "fetched": here[name].release if name in here else "",
            "vmlinuz_sha256": here[name].provenance["vmlinuz_sha256"] if name in here else "",
        }
        for name in names
    ]
    if as_json:
        _print_json(rows)
    else:
        cells = [[row["name"], row["package"] or "-", row["fetched"] or "no"] for row in rows]
        click.echo(show.table(["name", "package", "fetched"], cells))
        click.echo("\nsoftnet lab fetch NAME gets one; every --kernel also takes the path of a vmlinuz.")
    return 0


@command.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@_as_json
def fetch(names: tuple[str, ...], as_json: bool) -> int:
    """Download kernels, such as 6.12-rt, into the cache, and the guest's programs with them."""
    from softnet.lab import kernels as lab_kernels
    from softnet.lab import userland

    lab_kernels.require_machine()
    got = [lab_kernels.fetch(name, say=_say) for name in names]
    _, programs = userland.build(say=_say)
    if as_json:
        _print_json({"kernels": [kernel.provenance for kernel in got], "userland": programs})
    else:
        for kernel in got:
            click.echo(f"{kernel.name}: {kernel.release}, SHA-256 {kernel.provenance['vmlinuz_sha256']}")
    return 0


@command.command()
@click.argument("scenario_path", metavar="SCENARIO", type=click.Path(path_type=Path))
@click.option(
    "--kernel", "kernel", default="6.12", show_default=True, help="6.12, 6.12-rt, 6.12-threads or a vmlinuz."
)
@click.option(
    "--boot-arg", "boot_args", multiple=True, help="A word for the kernel's command line; may be repeated."
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting of the scenario."
)
@click.option(
    "--clock",
    type=click.Choice(["counter", "mono"]),
    default="counter",
    show_default=True,
    help="Trace by total order or by time.",
)
@_guest_options
@_as_json
def run(
    scenario_path: Path,
    kernel: str,
    boot_args: tuple[str, ...],
    overrides: tuple[str, ...],
    clock: str,
    accel: str,
    timeout_seconds: float,
    out: Path | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Run SCENARIO on a real kernel."""
    return _run_scenario(
        scenario_path,
        (kernel,),
        boot_args,
        overrides,
        clock,
        _options(accel, timeout_seconds),
        out,
        quiet,
        as_json,
    )


@command.command()
@click.argument("scenario_path", metavar="SCENARIO", type=click.Path(path_type=Path))
@click.option(
    "--kernel",
    "kernels",
    multiple=True,
    help="A kernel to run it on; may be repeated. Default: the five arms.",
)
@click.option(
    "--boot-arg", "boot_args", multiple=True, help="A word for every command line; may be repeated."
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting of the scenario."
)
@_guest_options
@_as_json
def compare(
    scenario_path: Path,
    kernels: tuple[str, ...],
    boot_args: tuple[str, ...],
    overrides: tuple[str, ...],
    accel: str,
    timeout_seconds: float,
    out: Path | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Run SCENARIO on several real kernels and show them side by side."""
    from softnet.lab.run import ARMS

    names = kernels or ARMS
    return _run_scenario(
        scenario_path,
        names,
        boot_args,
        overrides,
        "counter",
        _options(accel, timeout_seconds),
        out,
        quiet,
        as_json,
    )


def _run_scenario(
    path: Path,
    names: tuple[str, ...],
    boot_args: tuple[str, ...],
    overrides: tuple[str, ...],
    clock: str,
    options: Options,
    out: Path | None,
    quiet: bool,
    as_json: bool,
) -> int:
    from softnet.lab.run import run_scenario
    from softnet.scenario import load_scenario

    say = _quiet if quiet else _say
    scenario = load_scenario(path, overrides)
    results = [
        run_scenario(arm, scenario, options=options, say=say, clock=clock)
        for arm in _arms(names, boot_args, say)
    ]
    _write_out(results, out, say)
    if as_json:
        _print_json([result.as_json() for result in results])
    else:
        click.echo(f"{scenario.name}: {scenario.measure.duration_ms:g} ms on real kernels\n")
        _print_results(results)
    return 0


@command.command()
@click.argument("name", type=click.Choice(["first-kick"]))
@click.option(
    "--kernel",
    "kernels",
    multiple=True,
    help="A kernel to run it on; may be repeated. Default: the five arms.",
)
@click.option(
    "--connections", type=click.IntRange(2, 1000), default=110, show_default=True, help="skbs to free."
)
@click.option(
    "--skb-defer-max",
    type=click.IntRange(0, 100_000),
    default=64,
    show_default=True,
    help="net.core.skb_defer_max.",
)
@_guest_options
@_as_json
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
    from softnet.lab import experiments, show
    from softnet.lab.run import ARMS

    say = _quiet if quiet else _say
    expected = experiments.expected_first_kick(skb_defer_max, connections)
    options = _options(accel, timeout_seconds)
    results = [
        experiments.first_kick(
            arm, connections=connections, skb_defer_max=skb_defer_max, options=options, say=say
        )
        for arm in _arms(kernels or ARMS, (), say)
    ]
    _write_out(results, out, say)
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
        _print_json(rows)
    else:
        click.echo(
            f"{connections} skbs of CPU 0 freed on CPU 1, skb_defer_max {skb_defer_max}; events in their order:\n"
        )
        for result, at in zip(results, found, strict=True):
            verdict = "as expected" if at == expected else f"EXPECTED {expected}"
            click.echo(f"{result.arm}: first kick at {at or 'no skb'}, {verdict}")
            click.echo(f"    {experiments.story_text(experiments.story(result.trace))}")
        click.echo()
        for line in [*show.ran_lines(results), *show.remarks(results)]:
            click.echo(line)
    return 0 if all(at == expected for at in found) else 1


@command.command()
@click.option(
    "--duration-ms",
    type=click.IntRange(50, 60_000),
    default=1000,
    show_default=True,
    help="Length of each run.",
)
@_guest_options
@_as_json
def seed(
    duration_ms: int, accel: str, timeout_seconds: float, out: Path | None, quiet: bool, as_json: bool
) -> int:
    """Show the seed patch on real kernels: 6.1-rt and 6.12-rt, 6.12 without and with its threads."""
    from softnet.lab import seed as lab_seed
    from softnet.lab import show

    say = _quiet if quiet else _say
    arms = _arms(lab_seed.ARMS, (), say)
    results = lab_seed.run(arms, duration_ms, options=_options(accel, timeout_seconds), say=say)
    loads, kicks = [result.load for result in results], [result.kick for result in results]
    if out is not None:
        _write_out(loads, out / "load", say)
        _write_out(kicks, out / "first-kick", say)
    if as_json:
        _print_json([result.as_json() for result in results])
        return 0
    click.echo(f"{lab_seed.scenario(duration_ms).description} {duration_ms} ms.\n")
    _print_results(loads)
    click.echo("\nOne CPU frees 110 skbs of another, idle one (softnet lab experiment first-kick):\n")
    click.echo(lab_seed.kick_table(results) + "\n")
    for line in [*show.remarks(kicks), *lab_seed.story(results)]:
        click.echo(line)
    return 0


@command.command()
@click.argument("name", type=click.Choice(["C4"]))
@click.option(
    "--kernel",
    "kernels",
    multiple=True,
    help="A kernel to run it on; may be repeated. Default: 6.1, 6.12 and 6.12-rt.",
)
@_guest_options
@_as_json
def reproduce(
    name: str,
    kernels: tuple[str, ...],
    accel: str,
    timeout_seconds: float,
    out: Path | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Try a predicted defect on real kernels, unchanged ones. Status 0: seen on all; 1: not seen on one."""
    from softnet.lab import experiments, show

    say = _quiet if quiet else _say
    options = _options(accel, timeout_seconds)
    results = [
        experiments.c4(arm, options=options, say=say)
        for arm in _arms(kernels or ("6.1", "6.12", "6.12-rt"), (), say)
    ]
    _write_out(results, out, say)
    seen = [experiments.c4_seen(result.trace) for result in results]
    held = [experiments.held_at_end(result.trace) for result in results]
    if as_json:
        rows = [
            {"seen": is_seen, "held": count, **result.as_json()}
            for is_seen, count, result in zip(seen, held, results, strict=True)
        ]
        _print_json(rows)
    else:
        click.echo(experiments.C4_TEXT + "\n")
        for result, is_seen, count in zip(results, seen, held, strict=True):
            click.echo(
                f"{result.arm}: {'seen' if is_seen else 'NOT SEEN'}; {count} skbs stay on CPU 0's list"
            )
            click.echo(f"    {experiments.story_text(experiments.story(result.trace))}")
        click.echo()
        for line in [*show.ran_lines(results), *show.remarks(results)]:
            click.echo(line)
    return 0 if all(seen) else 1


@command.command()
@click.argument("paths", nargs=-1, required=True, metavar="TRACE...", type=click.Path(path_type=Path))
@click.option("--patch", "patches", multiple=True, metavar="FILE", help="A patch of the model to check with.")
@_as_json
def check(paths: tuple[Path, ...], patches: tuple[str, ...], as_json: bool) -> int:
    """Say whether a real kernel's trace (ARM.lab.jsonl.gz) is a behaviour of the model. Status 1: one is not."""
    from softnet.lab import records, show
    from softnet.lab.validate.verdict import check as check_trace

    verdicts = [(path, check_trace(records.read(path), patches=patches)) for path in paths]
    if as_json:
        _print_json([{"trace": str(path), **verdict.as_json()} for path, verdict in verdicts])
    else:
        for path, verdict in verdicts:
            click.echo("\n".join(show.verdict_lines(str(path), verdict)))
    return 0 if all(verdict.accepted for _, verdict in verdicts) else 1
