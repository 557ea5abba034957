# SPDX-License-Identifier: GPL-2.0-or-later
"""The explorer: every interleaving of small configurations, properties, counterexamples.

The package can be called: ``softnet.verify("6.12")`` is softnet.verify.api.verify, which is imported then.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, cast

from softnet.verify.user_properties import always, eventually, in_the_end

if TYPE_CHECKING:
    from softnet.verify.api import verify

__all__ = ["always", "eventually", "in_the_end"]


class Package(ModuleType):
    """What this package is: a module, and a call."""

    if TYPE_CHECKING:
        always, eventually, in_the_end = staticmethod(always), staticmethod(eventually), staticmethod(in_the_end)
        __call__ = staticmethod(verify)
    else:

        def __call__(self, *arguments, **options):
            from softnet.verify.api import verify

            return verify(*arguments, **options)


sys.modules[__name__].__class__ = Package
package = cast("Package", sys.modules[__name__])
