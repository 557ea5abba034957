# SPDX-License-Identifier: GPL-2.0-or-later
"""Every kernel that is known to be broken: what ``softnet verify`` finds it by when it is told nothing but the kernel.

    python bench/known.py [NAME ...]

Prints, for each, as what it was found and in which configuration, how many states were searched until then, and the processor
seconds of that, with what it takes to build the kernel's code. Ends with 1 if one is not found.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.verify.known import bugs, default_finds


def main() -> int:
    """All of them, or those that are named."""
    missed = 0
    print(f"{'known bug':<30}{'kernel':<14}{'found as':<24}{'in':<28}{'search':>7}{'states':>11}{'seconds':>9}", flush=True)
    with tempfile.TemporaryDirectory(prefix="softnet-known-") as folder:
        for bug in bugs(Path(folder)):
            if sys.argv[1:] and bug.name not in sys.argv[1:]:
                continue
            found = default_finds(bug, Path(folder))
            missed += found is None
            if found is None:
                print(f"{bug.name:<30}{bug.kernel:<14}not found; {bug.configuration}", flush=True)
                continue
            print(
                f"{bug.name:<30}{bug.kernel:<14}{found.as_:<24}{found.where:<28}"
                f"{found.searches:>7}{found.states:>11,}{found.seconds:>9.1f}",
                flush=True,
            )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
