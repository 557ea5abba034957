# SPDX-License-Identifier: GPL-2.0-or-later
"""What the explorer must notice, and what it must let pass: each row says what is wrong, and which text becomes which.

The rows of tests/verify/matrix.py say which property sees a mutation, in which configuration; NOT_SEEN are those that no
property may see. Edits are of the function that the kernel in use has (tests/mutation.py).
"""

from __future__ import annotations

import atexit
import functools
import tempfile
from pathlib import Path

from tests.verify.mutations.backlog import BACKLOG, THREADS
from tests.verify.mutations.defer_list import DEFER_LIST, KICKS
from tests.verify.mutations.history import HISTORY
from tests.verify.mutations.softirqs import HOTPLUG, POLLING, SOFTIRQS_AND_CALLS

MUTATIONS = {
    row.name: row for group in (DEFER_LIST, KICKS, BACKLOG, THREADS, POLLING, SOFTIRQS_AND_CALLS, HOTPLUG, HISTORY) for row in group
}
NOT_SEEN = (
    "kick_at_or_above",
    "kick_before_push",
    "no_local_shortcut",
    "flush_unlocked",
    "dead_queue_unlocked",
    "csd_without_wmb",
    "threaded_bit_plain",
    "work_cleared_without_mb",
)
"""In no row of the matrix: safe, refused by the guard of a field, or safe in one configuration of two."""
EXAMPLES = Path(__file__).parents[3] / "examples" / "patches"


def patch(name: str, kernel: str) -> str:
    """The path of a patch file with this mutation, for a kernel ("6.12-rt"); or of the example patch of that name."""
    mutation = MUTATIONS.get(name)
    if mutation is None:
        return str(EXAMPLES / f"{name}.py")
    folder = _folder() / kernel
    folder.mkdir(exist_ok=True)
    return mutation.write(folder, kernel)


@functools.cache
def _folder() -> Path:
    """Where this process writes them; gone when it ends."""
    folder = tempfile.TemporaryDirectory(prefix="softnet-mutations-")
    atexit.register(folder.cleanup)
    return Path(folder.name)
