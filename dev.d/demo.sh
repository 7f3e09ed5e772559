# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# usage: ./dev demo
#
# An unmodified nginx and an unmodified redis-server on an engine with a TAP port, asked by ordinary kernel clients (root).
# Everything runs in a network namespace of its own and is removed at the end. Sets up and builds before.

demo_large_bytes=$((1024 * 1024 * 1024))

# What a user would type.
demo_typed() { printf '    $ %s\n' "$*"; }

# How a file grows while a process runs.
demo_progress() { # PID FILE TOTAL
	local size shown=0 percent
	until process_gone "$1"; do
		size=$(stat -c %s "$2" 2>/dev/null || echo 0)
		percent=$((size * 100 / $3))
		if [[ -t 1 ]]; then
			printf '\r    %4d MiB of %d MiB' $((size >> 20)) $(($3 >> 20))
		elif ((percent >= shown + 25)); then
			shown=$((percent / 25 * 25))
			printf '    %d %%\n' "$shown"
		fi
		sleep 0.2
	done
	[[ ! -t 1 ]] || printf '\r%40s\r' ''
}

demo_engine() {
	step "culvertd on a TAP port, without hugepages"
	space_new demo_space demo
	demo_engine_name=$(engine_name demo)
	engine_tap "$demo_space" "$demo_engine_name" "$demo_dir"
	sed 's/^/    | /' "${engine_config_file[$demo_engine_name]}"
	say "    the engine is $ENGINE_ADDR, the kernel at the other end of the TAP $KERNEL_ADDR (namespace $demo_space)"
	inside "$demo_space" ping -q -c 3 -i 0.01 -W 2 "$ENGINE_ADDR" | sed -n 's/^\(.*packets.*\)/    ping: \1/p'
}

demo_nginx_start() {
	local dir=$demo_dir/nginx
	step "nginx, as the distribution ships it, under 'culvert run'"
	mkdir -p "$dir/html" "$dir/tmp"
	chown www-data "$dir/tmp"
	printf '<!doctype html><title>Culvert</title><p>nginx speaks to you from under the kernel.\n' \
		>"$dir/html/index.html"
	say "    writing a file of $((demo_large_bytes >> 20)) MiB"
	head -c "$demo_large_bytes" /dev/urandom >"$dir/html/large"
	cat >"$dir/nginx.conf" <<-END
	user www-data;
	worker_processes 2;
	daemon on;
	pid $dir/nginx.pid;
	error_log $dir/error.log;
	events { worker_connections 1024; }
	http {
		access_log $dir/access.log;
		sendfile on;
		client_body_temp_path $dir/tmp/body;
		proxy_temp_path $dir/tmp/proxy;
		fastcgi_temp_path $dir/tmp/fastcgi;
		uwsgi_temp_path $dir/tmp/uwsgi;
		scgi_temp_path $dir/tmp/scgi;
		server { listen $ENGINE_ADDR:80; root $dir/html; }
	}
	END
	demo_typed culvert run -- nginx -c nginx.conf
	served "$demo_space" "$demo_engine_name" nginx -p "$dir" -c "$dir/nginx.conf"
	wait_until 15 port_listens "$demo_space" "$demo_engine_name" 80 ||
		die "nginx does not listen on the engine: $(tail -n 3 "$dir/error.log")"
	say "    master $(<"$dir/nginx.pid"), workers $(pgrep -d ' ' -P "$(<"$dir/nginx.pid")")"
}

