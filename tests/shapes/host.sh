#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# In the lab, for tests/shapes_test.py: PVH and all that it is to be run with.
mkdir -p /www /var/tmp
echo "the host's page" >/www/page
httpd -p 127.0.0.1:8000 -h /www
exec "$@"
