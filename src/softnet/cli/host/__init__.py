# SPDX-License-Identifier: GPL-2.0-or-later
"""A live machine, or what somebody sends of one: what is wrong with its receive path.

Nothing is changed: files are read, and what is to be done is printed. Only to record and to calibrate, a tracing instance is made,
and removed.
"""

from __future__ import annotations

import click

from softnet.cli.host._calibrate import calibrate
from softnet.cli.host._doctor import doctor
from softnet.cli.host._record import record
from softnet.cli.host._scenario import scenario
from softnet.cli.host._watch import watch


@click.group()
def command() -> None:
    """Judge, watch, record or measure the receive path of this machine; judge another one from what it sent."""


for member in (calibrate, doctor, record, scenario, watch):
    command.add_command(member)
