#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# In the guest, for console_test.py: what it does on hvc0 is a word of the kernel command line, console.test=WORD.
for word in $(cat /proc/cmdline); do
    case $word in console.test=*) todo=${word#console.test=} ;; esac
done
case $todo in
boot)
    # What the kernel said before this driver came, which Linux loses, and what it says from then on.
    dmesg >/dev/hvc0
    echo "<0>said by printk" >/dev/kmsg
    echo "THE-END" >/dev/hvc0
    ;;
exchange)
    # One opener for all: the last one to close it takes its settings along.
    exec 3<>/dev/hvc0
    stty raw -echo <&3
    printf 'HELLO\n' >&3
    head -c 1048576 <&3 >/typed
    echo "GUEST-TYPED $(md5sum </typed)"
    dd if=/dev/urandom of=/print bs=64k count=16 2>/dev/null
    echo "GUEST-PRINTS $(md5sum </print)"
    cat /print >&3
    stty raw -echo <&3 # waits for the last byte
    echo "PRINTED"
    ;;
restart)
    exec 3<>/dev/hvc0
    echo "LIFE" >&3
    read -r line <&3
    echo "READ $line"
    stty onlcr <&3
    [ "$line" != again ] || reboot -f
    ;;
esac
