#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# In the lab, for memory_test.py: PVH STARTINFO32 KERNEL INITRD RESTART-INITRD
pvh=$1 startinfo=$2 kernel=$3 initrd=$4 restart_initrd=$5
. "${0%/*}/../await.sh"
cd /tmp || exit
export TMPDIR=/tmp

free() { awk '/^HugePages_Free:/ { print $2 }' /proc/meminfo; }
pool() { echo "$1" >/proc/sys/vm/nr_hugepages; }
# wait_until MOST COMMAND...: until it says no more than that.
wait_until() {
    most=$1 tries=0
    shift
    while [ "$("$@")" -gt "$most" ] && [ $tries -lt 80 ] && kill -0 $monitor 2>/dev/null; do
        tries=$((tries + 1))
        usleep 250000
    done
}
# What the monitor's memory takes of the host, in MiB.
huge_in_use() { echo $((($(awk '/^HugePages_Total:/ { print $2 }' /proc/meminfo) - $(free)) * 2)); }
memfd_in_use() { echo $(($(stat -L -c %b "$memfd") / 2048)); }

"$pvh" run "$startinfo" -m 65M --hugepages --debug-exit 2>&1 | tr -d '\r' | sed 's/^/NO-POOL /'
pool 20
"$pvh" run "$startinfo" -m 65M --hugepages --debug-exit >/dev/null 2>small
echo "SMALL-POOL $? $(cat small)"
echo "LEFT $(free)"
pool 32
for shape in strict qemu xen; do
    "$pvh" run "$startinfo" -m 65M --hugepages --memmap $shape --debug-exit >/dev/null
    echo "STATUS-$shape $? $(free)"
done
"$pvh" run "$startinfo" -m 65M --memfd --debug-exit >/dev/null
echo "STATUS-memfd $?"

# Debian: what is freed in the guest comes back to the pool or to the file's file system, and can be had again.
for backing in hugepages memfd; do
    pool 130
    echo none >disk
    truncate -s 4096 disk
    : >console
    "$pvh" run "$kernel" --initrd "$initrd" -m 256M --$backing --balloon --disk disk --console file=console --timeout 100 \
        -- console=ttyS0 quiet pvh.test=script &
    monitor=$!
    in_use=huge_in_use
    if [ $backing = hugepages ]; then
        usleep 300000
        echo "TAKEN-AT-ONCE $(free)"
    else
        usleep 300000
        for memfd in /proc/$monitor/fd/*; do
            case $(readlink "$memfd") in "/memfd:pvh:"*) break ;; esac
        done
        in_use=memfd_in_use
        echo "NAME $(readlink "$memfd" | sed 's/-[0-9][^ ]*//') $(stat -L -c %s "$memfd")"
    fi
    await 45 printed FILLED
    filled=$($in_use)
    echo first | dd of=disk conv=notrunc 2>/dev/null
    await 45 printed FREED
    wait_until $((filled - 80)) $in_use
    echo "IN-USE-$backing $filled $($in_use)"
    echo second | dd of=disk conv=notrunc 2>/dev/null
    wait $monitor
    echo "END-$backing $? $(free)"
    tr -d '\r' <console
done

# Again and again in the same memory: the pool has exactly as much as one guest needs.
for backing in hugepages memfd; do
    pool 128
    truncate -s 0 disk
    truncate -s 4096 disk
    "$pvh" run "$kernel" --initrd "$restart_initrd" -m 256M --$backing --on-reboot restart --disk disk --timeout 100 \
        -- console=ttyS0 quiet pvh.test=script </dev/null | tr -d '\r' | grep '^BOOT' | cut -d' ' -f1,2 | sed "s/^/$backing-/"
    echo "FREE-$backing $(free)"
done
