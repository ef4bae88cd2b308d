# SPDX-License-Identifier: BSD-2-Clause
# /test.sh of the test guest: fetches a file from the host, offers it again, and waits for its link to go down.
# The word net.test=user or net.test=tap on the kernel command line says how it comes to an address.
card=/sys/class/net/eth0
echo "MAC $(cat $card/address) MTU $(cat $card/mtu)"
ip link set lo up
ip link set eth0 up
if grep -q net.test=tap /proc/cmdline; then
    host=192.168.77.1
    ip addr add 192.168.77.2/24 dev eth0
else
    cat >/lease <<'END'
[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
ip route add default via "$router"
echo "LEASE $ip/$mask $router dns=$dns"
END
    chmod 755 /lease
    udhcpc -q -n -t 10 -T 1 -i eth0 -s /lease
    host=10.0.2.2
fi
begin=$(cut -d' ' -f1 /proc/uptime)
wget -q -O /data "http://$host:8000/data"
echo "FETCHED $begin $(cut -d' ' -f1 /proc/uptime)"
echo "GUEST-SUM $(md5sum </data)"
httpd -p 80 -h /
echo GUEST-READY
tries=0
until [ "$(cat $card/carrier)" = 0 ] || [ $((tries += 1)) -gt 600 ]; do
    sleep 0.1
done
echo "CARRIER $(cat $card/carrier)"
