#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# In the lab, for tests/durability_test.py: PVH KERNEL INITRD EXT4-IMAGE ROUNDS. Each round kills the monitor at a moment
# of its own, in the middle of writes, and looks at what the disks have of what the guest was told.
pvh=$1 kernel=$2 initrd=$3 rounds=$5
mkdir -p /var/tmp
. "${0%/*}/../await.sh"
cd /tmp || exit
cp "$4" files.img
truncate -s 32M blocks.img

# Its process is the monitor: for ( ) or &.
run() { exec "$pvh" run "$kernel" --initrd "$initrd" --net user --disk blocks.img --disk files.img --timeout 60 "$@"; }
has_files() { [ "$(grep -c FILE console)" -ge "$1" ]; }
last() { sed -n "s/^$1 \([0-9]*\)\r*$/\1/p" console | tail -n 1; }
count() { pidof passt passt.avx2 | wc -w; }

first=1
for round in $(seq 1 "$rounds") last; do
    : >console
    run --console file=console -- console=ttyS0 quiet pvh.test=script test.from=$first "test.$round" &
    monitor=$!
    if [ "$round" = last ]; then
        wait $monitor
        echo "END STATUS $? KEPT $(last KEPT) OF $files REPLAYS $(last REPLAYS)"
        break
    fi
    await 30 has_files 5
    if [ "$round" = 1 ]; then
        (run --console none -- console=ttyS0)
        echo "LOCKED $?"
    fi
    usleep $(((round * 7919) % 100 * 2000))
    children=$(count)
    kill -9 $monitor
    wait $monitor
    kept=$(last KEPT) replays=$(last REPLAYS) blocks=$(last BLOCK)
    lost=0
    for number in $(seq $first "$blocks"); do
        found=$(dd if=blocks.img bs=4k skip="$number" count=1 2>/dev/null | tr -d ' ')
        [ "$found" = "$number" ] || lost=$((lost + 1))
    done
    usleep 200000
    echo "ROUND $round KEPT $kept OF ${files:-0} REPLAYS $replays BLOCKS $((blocks + 1 - first)) LOST $lost CHILDREN $children LEFT $(count)"
    files=$(last FILE)
    first=$((files + 1))
done
