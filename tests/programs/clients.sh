#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Clients on the engine, servers on the kernel (iperf3 -c is in iperf3.sh).
. "$(dirname "$0")/lib.sh"
. "$PROGRAMS/nginx_lib.sh"

world_tap
nginx_prepare "$KERNEL_ADDR" 80
head -c 256M /dev/urandom >"$NGINX/html/large"
on_kernel nginx -p "$NGINX" -c "$NGINX/nginx.conf"
start redis on_kernel redis-server --bind "$KERNEL_ADDR" --port 6379 --protected-mode no --save ''
start closed on_kernel socat "TCP-LISTEN:7000,bind=$KERNEL_ADDR,reuseaddr,fork,backlog=64" EXEC:cat
for port in 80 6379 7000; do wait_kernel "$port"; done

by_engine() { tail -n 1 "$NGINX/access.log" | grep -q "^$ENGINE_ADDR "; }
curl_large() {
	on_engine curl -sS --max-time 60 -o "$DIR/large" "http://$KERNEL_ADDR/large"
	same_sum "$DIR/large" "$NGINX/html/large"
	wait_until 5 by_engine || fail "not the engine asked: $(tail -n 1 "$NGINX/access.log")"
}
curl_upload() {
	head -c 64M "$NGINX/html/large" >"$DIR/body"
	on_engine curl -sS --max-time 60 -f -T "$DIR/body" "http://$KERNEL_ADDR/put/body"
	same_sum "$DIR/body" "$NGINX/put/body"
}
curl_parallel() {
	local i urls=()
	for ((i = 0; i < 60; i++)); do urls+=("http://$KERNEL_ADDR/small" -o "$DIR/small.$i"); done
	on_engine curl -sS -Z --parallel-max 30 --max-time 30 "${urls[@]}"
	for ((i = 0; i < 60; i++)); do cmp "$DIR/small.$i" "$NGINX/html/small"; done
}
curl_refused() {
	local status=0
	on_engine curl -sS --max-time 10 "http://$KERNEL_ADDR:81/" 2>"$DIR/refused" || status=$?
	cat "$DIR/refused"
	[[ $status == 7 ]] || fail "curl's exit code is $status, not 7"
}
wrk_run() {
	on_engine wrk -t 2 -c 50 -d 3 "$@" "http://$KERNEL_ADDR/small" | tee "$DIR/wrk.out"
	! grep -E 'Socket errors|Non-2xx' "$DIR/wrk.out" || fail "errors"
	[[ $(awk '/requests in/ {print $1}' "$DIR/wrk.out") -gt 500 ]] || fail "too few requests"
}
python_many() {
	on_engine timeout 60 python3 "$PROGRAMS/http_many.py" "$KERNEL_ADDR" 80 /small 4000 16 "$1" "$NGINX/html/small"
}
benchmark() {
	on_engine timeout 60 redis-benchmark -h "$KERNEL_ADDR" -n 40000 -c 50 --csv -t ping_mbulk,set,get,lrange_100 |
		tee "$DIR/benchmark.csv"
	awk -F'","' 'NR > 1 {n++; if ($2 + 0 <= 0) bad = 1} END {exit bad || n < 4}' "$DIR/benchmark.csv"
}
keys() { on_engine timeout 60 python3 "$PROGRAMS/redis_keys.py" "$KERNEL_ADDR" 6379 20000; }
echo_back() { on_engine timeout 60 python3 "$PROGRAMS/echo_client.py" "$KERNEL_ADDR" 7000 10000000 4; }

check 'curl, 256 MiB, SHA-256' curl_large
if nginx -V 2>&1 | grep -q http_dav_module; then check 'curl, 64 MiB upload' curl_upload; fi
check 'curl, 60 files in parallel' curl_parallel
check 'curl to a closed port' curl_refused
check 'wrk keep-alive' wrk_run
check 'wrk close' wrk_run -H 'Connection: close'
check 'python 4,000 requests, keep-alive' python_many keep
check 'python 4,000 requests, close' python_many close
check 'redis-benchmark as client' benchmark
check 'python redis client, 20,000 keys' keys
check 'python echo client, four streams' echo_back
checks_done
