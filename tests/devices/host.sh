#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# In the lab, for devices_test.py: PVH KERNEL INITRD VSOCK-TOOL UDS-TOOL
pvh=$1 kernel=$2 initrd=$3 tool=$4 uds=$5
. "${0%/*}/../await.sh"
cd /tmp || exit
export TMPDIR=/tmp

resident() { awk '/^VmRSS:/ { print $2 }' "/proc/$1/status"; }

mkdir /www
dd if=/dev/urandom of=/www/page bs=1k count=1024 2>/dev/null
httpd -p 127.0.0.1:8000 -h /www
echo "PAGE $(md5sum </www/page)"
truncate -s 4M a.img b.img
"$tool" serve /tmp/vsock_2000 &
server=$!
: >console
"$pvh" run "$kernel" --initrd "$initrd" -m 6G -c 4 --disk a.img --disk b.img,snapshot --vsock cid=5,uds=/tmp/vsock --balloon=uds=/tmp/balloon \
    --net user --console file=console --timeout 100 -- console=ttyS0 quiet pvh.test=script &
monitor=$!
await 45 printed LISTENING
echo "TO-GUEST $("$tool" host /tmp/vsock 1000 3000000)"
echo "TO-GUEST-NOBODY $("$tool" host /tmp/vsock 1001 1)"
await 45 printed FILLED
echo "THREADS $(ls /proc/$monitor/task | wc -l)"
filled=$(resident $monitor)
echo measured | dd of=a.img conv=notrunc 2>/dev/null
await 45 printed FREED
tries=0
while [ $tries -lt 80 ] && [ $((filled - $(resident $monitor))) -lt 350000 ]; do
    tries=$((tries + 1))
    usleep 250000
done
echo "RESIDENT $filled $(resident $monitor)"
# balloon SIZE BYTES: asks for so much, and tells what the guest has given when it is that.
balloon() {
    echo "$1" | "$uds" /tmp/balloon >/dev/null
    tries=0
    until echo '?' | "$uds" /tmp/balloon | grep -q "actual_bytes\":$2}" || [ $((tries += 1)) -gt 80 ]; do usleep 250000; done
    echo '?' | "$uds" /tmp/balloon
}
echo "INFLATED $(balloon 512M 536870912)"
echo "DEFLATED $(balloon 0 0)"
# Nobody in the guest acts on the power button, so it takes two.
kill -TERM $monitor
sleep 1
kill -TERM $monitor
wait $monitor
echo "STATUS $?"
kill $server
cat console
if [ -e vsock ]; then echo "SOCKET left"; else echo "SOCKET gone"; fi
