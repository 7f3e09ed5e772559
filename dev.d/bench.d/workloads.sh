# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# ./dev bench: what runs over a link, and what is read off it.
#
# A workload belongs to a server: server_NAME starts it on the link that is up, and once it answers, the workloads that
# share it run one after the other (a program that has its engine inside is alone at its end of the link). client_NAME
# runs one workload's client, measured, and records its figures. All of it runs under `set -e` in a shell of its own.
#
# Uses of links.sh: link_server, link_client, link_address. Files go to $bench_run.
# shellcheck disable=SC2034,SC2154,SC2317 # shared with bench.sh and links.sh; functions are called by their names

workloads_all=(
	pingpong-1 pingpong-64 pingpong-1024 pingpong-16384
	iperf3-1-1500 iperf3-8-1500 iperf3-1-9000 iperf3-8-9000 iperf3-1-65535 iperf3-8-65535
	nginx-keepalive-64 nginx-keepalive-1000 nginx-close-64 nginx-close-1000 nginx-1m
	redis-get-c50-p1 redis-set-c50-p1 redis-get-c50-p16 redis-set-c50-p16 redis-get-c1000-p1 redis-set-c1000-p1
	memcached connect udp-64 idle-10k idle-cpu
)

# The server of a workload, and the MTU of the link.
workload_server() {
	case $1 in
	idle-*) printf crowd ;;
	*) printf '%s' "${1%%-*}" ;;
	esac
}
workload_mtu() {
	case $1 in
	iperf3-*) printf '%s' "${1##*-}" ;;
	*) printf 1500 ;;
	esac
}

# Who receives most of what a server and its clients send.
server_receiver() {
	case $1 in
	iperf3 | udp) printf server ;;
	*) printf client ;;
	esac
}

# --- running and measuring -----------------------------------------------------------------------

# serve COMMAND...: the server, on core 1.
serve() {
	"${link_server[@]}" taskset -c 1 "$@" </dev/null >"$bench_run/server.log" 2>&1 &
	server_pid=$!
	at_exit stop_process "$server_pid" 3
}
# client COMMAND...: the client, on core 0. Bounded: whatever hangs is a failure of this workload only.
client() {
	local status=0
	timeout -k 2 "$bench_limit" "${link_client[@]}" taskset -c 0 "$@" >"$bench_run/client.out" 2>"$bench_run/client.err" ||
		status=$?
	((status != 124 && status != 137)) || say "$1 did not end within $bench_limit s" >>"$bench_run/client.err"
	return "$status"
}
seconds_of() { awk "BEGIN {print $1 / 1000}"; } # MILLISECONDS
# For programs that know whole seconds only.
seconds_whole() { printf '%s' $(((bench_ms + 999) / 1000)); }

server_answers() { # PORT
	if process_gone "$server_pid"; then
		say 'the server has ended' >>"$bench_run/server.log"
		exit 1
	fi
	timeout -k 1 3 "${link_client[@]}" bash -c "exec 3<>/dev/tcp/$link_address/$1" 2>"$bench_run/client.err"
}
# Connects until it works.
server_wait() { # PORT
	wait_until 15 server_answers "$1"
}

# While the shell lives: ticks of all cores so far, busy ones and all, every 50 ms. No process is started for one.
cores_watch() {
	local user nice system idle iowait irq softirq steal busy never
	exec {never}<> <(:)
	while :; do
		read -r _ user nice system idle iowait irq softirq steal _ </proc/stat
		busy=$((user + nice + system + irq + softirq))
		printf '%d %d\n' "$busy" $((busy + idle + iowait + steal))
		read -r -t 0.05 -u "$never" || true
	done >"$bench_run/ticks"
}
cores_begin() { cores_line=$(wc -l <"$bench_run/ticks"); }
# Busy cores since then go to the records of the workload: of the busiest stretch as long as a measurement. A client that has an
# engine inside takes some 0.3 s to start and to end, mostly waiting, that the workload has no part in.
cores_end() {
	bench_cores=$(tail -n "+$cores_line" "$bench_run/ticks" | awk -v cores="$(nproc --all)" \
		-v stretch=$((bench_ms * $(getconf CLK_TCK) * $(nproc --all) / 1000)) '
		{busy[NR] = $1; all[NR] = $2}
		END {
			for (i = j = 1; j <= NR; j++) {
				while (all[j] - all[i + 1] >= stretch && i + 1 < j) i++
				if (all[j] - all[i] >= stretch || (i == 1 && j == NR)) {
					rate = all[j] > all[i] ? cores * (busy[j] - busy[i]) / (all[j] - all[i]) : 0
					if (rate > most) most = rate
				}
			}
			print most + 0
		}')
	record cpu_cores "$bench_cores"
}
measured() { # COMMAND...
	cores_begin
	client "$@"
	cores_end
}

# record METRIC VALUE: of the workload and the link that run. What is no positive number (a loss or idle cores may be 0) is a failure.
record() {
	awk -v value="$2" -v metric="$1" 'BEGIN {
		number = value ~ /^[0-9.]+(e[-+]?[0-9]+)?$/
		exit !(number && (value > 0 || metric == "loss" || metric == "busy" || metric == "cpu_cores"))}' || {
		warn "$1 is '$2'"
		return 1
	}
	printf '%s\t%s\t%s\t%s\n' "$bench_workload" "$bench_link" "$1" "$2" >>"$bench_dir/values"
}
record_json() { # METRIC [NAME-IN-THE-CLIENT'S-OUTPUT]
	record "$1" "$(jq -r ".\"${2:-$1}\"" "$bench_run/client.out")"
}

