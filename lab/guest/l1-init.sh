#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# L1's init: brings KVM and the lab's devices up, then hands over to the agent, which waits in the snapshot.
# L1 panics (and QEMU ends) when this ends, so every way out of here is seen by the host at once.
/bin/busybox mkdir -p /dev /proc /sys /tmp /root /run /usr/bin /usr/sbin
/bin/busybox --install -s
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
ln -s /proc/self/fd /dev/fd
ln -s /proc/self/fd/0 /dev/stdin
ln -s /proc/self/fd/1 /dev/stdout
ln -s /proc/self/fd/2 /dev/stderr
chmod 1777 /tmp
mkdir -p /etc
printf '%s\n' root:x:0:0::/root:/bin/sh nobody:x:65534:65534::/:/bin/false >/etc/passwd
ip link set lo up

# Guests are given more memory than they touch, and more than L1 has.
echo 1 >/proc/sys/vm/overcommit_memory
echo always >/sys/kernel/mm/transparent_hugepage/enabled

while read -r module; do
    insmod "/lib/modules/$module" || echo "lab: module $module did not load"
done </lib/modules/order

grep -q -w svm /proc/cpuinfo || echo "lab: this CPU has no svm"
test -c /dev/kvm || echo "lab: there is no /dev/kvm"

# The kernel's first root cannot be left by pivot_root, which is how programs that sandbox themselves (passt) begin: the
# same files as a mount of their own can.
mkdir /root-mount
mount --rbind / /root-mount
cd /root-mount || exit
mount --move . /

echo -1000 >/proc/self/oom_score_adj
# The host names its ports; the names arrive a moment after the driver was loaded.
port() {
    until folder=$(grep -l -x "$1" /sys/class/virtio-ports/*/name 2>/dev/null); do
        sleep 0.05
    done
    folder=${folder%/name}
    echo "/dev/${folder##*/}"
}
chroot . /bin/agent "$(port lab.control)" "$(port lab.input)" /dev/vda
echo "lab: the agent ended with status $?"
