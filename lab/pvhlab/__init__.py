# SPDX-License-Identifier: BSD-2-Clause
"""The lab: runs a command where KVM is real, on a machine that has no hardware virtualisation."""
