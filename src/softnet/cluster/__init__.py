# SPDX-License-Identifier: GPL-2.0-or-later
"""Work on a Dask cluster, whatever it is: which one, what its workers are sent, what comes back. The scheduler is Dask's."""
