#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A million connections made and closed inside one engine: nothing may be left. CHURN=N for another number.
. "$(dirname "$0")/lib.sh"

count=${CHURN:-1000000}
world_both

churn() {
	local before after
	[[ $KIND == kernel ]] || before=$(buffers_used)
	on_engine timeout 240 "$PROGRAMS_BIN/churn" "$ENGINE_ADDR" "$count" | tee "$DIR/churn.out"
	note "$(<"$DIR/churn.out")"
	[[ $KIND == culvert ]] || return 0
	wait_until 70 connections_are 0 || fail "$(connections_live) connections are left"
	# TIME_WAIT lasts its 2 MSL.
	time_wait_over() { [[ $(engine_counter "$ENGINE" .tcp.time_wait) == 0 ]]; }
	wait_until 70 time_wait_over || fail "$(engine_counter "$ENGINE" .tcp.time_wait) are in TIME_WAIT still"
	wait_until 5 buffers_are "$before" || fail "buffers: $before before, $(buffers_used) after"
	after=$(engine_counter "$ENGINE" .tcp.listeners)
	[[ $after == 0 ]] || fail "$after listeners are left"
}
check "$count connections made and closed, nothing left" churn
checks_done
