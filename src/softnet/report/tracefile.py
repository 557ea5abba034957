# SPDX-License-Identifier: GPL-2.0-or-later
"""A trace as a file: ``softnet.simulate.tracefile``, under the name by which reports know it."""

from softnet.simulate.tracefile import StoredRecords as StoredRecords
from softnet.simulate.tracefile import open_trace as open_trace
from softnet.simulate.tracefile import read_trace as read_trace
from softnet.simulate.tracefile import write_trace as write_trace
