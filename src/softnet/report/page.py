# SPDX-License-Identifier: GPL-2.0-or-later
"""The frame of every page: one file that opens offline, asks for nothing and carries its style within it."""

from __future__ import annotations

from html import escape
from importlib import resources

from softnet import __version__

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def asset(name: str) -> str:
    """A file that belongs to the pages."""
    return (resources.files("softnet.report") / "assets" / name).read_text(encoding="utf-8")


def document(title: str, body: str, *, style: str = "", behind: str = "") -> str:
    """A whole page: ``style`` is added to that of all pages, ``behind`` stands behind what is read."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="generator" content="softnet {__version__}">
<link rel="icon" href="data:,">
<title>{escape(title)} – softnet</title>
<style>
{asset("page.css")}{style}</style>
</head>
<body>
<main>
{body}
</main>
{behind}</body>
</html>
"""
