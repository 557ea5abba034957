# SPDX-License-Identifier: GPL-2.0-or-later
"""What is asked of real kernels: experiments, conformance, calibration, predictions, reproduced defects."""
