#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# In the guest of tests/shapes_test.py: what it finds, and what its devices do.
echo "CPUS $(grep -c '^processor' /proc/cpuinfo)"
echo "COMPLAINTS $(dmesg | grep -cE 'BIOS bug|firmware bug|Firmware Bug|ACPI.*(Error|Warning)')"
if [ -e /sys/firmware/acpi ]; then
    echo "DISK $(md5sum </dev/vda)"
    echo "RNG $(dd if=/dev/hwrng bs=16 count=1 2>/dev/null | wc -c)"
    ip addr add 10.0.2.15/24 dev eth0
    ip link set eth0 up
    echo "FETCHED $(wget -q -O - http://10.0.2.2:8000/page | md5sum)"
    echo "TABLES-BEGIN"
    /ld-linux-x86-64.so.2 --library-path / /acpidump
    echo "TABLES-END"
else
    echo "MP-TABLE $(dmesg | grep -c 'MPTABLE: OEM ID: PVH')"
    reboot -f # what could power off is in the tables
fi
