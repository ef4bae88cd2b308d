#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# In the lab, for tests/disk_test.py: PVH KERNEL INITRD
pvh=$1 kernel=$2 initrd=$3
cd /tmp || exit

# The words reach the console's file, and not more of them than 30 s bring.
wait_for() {
    tries=0
    until grep -q "$1" console || [ $tries -ge 600 ]; do
        tries=$((tries + 1))
        usleep 50000
    done
}
run() { "$pvh" run "$kernel" --initrd "$initrd" --console file=console --timeout 60 "$@"; }

mkdir -p /var/tmp
: >console
for name in plain ro base short; do
    dd if=/dev/urandom of=$name.img bs=1M count=4 2>/dev/null
    echo "HOST-BEFORE-$name $(sha256sum <$name.img)"
done
mkdir small
mount -t tmpfs -o size=2M tmpfs small
truncate -s 8M small/full.img
(wait_for SHORTEN && truncate -s 100K short.img) &
run --disk plain.img --disk ro.img,ro --disk base.img,snapshot,id=the-serial --disk small/full.img \
    --disk short.img,iops=5000 --disk /dev/vda,snapshot -- console=ttyS0 quiet pvh.test=script
echo "STATUS $?"
cat console
echo "HOST-DEVICE $(dd if=/dev/vda bs=64k count=16 2>/dev/null | sha256sum)"
echo "HOST-DEVICE-SIZE $(cat /sys/block/vda/size)"
for name in plain ro base; do
    echo "HOST-AFTER-$name $(sha256sum <$name.img)"
done
# Nothing is left of a snapshot, nor of a lock.
ls -A /var/tmp
