#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# In the guest of tests/disk_test.py: what the disks do. Each line of a result begins with a word of its own.
sum_of() { sha256sum "$1" | cut -d ' ' -f 1; }
forget() { echo 3 >/proc/sys/vm/drop_caches; }
# Status 0 when the command fails, as it should.
fails() {
    if "$@" 2>/dev/null; then echo no; else echo yes; fi
}

echo "SIZES $(cat /sys/block/vd?/size | tr '\n' ' ')"
echo "RO $(cat /sys/block/vd?/ro | tr '\n' ' ')"
echo "SERIAL $(cat /sys/block/vdc/serial)"

echo "READ $(sum_of /dev/vda)"
mke2fs /dev/vda >/dev/null
mkdir /mnt
mount -t ext2 /dev/vda /mnt
dd if=/dev/urandom of=/mnt/file bs=64k count=48 2>/dev/null
before=$(sum_of /mnt/file)
umount /mnt
forget
mount -t ext2 /dev/vda /mnt
test "$before" = "$(sum_of /mnt/file)" && echo "FILE $(wc -c </mnt/file)"
umount /mnt
# Blocks in no order, each durable before the next; every one is what was written there last.
for number in $(seq 64); do
    printf '%4096d' "$number" | dd of=/dev/vda bs=4k seek=$((number * 919 % 1000)) conv=notrunc,fsync 2>/dev/null
done
forget
right=0
for number in $(seq 64); do
    found=$(dd if=/dev/vda bs=4k skip=$((number * 919 % 1000)) count=1 2>/dev/null | tr -d ' ')
    [ "$found" = "$number" ] && right=$((right + 1))
done
echo "VERIFIED $right"
forget
echo "WRITTEN $(sum_of /dev/vda)"

echo "RO-READ $(sum_of /dev/vdb)"
echo "RO-WRITE-FAILS $(fails dd if=/dev/zero of=/dev/vdb bs=4k count=1 conv=fsync)"

echo "SNAPSHOT-READ $(sum_of /dev/vdc)"
dd if=/dev/urandom of=/dev/vdc bs=4k count=300 seek=100 conv=fsync 2>/dev/null
blkdiscard -o 65536 -l 65536 /dev/vdc
before=$(sum_of /dev/vdc)
forget
test "$before" = "$(sum_of /dev/vdc)" && echo "SNAPSHOT same"
echo "SNAPSHOT-WRITTEN $before"

echo "DEVICE-READ $(dd if=/dev/vdf bs=64k count=16 2>/dev/null | sum_of -)"
dd if=/dev/urandom of=/dev/vdf bs=4k count=1 seek=1 conv=fsync 2>/dev/null
echo "DEVICE-CHANGED $(dd if=/dev/vdf bs=64k count=16 2>/dev/null | sum_of -)"

blkdiscard /dev/vdd && echo "DISCARD $(sum_of /dev/vdd)"
echo "FULL-FAILS $(fails dd if=/dev/urandom of=/dev/vdd bs=1M oflag=direct)"
echo "FULL-FLUSH-FAILS $(fails dd if=/dev/urandom of=/dev/vdd bs=4k count=1 conv=fsync)"

# The host makes this one shorter when it reads the word.
dd if=/dev/vde of=/dev/null bs=4k count=1 skip=100 iflag=direct 2>/dev/null && echo SHORTEN
tries=0
while dd if=/dev/vde of=/dev/null bs=4k count=1 skip=100 iflag=direct 2>/dev/null && [ $tries -lt 100 ]; do
    tries=$((tries + 1))
    usleep 50000
done
echo "SHORT-FAILS $(fails dd if=/dev/vde of=/dev/null bs=4k count=1 skip=100 iflag=direct)"
echo "SHORT-BEGIN-FAILS $(fails dd if=/dev/vde of=/dev/null bs=4k count=1 iflag=direct)"
echo DONE
