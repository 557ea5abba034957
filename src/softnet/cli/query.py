# SPDX-License-Identifier: GPL-2.0-or-later
"""Ask the results of an experiment in SQL.

EXPERIMENT is a folder that softnet sweep --out wrote, or an address of --store. The table is ``runs``, a row for each run;
docs/sweep.md lists its columns, and "describe runs" shows them. The SQL is DuckDB's; it reads this table only, and writes nothing.
"""

from __future__ import annotations

import sys

import click

from softnet.cli._common import columns, width_option


@click.command("query", help=__doc__)
@click.argument("experiment")
@click.argument("sql")
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the rows as CSV.")
@width_option
def command(experiment: str, sql: str, as_json: bool, as_csv: bool, width: int | None) -> None:
    """Query."""
    from softnet.errors import SoftnetError
    from softnet.sweep.reading import query
    from softnet.sweep.remote import here

    if as_json and as_csv:
        raise SoftnetError("one form of output at a time", where="--json --csv", expected="one of them")
    with here(experiment) as folder:
        table = query(folder, sql)
    rows = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    if as_csv:
        import csv

        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(table.column_names)
        writer.writerows(rows)
        return
    if as_json:
        import json

        document = [dict(zip(table.column_names, row, strict=True)) for row in rows]
        click.echo(json.dumps(document, indent=1, ensure_ascii=False, default=str))
        return
    from softnet.report.sweep import render_rows

    click.echo(render_rows(table.column_names, rows, columns(width), sys.stdout.isatty()), nl=False)
