# SPDX-License-Identifier: GPL-2.0-or-later
"""softnet: a laboratory for the Linux receive path.

Importing the package is cheap: what it exports is looked up when it is first used, so a program that needs
only ``softnet.errors`` never pays for numpy or pydantic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet import release, views

__version__ = "0.1.0"


def _releases() -> release.Table:
    from softnet.linux.releases import RELEASES

    return RELEASES


# The scenario imports no kernel and must know its releases.
release.provide(_releases)


def _views() -> views.Views:
    from softnet.report import views as drawn

    return drawn


# Results know no reports, and can be drawn.
views.provide(_views)

# Public name -> the module that defines it. Extend this table, never add an eager import.
_EXPORTS: dict[str, str] = {
    "Arm": "softnet.simulate.arms",
    "Checked": "softnet.simulate.checked",
    "Comparison": "softnet.simulate.comparison",
    "Result": "softnet.simulate.result",
    "Scenario": "softnet.scenario",
    "SoftnetError": "softnet.errors",
    "VerifyOptions": "softnet.verify.api",
    "check": "softnet.simulate.checked",
    "compare": "softnet.simulate.api",
    "load_scenario": "softnet.scenario",
    "packets": "softnet.simulate.packets",
    "run": "softnet.simulate.api",
    "verify": "softnet.verify",
}

if TYPE_CHECKING:
    from softnet.errors import SoftnetError
    from softnet.scenario import Scenario, load_scenario
    from softnet.simulate.api import compare, run
    from softnet.simulate.arms import Arm
    from softnet.simulate.checked import Checked, check
    from softnet.simulate.comparison import Comparison
    from softnet.simulate.packets import packets
    from softnet.simulate.result import Result
    from softnet.verify import package as verify
    from softnet.verify.api import VerifyOptions

__all__ = [
    "Arm",
    "Checked",
    "Comparison",
    "Result",
    "Scenario",
    "SoftnetError",
    "VerifyOptions",
    "__version__",
    "check",
    "compare",
    "load_scenario",
    "packets",
    "run",
    "verify",
]


def __getattr__(name: str) -> object:
    """Import an exported name on first use and keep it."""
    module_name = _EXPORTS.get(name)
    if module_name is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = import_module(module_name)
    if name not in globals():  # Importing the package verify has put it there.
        globals()[name] = getattr(module, name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})
