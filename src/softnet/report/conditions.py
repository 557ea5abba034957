# SPDX-License-Identifier: GPL-2.0-or-later
"""What conditions came to, in sentences and as JUnit's XML."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import quoteattr

from softnet.errors import printable
from softnet.report.names import quantity
from softnet.simulate.conditions import Judged


def condition_text(judged: Judged, base: str) -> str:
    """One sentence: the condition, the arm, and its figures. ``base`` is the first arm."""
    says = "true" if judged.true else "not true"
    text = f"{judged.condition.text}: {says} of {judged.arm}: {quantity(judged.mean, judged.unit)}"
    if judged.change_percent is not None:
        change = (
            "more than nothing" if judged.change_percent == float("inf") else f"{judged.change_percent:+.1f} %".replace("-", "−")
        )
        noise = ", within noise" if judged.verdict == "noise" else ""
        text += f" against {quantity(judged.base, judged.unit)} of {base}, {change}{noise}"
    return printable(text)


def junit_document(judged: Sequence[Judged], scenario: str, base: str) -> str:
    """A test suite with one test for each condition and arm; one that is true has failed."""
    failures = sum(one.true for one in judged)
    out = ['<?xml version="1.0" encoding="UTF-8"?>']
    out.append(f'<testsuites tests="{len(judged)}" failures="{failures}">')
    out.append(f'  <testsuite name={_quoted(scenario)} tests="{len(judged)}" failures="{failures}" errors="0">')
    for one in judged:
        head = f"    <testcase classname={_quoted(f'{scenario}.{one.arm}')} name={_quoted(one.condition.text)}"
        if one.true:
            out += [f"{head}>", f"      <failure message={_quoted(condition_text(one, base))}/>", "    </testcase>"]
        else:
            out.append(f"{head}/>")
    return "\n".join([*out, "  </testsuite>", "</testsuites>", ""])


def _quoted(text: str) -> str:
    return quoteattr(printable(text))
