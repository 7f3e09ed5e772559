#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Two workers on a TAP, which has a queue for each; workers_memif.sh is the same on one queue.
export ENGINE_WORKERS=2
. "$(dirname "$0")/lib.sh"
. "$PROGRAMS/nginx_lib.sh"
. "$PROGRAMS/iperf3_lib.sh"

world_tap
nginx_prepare "$ENGINE_ADDR" 80
on_engine nginx -p "$NGINX" -c "$NGINX/nginx.conf"
start redis on_engine redis-server --bind "$ENGINE_ADDR" --port 6379 --protected-mode no --save ''
start echo on_engine socat "UDP4-LISTEN:7007,bind=$ENGINE_ADDR,fork" EXEC:cat
start iperf3 on_engine iperf3 -s -B "$ENGINE_ADDR" -p 5201
for port in 80 6379 5201; do wait_served "$port"; done

stat_of() { "$CULVERT" stat --engine "$ENGINE" --json | jq -r "$1"; }
# Both had a fair part of what was connected and received.
both_work() {
	local shares
	on_kernel wrk -t2 -c64 -d2s "http://$ENGINE_ADDR/small" >"$DIR/wrk" &
	local load=$!
	sleep 1
	shares=$(stat_of '[.worker[].connections] | @csv')
	wait "$load"
	note "connections $shares"
	grep -q 'requests in' "$DIR/wrk"
	! grep -q 'Socket errors' "$DIR/wrk" || fail "$(grep 'Socket errors' "$DIR/wrk")"
	[[ $(stat_of '[.worker[].rx_packets] | min') -gt 100 ]] || fail "a worker got next to nothing"
}
many() {
	on_kernel timeout 100 python3 "$PROGRAMS/http_many.py" "$ENGINE_ADDR" 80 /small 10000 64 "$1" "$NGINX/html/small"
}
keys() { on_kernel timeout 100 python3 "$PROGRAMS/redis_keys.py" "$ENGINE_ADDR" 6379 50000; }
bench() { on_kernel timeout 60 redis-benchmark -h "$ENGINE_ADDR" -c 50 -n 50000 -t get,set -q >/dev/null; }
udp_echo() {
	local i
	for i in {1..20}; do
		[[ $(echo "datagram $i" | on_kernel timeout 5 socat -t 2 - "UDP4:$ENGINE_ADDR:7007") == "datagram $i" ]] && return
	done
	fail "no datagram came back"
}
# Sockets that share a port are on both workers, and each client keeps to one of them.
udp_shared() {
	local before
	start udp on_engine python3 "$PROGRAMS/udp_many.py" serve "$ENGINE_ADDR" 7008 4
	wait_until 10 grep -q serving "$DIR/udp.log"
	[[ $("$CULVERT" ss --engine "$ENGINE" -u -a -n --json | jq -c '[.[] | select(.local_port == 7008).worker] | sort') == '[0,0,1,1]' ]] ||
		fail "$("$CULVERT" ss --engine "$ENGINE" -u -a -n --json)"
	before=$(stat_of '[.worker[].drop_handover] | add')
	on_kernel timeout 60 python3 "$PROGRAMS/udp_many.py" ask "$ENGINE_ADDR" 7008 64 100 | tee "$DIR/udp.out"
	note "$(<"$DIR/udp.out")"
	grep -q '^4 sockets' "$DIR/udp.out" || fail 'not all of them were asked'
	[[ $(stat_of '[.worker[].drop_handover] | add') == "$before" ]] || fail 'datagrams were lost between the workers'
	# Their port is nobody's afterwards, and another program may have it on whichever worker.
	stop_process "$started" 5
	start udp on_engine python3 "$PROGRAMS/udp_many.py" serve "$ENGINE_ADDR" 7008 1
	wait_until 10 grep -q serving "$DIR/udp.log"
}
# Each closes its listener at the end, and must be refused then, whichever worker its connection is on.
both_ends() { for _ in {1..8}; do on_engine timeout 30 python3 "$PROGRAMS/both_ends.py" "$ENGINE_ADDR"; done; }
# Clients of the engine: each connects from a port of its own worker's.
udp_clients() {
	start udpk on_kernel python3 "$PROGRAMS/udp_many.py" serve "$KERNEL_ADDR" 7009 4
	wait_until 10 grep -q serving "$DIR/udpk.log"
	on_engine timeout 60 python3 "$PROGRAMS/udp_many.py" ask "$KERNEL_ADDR" 7009 64 100 | tee "$DIR/udp.out"
	note "$(<"$DIR/udp.out")"
}
ss_sums() {
	# One row a listener, whatever replicas it has; a worker of each connection.
	[[ $("$CULVERT" ss --engine "$ENGINE" -tln | grep -c ":80 ") == 1 ]] || fail "not one row for port 80"
	[[ $(stat_of .tcp.listeners) == 3 ]] || fail "$(stat_of .tcp.listeners) listeners, not 3"
}
killed() {
	# Its connections end on both workers, and its port is free on both.
	local pid workers
	on_kernel wrk -t1 -c32 -d4s "http://$ENGINE_ADDR/small" >/dev/null 2>&1 &
	local load=$!
	sleep 1
	pid=$(<"$NGINX/nginx.pid")
	# The master first: it would start another worker.
	mapfile -t workers < <(pgrep -P "$pid")
	kill -KILL "$pid" "${workers[@]}"
	none_left() { [[ $(stat_of .tcp.connections) == 0 && $(stat_of .tcp.listeners) == 2 ]]; }
	wait "$load" || true
	wait_until 10 none_left || fail "$(stat_of .tcp.connections) connections and $(stat_of .tcp.listeners) listeners are left"
	on_engine nginx -p "$NGINX" -c "$NGINX/nginx.conf"
	wait_served 80
	many close
}

check 'workers: a process with both ends, and a listener that is closed' both_ends
check 'workers: both take part' both_work
check 'workers: 10,000 requests, keep-alive' many keep
check 'workers: 10,000 requests, close' many close
check 'workers: redis 50,000 keys' keys
check 'workers: redis-benchmark' bench
check 'workers: iperf3 -P 8' iperf_tcp on_kernel "$ENGINE_ADDR" 5201 -n 512M -P 8
check 'workers: iperf3 -P 8 -R' iperf_tcp on_kernel "$ENGINE_ADDR" 5201 -n 512M -P 8 -R
check 'workers: iperf3 UDP' iperf_udp on_kernel "$ENGINE_ADDR" 5201
check 'workers: UDP echo' udp_echo
check 'workers: UDP, a port shared by sockets of both' udp_shared
check 'workers: UDP, 64 clients' udp_clients
check 'workers: ss and stat sum' ss_sums
check 'workers: a killed program ends everywhere' killed
checks_done
