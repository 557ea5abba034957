# SPDX-License-Identifier: GPL-2.0-or-later
"""Texts held to files: ``SOFTNET_UPDATE_GOLDEN=1`` writes them anew."""

from __future__ import annotations

import os
from pathlib import Path

GOLDEN = Path(__file__).parent.parent / "golden"


def held_to_golden(folder: str, case: str, text: str) -> None:
    """Compare with ``golden/FOLDER/CASE.txt``."""
    golden = GOLDEN / folder / f"{case}.txt"
    if os.environ.get("SOFTNET_UPDATE_GOLDEN"):
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")
