#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# domu CONFIG: a domain of the name "domu", from its start to its end. Its PV console is standard output, xl's words are
# standard error, among them the reason for which the domain shut down.
export PATH=/usr/lib/xen-4.17/bin:"$PATH"
console=/run/console/guest-domu.log
seen=/run/console/seen

exec 3<>$console # with a writer of our own, the reader need not wait for xenconsoled
tee $seen <$console 3>&- &
xl create -F "$1" >&2 3>&-
# xenconsoled looks at a guest that writes without end only every 0.2 s; what it then finds is all, for the rest had to wait.
test ! -s $seen || sleep 0.5
kill "$(cat /run/xenconsoled.pid)"
exec 3>&-
wait
# Through Xen's console, behind all that the domain said there.
echo "lab: the domain has ended" >/dev/hvc0
