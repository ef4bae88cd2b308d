#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# In the lab, for tests/many_test.py: PVH KERNEL LINUX INITRD. Twenty small machines at once, each with a process, sockets
# and an overlay of its own; then three Linux on one disk.
pvh=$1 kernel=$2 linux=$3 initrd=$4
mkdir -p /var/tmp
cd /tmp || exit
truncate -s 1M base.img

# processes (of programs, not the kernel's own), and what lies in the folders
footprint() { echo "$(grep -l . /proc/[0-9]*/cmdline 2>/dev/null | wc -l) $(ls -A /tmp /var/tmp | wc -l)"; }
# Until so many consoles show the word.
wait_for() {
    tries=0
    until [ "$(cat console.* 2>/dev/null | grep -c "$1")" -ge "$2" ] || [ $((tries += 1)) -gt 200 ]; do usleep 200000; done
    echo "$1 $(cat console.* | grep -c "$1")"
}
end() {
    for monitor in $monitors; do
        wait "$monitor"
        echo "$1 $?"
    done
    cat console.*
    rm console.*
}

echo "BEFORE $(footprint)"
monitors=
for number in $(seq 20); do
    "$pvh" run "$kernel" --disk base.img,snapshot --vsock cid=$((number + 2)),uds=vsock.$number --net user --balloon \
        --console file=console.$number --timeout 90 -a hlt &
    monitors="$monitors $!"
    # Four come up together. Of twenty the last passt is not ready in the ten seconds that it has, on one busy processor.
    [ $((number % 4)) != 0 ] || wait_for verdict "$number"
done
# shellcheck disable=SC2086
echo "THREADS $(for monitor in $monitors; do ls /proc/$monitor/task | wc -l; done | sort -u | tr '\n' ' ')"
echo "RUNNING $(footprint)"
kill -TERM $monitors
end SMALL

monitors=
for number in 1 2 3; do
    "$pvh" run "$linux" --initrd "$initrd" -m 128M --disk base.img,snapshot --console file=console.$number --timeout 90 \
        -- console=ttyS0 quiet pvh.test=script many=$number &
    monitors="$monitors $!"
done
wait_for READY 3
printf go | dd of=base.img bs=512 seek=8 conv=notrunc 2>/dev/null
end LINUX
usleep 200000
echo "AFTER $(footprint)"
