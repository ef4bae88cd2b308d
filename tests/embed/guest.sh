#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# In the guest, for embed_test.py.
stty -onlcr
echo "DISK $(dd if=/dev/vda bs=512 count=1 2>/dev/null | tr -d '\0')"
/port-tool 0x510 pvh
echo "READ $(/port-tool 0x510)"
echo "READ $(/port-tool 0x510)"
