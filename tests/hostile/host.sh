#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# In the lab, for tests/hostile_test.py: KERNEL VSOCK-TOOL LIMIT "WORDS OF THE GUEST'S COMMAND LINE" PVH... runs the attack under each
# PVH in a machine with every device, and says how it ended, what was said, and what it cost.
kernel=$1 tool=$2 limit=$3 words=$4
shift 4
. "${0%/*}/../await.sh"
cd /tmp || exit
export TMPDIR=/tmp ASAN_OPTIONS=exitcode=99 UBSAN_OPTIONS=halt_on_error=1:exitcode=99

memory() { awk '/^RssAnon:|^RssFile:/ { sum += $2 } END { print sum + 0 }' "/proc/$monitor/status"; }
ticks() { cut -d ' ' -f 14,15 "/proc/$monitor/stat"; }

"$tool" serve /tmp/vsock_2000 &
for pvh in "$@"; do
    truncate -s 1M a.img b.img
    # shellcheck disable=SC2086
    "$pvh" run "$kernel" -m 128M -c 3 --memfd --debug-exit --disk a.img --disk b.img,snapshot --balloon --vsock cid=5,uds=/tmp/vsock \
        --net user --virtio-console pty --timeout "$limit" -- $words </dev/null >console 2>errors &
    monitor=$!
    most=0 used=
    while kill -0 $monitor 2>/dev/null; do
        now=$(memory 2>/dev/null)
        [ "${now:-0}" -gt $most ] && most=$now
        case $words in *=halt*) grep -q '^attack' console && used="$used $(ticks 2>/dev/null)" ;; esac
        usleep 250000
    done
    wait $monitor
    status=$?
    echo "=== $pvh"
    echo "status $status"
    echo "memory $most"
    echo "ticks$used"
    echo "left $(find . -name 'vsock' -o -name 'a.img.*' | wc -l) $(pgrep passt | wc -l)"
    echo "--- console"
    tail -c 2000 console
    echo
    echo "--- errors"
    head -c 6000 errors
    echo
done