demo_nginx_ask() {
	local dir=$demo_dir/nginx curl begin took wanted got
	step "a kernel curl asks for a page"
	demo_typed curl "http://$ENGINE_ADDR/"
	inside "$demo_space" curl -sS --max-time 20 -o "$demo_dir/page" "http://$ENGINE_ADDR/" ||
		die "curl did not get the page"
	sed 's/^/    | /' "$demo_dir/page"
	cmp "$demo_dir/page" "$dir/html/index.html" || die "the page is another"
	step "a kernel curl fetches 1 GiB"
	begin=$(now_ms)
	inside "$demo_space" curl -sS --max-time 300 -o "$demo_dir/large" "http://$ENGINE_ADDR/large" &
	curl=$!
	demo_progress "$curl" "$demo_dir/large" "$demo_large_bytes"
	wait "$curl" || die "curl did not get the file"
	took=$(($(now_ms) - begin))
	say "    $((demo_large_bytes * 8 / took / 1000)) Mbit/s; comparing SHA-256"
	wanted=$(sha256sum <"$dir/html/large") got=$(sha256sum <"$demo_dir/large")
	[[ $wanted == "$got" ]] || die "the file is another: SHA-256 ${got%% *}, wanted ${wanted%% *}"
	say "    ${got%% *}, as it should be"
	rm -f "$demo_dir/large"
}

demo_redis() {
	step "redis-server under 'culvert run', redis-benchmark on the kernel"
	mkdir "$demo_dir/redis"
	demo_typed culvert run -- redis-server --daemonize yes
	served "$demo_space" "$demo_engine_name" redis-server --bind "$ENGINE_ADDR" --port 6379 \
		--protected-mode no --save '' --dir "$demo_dir/redis" --logfile "$demo_dir/redis.log" \
		--daemonize yes
	wait_until 15 port_listens "$demo_space" "$demo_engine_name" 6379 ||
		die "redis-server does not listen on the engine: $(tail -n 3 "$demo_dir/redis.log")"
	demo_typed redis-benchmark -h "$ENGINE_ADDR" -c 50 -n 100000 -t set,get
	inside "$demo_space" timeout 120 redis-benchmark -h "$ENGINE_ADDR" -c 50 -n 100000 -t set,get -q \
		>"$demo_dir/benchmark" || die "redis-benchmark failed: $(tail -n 3 "$demo_dir/benchmark")"
	# -q overwrites its own line: what counts stands after the last carriage return.
	sed -n 's/.*\r//; s/^\(.*requests per second.*\)/    \1/p' "$demo_dir/benchmark"
	[[ $(grep -c 'requests per second' "$demo_dir/benchmark") == 2 ]] || die "redis-benchmark gave no result"
	[[ $(inside "$demo_space" redis-cli -h "$ENGINE_ADDR" get key:__rand_int__ | wc -c) -gt 1 ]] ||
		die "redis has not what redis-benchmark wrote"
}

demo_ss() {
	local held
	step "culvert ss, with a connection held open"
	exec {held}> >(inside "$demo_space" socat - "TCP:$ENGINE_ADDR:6379" >/dev/null)
	redis_is_held() { "$CULVERT" ss -t -n --engine "$demo_engine_name" | grep -q ESTAB; }
	wait_until 10 redis_is_held || die "culvert ss shows no established connection"
	demo_typed culvert ss -t -a -n -p
	"$CULVERT" ss -t -a -n -p --engine "$demo_engine_name" | tee "$demo_dir/ss" | sed 's/^/    /'
	for word in LISTEN ESTAB "$ENGINE_ADDR:80" "$ENGINE_ADDR:6379"; do
		grep -q "$word" "$demo_dir/ss" || die "culvert ss does not show $word"
	done
	exec {held}>&-
}

dev_demo() {
	local begin=$SECONDS
	(($# == 0)) || die "./dev demo $1?"
	need_root
	# shellcheck source=dev.d/build.sh
	. "$CULVERT_ROOT/dev.d/build.sh"
	step "set-up and build"
	dev_build release
	# shellcheck source=dev.d/net.sh
	. "$CULVERT_ROOT/dev.d/net.sh"
	make_scratch demo_dir
	demo_engine
	demo_nginx_start
	demo_nginx_ask
	demo_redis
	demo_ss
	step "everything went right, in $((SECONDS - begin)) s; removing it all"
}
