# SPDX-License-Identifier: GPL-2.0-or-later
"""What every test shares: how Hypothesis searches.

No test asserts a time, so no example has a deadline; and the examples are the same in every run, so a failure
is the same failure for everybody. ``SOFTNET_EXPLORE=1 make test`` draws new examples, ten times as many.
"""

from __future__ import annotations

import functools
import os
import signal
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from softnet.processes import collect_less

collect_less()

# A shell starts what runs in its background with Ctrl-C ignored, and programs inherit that: those that the tests interrupt, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What the user's softnet keeps, such as the key of saved searches, is none of the tests' business; their workers share one.
if "SOFTNET_TEST_STATE" not in os.environ:
    os.environ["SOFTNET_TEST_STATE"] = tempfile.mkdtemp(prefix="softnet-test-state-")
os.environ["XDG_STATE_HOME"] = os.environ["SOFTNET_TEST_STATE"]

settings.register_profile(
    "repeatable",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("explore", parent=settings.get_profile("repeatable"), derandomize=False, max_examples=1000)
settings.load_profile("explore" if os.environ.get("SOFTNET_EXPLORE") else "repeatable")


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Name a test's bytes by the parameter, not by what they hold.

    Two workers must collect the same names, and bytes made while collecting may hold a clock (gzip's header does).
    pytest numbers equal names itself.
    """
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="module")
def hasty_code() -> Iterator[None]:
    """Native code of a module's simulations is built in a tenth of the time and not optimised.

    For tests that compile many kernels, most of them to run for a few milliseconds.
    """
    from softnet.simulate import native

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "Options", functools.partial(native.Options, optimise=0))
        yield
