# SPDX-License-Identifier: GPL-2.0-or-later
"""The one kind of error that softnet shows to a user.

An error says what is wrong, where, what was found there, what was expected, and what to do. The command line
prints exactly ``str(error)`` and exits with 2; nothing else turns bad input into text.
"""

from __future__ import annotations

from typing import Any, Final

_LINE_MAX: Final = 1000


class SoftnetError(Exception):
    """Bad input or an impossible request, told in one message.

    Parameters
    ----------
    message:
        What is wrong, one sentence, with no final full stop needed.
    where:
        The place: ``file.toml:12: machine.cpus``, ``capture.pcap: packet 7 (byte 1042)``, a function.
    found:
        What stands there.
    expected:
        What is allowed there.
    hint:
        What to do about it.
    """

    message: str
    where: str
    found: str
    expected: str
    hint: str

    def __init__(self, message: str, *, where: str = "", found: str = "", expected: str = "", hint: str = "") -> None:
        # All five go to Exception so that a copy, or a pickle sent back by a worker process, keeps them.
        super().__init__(message, where, found, expected, hint)
        self.message = message
        self.where = where
        self.found = found
        self.expected = expected
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle through keywords: the default would pass all five by position and fail."""
        parts = {"where": self.where, "found": self.found, "expected": self.expected, "hint": self.hint}
        return _rebuild, (type(self), self.message, parts)

    def __str__(self) -> str:
        lines = [f"{shortened(self.where)}: {self.message}" if self.where else self.message]
        for label, text in (("found", shortened(self.found)), ("expected", self.expected), ("hint", self.hint)):
            if text:
                lines.append(_labelled(label, text))
        return printable("\n".join(lines), keep="\n\t")


def shortened(text: str) -> str:
    """The text, in which what somebody else wrote on a line of more than 1,000 characters is left out in the middle."""
    return "\n".join(_short(line) for line in text.split("\n")) if len(text) > _LINE_MAX else text


def _short(line: str) -> str:
    return line if len(line) <= _LINE_MAX else f"{line[:200]} … {len(line) - 260:,} characters … {line[-60:]}"


def printable(text: str, *, keep: str = "") -> str:
    """The text, in which what would move a terminal's cursor, colour it or turn its direction is written out by its number.

    Names come from files that somebody else may have written; ``keep`` are control characters that may stay.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else _written_out(c) for c in text)


def _written_out(character: str) -> str:
    # What Python calls printable leaves out every control and format character, surrogates, and spaces but the plain one.
    if character.isspace() and character > "\xa0" and character not in "\u2028\u2029":
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _labelled(label: str, text: str) -> str:
    """One labelled line; the lines after the first of a longer text stand under its beginning."""
    head = f"  {label + ':':<10}"
    return head + text.replace("\n", "\n" + " " * len(head))


def _rebuild(kind: type[SoftnetError], message: str, parts: dict[str, str]) -> SoftnetError:
    return kind(message, **parts)


class ScenarioError(SoftnetError):
    """A scenario, a setting or an arm that cannot be used."""


class CaptureError(SoftnetError):
    """A capture file that cannot be read."""


class SubsetError(SoftnetError):
    """Source text outside the restricted Python in which kernel functions are written."""


class CostError(SoftnetError):
    """A cost table that is incomplete or wrong."""


class LabError(SoftnetError):
    """A real kernel that could not be built, booted or heard."""


class TraceError(LabError):
    """A recording of a real kernel's events that cannot be read, or not be made."""


class HostError(SoftnetError):
    """A file of a machine's /proc or /sys, or a tool's output pasted from one, that cannot be read."""


class InvariantError(SoftnetError):
    """An invariant of a run does not hold: raised where checks are strict."""
