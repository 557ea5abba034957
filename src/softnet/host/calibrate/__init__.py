# SPDX-License-Identifier: GPL-2.0-or-later
"""A cost table of the machine that this runs on: programs in user space, with root tracepoints, too."""
