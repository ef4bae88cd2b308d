# SPDX-License-Identifier: BSD-2-Clause
# The host of net_test.py: host.sh user|tap PVH KERNEL INITRD KIBIBYTES serves a file on its own address, has the guest
# fetch it and fetches it back, cuts the cable, and tells what came of it.
how=$1 pvh=$2 kernel=$3 initrd=$4 kibibytes=$5

now() { cut -d' ' -f1 /proc/uptime; }
# await SECONDS COMMAND...: until it succeeds.
await() {
    tries=$(($1 * 10))
    shift
    until "$@" 2>/dev/null; do
        [ $((tries -= 1)) -gt 0 ] || return 1
        sleep 0.1
    done
}
passts() { pidof passt passt.avx2; }
no_passts() { ! passts >/dev/null; }
ready() { grep -q GUEST-READY /console || ! kill -0 $machine; }

mkdir /www
dd if=/dev/urandom of=/www/data bs=1k count="$kibibytes" 2>/dev/null
echo "HOST-SUM $(md5sum </www/data)"
set -- "$kernel" --initrd "$initrd" -m 512M --timeout 80
words="console=ttyS0 quiet pvh.test=script net.test=$how"
if [ "$how" = user ]; then
    address=127.0.0.1 back=127.0.0.1:9080
    net="user,hostfwd=tcp:127.0.0.1:9080-80,mac=52:54:00:12:34:56"
else
    tunctl -t tap0 >/dev/null
    ip addr add 192.168.77.1/24 dev tap0
    ip link set tap0 up
    address=192.168.77.1 back=192.168.77.2:80
    net="tap=tap0"
fi
httpd -p $address:8000 -h /www

# shellcheck disable=SC2086
"$pvh" run "$@" --console file=/console --net "$net" -- $words 2>/err &
machine=$!
await 70 ready
begin=$(now)
wget -q -O /back "http://$back/data"
echo "FETCHED-BACK $begin $(now)"
echo "BACK-SUM $(md5sum </back)"
if [ "$how" = user ]; then
    # shellcheck disable=SC2046
    kill -9 $(passts)
else
    "$pvh" run "$@" --console none --net tap=tap0 2>&1
    echo "BUSY $?"
    ip link del tap0
fi
wait $machine
echo "STATUS $?"
cat /console
sed 's/^/STDERR /' /err

if [ "$how" = user ]; then
    "$pvh" run "$@" --console none --net user,hostfwd=tcp::8000-80 2>&1
    echo "IN-USE $?"
    PATH=/nowhere "$pvh" run "$@" --console none --net user 2>&1
    echo "NO-PASST $?"
    "$pvh" run "$@" --console none --net user 2>&1 &
    machine=$!
    await 10 passts >/dev/null && sleep 0.2
    kill -9 $machine
    await 5 no_passts && echo NO-PASST-LEFT
else
    "$pvh" run "$@" --console none --net tap=tap0 2>&1
    echo "NO-TAP $?"
fi
