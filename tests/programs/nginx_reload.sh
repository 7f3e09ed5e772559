#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# `nginx -s reload` under load: new workers inherit the listener, old ones finish what they have. With a
# connection per request no request may fail; with keep-alive an idle connection may be closed just when the
# client sends on it, on the kernel too: at most once per connection, reload and old worker (who was closed by one may
# be taken by the other, which has not been told yet).
. "$(dirname "$0")/lib.sh"
. "$PROGRAMS/nginx_lib.sh"

world_tap
nginx_prepare "$ENGINE_ADDR" 80
on_engine nginx -p "$NGINX" -c "$NGINX/nginx.conf"
wait_served 80

reloads=4 workers=2
generation() { pgrep -P "$(<"$NGINX/nginx.pid")" | sort | tr '\n' ' '; }
generation_new() { # OLD: two workers, none of which is an old one
	local pid now
	now=$(generation)
	[[ $(wc -w <<<"$now") -ge 2 ]] || return 1
	for pid in $now; do
		[[ " $1 " == *" $pid "* ]] || return 0
	done
	return 1
}
reload() {
	local old
	old=$(generation)
	on_engine nginx -p "$NGINX" -c "$NGINX/nginx.conf" -s reload
	wait_until 10 generation_new "$old" || fail "no new worker after reload: had $old, has $(generation)"
}

# under_load NAME WRK-ARGUMENTS...: reloads while wrk runs; wrk's numbers are left in $requests and $errors.
under_load() {
	local i wrk
	on_kernel wrk -t 2 -c 64 -d 6 --timeout 5 "$@" "http://$ENGINE_ADDR/small" >"$DIR/wrk.out" 2>&1 &
	wrk=$!
	for ((i = 0; i < reloads; i++)); do
		reload
		sleep 1
	done
	process_gone "$wrk" && fail "wrk was done before the last reload"
	wait "$wrk"
	cat "$DIR/wrk.out"
	requests=$(awk '/requests in/ {print $1}' "$DIR/wrk.out")
	errors=$(awk '/Socket errors/ {gsub(",", ""); print $4 + $6 + $8 + $10}' "$DIR/wrk.out")
	errors=$((${errors:-0} + $(awk '/Non-2xx/ {n = $NF} END {print n + 0}' "$DIR/wrk.out")))
	note "$requests requests, $errors failed"
	((requests > 1000)) || fail "only $requests requests"
}
per_request() {
	under_load -H 'Connection: close'
	((errors == 0)) || fail "$errors of $requests requests failed"
}
keep_alive() {
	under_load
	((errors <= 64 * reloads * workers)) || fail "$errors of $requests requests failed"
	# What nginx itself says of it.
	! grep -E '\[(alert|emerg|crit)\]' "$NGINX/error.log" || fail "nginx complains"
}
old_workers_end() {
	workers_two() { [[ $(pgrep -c -P "$(<"$NGINX/nginx.pid")") == 2 ]]; }
	wait_until 15 workers_two || fail "workers: $(generation)"
}

check 'nginx reload under load, connection per request: no failure' per_request
check 'nginx reload under load, keep-alive' keep_alive
check 'nginx reload: the old workers end' old_workers_end
checks_done