# --- ping-pong and iperf3 ------------------------------------------------------------------------

server_pingpong() {
	serve "$CULVERT_BUILD/bench/pingpong" server "$link_address" 7400
	server_wait 7400
}
client_pingpong() {
	local metric
	measured "$CULVERT_BUILD/bench/pingpong" client "$link_address" 7400 "${1#*-}" $((bench_ms * 1000)) "$(seconds_of "$bench_ms")"
	for metric in p50 p99 p99.9; do record_json "$metric"; done
}

# A connection that says nothing counts as an error of iperf3's server: it is asked in its own language.
server_iperf3() {
	serve iperf3 -s -B "$link_address" -p 5201
	iperf3_answers() { client iperf3 -c "$link_address" -p 5201 -n 1K; }
	wait_until 15 iperf3_answers
}
client_iperf3() { # iperf3-STREAMS-MTU
	local streams=${1#iperf3-}
	measured iperf3 -J -c "$link_address" -p 5201 -t "$(seconds_whole)" -P "${streams%-*}"
	record throughput "$(jq -r '.end.sum_received.bits_per_second / 1e9' "$bench_run/client.out")"
}

# --- nginx ---------------------------------------------------------------------------------------

server_nginx() {
	local nginx=$bench_run/nginx
	mkdir -p "$nginx"/html "$nginx"/tmp
	# 612 bytes, as nginx's own welcome page.
	head -c 459 /dev/urandom | base64 -w 0 >"$nginx/html/small"
	head -c 1M /dev/urandom >"$nginx/html/large"
	cat >"$nginx/nginx.conf" <<-END
	user root;
	worker_processes 1;
	master_process off;
	daemon off;
	pid $nginx/nginx.pid;
	error_log stderr warn;
	events { worker_connections 4096; }
	http {
		access_log off;
		sendfile on;
		tcp_nopush on;
		keepalive_timeout 65;
		keepalive_requests 1000000000;
		client_body_temp_path $nginx/tmp/body;
		proxy_temp_path $nginx/tmp/proxy;
		fastcgi_temp_path $nginx/tmp/fastcgi;
		uwsgi_temp_path $nginx/tmp/uwsgi;
		scgi_temp_path $nginx/tmp/scgi;
		server {
			listen $link_address:8080 backlog=4096;
			root $nginx/html;
		}
	}
	END
	serve nginx -e stderr -c "$nginx/nginx.conf"
	server_wait 8080
}

# wrk counts what went wrong and exits with 0.
wrk_run() { # CONNECTIONS PATH [HEADER]
	measured wrk -t 1 -c "$1" -d "$(seconds_whole)s" --timeout 5s --latency ${3:+-H "$3"} "http://$link_address:8080/$2"
	if grep -E 'Socket errors|Non-2xx' "$bench_run/client.out"; then return 1; fi
}
# wrk writes a duration with its unit: 812.00us, 1.20ms, 2.00s.
wrk_p99_us() {
	awk '$1 == "99%" {n = $2 + 0; if ($2 ~ /ms$/) n *= 1e3; else if ($2 !~ /us$/) n *= 1e6; print n}' "$bench_run/client.out"
}
wrk_value() { awk -v name="$1" '$1 == name {print $2}' "$bench_run/client.out"; }
client_nginx() {
	local rate
	case $1 in
	nginx-keepalive-*) wrk_run "${1##*-}" small ;;
	nginx-close-*) wrk_run "${1##*-}" small 'Connection: close' ;;
	nginx-1m) wrk_run 8 large ;;
	esac
	rate=$(wrk_value Requests/sec:)
	case $1 in
	nginx-1m) record throughput "$(awk "BEGIN {print $rate * 8 * 1024 * 1024 / 1e9}")" ;;
	*) record requests "$rate" ;;
	esac
	record p99 "$(wrk_p99_us)"
}

