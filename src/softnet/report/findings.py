# SPDX-License-Identifier: GPL-2.0-or-later
"""The findings by release: where each is, which release came with it, and which one mended it."""

from __future__ import annotations

from typing import Any

from softnet.properties.findings import FINDINGS, Finding
from softnet.release import releases
from softnet.report.table import wrap

MODES = {"ipi": "i", "threads": "t", "rt": "r"}
"""Mode -> its letter in the table."""
OPTIONS = {"driver": "--driver", "event": "--event", "memory_model": "--memory-model", "store_buffer": "--store-buffer"}
"""Part of a configuration -> its option of softnet verify; the others are settings."""
LEGEND = "i: as it boots, with IPIs; t: with thread_backlog_napi; r: PREEMPT_RT; –: not there; mended: the release before had it."


PATCHES = "examples/patches/"


def cells(finding: Finding) -> list[str]:
    """What stands below each release."""
    out, before = [], False
    for release in releases():
        modes = finding.modes(release)
        out.append("".join(MODES[mode] for mode in modes) or ("mended" if before else "–"))
        before = bool(modes)
    return out


def mended_in(finding: Finding) -> str:
    """The first release that has it no more; "" if the newest still does."""
    return next((release for release, cell in zip(releases(), cells(finding), strict=True) if cell == "mended"), "")


def render_findings(width: int = 100, *, verbose: bool = False) -> str:
    """The table, one finding a row; ``verbose`` says each in a sentence and how it is found again."""
    head = ["", *releases(), "mended by"]
    lines = _aligned([head, *([f.number, *cells(f), f.fix or "none"] for f in FINDINGS.values())])
    if max(map(len, lines)) > width:
        # Which file it is stands in the name; the folder, below.
        short = [(f.fix or "none").removeprefix(PATCHES).removesuffix(".py") for f in FINDINGS.values()]
        lines = _aligned([head, *([f.number, *cells(f), fix] for f, fix in zip(FINDINGS.values(), short, strict=True))])
        lines += ["", *wrap(f"mended by: a commit of the kernel, or {PATCHES}NAME.py", width)]
    lines += ["", *wrap(LEGEND, width)]
    for finding in FINDINGS.values() if verbose else ():
        lines += ["", *wrap(f"{finding.number}: {finding.sentence}.", width, "", "    "), f"  {asked(finding)}"]
    return "\n".join(lines) + "\n"


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def asked(finding: Finding) -> str:
    """The command that finds it on the newest kernel that has it."""
    kernel, *parts = finding.on(finding.kernels[-1]).split(",")
    words = ["softnet verify --strict --kernel", kernel.removeprefix("kernel=")]
    for part in parts:
        key, _, value = part.partition("=")
        option = OPTIONS.get(key, "")
        words.append(f"{option} {value.replace(':', '=') if key == 'event' else value}" if option else f"--set {part}")
    return " ".join([*words, f"--property '{finding.properties[0]}'"])


def findings_data() -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {
            "number": f.number, "sentence": f.sentence, "properties": list(f.properties), "invariants": list(f.invariants),
            "kernels": list(f.kernels), "mended_in": mended_in(f), "mended_by": f.fix, "seen": list(f.seen), "verify": asked(f),
        }
        for f in FINDINGS.values()
    ]  # fmt: skip
