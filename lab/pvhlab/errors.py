# SPDX-License-Identifier: BSD-2-Clause
"""What the lab itself can fail with. The command's own exit status is never one of these errors."""

USAGE = 64
INPUT_MISSING = 66
GUEST_CRASHED = 70  # or ended in some other way than by poweroff or reboot
TIMED_OUT = 124
LAB_FAILED = 125  # as timeout(1) and container tools do: the tool, not the command, failed
COMMAND_UNUSABLE = 126


class LabError(Exception):
    """A message for a person, with the exit status that goes with it."""

    def __init__(self, message: str, status: int = LAB_FAILED) -> None:
        super().__init__(message)
        self.status = status
