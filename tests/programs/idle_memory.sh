#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# What idle connections of real programs cost the engine's process: both ends are programs on one engine, so each connection
# counts twice. Printed: resident memory of the engine's own, and of what it shares with the programs; what a program
# costs without connections is measured with a pair that has one, and taken off.
# PAIRS=N: so many pairs of programs of 16,000 connections each (32: a million ends, a minute and 3 GB).
. "$(dirname "$0")/lib.sh"
[[ $KIND == culvert ]] || {
	echo "skip idle_memory: needs an engine"
	exit 0
}

pairs=${PAIRS:-4}
count=16000
ends=$((2 * pairs * count))
goal=1024
world_both '[limits]' "tcp_connections=$((ends + 1000))" "sockets=$((count + 1000))"

# Bytes of a line of the engine's status: RssAnon, RssShmem.
engine_bytes() { awk -v name="$1:" '$1 == name {print $2 * 1024}' "/proc/${engine_pid[$ENGINE]}/status"; }

# hold PAIRS PORT CONNECTIONS: all are there when it returns.
hold() {
	local n=$1 port=$2 each=$3 i
	for ((i = 0; i < n; i++)); do
		start "server$((port + i))" on_engine "$PROGRAMS_BIN/holders" "$ENGINE_ADDR" $((port + i)) "$each" listen
		wait_served $((port + i))
	done
	for ((i = 0; i < n; i++)); do
		start "client$((port + i))" on_engine "$PROGRAMS_BIN/holders" "$ENGINE_ADDR" $((port + i)) "$each" connect
	done
	all_there() {
		! grep -h holders: "$DIR"/client*.log "$DIR"/server*.log || fail "a program gave up"
		for ((i = 0; i < n; i++)); do
			grep -q "^$each connected" "$DIR/client$((port + i)).log" || return 1
			grep -q "^$each accepted" "$DIR/server$((port + i)).log" || return 1
		done
	}
	wait_until 200 all_there || fail "not all connections came"
}

hold_all() {
	local own shared own_program shared_program own_before shared_before
	hold 1 6998 1 # the beginnings of all tables, in pages of 2 MiB
	own_before=$(engine_bytes RssAnon) shared_before=$(engine_bytes RssShmem)
	hold 1 6999 1
	own_program=$((($(engine_bytes RssAnon) - own_before) / 2))
	shared_program=$((($(engine_bytes RssShmem) - shared_before) / 2))
	own_before=$(engine_bytes RssAnon) shared_before=$(engine_bytes RssShmem)
	hold "$pairs" 7000 "$count"
	own=$((($(engine_bytes RssAnon) - own_before - 2 * pairs * own_program) / ends))
	shared=$((($(engine_bytes RssShmem) - shared_before - 2 * pairs * shared_program) / ends))
	note "$ends established connections: $own B each of the engine's own, $shared B shared with its program"
	note "; a program: $((own_program / 1024)) KiB, $((shared_program / 1024)) KiB shared"
	((own <= goal)) || fail "$own B each, more than $goal"
}
check "idle connections of programs: at most $goal bytes of the engine's memory each" hold_all
checks_done
