#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# An idle engine (idle=adaptive) with 1,000 idle connections uses under 1 % of a core, and they are alive after.
. "$(dirname "$0")/lib.sh"
[[ $KIND == culvert ]] || {
	echo "skip idle: needs an engine"
	exit 0
}

world_tap
count=1000
start server on_engine "$PROGRAMS_BIN/holders" "$ENGINE_ADDR" 7300 $count listen
wait_served 7300
start client on_kernel "$PROGRAMS_BIN/holders" "$ENGINE_ADDR" 7300 $count connect
client=$started

# Ticks of the engine's process, all threads.
ticks() { sed 's/.*) //' "/proc/${engine_pid[$ENGINE]}/stat" | awk '{print $12 + $13}'; }
idle() {
	local from to percent hz seconds=10
	all_there() { grep -q "$count accepted" "$DIR/server.log" && grep -q "$count connected" "$DIR/client.log"; }
	wait_until 30 all_there || fail "not all connections came: $(cat "$DIR/server.log" "$DIR/client.log")"
	hz=$(getconf CLK_TCK)
	from=$(ticks)
	sleep "$seconds" # the measurement itself
	to=$(ticks)
	percent=$(awk "BEGIN {printf \"%.2f\", 100 * ($to - $from) / $hz / $seconds}")
	note "$percent % of a core"
	awk "BEGIN {exit !($percent < 1)}" || fail "$percent % of a core"
}
alive() {
	kill -USR1 "$client"
	answered() { grep -q 'alive' "$DIR/client.log"; }
	wait_until 20 answered || fail "no answer"
	grep -q "^$count alive" "$DIR/client.log" || fail "$(tail -n 1 "$DIR/client.log")"
}
check "idle engine, $count idle connections: under 1 % of a core" idle
check "$count idle connections are alive afterwards" alive
checks_done
