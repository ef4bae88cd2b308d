#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# In the guest, for memory_test.py: memory that was used and is free again, and is then used once more.
echo "MEMTOTAL $(awk '/^MemTotal:/ { print $2 }' /proc/meminfo)"
mkdir /fill
mount -t tmpfs -o size=90% tmpfs /fill
wait_for() { while ! dd if=/dev/vda bs=512 count=1 iflag=direct 2>/dev/null | grep -q "$1"; do sleep 0.2; done; }
dd if=/dev/urandom of=/fill/file bs=1M count=100 2>/dev/null
echo "FILLED"
wait_for first
rm /fill/file
echo "FREED"
wait_for second
dd if=/dev/zero of=/fill/file bs=1M count=100 2>/dev/null
echo "AGAIN $(tr -d '\0' </fill/file | wc -c)"
