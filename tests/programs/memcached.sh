#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# memcached (libevent, four worker threads that get connections from a dispatcher) on the engine.
. "$(dirname "$0")/lib.sh"

world_tap
start memcached on_engine memcached -u nobody -l "$ENGINE_ADDR" -p 11211 -t 4 -m 256 -c 4096
wait_served 11211
server=$started

keys() { on_kernel timeout 60 python3 "$PROGRAMS/memcached_keys.py" "$ENGINE_ADDR" 11211 20000 8; }
connections_many() { on_kernel timeout 60 python3 "$PROGRAMS/memcached_keys.py" "$ENGINE_ADDR" 11211 4000 400; }
statistics() {
	printf 'stats\r\nquit\r\n' | on_kernel socat -t 5 - "TCP:$ENGINE_ADDR:11211" | tr -d '\r' >"$DIR/stats"
	grep -q "^STAT pid $server$" "$DIR/stats" || fail "another process: $(grep ' pid ' "$DIR/stats")"
	grep -q '^STAT curr_items 20000$' "$DIR/stats" || fail "$(grep curr_items "$DIR/stats")"
}
check 'memcached 20,000 items written and read back' keys
check 'memcached statistics' statistics
check 'memcached 400 connections at once' connections_many
checks_done
