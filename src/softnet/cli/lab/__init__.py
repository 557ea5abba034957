# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the same scenario on real kernels, booted in QEMU.

Nothing is installed and no root is needed: kernels and the guest's programs are Debian packages, downloaded
and unpacked into a cache. What ran a guest (KVM or emulation) stands in every result.
"""

from __future__ import annotations

import click

from softnet.cli.lab._checking import check, conform
from softnet.cli.lab._experiments import experiment, reproduce, seed
from softnet.cli.lab._kernels import doctor, fetch, kernels
from softnet.cli.lab._predicting import calibrate, predict
from softnet.cli.lab._scenarios import compare, run


@click.group()
def command() -> None:
    """Run the same scenario on real kernels, booted in QEMU."""


for member in (
    doctor,
    kernels,
    fetch,
    run,
    compare,
    experiment,
    seed,
    calibrate,
    predict,
    reproduce,
    check,
    conform,
):
    command.add_command(member)
