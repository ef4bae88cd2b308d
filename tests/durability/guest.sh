#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# In the guest of tests/durability_test.py: numbers, each written to the plain disk and to a file of its own on the other
# one's file system, and told only when they are there. First it says what the file system kept from the last time.
# The word test.from=N on the kernel command line is the first number.
first=$(sed 's/.*test.from=\([0-9]*\).*/\1/' /proc/cmdline)
mkdir /mnt
mount -t ext4 /dev/vdb /mnt || exit
echo "REPLAYS $(dmesg | grep -c 'vdb.*recovery complete')"
kept=0
while [ "$(cat /mnt/$((kept + 1)) 2>/dev/null)" = $((kept + 1)) ]; do
    kept=$((kept + 1))
done
echo "KEPT $kept"
number=$first
until grep -q test.last /proc/cmdline; do
    printf '%4096d' $number | dd of=/dev/vda bs=4k seek=$number oflag=direct conv=fsync 2>/dev/null &&
        echo "BLOCK $number"
    echo $number | dd of=/mnt/$number conv=fsync 2>/dev/null && echo "FILE $number"
    number=$((number + 1))
done
