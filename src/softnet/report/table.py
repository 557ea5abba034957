# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables and wrapped text for a terminal or a file: what every command prints them with."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from softnet.errors import printable

WIDTH_MIN = 60
HEAD_WIDTH = 14
BETTER, WORSE = "green", "red"
ESCAPES = {"": "", "bold": "1", BETTER: "32", WORSE: "31"}
WORDS: Final = frozenset({
    "verdict", "reason", "configuration", "tried on", "package", "fetched", "provenance", "figure", "arm", "where", "what", "found",
})  # fmt: skip
"""Columns that hold words beside the first."""
WORDS_MIN: Final = 20
"""Columns that words have at the least where they are folded."""
ONE_COLUMN_WIDE = re.compile(r"[ -~µ–−×→…]*")
"""Texts whose every character takes one column of a terminal."""

Cell = str | tuple[str, str]
"""A cell's text, or (text, style)."""


@dataclass(frozen=True)
class Paper:
    """What a text is written on: so many columns, with colours on a terminal."""

    width: int = 100
    color: bool = False


def wrap(text: str, width: int, first: str = "", rest: str = "") -> list[str]:
    """Lines of at most ``width`` columns; figures keep their units beside them."""
    glued = glue_units(text)
    wrapped = textwrap.wrap(glued, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)
    return [line.replace("\u00a0", " ") for line in wrapped] or [first.rstrip()]


def wrapped(lines: Iterable[str], width: int) -> list[str]:
    """Lines as wide as there is room for, each with its indent; what goes on in the next line stands two columns further in."""
    out = []
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip()))
        # Figures in columns of their own stay there where they can.
        out += [line] if len(line) <= width else wrap(line.strip(), width, indent, f"{indent}  ")
    return out


def glue_units(text: str) -> str:
    """A line never breaks between a figure and its unit, nor around an arrow."""
    for unit in ("ns", "µs", "ms", "s", "%"):
        for end in (" ", ".", ",", ";", ")", ":"):
            text = text.replace(f" {unit}{end}", f"\u00a0{unit}{end}")
        if text.endswith(f" {unit}"):
            text = f"{text[: -len(unit) - 1]}\u00a0{unit}"
    return text.replace(" → ", "\u00a0→\u00a0")


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[Cell]], width: int, color: bool) -> list[str]:
    """A table under its title, if it has one; words stand to the left, figures to the right; [] without rows.

    Where it is too wide, words go on in the next line; then columns of figures go on in a further table below.
    """
    if not rows:
        return []
    names = [folded(name, HEAD_WIDTH if width >= 80 else 10) for name in head]
    cells = [[(printable(c), "") if isinstance(c, str) else (printable(c[0]), c[1]) for c in row] for row in rows]
    lines = (
        _grid_that_fits(names, cells, width, color)
        or _grid_with_wrapped_words(names, cells, width, color)
        or _grid_below_grid(names, cells, width, color)
        or _grid_by_rich(names, cells, width, color)
    )
    return ["", *(wrap(title, width) if title else []), *lines]


def untitled(head: Sequence[str], rows: Sequence[Sequence[Cell]], width: int, color: bool) -> str:
    """The same as a text that begins with the columns' names."""
    return "\n".join(table("", head, rows, width, color)[1:])


def styled(text: str, style: str, color: bool) -> str:
    """A text with a terminal's escapes around it, if it is for one."""
    return f"\x1b[{ESCAPES[style]}m{text}\x1b[0m" if color and style and text else text


def line_of(cells: Sequence[tuple[str, str]], widths: Sequence[int], words: Sequence[bool], color: bool) -> str:
    """A line of a table whose columns have these widths; in those of ``words`` the text stands to the left."""
    padded = []
    for (text, style), width, left in zip(cells, widths, words, strict=True):
        free = " " * (width - len(text))
        padded.append(styled(text, style, color) + free if left else free + styled(text, style, color))
    return "  ".join(padded).rstrip()


def _is_words(name: str, column: int) -> bool:
    """Whether a column holds words, which stand to the left; figures stand to the right."""
    return column == 0 or name in WORDS


Styled = Sequence[tuple[str, str]]


