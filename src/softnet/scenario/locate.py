# SPDX-License-Identifier: GPL-2.0-or-later
"""On which line of a TOML file each key stands.

``tomllib`` gives values without positions. This scanner gives positions without values: it reads a text that
``tomllib`` has already accepted, so it needs to know only where keys, strings, lists and tables begin and end.
A test holds the two against each other on generated files.
"""

from __future__ import annotations

from typing import Final

Path = tuple[str | int, ...]

_BARE: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_ESCAPES: Final = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}


def key_lines(text: str) -> dict[Path, int]:
    """The 1-based line of every key, table and list element of a valid TOML text.

    A path is made of keys and list positions: ``("nic", 0, "queues")``.
    """
    scanner = _Scanner(text.replace("\r\n", "\n"))
    scanner.document()
    return scanner.lines


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.pos = 0
        self.line = 1
        self.lines: dict[Path, int] = {}
        self.array_of_tables: dict[Path, int] = {}

    def document(self) -> None:
        base: Path = ()
        while self.skip_blank(newlines=True):
            if self.peek() == "[":
                base = self.header()
            else:
                self.assignment(base)

    def peek(self) -> str:
        return self.text[self.pos : self.pos + 1]

    def advance(self, count: int = 1) -> None:
        self.line += self.text.count("\n", self.pos, self.pos + count)
        self.pos += count

    def skip_blank(self, *, newlines: bool) -> bool:
        """Step over spaces, comments and, where they do not matter, line ends. False at the end."""
        blank = " \t\n" if newlines else " \t"
        while (char := self.peek()) != "":
            if char == "#":
                end = self.text.find("\n", self.pos)
                self.pos = len(self.text) if end < 0 else end
            elif char in blank:
                self.advance()
            else:
                return True
        return False

    def header(self) -> Path:
        """``[table]`` or ``[[table]]``: the path that the following assignments start from."""
        line = self.line
        is_array = self.text.startswith("[[", self.pos)
        self.advance(2 if is_array else 1)
        keys = self.key()
        self.advance(2 if is_array else 1)
        path: Path = ()
        for depth, key in enumerate(keys):
            path = (*path, key)
            self.lines.setdefault(path, line)
            last = depth == len(keys) - 1
            if is_array and last:
                self.array_of_tables[path] = self.array_of_tables.get(path, -1) + 1
            if path in self.array_of_tables:
                path = (*path, self.array_of_tables[path])
                self.lines.setdefault(path, line)
        return path

    def assignment(self, base: Path) -> None:
        line = self.line
        path = base
        for key in self.key():
            path = (*path, key)
            self.lines.setdefault(path, line)
        self.advance()  # the equals sign
        self.value(path)

    def key(self) -> list[str]:
        """A dotted key; stops at what follows it."""
        parts: list[str] = []
        while True:
            self.skip_blank(newlines=False)
            if self.peek() in ('"', "'"):
                parts.append(self.string())
            else:
                start = self.pos
                while self.peek() in _BARE and self.peek():
                    self.pos += 1
                parts.append(self.text[start : self.pos])
            self.skip_blank(newlines=False)
            if self.peek() != ".":
                return parts
            self.advance()

    def value(self, path: Path) -> None:
        self.skip_blank(newlines=False)
        char = self.peek()
        if char in ('"', "'"):
            self.string()
        elif char == "[":
            self.array(path)
        elif char == "{":
            self.inline_table(path)
        else:
            while self.peek() not in ("", ",", "]", "}", "\n", "#"):
                self.pos += 1

    def array(self, path: Path) -> None:
        self.advance()
        index = 0
        while self.skip_blank(newlines=True) and self.peek() != "]":
            self.lines[(*path, index)] = self.line
            self.value((*path, index))
            index += 1
            self.skip_blank(newlines=True)
            if self.peek() == ",":
                self.advance()
        self.advance()

    def inline_table(self, path: Path) -> None:
        self.advance()
        while self.skip_blank(newlines=True) and self.peek() != "}":
            self.assignment(path)
            self.skip_blank(newlines=True)
            if self.peek() == ",":
                self.advance()
        self.advance()

    def string(self) -> str:
        """Step over a string of any of the four kinds; its text, which matters only for quoted keys."""
        quote = self.peek()
        delimiter = quote * 3 if self.text.startswith(quote * 3, self.pos) else quote
        self.advance(len(delimiter))
        start = self.pos
        while not self.text.startswith(delimiter, self.pos):
            self.advance(2 if quote == '"' and self.peek() == "\\" else 1)
        end = self.pos
        self.advance(len(delimiter))
        # A multi-line string may end in up to two quotes of its own.
        while len(delimiter) == 3 and self.peek() == quote:
            self.advance()
        raw = self.text[start:end]
        return raw if quote == "'" else _unescape(raw)


def _unescape(raw: str) -> str:
    parts: list[str] = []
    pos = 0
    while pos < len(raw):
        if raw[pos] != "\\":
            parts.append(raw[pos])
            pos += 1
            continue
        mark = raw[pos + 1]
        digits = {"u": 4, "U": 8}.get(mark, 0)
        parts.append(chr(int(raw[pos + 2 : pos + 2 + digits], 16)) if digits else _ESCAPES.get(mark, ""))
        pos += 2 + digits
    return "".join(parts)
