#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Write the tables of a Markdown document as CSV files, one each, named by its heading: what evidence/ is made of.

tools/tables.py conform/conform.md evidence/conformance
"""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

CELLS = re.compile(r"(?<!\\)\|")
"""A bar that is not escaped parts two cells."""


def tables(text: str) -> Iterator[tuple[str, list[list[str]]]]:
    """Each table with the heading above it: its head and its rows, without the line between them."""
    heading, rows = "", []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip().replace("\\|", "|").replace("`", "") for cell in CELLS.split(line.strip()[1:-1])])
            continue
        if rows:
            yield heading, [rows[0], *rows[2:]]
            rows = []
        if line.startswith("#"):
            heading = line.lstrip("# ")


def main() -> int:
    """Write them into the folder."""
    if len(sys.argv) != 3:
        sys.exit("usage: tools/tables.py DOCUMENT.md FOLDER")
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    seen: Counter[str] = Counter()
    for heading, rows in tables(Path(sys.argv[1]).read_text(encoding="utf-8")):
        name = re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")
        seen[name] += 1
        name += f"-{seen[name]}" if seen[name] > 1 else ""
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
