# SPDX-License-Identifier: GPL-2.0-or-later
"""The explorer as a whole, quick enough for every make check; test_explorer.py and its neighbours are the real tests."""

from __future__ import annotations

import pytest

from softnet.lang.native.compile import available
from softnet.verify.model import Config, Driver
from softnet.verify.search import search


@pytest.mark.skipif(bool(available()), reason=f"no native code: {available()}")
def test_a_small_search_ends() -> None:
    """A change of the compiler's back end shows here first."""
    outcome = search(Config("two frees", kernel="6.12", drivers=(Driver("free", 1, 2),)))
    assert outcome.holds
    assert outcome.states > 100
