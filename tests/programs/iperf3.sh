#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# iperf3 as a server on the engine and as a client of a kernel server: both directions, eight streams, both at
# once, UDP, daemon mode.
. "$(dirname "$0")/lib.sh"
. "$PROGRAMS/iperf3_lib.sh"

world_tap
start iperf3 on_engine iperf3 -s -B "$ENGINE_ADDR" -p 5201
wait_served 5201
start iperf3-kernel on_kernel iperf3 -s -B "$KERNEL_ADDR" -p 5202
wait_kernel 5202

served_() { iperf_tcp on_kernel "$ENGINE_ADDR" 5201 "$@"; }
client_() { iperf_tcp on_engine "$KERNEL_ADDR" 5202 "$@"; }
daemon_mode() {
	on_engine iperf3 -s -D -B "$ENGINE_ADDR" -p 5203 -I "$DIR/iperf3.pid" --logfile "$DIR/iperf3d.log"
	wait_served 5203
	iperf_tcp on_kernel "$ENGINE_ADDR" 5203 -n 64M
	iperf_tcp on_kernel "$ENGINE_ADDR" 5203 -n 64M -R
	kill "$(tr -d '\0' <"$DIR/iperf3.pid")"
}

check 'iperf3 server, client sends' served_ -n 512M
check 'iperf3 server, server sends' served_ -n 512M -R
check 'iperf3 server, -P 8' served_ -n 256M -P 8
check 'iperf3 server, -P 8 -R' served_ -n 256M -P 8 -R
check 'iperf3 server, --bidir' iperf_bidir on_kernel "$ENGINE_ADDR" 5201
check 'iperf3 server, UDP' iperf_udp on_kernel "$ENGINE_ADDR" 5201
check 'iperf3 server, UDP -R' iperf_udp on_kernel "$ENGINE_ADDR" 5201 -R
check 'iperf3 -s -D' daemon_mode
check 'iperf3 client, sends' client_ -n 512M
check 'iperf3 client, receives' client_ -n 512M -R
check 'iperf3 client, -P 8' client_ -n 256M -P 8
check 'iperf3 client, --bidir' iperf_bidir on_engine "$KERNEL_ADDR" 5202
check 'iperf3 client, UDP' iperf_udp on_engine "$KERNEL_ADDR" 5202
checks_done
