#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# In the guest, for balloon_test.py: tells its free memory while the host moves the balloon, fills what it got back, and
# resets the machine; in its second life it tells once more, and that is all.
# The first sector of /dev/vda says how far the host is, the second counts the lives.
said_by_host() { dd if=/dev/vda bs=512 count=1 iflag=direct 2>/dev/null | tr -d '\0 \n'; }
available() { awk '/^MemAvailable:/ { print $2 }' /proc/meminfo; }
await() {
    tries=0
    until [ "$(said_by_host)" = "$1" ] || [ $((tries += 1)) -gt 300 ]; do
        sleep 0.1
    done
}

lives=$(dd if=/dev/vda bs=512 skip=1 count=1 2>/dev/null | tr -d '\0 \n')
if [ -z "$lives" ]; then
    mkdir /fill
    mount -t tmpfs -o size=90% tmpfs /fill
    fill() { dd if=/dev/zero of=/fill/file bs=1M count="$1" 2>/dev/null; }
    echo "AVAILABLE-BEFORE $(available)"
    fill 380
    echo TOUCHED
    await measured
    rm /fill/file
    echo GIVING
    await inflated
    echo "AVAILABLE-INFLATED $(available)"
    # All the rest is in use: what the host has back by now, it has from the balloon.
    fill $(($(available) / 1024 - 40))
    echo USED
    await deflated
    rm /fill/file
    echo "AVAILABLE-DEFLATED $(available)"
    fill 250
    echo "FILLED $(wc -c </fill/file)"
    await again
    printf '%-512s' again | dd of=/dev/vda bs=512 seek=1 conv=fsync 2>/dev/null
    stty onlcr
    reboot -f
fi
await reborn
echo "AVAILABLE-REBORN $(available)"
