#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# How things end: a program killed, the engine killed, the engine back again, the port down and up.
. "$(dirname "$0")/lib.sh"
[[ $KIND == culvert ]] || {
	echo "skip endings: needs an engine"
	exit 0
}

world_tap
sink() { start "$1" on_kernel socat -u "TCP-LISTEN:$2,bind=$KERNEL_ADDR,reuseaddr,fork" OPEN:/dev/null,append; }
sink sink 7000

listens_not() { ! port_listens "$SPACE" "$ENGINE" "$1"; }
# peer_ends WORD: the python peer of that word has written how its connection ended.
peer_ends() { grep -q . "$DIR/$1.end"; }
peer() { # WORD PORT MODE: a kernel client that waits for the end of its connection
	: >"$DIR/$1.end"
	start "$1" on_kernel python3 "$PROGRAMS/peer.py" "$ENGINE_ADDR" "$2" "$3" "$DIR/$1.end"
}
connected() { "$CULVERT" ss --engine "$ENGINE" -t -n --json |
	jq -e --argjson port "$1" '[.[] | select(.state == "ESTAB" and .local_port == $port)] | length >= '"$2" >/dev/null; }

program_killed() { # SIGNAL
	local before pid begin word
	before=$(buffers_used)
	start holder on_engine python3 "$PROGRAMS/holder.py" "$ENGINE_ADDR" 7100
	pid=$started
	wait_served 7100
	peer idle 7100 idle
	peer flood 7100 flood
	peer unread 7100 unread
	wait_until 10 connected 7100 3 || fail "the peers did not connect"
	# Two of them have sent what the program has not read.
	unread_two() { "$CULVERT" ss --engine "$ENGINE" -t -n --json |
		jq -e '[.[] | select(.local_port == 7100 and .rx_queued > 0 and .state == "ESTAB")] | length == 2' >/dev/null; }
	wait_until 10 unread_two || fail "nothing unread"
	kill "-$1" "$pid"
	begin=$(now_ms)
	for word in idle flood unread; do
		wait_until 2 peer_ends "$word" || fail "the $word peer still waits 2 s after the program's end"
	done
	echo "peers learnt it within $(($(now_ms) - begin)) ms: $(cat "$DIR"/{idle,flood,unread}.end | tr '\n' ' ')"
	grep -qE '^(FIN|RST)' "$DIR/idle.end"
	# What was in flight or unread goes with a reset.
	grep -q '^RST' "$DIR/flood.end" && grep -q '^RST' "$DIR/unread.end" || fail "no reset, though data was unread"
	wait_until 5 listens_not 7100 || fail "its listener is still there"
	wait_until 5 connections_are 0 || fail "$(connections_live) connections are left"
	wait_until 5 buffers_are "$before" || fail "buffers: $before before, $(buffers_used) after"
}
sender_killed() {
	local before
	before=$(buffers_used)
	start sender on_engine socat -u OPEN:/dev/zero "TCP:$KERNEL_ADDR:7000"
	sends() { "$CULVERT" ss --engine "$ENGINE" -t -n --json | jq -e 'any(.[]; .peer_port == 7000)' >/dev/null; }
	wait_until 10 sends
	kill -9 "$started"
	wait_until 5 connections_are 0 || fail "$(connections_live) connections are left"
	wait_until 5 buffers_are "$before" || fail "buffers: $before before, $(buffers_used) after"
}
forked_killed() {
	# A child holds the connection: the parent's death ends nothing, the child's death does.
	start forker on_engine python3 "$PROGRAMS/holder.py" "$ENGINE_ADDR" 7101 fork
	local parent=$started
	wait_served 7101
	peer kept 7101 idle
	wait_until 10 connected 7101 1
	child_is_there() { [[ -s $DIR/forker.log ]]; }
	wait_until 10 child_is_there
	kill -9 "$parent"
	wait_until 5 process_gone "$parent"
	# The engine has seen the parent's end when it counts one process less.
	one_process() { [[ $(engine_counter "$ENGINE" .processes) == 1 ]]; }
	wait_until 5 one_process || fail "programs: $(engine_counter "$ENGINE" .programs)"
	connected 7101 1 || fail "the connection ended with the parent"
	kill -9 "$(head -n 1 "$DIR/forker.log")"
	wait_until 2 peer_ends kept || fail "the connection outlives its last holder"
}
acceptors_killed() {
	local server
	start prefork on_engine python3 "$PROGRAMS/prefork.py" serve "$ENGINE_ADDR" 7400 5
	server=$started
	wait_served 7400
	on_kernel timeout 60 python3 "$PROGRAMS/prefork.py" ask "$ENGINE_ADDR" 7400 5 >"$DIR/prefork.out" || fail "$(<"$DIR/prefork.out")"
	note "$(<"$DIR/prefork.out"), $(tail -n 1 "$DIR/prefork.log") killed"
	none_left() { "$CULVERT" ss --engine "$ENGINE" -t -n --json |
		jq -e '[.[] | select(.local_port == 7400 and (.state | IN("ESTAB", "CLOSE-WAIT")))] == []' >/dev/null; }
	wait_until 5 none_left || fail "connections without a process: $("$CULVERT" ss --engine "$ENGINE" -t -n -p)"
	stop_process "$server" 5
}
port_down_up() {
	local iface=cv0
	start http on_engine python3 -u -m http.server --bind "$ENGINE_ADDR" --directory "$DIR/www" 8000
	wait_served 8000
	start slow on_kernel curl -sS --max-time 60 --limit-rate 30M -o "$DIR/slow" "http://$ENGINE_ADDR:8000/file"
	local curl=$started
	under_way() { [[ $(stat -c %s "$DIR/slow" 2>/dev/null || echo 0) -gt 2000000 ]]; }
	wait_until 10 under_way
	ip -n "$SPACE" link set "$iface" down
	! on_kernel ping -c 1 -W 1 "$ENGINE_ADDR" >/dev/null || fail "it answers through a port that is down"
	ip -n "$SPACE" link set "$iface" up
	wait_until 10 on_kernel ping -c 1 -W 1 "$ENGINE_ADDR" || fail "no answer after the port is up again"
	wait "$curl" || fail "the transfer did not survive"
	same_sum "$DIR/slow" "$DIR/www/file"
}
engine_killed() {
	start holder2 on_engine python3 "$PROGRAMS/survivor.py" "$ENGINE_ADDR" 7200 "$KERNEL_ADDR" 7000
	local program=$started
	ready() { grep -q '^ready' "$DIR/holder2.log"; }
	wait_until 15 ready || fail "the program did not come up: $(cat "$DIR/holder2.log")"
	# The TAP goes with the engine: so that the kernel still has the peer's address.
	ip -n "$SPACE" addr add "$KERNEL_ADDR/32" dev lo
	kill -9 "${engine_pid[$ENGINE]}"
	wait "$program" || fail "$(cat "$DIR/holder2.log")"
	cat "$DIR/holder2.log"
	ip -n "$SPACE" addr del "$KERNEL_ADDR/32" dev lo
	[[ $(grep -c '^culvert: .*kernel' "$DIR/holder2.log") == 1 ]] || fail "not one line about new sockets"
}
engine_back() {
	engine_start "$SPACE" "$ENGINE"
	start http2 on_engine python3 -u -m http.server --bind "$ENGINE_ADDR" --directory "$DIR/www" 8001
	wait_served 8001
	on_kernel curl -sS --max-time 20 -o "$DIR/again" "http://$ENGINE_ADDR:8001/file"
	same_sum "$DIR/again" "$DIR/www/file"
}
engine_ends_at_term() {
	local pid
	pid=$(engine_counter "$ENGINE" .pid)
	kill -TERM "$pid"
	wait_until 10 process_gone "$pid" || fail "culvertd does not end at SIGTERM"
	[[ ! -e /run/culvert/$ENGINE.sock ]] || fail "its socket is left"
}

mkdir "$DIR/www"
head -c 64M /dev/urandom >"$DIR/www/file"
check 'program killed by SIGKILL: peers told, buffers back' program_killed KILL
check 'program ended by SIGTERM: peers told, buffers back' program_killed TERM
check 'sender killed: buffers back' sender_killed
check 'parent killed: the child keeps the connection' forked_killed
check 'processes of a server killed while they accept: no client is left alone' acceptors_killed
check 'port down and up during a transfer' port_down_up
check 'engine killed: programs learn it within 1 s, new sockets go to the kernel' engine_killed
check 'engine started again: programs use it' engine_back
check 'engine ends at SIGTERM' engine_ends_at_term
checks_done
