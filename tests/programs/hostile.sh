#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A program that writes over its whole shared segment while another program transfers.
. "$(dirname "$0")/lib.sh"
. "$PROGRAMS/nginx_lib.sh"
[[ $KIND == culvert ]] || {
	echo "skip hostile: needs an engine"
	exit 0
}

# So many lanes are 1.2 GB, which an attacker writes over whole, and goes on, in its time.
world_tap '[limits]' 'lanes=16'
nginx_prepare "$ENGINE_ADDR" 80
head -c 512M /dev/urandom >"$NGINX/html/large"
on_engine nginx -p "$NGINX" -c "$NGINX/nginx.conf"
wait_served 80

hostile() { # SEED
	local curl attacker before pid=${engine_pid[$ENGINE]} status=0
	before=$(buffers_used)
	start "hostile$1" on_engine timeout 20 "$PROGRAMS_BIN/hostile" "$ENGINE_ADDR" "$((9000 + $1))" 4 "$1"
	attacker=$started
	start curl on_kernel curl -sS --max-time 60 --limit-rate 100M -o "$DIR/large" "http://$ENGINE_ADDR/large"
	curl=$started
	wait "$attacker" || status=$?
	cat "$DIR/hostile$1.log"
	# It may well fall over its own feet (SIGSEGV in its own library); not finding the segment is no attack.
	[[ $status != 2 && $status != 3 && $status != 1 && $status != 124 ]] || fail "the attacker did not attack: exit $status"
	wait "$curl" || fail "the other program's transfer broke"
	same_sum "$DIR/large" "$NGINX/html/large"
	[[ ${engine_pid[$ENGINE]} == "$pid" ]] && ! process_gone "$pid" || fail "the engine fell"
	engine_answers "$ENGINE" >/dev/null || fail "the engine does not answer"
	wait_until 10 connections_are 0 || fail "$(connections_live) connections are left"
	wait_until 10 buffers_are "$before" || fail "buffers: $before before, $(buffers_used) after"
}
for seed in 1 2 3; do
	check "hostile program, seed $seed: engine up, the other transfer intact" hostile "$seed"
done

# The worker is held for two ticks of the watch once, however many bells there are, then goes on.
bells() {
	local attacker
	start bells on_kernel "$PROGRAMS_BIN/bells" "/run/culvert/$ENGINE.sock" 8 4
	attacker=$started
	bells_rung() { grep -q '^rung' "$DIR/bells.log"; }
	wait_until 10 bells_rung || fail "the attacker did not attack: $(<"$DIR/bells.log")"
	# Somebody asks while the doorbell holds the worker: the answer comes, and the watch goes on.
	timeout 5 "$CULVERT" stat --engine "$ENGINE" >/dev/null || fail "the engine does not answer"
	on_kernel curl -sS --max-time 3 -o "$DIR/page" "http://$ENGINE_ADDR/" || fail "the other program stands still"
	[[ $(grep -c 'doorbell blocks' "${engine_log[$ENGINE]}") == 1 ]] || fail "not one doorbell was found to block"
	wait "$attacker" || true
}
check 'program with doorbells that block: one holds the worker, the others go on' bells
# A doorbell each, in programs that have nothing to do with each other: after the first the worker is not held for long again.
crowd_of_bells() {
	local i
	for ((i = 0; i < 40; i++)); do
		start "crowd$i" on_kernel "$PROGRAMS_BIN/bells" "/run/culvert/$ENGINE.sock" 1 3
	done
	crowd_rung() { [[ $(cat "$DIR"/crowd*.log | grep -c '^rung') == 40 ]]; }
	wait_until 4 crowd_rung || fail "after 4 s $(cat "$DIR"/crowd*.log | grep -c '^rung') of 40 have rung"
	on_kernel curl -sS --max-time 3 -o "$DIR/page" "http://$ENGINE_ADDR/" || fail "the other program stands still"
}
check 'programs with a doorbell that blocks each: the first holds the worker, the others hardly' crowd_of_bells
checks_done
