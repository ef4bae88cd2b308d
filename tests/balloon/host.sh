#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# In the lab, for balloon_test.py: PVH KERNEL INITRD UDS-TOOL
pvh=$1 kernel=$2 initrd=$3 tool=$4
. "${0%/*}/../await.sh"
cd /tmp || exit
export TMPDIR=/tmp

ask() { echo "$1" | "$tool" /tmp/balloon; }
actual() { ask '?' | sed 's/.*"actual_bytes":\([0-9]*\).*/\1/'; }
reached() { [ "$(actual)" -eq $(($1 * 1048576)) ]; }
resident() { awk '/^VmRSS:/ { print $2 }' "/proc/$monitor/status"; }
tell() { printf '%-512s' "$1" | dd of=a.img conv=notrunc 2>/dev/null; }

truncate -s 4M a.img
: >console
"$pvh" run "$kernel" --initrd "$initrd" -m 512M --disk a.img --balloon=uds=/tmp/balloon --on-reboot restart \
    --console file=console --timeout 140 -- console=ttyS0 quiet pvh.test=script &
monitor=$!
await 25 printed TOUCHED
echo "AT-FIRST $(ask '?')"
echo "NO-SIZE $(ask much)"
echo "TOO-MUCH $(ask 513M)"
before=$(resident)
tell measured
await 10 printed GIVING
echo "ASKED $(ask 300M)"
await 15 reached 300
echo "INFLATED $(ask '')"
tell inflated
await 15 printed USED
echo "RESIDENT $before $(resident)"
ask 0 >/dev/null
await 15 reached 0
echo "DEFLATED $(ask '')"
tell deflated
await 15 printed FILLED
echo "RESIDENT-FILLED $(resident)"
ask 100M >/dev/null
tell again
# Its memory is a new one after the reset, and the target the old one.
born_again() { [ "$(grep -c PVH-TEST-INIT-REACHED console)" -ge 2 ]; }
await 20 born_again
await 15 reached 100
echo "REBORN $(ask '')"
tell reborn
wait $monitor
echo "STATUS $?"
cat console
if [ -e balloon ]; then echo "SOCKET left"; else echo "SOCKET gone"; fi
