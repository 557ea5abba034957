# SPDX-License-Identifier: GPL-2.0-or-later
"""How results show themselves in a notebook: pictures and HTML are the reports', which results do not know.

The package's root says where they are, and they are imported when somebody first asks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Picture(Protocol):
    """A drawing that a notebook shows, and that can be saved."""

    @property
    def svg(self) -> str:
        """The whole file."""

    def save(self, path: str) -> None:
        """Write it as a file of SVG. Raises SoftnetError."""


class Views(Protocol):
    """What softnet.report.views has."""

    def plot(self, of: Any, latency: str = "", kind: str = "percentiles") -> Picture:
        """A latency of a Result or a Comparison as a chart."""

    def html(self, of: Any) -> str:
        """What it says, and the quantiles of its latencies."""


_provided: Callable[[], Views] | None = None


def provide(views: Callable[[], Views]) -> None:
    """Say where the views come from; they are imported when the first is asked for."""
    global _provided
    _provided = views


def views() -> Views:
    """The views that were handed in."""
    assert _provided is not None, "importing softnet provides them"
    return _provided()
