# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/patches.csv lists every change of every release as the modules of softnet.linux.patches say it.

``python -m tests.linux.test_patch_table`` writes it anew.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from softnet.linux.releases import RELEASES, patch_info

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "patches.csv"


def text() -> str:
    """The table: a line for each release and patch, in the order in which they are linked."""
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(["from", "patch", "commit", "in Linux since", "subject", "link"])
    for release in RELEASES.values():
        of_rt = [name.removeprefix("patches.") for name in release.rt_patches if name.startswith("patches.")]
        for kernel, name in [
            *((release.name, name) for name in release.patches),
            *((f"{release.name}-rt", name) for name in of_rt),
        ]:
            info = patch_info(f"softnet.linux.patches.{name}")
            lines.writerow([kernel, name, info["commit"], info["since"], info["subject"], info["link"]])
    return out.getvalue()


def test_the_table_is_current_and_the_document_names_every_patch() -> None:
    assert TABLE.read_text(encoding="utf-8") == text(), "python -m tests.linux.test_patch_table"
    document = (ROOT / "docs" / "kernel.md").read_text(encoding="utf-8")
    names = {name for release in RELEASES.values() for name in release.patches}
    assert not [name for name in sorted(names) if f"`{name}`" not in document]


if __name__ == "__main__":
    TABLE.write_text(text(), encoding="utf-8")
