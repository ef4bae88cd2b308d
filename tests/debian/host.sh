#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# In the lab, for debian_test.py: PVH KERNEL INITRD DISK [OPTION...]. Logs in on the console as a user does, by typing.
pvh=$1 kernel=$2 initrd=$3 disk=$4
shift 4
mkdir -p /www /var/tmp
dd if=/dev/urandom of=/www/data bs=1M count=64 2>/dev/null
echo "HOST-SUM $(sha256sum </www/data)"
httpd -p 127.0.0.1:8000 -h /www
: >/console

# Until the console shows it, so many seconds at the most.
seen() {
    tries=0
    until grep -q "$1" /console || [ $tries -ge $(($2 * 2)) ]; do
        tries=$((tries + 1))
        usleep 500000
    done
}
# busybox's wget wants the libraries of its own libc, which are passt's here.
fetch() {
    printf 'GET /answer HTTP/1.0\r\n\r\n' | nc 127.0.0.1 8080 | sed '1,/^\r$/d'
}
type_to_guest() {
    seen 'debian login: ' 300
    sleep 1
    printf 'root\r'
    seen 'root@debian' 60
    printf 'echo STATE-$(systemctl is-system-running --wait) ROOT-$(findmnt -no SOURCE,FSTYPE / | tr " " -)\r'
    seen 'STATE-[a-z]' 90
    # The gateway is the host's loopback.
    printf 'busybox wget -q -O /root/data http://10.0.2.2:8000/data; echo "GUEST-SUM" $(sha256sum </root/data)\r'
    seen 'GUEST-SUM [0-9a-f]' 240
    printf 'mv /root/data /srv/www/answer; echo SERVED-$((6 * 7))\r'
    seen 'SERVED-42' 30
    fetch >/back
    kill -TERM "$(cat /monitor)"
    seen 'Power down' 120
}
type_to_guest | sh -c 'echo $$ >/monitor; exec "$@"' sh "$pvh" run "$kernel" "$@" --initrd "$initrd" -m 1G --disk "$disk,snapshot" \
    --net user,hostfwd=tcp:127.0.0.1:8080-80 --timeout 700 --grace 120 -- console=ttyS0 root=/dev/vda rw quiet >/console
echo "STATUS $?"
echo "BACK-SUM $(sha256sum </back)"
cat /console
