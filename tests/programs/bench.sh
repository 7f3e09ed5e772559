#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# ./dev bench itself, as small as it goes: its numbers, its mistakes, and that it leaves nothing behind.
. "$(dirname "$0")/lib.sh"
[[ $KIND == culvert ]] || {
	echo "skip bench: needs an engine"
	exit 0
}

bench() { "$CULVERT_ROOT/dev" bench --quick --rounds 1 --plots '' "$@"; }
spaces_left() { ip netns list | grep "^culvert-$CULVERT_RUN_ID-"; }

numbers() {
	bench pingpong-64 connect --links memif,veth --json "$DIR/result.json"
	jq -e 'length == 8 and all(.[]; (keys | sort) == (["workload", "metric", "unit", "link", "hosting", "median", "min", "max",
		"cpu_cores", "ratio"] | sort))' "$DIR/result.json" || fail "not the fixed keys: $(jq -c . "$DIR/result.json")"
	jq -e 'all(.[]; .min > 0 and .min <= .median and .median <= .max and .cpu_cores > 0 and .ratio > 0)' "$DIR/result.json" ||
		fail "$(jq -c . "$DIR/result.json")"
	jq -e '[.[] | select(.metric == "p50" or .metric == "connections") | "\(.workload) \(.link) \(.hosting)"] == [
		"pingpong-64 veth kernel", "pingpong-64 memif service", "connect veth kernel", "connect memif service"]' \
		"$DIR/result.json" || fail "not the rows asked for"
	# Better is above 1, where more is better and where less is.
	jq -e 'def of($m; $l): map(select(.metric == $m and .link == $l))[0];
		def near($a; $b): $a / $b > 0.99 and $a / $b < 1.01;
		near(of("p50"; "memif").ratio; of("p50"; "veth").median / of("p50"; "memif").median) and
		near(of("connections"; "memif").ratio; of("connections"; "memif").median / of("connections"; "veth").median)' \
		"$DIR/result.json" || fail "wrong ratios"
	grep -q 'Linux .*: `./dev bench --quick --rounds 1 pingpong-64 connect --links memif,veth`' "$DIR/result.about" || fail "not what it was measured on: $(cat "$DIR/result.about")"
	if spaces_left; then fail "namespaces are left"; fi
}
mistake() { # TEXT ARGUMENT...
	local text=$1 status=0
	shift
	bench "$@" >"$DIR/mistake" 2>&1 || status=$?
	[[ $status == 2 ]] || fail "exit code $status for: $*"
	[[ $(tail -n 1 "$DIR/mistake") == "dev: $text" ]] || fail "$(tail -n 1 "$DIR/mistake")"
}
mistakes() {
	mistake "no workload 'pingpong-63'" pingpong-63
	mistake "no link 'wire'" connect --links veth,wire
	mistake "--rounds is a number from 1" connect --rounds 0
	mistake "no option '--slow'" --slow
	mistake "--json needs a value" connect --json
}
# wrk is broken: that is said, and what comes after is measured.
one_fails() {
	local status=0
	mkdir "$DIR/broken"
	printf '#!/bin/sh\necho no wrk today >&2\nexit 3\n' >"$DIR/broken/wrk"
	chmod +x "$DIR/broken/wrk"
	PATH=$DIR/broken:$PATH bench nginx-close-64 connect --links veth --json "$DIR/rest.json" >"$DIR/one_fails" 2>&1 || status=$?
	[[ $status == 1 ]] || fail "exit code $status"
	grep -q '^FAILED  nginx-close-64 over veth' "$DIR/one_fails"
	grep -q 'no wrk today' "$DIR/one_fails"
	[[ $(jq -r '.[].workload' "$DIR/rest.json") == connect ]] || fail "$(cat "$DIR/rest.json")"
}
interrupted() {
	local pid status=0
	env --default-signal=INT "$CULVERT_ROOT/dev" bench idle-10k --links memif --rounds 99 --plots '' &
	pid=$!
	at_exit stop_process "$pid" 10
	wait_until 20 spaces_left
	sleep 0.5 # anywhere in the middle
	kill -INT "$pid"
	wait_until 20 process_gone "$pid" || fail "it goes on"
	wait "$pid" || status=$?
	[[ $status == 130 ]] || fail "exit code $status"
	if spaces_left; then fail "namespaces are left"; fi
}

check 'bench: the JSON of two workloads over two links' numbers
check 'bench: wrong names' mistakes
check 'bench: one workload fails, the next is measured' one_fails
check 'bench: interrupted' interrupted
checks_done
