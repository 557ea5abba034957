# SPDX-License-Identifier: GPL-2.0-or-later
"""What the lab's commands share: each option once, progress, output, exit statuses."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from softnet.cli._common import options, paper, width_option
from softnet.release import DEFAULT

if TYPE_CHECKING:
    from softnet.lab.play.arm import GuestArm
    from softnet.lab.play.run import GuestOptions, LabResult
    from softnet.report.table import Paper
    from softnet.scenario import Scenario

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_TIMEOUT_SECONDS = 240.0
"""How long a guest may take in all."""
CALIBRATION_TIMEOUT_SECONDS = 600.0
EXIT_NOTHING_RECORDED: Final = 5
"""A trace without an event: the run is invalid, and there is nothing to check."""
NOTHING_RECORDED = "INVALID: not one event was recorded"


# -- options

scenario_argument = click.argument("scenario_path", metavar="SCENARIO", type=click.Path(path_type=Path))
json_option = click.option("--json", "as_json", is_flag=True, help="Print machine-readable JSON.")
set_option = click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting of the scenario.")
quiet_option = click.option("--quiet", "-q", is_flag=True, help="No progress on stderr.")
one_kernel_option = click.option(
    "--kernel", "kernel", default=DEFAULT, show_default=True, help="6.12, 6.12-rt, 6.12-threads or a vmlinuz."
)


def kernels_option(
    default: str = "the arms of the lab that can be had", what: str = "A kernel to run it on"
) -> Callable[[Command], Command]:
    """The kernels to run it on; ``default`` says which these are if none is named."""
    return click.option("--kernel", "kernels", multiple=True, help=f"{what}; may be repeated. Default: {default}.")


def boot_arg_option(where: str) -> Callable[[Command], Command]:
    """Words for the kernel's command line."""
    return click.option("--boot-arg", "boot_args", multiple=True, help=f"A word for {where}; may be repeated.")


def stretch_option(why: str = "") -> Callable[[Command], Command]:
    """Play the scenario slower."""
    return click.option(
        "--stretch", type=click.IntRange(1, 10_000), default=1, show_default=True, help=f"Play it so many times slower{why}."
    )


def out_option(what: str) -> Callable[[Command], Command]:
    """A folder to write to."""
    return click.option("--out", "-o", type=click.Path(file_okay=False, path_type=Path), help=what)


@dataclass(frozen=True)
class Guests:
    """How guests are run and what is said of it, as the command line asks."""

    options: GuestOptions
    say: Callable[[str], None]
    paper: Paper
    out: Path | None = None

    def arms(
        self, names: Sequence[str], boot_args: tuple[str, ...] = (), *, boots: bool = True, below: Sequence[str] = ("",)
    ) -> list[GuestArm]:
        """The arms of these names. Where they will be booted, a machine that cannot is told so before anything is fetched.

        So is who asks for the results in ``out``, in these folders ``below`` it, where they would replace files of the user's.
        """
        from softnet.lab.play.arm import guest_arm
        from softnet.lab.vm import kernels, qemu

        self.claim(names, below)
        kernels.require_machine()
        if boots:
            qemu.qemu_version()
        return [guest_arm(name, boot_args=boot_args, say=self.say) for name in names]

    def claim(self, names: Sequence[str], folders: Sequence[str] = ("",), others: Sequence[str] = ()) -> None:
        """Refuse ``out`` before a guest is booted if a file of the results would take the place of one that is the user's."""
        from softnet.lab.play.run import out_names
        from softnet.simulate.output import OutputFolder

        if self.out is not None:
            files = [os.path.join(folder, file) for folder in folders for name in names for file in out_names(name)]
            OutputFolder(self.out, add=True, names=[*files, *others])

    def write(self, results: Sequence[LabResult], folder: str = "") -> None:
        """Results and traces, if they are to be written."""
        from softnet.lab.play.run import write_out
        from softnet.simulate.output import OutputFolder

        if self.out is not None:
            with OutputFolder(self.out, add=True) as into:
                for result in results:
                    write_out(result, into.path / folder)
            self.say(f"results and traces are in {self.out / folder}")


