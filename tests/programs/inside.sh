#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Both ends on one engine: two programs, one program with itself; and with `[rule] loopback=culvert` the
# loopback addresses.
. "$(dirname "$0")/lib.sh"
. "$PROGRAMS/iperf3_lib.sh"

world_both '[rule]' loopback=culvert
start iperf3 on_engine iperf3 -s -B "$ENGINE_ADDR" -p 5201
start redis on_engine redis-server --bind "$ENGINE_ADDR" --port 6379 --protected-mode no --save ''
start loopback on_engine redis-server --bind 127.0.0.1 --port 6380 --protected-mode no --save ''
for port in 5201 6379 6380; do wait_served "$port"; done

benchmark() {
	on_engine timeout 60 redis-benchmark -h "$1" -p "$2" -n 60000 -c 50 --csv -t set,get | tee "$DIR/benchmark.csv"
	awk -F'","' 'NR > 1 {n++; if ($2 + 0 <= 0) bad = 1} END {exit bad || n < 2}' "$DIR/benchmark.csv"
}
keys() { on_engine timeout 60 python3 "$PROGRAMS/redis_keys.py" "$1" "$2" 20000; }
itself() { on_engine timeout 60 python3 "$PROGRAMS/both_ends.py" "$@"; }

check 'inside: iperf3' iperf_tcp on_engine "$ENGINE_ADDR" 5201 -n 1G
check 'inside: iperf3 -R' iperf_tcp on_engine "$ENGINE_ADDR" 5201 -n 1G -R
check 'inside: iperf3 -P 8' iperf_tcp on_engine "$ENGINE_ADDR" 5201 -n 512M -P 8
check 'inside: iperf3 UDP' iperf_udp on_engine "$ENGINE_ADDR" 5201
check 'inside: redis-benchmark' benchmark "$ENGINE_ADDR" 6379
check 'inside: redis 20,000 keys' keys "$ENGINE_ADDR" 6379
check 'inside: what a program gives up (root directory, environment) the library does not need' \
	on_engine timeout 30 python3 "$PROGRAMS/inline_life.py" "$ENGINE_ADDR" "$KERNEL_ADDR" 0 given_up
check 'inside: one process with both ends' itself "$ENGINE_ADDR"
check 'loopback=culvert: redis-benchmark at 127.0.0.1' benchmark 127.0.0.1 6380
check 'loopback=culvert: one process at 127.0.0.1' itself 127.0.0.1
check 'loopback=culvert: one process at 127.3.2.1' itself 127.3.2.1
check 'loopback=culvert: one process at ::1' itself ::1
checks_done
