#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# In the guest, for devices_test.py.
echo "CPUS $(grep -c '^processor' /proc/cpuinfo)"
echo "MEMTOTAL $(awk '/^MemTotal:/ { print $2 }' /proc/meminfo)"
echo "DISKS $(cat /sys/block/vda/size) $(cat /sys/block/vdb/size)"
echo "RNG $(cat /sys/class/misc/hw_random/rng_current) $(dd if=/dev/hwrng bs=16 count=1 2>/dev/null | wc -c)"

ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
echo "FETCHED $(wget -q -O - http://10.0.2.2:8000/page | md5sum)"

/vsock-tool echo 1000 &
sleep 0.3
echo "LISTENING"
echo "TO-HOST $(/vsock-tool guest 2000 3000000)"
echo "TO-NOBODY $(/vsock-tool guest 2001 1 2>&1)"

# Memory that was used and is free again goes back by itself, some seconds later.
mkdir /fill
mount -t tmpfs -o size=90% tmpfs /fill
dd if=/dev/zero of=/fill/file bs=1M count=400 2>/dev/null
echo "FILLED"
while ! dd if=/dev/vda bs=512 count=1 iflag=direct 2>/dev/null | grep -q measured; do sleep 0.2; done
rm /fill/file
echo 3 >/proc/sys/vm/drop_caches
echo "FREED"
# The host ends the rest.
while :; do sleep 1; done
