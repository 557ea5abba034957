# SPDX-License-Identifier: GPL-2.0-or-later
"""A calibration as a cost table in TOML: every row of the default table, measured or with why it is not."""

from __future__ import annotations

import json
from collections.abc import Mapping

from softnet.errors import printable
from softnet.host.calibrate.fit import Fitted
from softnet.host.calibrate.surroundings import Surroundings


def quoted(text: str) -> str:
    """A string of TOML."""
    return json.dumps(printable(text), ensure_ascii=False)


def table_text(rows: Mapping[str, Fitted], name: str, where: Surroundings, date: str, marks: list[str]) -> str:
    """The whole file. It needs no base."""
    measured = sum(not row.assumed for row in rows.values())
    about = f"{measured} of {len(rows)} rows are of this machine, measured {date}: {where.where}"
    lines = [
        "# SPDX-License-Identifier: GPL-2.0-or-later",
        "# Made by softnet host calibrate. Every row: ns (or ps_per_byte), spread_permille (half of the quartiles' distance),",
        "# provenance (measured | derived: from what was measured, with other rows | assumed) and source.",
        *(f"# {printable(mark)}" for mark in marks),
        f"name = {quoted(name)}",
        f"about = {quoted(about)}",
    ]
    made = f"softnet host calibrate, {date}, {where.where}"
    for row in sorted(rows.values(), key=lambda row: (row.section != "machine", row.name)):
        lines += ["", f"[{row.section}.{row.name}]", f"{'ps_per_byte' if row.per_byte else 'ns'} = {row.value}"]
        if row.spread_permille:
            lines.append(f"spread_permille = {row.spread_permille}")
        source = row.source if row.assumed else f"{row.source}; {made}"
        lines += [f'provenance = "{row.provenance}"', f"source = {quoted(source)}"]
    return "\n".join(lines) + "\n"
