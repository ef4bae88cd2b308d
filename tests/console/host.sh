#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# In the lab, for console_test.py: host.sh boot|full|uds|pty|restart PVH KERNEL INITRD UDS-TOOL
how=$1 pvh=$2 kernel=$3 initrd=$4 tool=$5
. "${0%/*}/../await.sh"
cd /tmp || exit
export TMPDIR=/tmp
# Not the kernel's own console where bytes are counted: it looks for the SysRq key in them.
todo=exchange consoles=console=ttyS0
case $how in
boot | full) todo=boot consoles="console=ttyS0 console=hvc0" ;;
restart) todo=restart ;;
esac

lives() { [ "$(grep -c LIFE out)" -ge "$1" ]; }
# run WHERE OPTION...: stdin is descriptor 0 of the caller, which a background job would lose.
run() {
    where=$1
    shift
    : >console >err
    # shellcheck disable=SC2086
    "$pvh" run "$kernel" --initrd "$initrd" -c 2 --balloon=uds=/tmp/balloon --console file=console --virtio-console "$where" \
        --timeout 80 "$@" -- $consoles quiet pvh.test=script console.test=$todo <&3 2>err &
    monitor=$!
}
finish() {
    wait $monitor
    echo "STATUS $?"
    cat console err
}
# While nobody reads the guest waits, and the other devices do not.
others_go_on() {
    await 30 printed GUEST-PRINTS
    sleep 2
    echo "OTHERS $(echo '?' | "$tool" /tmp/balloon)"
    # The thread that the devices live on is the one that waits in epoll.
    thread=$(grep -l "^\(232\|281\) " /proc/$monitor/task/*/syscall | head -n 1) # epoll_wait, epoll_pwait
    stat=${thread%syscall}stat
    before=$(awk '{ print $14 + $15 }' "$stat")
    sleep 1
    echo "TICKS $(awk -v before="$before" '{ print $14 + $15 - before }' "$stat")"
    printed ^PRINTED || echo "STILL-WAITING"
}

exec 3</dev/null
dd if=/dev/urandom of=typed bs=64k count=16 2>/dev/null
echo "HOST-TYPES $(md5sum <typed)"
case $how in
boot)
    run file=hvc
    finish
    sed 's/^/HVC /' hvc
    ;;
full)
    mkdir small
    mount -t tmpfs -o size=8k tmpfs small
    run file=small/hvc
    finish
    ;;
uds)
    run uds=/tmp/hvc
    mkfifo keys
    "$tool" /tmp/hvc <keys >got &
    client=$!
    exec 5>keys
    await 30 printed HELLO got
    cat typed >&5
    await 40 printed GUEST-TYPED
    kill -STOP $client
    others_go_on
    kill -CONT $client
    finish
    exec 5>&-
    wait $client
    echo "HOST-PRINTED $(tail -c 1048576 got | md5sum)"
    if [ -e hvc ]; then echo "SOCKET left"; else echo "SOCKET gone"; fi
    ;;
pty)
    run pty
    await 5 printed /dev/pts err
    # Not by this process: it leads a session, and would be hung up with its terminal.
    (
        exec 4<>"$(sed -n 's/^.*virtio console is on //p' err)"
        head -n 1 <&4 >greeting
        cat typed >&4
        others_go_on
        head -c 1048576 <&4 >printed
    )
    finish
    echo "HOST-PRINTED $(md5sum <printed)"
    ;;
restart)
    mkfifo in
    exec 3<>in
    : >out
    run stdio --on-reboot restart >out
    await 30 lives 1
    echo again >in
    await 30 lives 2
    echo end >in
    finish
    ;;
esac
