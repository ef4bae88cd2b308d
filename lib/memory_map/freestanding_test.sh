#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# freestanding_test.sh NM ARCHIVE: what the archive leaves undefined must be something that every
# kernel has: the compiler itself emits calls of these four.
set -eu
nm=$1
archive=$2

undefined=$("$nm" --undefined-only --format=posix "$archive" | awk 'NF >= 2 { print $1 }' | sort -u)
defined=$("$nm" --defined-only --format=posix "$archive" | awk 'NF >= 2 { print $1 }' | sort -u)
if [ -z "$defined" ]; then
  echo "$archive defines nothing: is it the right file?" >&2
  exit 1
fi

status=0
for symbol in $undefined; do
  case $symbol in
    memcpy | memmove | memset | memcmp) continue ;;
  esac
  if ! printf '%s\n' "$defined" | grep -Fqx -- "$symbol"; then
    echo "$archive needs $symbol, which a kernel does not have" >&2
    status=1
  fi
done
exit $status
