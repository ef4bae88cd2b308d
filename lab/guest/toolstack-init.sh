#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The init of the Linux that is Xen's dom0: brings xenstored and the lab's devices up, then hands over to the agent, which
# waits in the snapshot. This Linux panics (and QEMU ends) when this ends, so every way out of here is seen at once.
/bin/busybox mkdir -p /dev /proc /sys /tmp /root /run/xen /run/xenstored /run/console /usr/bin /usr/sbin /var/log/xen \
    /var/lib/xen /var/lib/xenstored /var/lock /etc/xen
/bin/busybox --install -s
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
ln -s /run /var/run
export PATH=/usr/lib/xen-4.17/bin:/bin:/sbin:/usr/bin:/usr/sbin

while read -r module; do
    insmod "/lib/modules/$module" || echo "lab: module $module did not load"
done </lib/modules/order

mount -t xenfs xenfs /proc/xen
grep -q control_d /proc/xen/capabilities || echo "lab: this Linux is not Xen's dom0"
# dom0 has a fixed part of the memory.
echo 'autoballoon="off"' >/etc/xen/xl.conf
xenstored || echo "lab: xenstored did not start"
xen-init-dom0 || echo "lab: xen-init-dom0 failed"
# A guest's console is logged to a pipe, so that it can be read while the guest runs, and to its end.
mkfifo /run/console/guest-domu.log
xenconsoled --log=guest --log-dir=/run/console --pid-file=/run/xenconsoled.pid || echo "lab: xenconsoled did not start"
xl info >/dev/null || echo "lab: xl does not work"

echo -1000 >/proc/self/oom_score_adj
# The host names its ports; the names arrive a moment after the driver was loaded.
port() {
    until folder=$(grep -l -x "$1" /sys/class/virtio-ports/*/name 2>/dev/null); do
        sleep 0.05
    done
    folder=${folder%/name}
    echo "/dev/${folder##*/}"
}
/bin/agent "$(port lab.control)" "$(port lab.input)" /dev/vda
echo "lab: the agent ended with status $?"
