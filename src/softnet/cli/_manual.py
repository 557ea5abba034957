# SPDX-License-Identifier: GPL-2.0-or-later
"""Man pages of the command line, made from its own help: man(7), as groff and mandoc read it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Final

import click

from softnet import __version__

STATUSES: Final = "0 done; 1 done, and the answer is no; 2 bad input, or an output that cannot be written; 130 interrupted."
ENVIRONMENT: Final = (
    ("SOFTNET_CACHE", "The folder of compiled kernels; default: $XDG_CACHE_HOME/softnet, else ~/.cache/softnet."),
    ("SOFTNET_TRACEBACK", "If it is set, a mistake of softnet's own shows where it was made."),
)
_LITERAL: Final = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti", '"': r"\(dq"}
_UNWRAPPED: Final = "\b"
"""The line that click's help puts before a paragraph whose lines stay as they are."""


def pages(root: click.Group, name: str) -> dict[str, str]:
    """``softnet-run`` -> its page, for the program and every command that its help lists."""
    with click.Context(root, info_name=name, **root.context_settings) as context:
        return {page: _page(ctx) for page, ctx in _contexts(context)}


def _contexts(ctx: click.Context) -> Iterator[tuple[str, click.Context]]:
    """Page name, and the context of a command, of the commands below it."""
    yield page_name(ctx), ctx
    for member, command in _members(ctx):
        with click.Context(command, info_name=member, parent=ctx) as below:
            yield from _contexts(below)


def page_name(ctx: click.Context) -> str:
    """``softnet lab run`` is documented in softnet-lab-run(1)."""
    return ctx.command_path.replace(" ", "-")


def _members(ctx: click.Context) -> Iterator[tuple[str, click.Command]]:
    if isinstance(ctx.command, click.Group):
        for name in ctx.command.list_commands(ctx):
            command = ctx.command.get_command(ctx, name)
            if command is not None and not command.hidden:
                yield name, command


def _page(ctx: click.Context) -> str:
    name = page_name(ctx)
    paragraphs = _paragraphs(ctx.command)
    first = " ".join(paragraphs[0].split()) if paragraphs else ""
    statuses = [text.partition(":")[2].strip() for text in paragraphs if text.startswith("Exit status:")]
    lines = [
        f'.TH {escaped(name.upper())} 1 "" "softnet {escaped(__version__)}" "softnet"',
        ".SH NAME", rf"{escaped(name)} \- {escaped(first.removesuffix('.'))}",
        ".SH SYNOPSIS", *_synopsis(ctx),
        ".SH DESCRIPTION", *_described(text for text in paragraphs if not text.startswith("Exit status:")),
        *_options(ctx), *_commands(ctx),
        ".SH EXIT STATUS", *_described(statuses or [STATUSES]),
    ]  # fmt: skip
    if ctx.parent is None:
        lines.append(".SH ENVIRONMENT")
        for variable, meaning in ENVIRONMENT:
            lines += [".TP", rf"\fB{escaped(variable)}\fR", escaped(meaning)]
    else:
        lines += [".SH SEE ALSO", rf"\fB{escaped(page_name(ctx.parent))}\fR(1)"]
    return "\n".join(lines) + "\n"


def _paragraphs(command: click.Command) -> list[str]:
    text = inspect.cleandoc(command.help or "").partition("\f")[0]
    return [part.strip("\n") for part in re.split(r"\n[ \t]*\n", text) if part.strip()]


def _synopsis(ctx: click.Context) -> Iterator[str]:
    pieces = " ".join(rf"\fI{escaped(piece)}\fR" for piece in ctx.command.collect_usage_pieces(ctx))
    yield rf"\fB{escaped(ctx.command_path)}\fR {pieces}"


def _described(paragraphs: Iterator[str] | list[str]) -> Iterator[str]:
    for number, text in enumerate(paragraphs):
        if number:
            yield ".PP"
        if text.startswith(_UNWRAPPED):
            yield from (".nf", *map(escaped, text.splitlines()[1:]), ".fi")
        else:
            yield from map(escaped, text.splitlines())


def _options(ctx: click.Context) -> Iterator[str]:
    params = [param for param in ctx.command.get_params(ctx) if isinstance(param, click.Option)]
    records = [record for param in params if (record := param.get_help_record(ctx)) is not None]
    if records:
        yield ".SH OPTIONS"
    for switches, text in records:
        yield ".TP"
        yield " ".join(
            rf"\fB{escaped(word)}\fR" if word.startswith("-") else rf"\fI{escaped(word)}\fR" for word in switches.split()
        )
        yield escaped(" ".join(text.split()))


def _commands(ctx: click.Context) -> Iterator[str]:
    members = list(_members(ctx))
    if members:
        yield ".SH COMMANDS"
    for name, command in members:
        yield ".TP"
        yield rf"\fB{escaped(f'{page_name(ctx)}-{name}')}\fR(1)"
        yield escaped(" ".join((_paragraphs(command) or [""])[0].split()))


def escaped(text: str) -> str:
    """A line of text in which nothing is a request or an escape of roff, and every character is ASCII.

    A minus sign stays one, so that options can be searched and copied.
    """
    told = "".join(_LITERAL.get(c, c if c.isascii() else rf"\[u{ord(c):04X}]") for c in text.strip())
    return rf"\&{told}" if told.startswith(".") else told
