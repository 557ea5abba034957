# SPDX-License-Identifier: GPL-2.0-or-later
"""softnet host doctor."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from softnet.cli._common import columns, echo_json, options, progress_bar, stopped_kernel, width_option

if TYPE_CHECKING:
    from softnet.host.predict import Prediction

from_option = options(
    click.option("--from", "given", multiple=True, type=click.Path(path_type=Path), metavar="FILE|DIR",
                 help="Not this machine: a report of --out, a copy of /proc and /sys, or any output pasted into a file."),
    click.option("--seconds", type=click.FloatRange(0, 3600), default=5.0, show_default=True,
                 help="How far apart the two samples of this machine are; 0 takes one."),
)  # fmt: skip


@click.command("doctor", short_help="What is wrong or risky, with evidence, and what to change.")
@from_option
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.option(
    "--out", "-o", type=click.Path(path_type=Path), help="Write what was read into this file, to be sent: a report for --from."
)
@click.option("--anonymous", is_flag=True, help="With --out: without names and addresses.")
@click.option(
    "--predict",
    "predicting",
    is_flag=True,
    help="Also run the machine's scenario with each change: what it would do, by the model.",
)
@width_option
def doctor(
    given: tuple[Path, ...], seconds: float, as_json: bool, out: Path | None, anonymous: bool, predicting: bool, width: int | None
) -> None:
    """Say what is wrong or risky in a machine's receive path, with evidence, and what to change.

    Reads /proc and /sys twice, a few seconds apart, as any user; root sees a little more. Changes nothing. Exit status: 0, whatever
    is found; 2 for input that cannot be read.
    """
    from softnet.files import atomic
    from softnet.host.doctor import diagnose
    from softnet.host.sources import read_sources
    from softnet.report.host import doctor_lines

    report = read_sources(given, seconds)
    if anonymous:
        from softnet.host.anonymous import anonymised

        report = anonymised(report)
    diagnosis = diagnose(report)
    if out is not None:
        with atomic(out) as stream:
            stream.write(report.to_json().encode())
    predictions: tuple[Prediction, ...] = ()
    if predicting:
        from softnet.host.predict import predict

        with stopped_kernel(), progress_bar(as_json, 100, "predicting") as shown:
            predictions = predict(report, diagnosis, lambda done, total, text: shown(done * 100 // max(total, 1), text))
    if as_json:
        echo_json({**diagnosis.to_dict(), "predictions": [asdict(prediction) for prediction in predictions]})
        return
    for line in doctor_lines(diagnosis, columns(width), predictions):
        click.echo(line)