# --- redis and memcached -------------------------------------------------------------------------

server_redis() {
	serve redis-server --bind "$link_address" --port 6379 --protected-mode no --save '' --dir "$bench_run"
	server_wait 6379
	# GET finds what SET left.
	client redis-benchmark -h "$link_address" -n 1 -c 1 -t set --csv
}
redis_rate() { tail -n 1 "$bench_run/client.out" | tr -d '"' | cut -d, -f2; }
# It counts requests, not time: a short run before says how many are needed.
client_redis() { # redis-COMMAND-cCONNECTIONS-pPIPELINED
	local command connections pipelined words
	IFS=- read -r _ command connections pipelined <<<"$1"
	pipelined=${pipelined#p}
	words=(redis-benchmark -h "$link_address" -c "${connections#c}" -P "$pipelined" -t "$command" --csv)
	client "${words[@]}" -n $((10000 * (pipelined > 1 ? 5 : 1)))
	measured "${words[@]}" -n "$(awk "BEGIN {print int($(redis_rate) * $bench_ms / 1000) + 1000}")"
	# "GET","71000.00",average, min, p50, p95, p99, max (ms)
	record requests "$(redis_rate)"
	record p99 "$(tail -n 1 "$bench_run/client.out" | tr -d '"' | awk -F, '{print $7 * 1000}')"
}

server_memcached() {
	serve memcached -u root -l "$link_address" -p 11211 -t 1 -m 256 -c 4096
	server_wait 11211
}
# 9 get to 1 set, values of 100 bytes.
client_memcached() {
	measured memcaslap -s "$link_address:11211" -T 1 -c 50 -w 1k -X 100 -t "$(seconds_whole)s"
	if ! grep -q 'get_misses: 0' "$bench_run/client.out"; then return 1; fi
	record operations "$(awk '/^Run time/ {print $7}' "$bench_run/client.out")"
}

# --- the programs of bench/ ----------------------------------------------------------------------

server_connect() {
	serve "$CULVERT_BUILD/bench/connects" server "$link_address" 7401
	server_wait 7401
}
client_connect() {
	measured "$CULVERT_BUILD/bench/connects" client "$link_address" 7401 "$(seconds_of "$bench_ms")"
	record_json connections
}

server_udp() {
	serve "$CULVERT_BUILD/bench/datagrams" server "$link_address" 7402
	udp_answers() { client "$CULVERT_BUILD/bench/datagrams" client "$link_address" 7402 64 0.01; }
	wait_until 15 udp_answers
}
client_udp() {
	measured "$CULVERT_BUILD/bench/datagrams" client "$link_address" 7402 "${1#udp-}" "$(seconds_of "$bench_ms")"
	record_json received
	record_json loss
}

server_crowd() {
	serve "$CULVERT_BUILD/bench/crowd" server "$link_address" 7403
	server_wait 7403
}
client_idle-10k() {
	measured "$CULVERT_BUILD/bench/crowd" client "$link_address" 7403 10000 50 "$(seconds_of $((bench_ms / 2)))"
	record_json requests
	record_json share
}
# What two engines, a server and a client with 100 connections use while nothing goes over them.
client_idle-cpu() {
	local pid
	"${link_client[@]}" taskset -c 0 "$CULVERT_BUILD/bench/crowd" client "$link_address" 7403 100 0 60 \
		</dev/null >"$bench_run/client.out" 2>"$bench_run/client.err" &
	pid=$!
	at_exit stop_process "$pid" 2
	holding() { grep -q holding "$bench_run/client.out"; }
	wait_until 10 holding
	sleep 0.3 # it has just made connections
	cores_begin
	sleep "$(seconds_of "$bench_ms")" # the measurement itself
	cores_end
	record busy "$bench_cores"
	stop_process "$pid" 2
}
client_crowd() { "client_$1"; }
