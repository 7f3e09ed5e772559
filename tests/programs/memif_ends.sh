#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# An engine whose peer at the other end of the memif ends during traffic, and both ending at about the same time.
. "$(dirname "$0")/lib.sh"
[[ $KIND == culvert ]] || {
	echo "skip memif_ends: needs an engine"
	exit 0
}

space_new SPACE pair
ENGINE=$(engine_name one)
ENGINE2=$(engine_name two)
engine_log[$ENGINE]=$DIR/$ENGINE.log # shown when a check fails

# Each check has its own two: their exit codes are its shell's. Large frames: a burst is long.
pair() {
	engine_pair "$SPACE" "$ENGINE" "$ENGINE2" "$DIR" mtu=65000
	at_exit engine_stop "$ENGINE"
	at_exit engine_stop "$ENGINE2"
}
# From the second engine to the first; the programs' process ids are in $client and $server.
traffic() {
	local before
	start server on_engine iperf3 -s -B "$PAIR_ADDR1" -p 5201
	server=$started
	wait_served 5201
	before=$(engine_counter "$ENGINE" .counters.rx_bytes)
	start client on_engine2 iperf3 -c "$PAIR_ADDR1" -p 5201 -t 60
	client=$started
	flows() { (($(engine_counter "$ENGINE" .counters.rx_bytes) - before > 50000000)); }
	wait_until 15 flows || fail "no traffic: $(cat "$DIR/client.log")"
}
ended_well() { # ENGINE
	local status=0
	wait_until 10 process_gone "${engine_pid[$1]}" || fail "engine $1 does not end"
	wait "${engine_pid[$1]}" || status=$?
	[[ $status == 0 ]] || fail "engine $1 ended with $status: $(tail -n 20 "${engine_log[$1]}")"
}

# Stopped just where it uses the ring, while the peer goes and whoever hears of it acts on it.
peer_killed_in_a_burst() { # ENGINE PEER
	pair
	traffic
	"$PROGRAMS_BIN/caught" "${engine_pid[$1]}" librte_net_memif 1 kill -9 "${engine_pid[$2]}"
	wait_until 5 engine_answers "$1" || fail "engine $1 is gone with its peer"
	stop_process "$client" 3
	stop_process "$server" 3
	engine_start "$SPACE" "$2"
	traffic
}
# The client's packet buffers are the memif's memory, which it shows to its server again.
zero_copy_found_again() {
	pair
	engine_stop "$ENGINE2"
	sed -i 's/role=client/&,zero-copy=yes/' "${engine_config_file[$ENGINE2]}"
	engine_start "$SPACE" "$ENGINE2"
	traffic
	stop_process "$client" 3
	stop_process "$server" 3
	engine_stop "$ENGINE"
	engine_start "$SPACE" "$ENGINE"
	traffic
}
both_end() { # PROCESS...: the names of variables, in the order of their end
	local word pids=() one two
	pair
	traffic
	one=${engine_pid[$ENGINE]} two=${engine_pid[$ENGINE2]}
	for word; do pids+=("${!word}"); done
	kill -TERM "${pids[@]}"
	ended_well "$ENGINE"
	ended_well "$ENGINE2"
}

check 'memif: the client ends while the server is in a burst, and is back' peer_killed_in_a_burst "$ENGINE" "$ENGINE2"
check 'memif: the server ends while the client is in a burst, and is back' peer_killed_in_a_burst "$ENGINE2" "$ENGINE"
check 'memif: a client with zero-copy finds its server again' zero_copy_found_again
check 'memif: both end during traffic' both_end one two
check 'memif: both end during traffic, the other first' both_end two one
check 'memif: both end, and their programs' both_end client server two one
checks_done
