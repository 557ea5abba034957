# SPDX-License-Identifier: GPL-2.0-or-later
"""Trace validation: is what a real kernel did a behaviour of the model?

``driver`` runs the model's own functions one at a time, ``follow`` steers them along a recorded trace,
``checker`` holds a whole trace against it, and ``verdict`` is what comes out.
"""
