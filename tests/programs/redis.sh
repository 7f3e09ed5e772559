#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# redis-server on the engine; clients on the kernel.
. "$(dirname "$0")/lib.sh"

world_tap
mkdir "$DIR/redis"
on_engine redis-server --bind "$ENGINE_ADDR" --port 6379 --protected-mode no --save '' \
	--dir "$DIR/redis" --daemonize yes --pidfile "$DIR/redis.pid" --logfile "$DIR/redis.log"
wait_served 6379

cli() { on_kernel redis-cli -h "$ENGINE_ADDR" "$@"; }
info() { cli info "$1" | tr -d '\r' | sed -n "s/^$2://p"; }

ping() { [[ $(cli ping) == PONG ]]; }
benchmark() {
	on_kernel timeout 100 redis-benchmark -h "$ENGINE_ADDR" -n 40000 -c 50 --csv \
		-t ping_mbulk,set,get,incr,lpush,lrange_100,mset | tee "$DIR/benchmark.csv"
	# One line a test with its rate; none may be 0.
	awk -F'","' 'NR > 1 {n++; if ($2 + 0 <= 0) bad = 1} END {exit bad || n < 7}' "$DIR/benchmark.csv"
	[[ $(info stats total_error_replies) == 0 ]] || fail "error replies"
}
pipelined() {
	on_kernel timeout 60 redis-benchmark -h "$ENGINE_ADDR" -n 200000 -c 50 -P 16 -t set,get --csv
	[[ $(info stats total_error_replies) == 0 ]] || fail "error replies"
}
read_back() {
	cli flushall
	on_kernel timeout 100 python3 "$PROGRAMS/redis_keys.py" "$ENGINE_ADDR" 6379 100000
	[[ $(cli dbsize) == 100000 ]] || fail "dbsize is $(cli dbsize)"
}
big_values() {
	head -c 32M /dev/urandom >"$DIR/value"
	cli -x set big <"$DIR/value"
	cli --raw get big >"$DIR/value.back" # and a newline
	truncate -s 32M "$DIR/value.back"
	same_sum "$DIR/value" "$DIR/value.back"
	cli del big
}
publish() {
	cli --raw subscribe news >"$DIR/news" &
	local reader=$! i
	# The subscriber is there when publish finds one.
	somebody_listens() { [[ $(cli publish news hello) == 1 ]]; }
	wait_until 10 somebody_listens
	for ((i = 0; i < 5; i++)); do cli publish news "item $i" >/dev/null; done
	news_complete() { grep -q 'item 4' "$DIR/news"; }
	wait_until 10 news_complete || fail "not all messages came: $(cat "$DIR/news")"
	kill "$reader"
}
bgsave() {
	cli config set save '' >/dev/null
	on_kernel timeout 60 redis-benchmark -h "$ENGINE_ADDR" -n 300000 -c 50 -r 100000 -t set --csv \
		>"$DIR/load.csv" 2>&1 &
	local load=$! i before
	for i in 1 2 3; do
		before=$(info persistence rdb_saves)
		cli bgsave
		saved() { [[ $(info persistence rdb_bgsave_in_progress) == 0 && $(info persistence rdb_saves) -gt $before ]]; }
		wait_until 20 saved || fail "save $i does not end"
		[[ $(info persistence rdb_last_bgsave_status) == ok ]] || fail "save $i: $(info persistence rdb_last_bgsave_status)"
	done
	wait "$load" || fail "the load failed: $(cat "$DIR/load.csv")"
	[[ $(info stats total_forks) -ge 3 ]]
	cli save # the same keys, with nothing going on
	redis-check-rdb "$DIR/redis/dump.rdb" | tee "$DIR/rdb.out"
	grep -q "RDB looks OK" "$DIR/rdb.out"
	grep -q " $(cli dbsize) keys read" "$DIR/rdb.out" || fail "the dump has not $(cli dbsize) keys"
}
shut() {
	local pid
	pid=$(<"$DIR/redis.pid")
	cli shutdown nosave
	wait_until 10 process_gone "$pid" || fail "redis did not end"
}

check 'redis ping' ping
check 'redis-benchmark -c 50' benchmark
check 'redis-benchmark -c 50 -P 16' pipelined
check 'redis 100,000 keys written and read back' read_back
check 'redis a value of 32 MiB' big_values
check 'redis publish and subscribe' publish
check 'redis BGSAVE during load' bgsave
check 'redis shutdown' shut
checks_done
