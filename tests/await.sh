# SPDX-License-Identifier: BSD-2-Clause
# For the scripts of the lab that start a monitor, whose number is in $monitor and whose guest's console is a file. Not to
# be run: machines.lab_script() brings it, and they read it.

# await SECONDS COMMAND...: until it succeeds or the monitor is gone. Not too often: L1 has one processor.
await() {
    tries=$(($1 * 4))
    shift
    until "$@" || ! kill -0 $monitor 2>/dev/null || [ $((tries -= 1)) -le 0 ]; do
        usleep 250000
    done
}
# printed WORD [FILE]
printed() { grep -q "$1" "${2:-console}"; }
