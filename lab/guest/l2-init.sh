#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The init of a test guest (Debian's stock kernel under our monitor). The kernel command line says what it does:
#   pvh.test=poweroff | reboot | panic | report | script | shell      (shell when nothing is said)
# script is /test.sh, of a second initramfs behind this one; the drivers of this kernel are loaded before.
# In every mode it first prints PVH-TEST-INIT-REACHED on the console.
/bin/busybox mkdir -p /dev /proc /sys /tmp /root /usr/bin /usr/sbin
/bin/busybox --install -s
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev

mode=shell
for word in $(cat /proc/cmdline); do
    case $word in pvh.test=*) mode=${word#pvh.test=} ;; esac
done

# What a script says is read by a program: no message of the kernel's may land in the middle of its lines.
case $mode in report | script) dmesg -n 1 ;; esac

# A panic or a reset would overtake what the serial port has not sent yet. stty waits for it before it sets anything.
drain() { stty onlcr; }

echo PVH-TEST-INIT-REACHED
drain
case $mode in
poweroff) ;;
reboot) reboot -f ;;
panic) echo c >/proc/sysrq-trigger ;;
report)
    echo "MEMTOTAL $(awk '/^MemTotal:/ { print $2 }' /proc/meminfo)"
    echo "CPUS $(grep -c '^processor' /proc/cpuinfo)"
    echo "CMDLINE $(cat /proc/cmdline)"
    echo "MEMORY-MAP-BEGIN"
    dmesg | sed -n 's/^.*\(BIOS-e820: \)/\1/p'
    echo "MEMORY-MAP-END"
    ;;
script)
    while read -r module; do
        insmod "/lib/modules/$(uname -r)/$module"
    done <"/lib/modules/$(uname -r)/order"
    sh /test.sh
    ;;
shell)
    echo "This is a shell in the test guest (busybox). Leave it with 'exit' or Ctrl-D; the guest then powers off."
    # The session's leader takes unsent output with it when it ends: it waits after the shell that is talked to.
    setsid cttyhack sh -c 'sh; stty onlcr'
    ;;
*) echo "PVH-TEST-INIT: pvh.test=$mode is unknown" ;;
esac
drain
poweroff -f
