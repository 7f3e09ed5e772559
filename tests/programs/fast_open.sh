#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# TCP Fast Open with the kernel at the other end: its client and our server, our client and its server.
. "$(dirname "$0")/lib.sh"

world_tap '[tcp]' 'fastopen=3'
on_kernel sysctl -qw net.ipv4.tcp_fastopen=3
start ours on_engine python3 "$PROGRAMS/fast_open.py" server "$ENGINE_ADDR" 9000
start theirs on_kernel python3 "$PROGRAMS/fast_open.py" server "$KERNEL_ADDR" 9001
wait_served 9000
wait_kernel 9001

counted() { engine_counter "$ENGINE" ".counters.$1"; }
kernel_client() {
	on_kernel timeout 60 python3 "$PROGRAMS/fast_open.py" client "$ENGINE_ADDR" 9000 5
	[[ $(counted tcp_fastopen_in) == 4 ]] || fail "$(counted tcp_fastopen_in) connections of 4 began with a cookie"
}
engine_client() {
	local taken
	on_engine timeout 60 python3 "$PROGRAMS/fast_open.py" client "$KERNEL_ADDR" 9001 5
	taken=$(on_kernel nstat -asz TcpExtTCPFastOpenPassive | awk '$1 == "TcpExtTCPFastOpenPassive" { print $2 }')
	[[ $(counted tcp_fastopen_out) == 4 ]] || fail "$(counted tcp_fastopen_out) SYNs of 4 had data"
	[[ $taken == 4 ]] || fail "the kernel took $taken SYNs of 4"
}

check 'fast open, kernel client' kernel_client
check 'fast open, kernel server' engine_client
checks_done