def _takes_guests(command: Command) -> Command:
    """Hand the options that say how guests are run to the command as one ``guests``."""

    @functools.wraps(command)
    def wrapped(
        *args: Any, accel: str, timeout_seconds: float, quiet: bool, width: int | None, out: Path | None = None, **rest: Any
    ) -> Any:
        guests = Guests(options_of(accel, timeout_seconds), say_nothing if quiet else say_aloud, paper(width), out)
        return command(*args, guests=guests, **rest)

    return wrapped  # type: ignore[return-value]


def guest_options(command: Command) -> Command:
    """What every command takes that boots a guest; it is given ``guests``."""
    return options(
        quiet_option,
        width_option,
        out_option("Write results and traces here."),
        click.option(
            "--timeout",
            "timeout_seconds",
            type=click.FloatRange(min=1),
            default=DEFAULT_TIMEOUT_SECONDS,
            show_default=True,
            help="Seconds after which a guest is killed; one that does not speak is killed earlier, in proportion.",
        ),
        click.option(
            "--accel",
            type=click.Choice(["auto", "kvm", "tcg", "tcg-single", "icount"]),
            default="auto",
            show_default=True,
            help="What runs the guest; auto is KVM where it really works, else emulation; icount is emulation in which "
            "an instruction takes 1 ns of the guest's time.",
        ),
    )(_takes_guests(command))


def calibrated_guest_options(command: Command) -> Command:
    """The same for commands whose results are held against a cost table: instructions are counted, and that takes longer."""
    return options(
        quiet_option,
        width_option,
        click.option(
            "--timeout", "timeout_seconds", type=click.FloatRange(min=1), default=CALIBRATION_TIMEOUT_SECONDS, show_default=True,
            help="Seconds after which a guest is killed.",
        ),
        click.option(
            "--accel",
            type=click.Choice(["icount", "kvm", "tcg", "tcg-single"]),
            default="icount",
            show_default=True,
            help="What runs the guest; icount is emulation in which an instruction takes 1 ns, the same on every host.",
        ),
    )(_takes_guests(command))  # fmt: skip


def options_of(accel: str, timeout_seconds: float) -> GuestOptions:
    from typing import cast

    from softnet.lab.play.run import GuestOptions as Made
    from softnet.lab.vm.qemu import AccelChoice, Bounds

    # Counting instructions, one host CPU runs all of the guest's. Who gives the whole more time gives its boot more.
    boot_seconds = DEFAULT_TIMEOUT_SECONDS if accel == "icount" else 90.0
    boot_seconds *= max(timeout_seconds / DEFAULT_TIMEOUT_SECONDS, 1)
    return Made(cast("AccelChoice", accel), Bounds(min(boot_seconds, timeout_seconds), timeout_seconds))


# -- a scenario


def possible_scenario(path: Path, overrides: tuple[str, ...]) -> Scenario:
    """The scenario of a file. Raises an error for one that no guest can give, before anything is fetched."""
    from softnet.lab.play.scenario import refuse_impossible
    from softnet.scenario import load_scenario

    scenario = load_scenario(path, overrides)
    refuse_impossible(scenario)
    return scenario


# -- output


def say_aloud(text: str) -> None:
    click.echo(text, err=True)


def say_nothing(text: str) -> None:
    """Progress that nobody asked for."""


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=1))


def status_of(results: Sequence[LabResult], status: int = 0) -> int:
    """The exit status of a run: one that recorded nothing is invalid, whatever it seems to say."""
    empty = [result.arm for result in results if not result.trace.records]
    for arm in empty:
        say_aloud(f"{arm}: {NOTHING_RECORDED}")
    return EXIT_NOTHING_RECORDED if empty else status
