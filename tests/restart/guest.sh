#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# In the guest, for restart_test.py: counts its boots on the disk, and resets the machine twice.
boots=$(dd if=/dev/vda bs=512 count=1 2>/dev/null | tr -d '\0 \n')
boots=$((${boots:-0} + 1))
printf '%-512s' "$boots" | dd of=/dev/vda bs=512 count=1 conv=fsync 2>/dev/null
echo "BOOT $boots UPTIME $(cut -d. -f1 /proc/uptime) RANDOM $(dd if=/dev/hwrng bs=8 count=1 2>/dev/null | wc -c)"
stty onlcr
[ "$boots" -ge 3 ] || reboot -f
