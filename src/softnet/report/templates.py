# SPDX-License-Identifier: GPL-2.0-or-later
"""What `softnet init` prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from softnet.errors import printable
from softnet.scenario.templates import Template


def render_list(templates: Sequence[Template]) -> str:
    """A line for each template: its name and the question that it answers."""
    width = max(len(each.name) for each in templates)
    return "".join(f"{each.name:<{width}}  {each.question}\n" for each in templates)


def render_copied(template: Template, folder: Path) -> str:
    """What was written, and what to run next."""
    where = "" if folder == Path() else f"{printable(str(folder))}/"
    lines = [f"{where}{template.scenario}: {template.question}"]
    lines += [f"{where}{name}" for name in template.files if name != template.scenario]
    lines += ["", "Next:"]
    if where:
        lines.append(f"  cd {printable(str(folder))}")
    lines += [f"  {each}" for each in (f"softnet check {template.scenario}", *_commands(template))]
    return "\n".join(lines) + "\n"


def _commands(template: Template) -> list[str]:
    """The plain run first, then what the file itself says."""
    plain = f"softnet run {template.scenario}"
    return [plain, *(each for each in template.commands if each != plain)]
