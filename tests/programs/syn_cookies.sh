#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Every handshake by SYN cookie ([tcp] syncookies=2), the kernel as the client: what the cookie and the timestamp carry is what a
# transfer needs.
. "$(dirname "$0")/lib.sh"

world_tap '[tcp]' 'syncookies=2'
start echo on_engine socat "TCP-LISTEN:7000,bind=$ENGINE_ADDR,reuseaddr,fork,backlog=64" EXEC:cat
wait_served 7000

with_timestamps() {
	local before
	before=$(engine_counter "$ENGINE" .counters.tcp_cookies_in)
	on_kernel timeout 60 python3 "$PROGRAMS/echo_client.py" "$ENGINE_ADDR" 7000 20000000 4
	[[ $(engine_counter "$ENGINE" .counters.tcp_cookies_in) -ge $((before + 4)) ]] || fail 'not by cookie'
}
without_timestamps() {
	on_kernel sysctl -qw net.ipv4.tcp_timestamps=0
	on_kernel timeout 60 python3 "$PROGRAMS/echo_client.py" "$ENGINE_ADDR" 7000 5000000 4
}

check 'SYN cookies, four streams' with_timestamps
check 'SYN cookies, four streams without timestamps' without_timestamps
checks_done
