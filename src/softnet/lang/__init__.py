# SPDX-License-Identifier: GPL-2.0-or-later
"""The restricted Python in which machine and kernel are written: declarations, checks, linking.

See docs/language.md for the subset.
"""

from softnet.lang.declare import (
    Struct,
    array,
    embed,
    fnptr,
    guarded,
    hw,
    hwfunc,
    kfunc,
    observer,
    percpu,
    predicate,
    private,
    shared,
)
from softnet.lang.intrinsics import (
    BUG_ON,
    IS_ENABLED,
    READ_ONCE,
    WARN_ON_ONCE,
    WRITE_ONCE,
)

__all__ = [
    "BUG_ON",
    "IS_ENABLED",
    "READ_ONCE",
    "WARN_ON_ONCE",
    "WRITE_ONCE",
    "Struct",
    "array",
    "embed",
    "fnptr",
    "guarded",
    "hw",
    "hwfunc",
    "kfunc",
    "observer",
    "percpu",
    "predicate",
    "private",
    "shared",
]
