#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# In each Linux guest of tests/many_test.py: writes its own number to the disk that all have, and reads it again when the
# host has let all go by a sector behind.
number=$(sed 's/.*many=\([0-9]*\).*/\1/' /proc/cmdline)
printf '%512s' "guest $number" | dd of=/dev/vda conv=fsync 2>/dev/null
echo "READY"
until dd if=/dev/vda bs=512 skip=8 count=1 iflag=direct 2>/dev/null | grep -q go; do sleep 1; done
echo "FOUND $(dd if=/dev/vda bs=512 count=1 iflag=direct 2>/dev/null)"
