# SPDX-License-Identifier: GPL-2.0-or-later
"""evidence/: every table says where it is from, and is a table; tools/tables.py makes such tables of a document."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EVIDENCE = ROOT / "evidence"
DOCUMENT = """\
# Run

| arm | test |
|---|---|
| 6.1 | `a \\| b` |

## Counts, all

| x |
|---|
| 1 |
text
| x | y |
|---|---|
| 1 | 2, 3 |
"""


def test_the_list_names_every_file_or_its_folder() -> None:
    listed = (EVIDENCE / "README.md").read_text(encoding="utf-8")
    files = [path.relative_to(EVIDENCE).as_posix() for path in EVIDENCE.rglob("*.*") if path.name != "README.md"]
    assert files
    assert not [name for name in files if f"({name})" not in listed and f"({name.split('/', maxsplit=1)[0]})" not in listed]


def test_every_row_has_a_cell_for_each_column() -> None:
    for path in EVIDENCE.rglob("*.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            widths = {len(row) for row in csv.reader(file)}
        assert len(widths) == 1, path


def test_the_tables_of_a_document_become_files(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(DOCUMENT, encoding="utf-8")
    subprocess.run([sys.executable, ROOT / "tools" / "tables.py", tmp_path / "a.md", tmp_path / "out"], check=True)
    made = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "out").iterdir()}
    assert made == {"run.csv": "arm,test\n6.1,a | b\n", "counts-all.csv": "x\n1\n", "counts-all-2.csv": 'x,y\n1,"2, 3"\n'}