def _styled_lines(head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> list[list[tuple[str, str]]]:
    """The head's lines in bold, then the rows."""
    titles = [name.split("\n") for name in head]
    height = max(map(len, titles)) if any(head) else 0
    lines = [[("", "bold")] * len(head) for _ in range(height)]
    for column, parts in enumerate(titles):
        for line, text in zip(reversed(lines), reversed(parts), strict=False):
            line[column] = (text, "bold")
    return lines + [[(c, "") if isinstance(c, str) else c for c in row] for row in rows]


def _is_plain(lines: Sequence[Styled]) -> bool:
    return all(ONE_COLUMN_WIDE.fullmatch(text) and style in ESCAPES for line in lines for text, style in line)


def _widths(lines: Sequence[Styled]) -> list[int]:
    return [max(len(line[column][0]) for line in lines) for column in range(len(lines[0]))]


def _grid_that_fits(head: Sequence[str], rows: Sequence[Sequence[Cell]], width: int, color: bool) -> list[str] | None:
    """The lines of a table whose columns all have room; None where something must give way.

    Importing rich takes longer than simulating the few milliseconds that most first runs are.
    """
    lines = _styled_lines(head, rows)
    widths = _widths(lines)
    if not _is_plain(lines) or sum(widths) + 2 * len(widths) > width:
        return None
    words = [_is_words(name, column) for column, name in enumerate(head)]
    return [line_of(line, widths, words, color) for line in lines]


def _grid_with_wrapped_words(head: Sequence[str], rows: Sequence[Sequence[Cell]], width: int, color: bool) -> list[str] | None:
    """The same with the widest columns of words narrowed, to WORDS_MIN at the least; None if that is not enough."""
    lines = _styled_lines(head, rows)
    widths = _widths(lines)
    words = [_is_words(name, column) for column, name in enumerate(head)]
    for _ in range(sum(widths) + 2 * len(widths) - width):
        widest = max((column for column, left in enumerate(words) if left), key=lambda column: widths[column])
        if widths[widest] <= WORDS_MIN:
            return None
        widths[widest] -= 1
    if not _is_plain(lines):
        return None
    out = []
    for line in lines:
        parts = [wrap(text, widths[column]) if words[column] else [text] for column, (text, _) in enumerate(line)]
        if any(len(part) > widths[column] for column, pieces in enumerate(parts) for part in pieces):
            return None
        for at in range(max(map(len, parts))):
            cells = [(pieces[at] if at < len(pieces) else "", line[column][1]) for column, pieces in enumerate(parts)]
            out.append(line_of(cells, widths, words, color))
    return out


def _grid_below_grid(head: Sequence[str], rows: Sequence[Sequence[Cell]], width: int, color: bool) -> list[str] | None:
    """The columns of figures in several tables, each with the first column; None where there are words among them."""
    if any(name in WORDS for name in head[1:]):
        return None
    out: list[str] = []
    column = 1
    while column < len(head):
        found, taken = None, len(head) - column
        while taken and found is None:
            part = [0, *range(column, column + taken)]
            found = _grid_that_fits([head[c] for c in part], [[row[c] for c in part] for row in rows], width, color)
            taken -= found is None
        if found is None:
            return None
        out += [*([""] if out else []), *found]
        column += taken
    return out or None


def _grid_by_rich(head: Sequence[str], rows: Sequence[Sequence[Cell]], width: int, color: bool) -> list[str]:
    """The same with columns that are folded and cut until they have room."""
    import io

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    out = io.StringIO()
    console = Console(file=out, width=width, color_system="standard" if color else None, force_terminal=color,
                      legacy_windows=False, highlight=False, emoji=False, markup=False, _environ={})  # fmt: skip
    grid = Table(box=None, padding=(0, 2, 0, 0), header_style="bold" if color else "", show_header=any(head))
    for i, name in enumerate(head):
        justify: Literal["left", "right"] = "left" if _is_words(name, i) else "right"
        grid.add_column(name, justify=justify, no_wrap=i > 0, overflow="fold")
    for row in rows:
        cells = [(c, "") if isinstance(c, str) else c for c in row]
        grid.add_row(*(Text(text, style=style if color else "") for text, style in cells))
    console.print(grid)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def folded(name: str, width: int = HEAD_WIDTH) -> str:
    """A column's name on several lines; a long one breaks after spaces, commas, colons and equals signs, or where it must."""
    lines = [""]
    for part in re.findall(r"[^,=: ]+[,=: ]?|[,=: ]", name):
        for start in range(0, len(part), width):
            piece = part[start : start + width]
            if len(lines[-1]) + len(piece.rstrip()) > width:
                lines.append("")
            lines[-1] += piece
    return "\n".join(line.strip() for line in lines)
