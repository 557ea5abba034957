# SPDX-License-Identifier: GPL-2.0-or-later
"""What a person sees of a run or a comparison: the terminal, an HTML page, a Perfetto trace, a trace file."""
