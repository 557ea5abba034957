# SPDX-License-Identifier: GPL-2.0-or-later
"""Virtual time: building an image, running it in an engine, and the result."""
