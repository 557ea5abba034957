# SPDX-License-Identifier: GPL-2.0-or-later
"""What the lab's commands share: options, progress, output."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from softnet.lab.play.run import Arm, LabResult, Options

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_TIMEOUT_SECONDS = 240.0
"""How long a guest may take in all."""


def say_aloud(text: str) -> None:
    click.echo(text, err=True)


def say_nothing(text: str) -> None:
    """Progress that nobody asked for."""


def json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print machine-readable JSON.")(command)


def guest_options(command: Command) -> Command:
    """What every command takes that boots a guest."""
    for option in (
        click.option(
            "--accel",
            type=click.Choice(["auto", "kvm", "tcg", "tcg-single", "icount"]),
            default="auto",
            show_default=True,
            help="What runs the guest; auto is KVM where it really works, else emulation; icount is emulation in which "
            "an instruction takes 1 ns of the guest's time.",
        ),
        click.option(
            "--timeout",
            "timeout_seconds",
            type=click.FloatRange(min=1),
            default=DEFAULT_TIMEOUT_SECONDS,
            show_default=True,
            help="Seconds after which a guest is killed; one that does not speak is killed earlier, in proportion.",
        ),
        click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Write results and traces here."),
        click.option("--quiet", is_flag=True, help="No progress on stderr."),
    ):
        command = option(command)
    return command


def options_of(accel: str, timeout_seconds: float) -> Options:
    from typing import cast

    from softnet.lab.play.run import Options as Made
    from softnet.lab.vm.qemu import AccelChoice, Bounds

    # Counting instructions, one host CPU runs all of the guest's. Who gives the whole more time gives its boot more.
    boot_seconds = DEFAULT_TIMEOUT_SECONDS if accel == "icount" else 90.0
    boot_seconds *= max(timeout_seconds / DEFAULT_TIMEOUT_SECONDS, 1)
    return Made(cast("AccelChoice", accel), Bounds(min(boot_seconds, timeout_seconds), timeout_seconds))


def arms_of(names: tuple[str, ...], boot_args: tuple[str, ...], say: Callable[[str], None], *, boots: bool = True) -> list[Arm]:
    """The arms of these names. Where they will be booted, a machine that cannot is told so before anything is fetched."""
    from softnet.lab.play.run import arm
    from softnet.lab.vm import kernels, qemu

    kernels.require_machine()
    if boots:
        qemu.qemu_version()
    return [arm(name, boot_args=boot_args, say=say) for name in names]


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=1))


def write_results(results: list[LabResult], out: Path | None, say: Callable[[str], None]) -> None:
    from softnet.lab.play.run import write_out

    if out is not None:
        for result in results:
            write_out(result, out)
        say(f"results and traces are in {out}")


def print_results(results: list[LabResult]) -> None:
    from softnet.lab import show

    click.echo(show.counts_table(results))
    latencies = show.latency_table(results)
    if latencies:
        click.echo("\n" + latencies)
    click.echo()
    for line in [*show.ran_lines(results), *show.remarks(results)]:
        click.echo(line)
