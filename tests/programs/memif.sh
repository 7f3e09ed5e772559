#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Two engines joined by memif, both ends under the preload: no kernel stack anywhere on the way.
. "$(dirname "$0")/lib.sh"
. "$PROGRAMS/iperf3_lib.sh"

world_pair
start iperf3 on_engine iperf3 -s -B "$PAIR_ADDR1" -p 5201
start redis on_engine redis-server --bind "$PAIR_ADDR1" --port 6379 --protected-mode no --save ''
start echo on_engine socat "TCP-LISTEN:7000,bind=$PAIR_ADDR1,reuseaddr,fork,backlog=64" EXEC:cat
for port in 5201 6379 7000; do wait_served "$port"; done

benchmark() {
	on_engine2 timeout 60 redis-benchmark -h "$PAIR_ADDR1" -n 100000 -c 50 --csv "$@" | tee "$DIR/benchmark.csv"
	awk -F'","' 'NR > 1 {n++; if ($2 + 0 <= 0) bad = 1} END {exit bad || n < 2}' "$DIR/benchmark.csv"
}
keys() { on_engine2 timeout 60 python3 "$PROGRAMS/redis_keys.py" "$PAIR_ADDR1" 6379 50000; }
echo_back() { on_engine2 timeout 60 python3 "$PROGRAMS/echo_client.py" "$PAIR_ADDR1" 7000 20000000 4; }

check 'memif iperf3' iperf_tcp on_engine2 "$PAIR_ADDR1" 5201 -n 1G
check 'memif iperf3 -R' iperf_tcp on_engine2 "$PAIR_ADDR1" 5201 -n 1G -R
check 'memif iperf3 -P 8' iperf_tcp on_engine2 "$PAIR_ADDR1" 5201 -n 512M -P 8
check 'memif iperf3 --bidir' iperf_bidir on_engine2 "$PAIR_ADDR1" 5201
check 'memif iperf3 UDP' iperf_udp on_engine2 "$PAIR_ADDR1" 5201
check 'memif redis-benchmark -c 50' benchmark -t set,get
check 'memif redis-benchmark -c 50 -P 16' benchmark -t set,get -P 16
check 'memif redis 50,000 keys written and read back' keys
check 'memif socat echo, content compared' echo_back
checks_done
