# SPDX-License-Identifier: GPL-2.0-or-later
"""Bring a guest up: kernels, packages, the image, QEMU, the channel."""
