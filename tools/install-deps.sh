#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# tools/install-deps.sh [GROUP...]: installs what a fresh Debian 12 lacks. Groups: build, run, test; all of them when
# none is named. Costs some milliseconds and never calls apt when everything is there. Needs root or sudo, else it
# says what to install. PVH_SKIP_DEPS=1 trusts that the tools came from elsewhere.
set -eu

# What configure and compile need: the compiler that pvh is shipped from, and the libraries that are not our trade.
build="g++-12 g++-12-multilib cmake ninja-build pkgconf ccache make binutils python3
       libfmt-dev libcli11-dev nlohmann-json3-dev liburing-dev
       zlib1g-dev libbz2-dev liblzma-dev liblzo2-dev liblz4-dev libzstd-dev
       libgtest-dev libgmock-dev libbenchmark-dev"

# What the lab and the demo need: an emulator for machines without KVM, and the makings of an initramfs; and what
# `--net user` runs.
run="passt python3 qemu-system-x86 seabios busybox-static cpio gzip xz-utils"

# What the tests need besides: the second compiler with its sanitizers, formatter and linter, and the test runners.
test="git gdb clang-19 libclang-rt-19-dev clang-tidy-19 clang-format-19 acpica-tools gcovr
      bzip2 lzop lz4 zstd mmdebstrap e2fsprogs uidmap
      python3-pytest python3-pytest-xdist python3-pytest-timeout"

fail() {
  echo "install-deps: $*" >&2
  exit 1
}

missing_of() {
  # dpkg-query answers for the packages it has heard of, and fails when there is one that it has not.
  present=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null | sed -n 's/^installed //p' || true)
  for package in "$@"; do
    case "
$present
" in
      *"
$package
"*) ;;
      *) printf '%s ' "$package" ;;
    esac
  done
}

[ "${PVH_SKIP_DEPS:-}" != 1 ] || exit 0
[ $# -gt 0 ] || set -- build run test
wanted=
for group in "$@"; do
  case $group in
    build) wanted="$wanted $build" ;;
    run) wanted="$wanted $run" ;;
    test) wanted="$wanted $test" ;;
    *) fail "no group '$group': there are build, run and test" ;;
  esac
done

command -v dpkg-query >/dev/null && command -v apt-get >/dev/null ||
  fail "this is not a Debian. Install the equivalents of:$(echo " $wanted" | tr -s ' \n' ' '); then set PVH_SKIP_DEPS=1"

# shellcheck disable=SC2086 # the lists are words
missing=$(missing_of $wanted)
[ -n "$missing" ] || exit 0
echo "install-deps: installing $missing"

if [ "$(id -u)" -eq 0 ]; then
  as_root=
elif ! command -v sudo >/dev/null; then
  fail "not root and no sudo here. As root: apt-get install --no-install-recommends $missing"
elif [ -t 0 ]; then
  as_root=sudo
else
  sudo -n true 2>/dev/null || fail "sudo wants a password and there is no terminal to ask on. \
As root: apt-get install --no-install-recommends $missing"
  as_root="sudo -n"
fi

# apt reports a mirror that it cannot reach as a warning, and goes on with the lists it has; here that is a failure,
# tried again once.
update() {
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 -o APT::Update::Error-Mode=any \
    update
}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
updated=yes
if ! update >"$log" 2>&1; then
  sleep 3
  update >"$log" 2>&1 || updated=no
fi

# Old lists may do: so no package list is a failure only if the install fails too.
# shellcheck disable=SC2086
if ! $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 \
  install --no-install-recommends $missing </dev/null >>"$log" 2>&1; then
  tail -n 30 "$log" >&2
  [ $updated = yes ] || fail "apt-get update failed twice: is the network there, is /etc/apt/sources.list* right?"
  fail "apt-get install failed; this needs Debian 12 (bookworm) main with its updates, see above"
fi

# shellcheck disable=SC2086
missing=$(missing_of $wanted)
[ -z "$missing" ] || fail "apt-get succeeded but these are still missing: $missing"
