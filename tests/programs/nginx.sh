#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# nginx as the distribution runs it: master, two workers under another user, `daemon on`.
. "$(dirname "$0")/lib.sh"
. "$PROGRAMS/nginx_lib.sh"

world_tap
nginx_prepare "$ENGINE_ADDR" 80
head -c 1G /dev/urandom >"$NGINX/html/large"
on_engine nginx -p "$NGINX" -c "$NGINX/nginx.conf"
wait_served 80

workers_two() { [[ $(pgrep -c -P "$(<"$NGINX/nginx.pid")") == 2 ]]; }
page() {
	wait_until 5 workers_two || fail "the master has not two workers"
	on_kernel curl -sS --max-time 10 -o "$DIR/page" -D "$DIR/head" "http://$ENGINE_ADDR/"
	grep -q '^HTTP/1.1 200' "$DIR/head"
	cmp "$DIR/page" "$NGINX/html/index.html"
}
large() {
	note "$(on_kernel curl -sS --max-time 120 -o "$DIR/large" -w '%{speed_download} B/s' "http://$ENGINE_ADDR/large")"
	same_sum "$DIR/large" "$NGINX/html/large"
}
ranges() {
	on_kernel curl -sS --max-time 20 -r 123456789-133456788 -o "$DIR/part" "http://$ENGINE_ADDR/large"
	dd if="$NGINX/html/large" bs=1M iflag=skip_bytes,count_bytes skip=123456789 count=10000000 status=none |
		cmp - "$DIR/part"
}
many() {
	on_kernel timeout 100 python3 "$PROGRAMS/http_many.py" "$ENGINE_ADDR" 80 /small 10000 32 "$1" \
		"$NGINX/html/small"
}
log_of_access() {
	# Every request has a line, and names the kernel's address as the client.
	local lines
	nginx_flushed() { [[ $(grep -c "^$KERNEL_ADDR .*GET /small.* 200 612 " "$NGINX/access.log") == 20000 ]]; }
	wait_until 5 nginx_flushed || {
		lines=$(grep -c "GET /small" "$NGINX/access.log")
		fail "20,000 requests, but $lines lines"
	}
}
upload() {
	# A body that nginx buffers into a file and stores (PUT): the receive path.
	head -c 64M "$NGINX/html/large" >"$DIR/body"
	on_kernel curl -sS --max-time 60 -f -T "$DIR/body" "http://$ENGINE_ADDR/put/body"
	same_sum "$DIR/body" "$NGINX/put/body"
}
quit() {
	local pid
	pid=$(<"$NGINX/nginx.pid")
	kill -QUIT "$pid"
	wait_until 10 process_gone "$pid" || fail "the master did not end"
	! on_kernel curl -sS --max-time 5 "http://$ENGINE_ADDR/" || fail "the port still answers"
}

check 'nginx page' page
check 'nginx 1 GiB, SHA-256' large
check 'nginx range of a large file' ranges
check 'nginx 10,000 requests, keep-alive' many keep
check 'nginx 10,000 requests, close' many close
check 'nginx access log' log_of_access
if nginx -V 2>&1 | grep -q http_dav_module; then check 'nginx 64 MiB upload' upload; fi
check 'nginx quits and its port is closed' quit
checks_done
