# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# ./dev bench: the same programs on the kernel and on Culvert, in one run, alternating. The client is on core 0 and the
# server on core 1 everywhere; engines go where the scheduler puts them. The busy time of all cores is counted.
#
# Links, as "LINK HOSTING":
#   veth kernel     both ends on the kernel, each in its namespace
#   memif service   both ends under the preload, two engines joined by memif
#   tap service     the server under the preload, the client on the kernel, joined by a TAP
#
# --json writes a list of objects: workload, metric, unit, link, hosting, median, min, max, cpu_cores, ratio. The ratio is
# to the kernel's median, and above 1 is better.

bench_workloads=(pingpong-1 pingpong-64 pingpong-1024 pingpong-16384 iperf3-1 iperf3-8)
bench_links=(veth memif tap)
declare -A bench_values bench_cpu bench_server bench_client bench_address bench_hosting

# --- the links: words before a server's and a client's command ----------------------------------

bench_link_veth() {
	space_new bench_veth_server vs
	space_new bench_veth_client vc
	ip link add cvb0 netns "$bench_veth_client" type veth peer name cvb1 netns "$bench_veth_server"
	ip -n "$bench_veth_client" addr add 10.77.0.1/24 dev cvb0
	ip -n "$bench_veth_server" addr add 10.77.0.2/24 dev cvb1
	ip -n "$bench_veth_client" link set cvb0 up
	ip -n "$bench_veth_server" link set cvb1 up
	bench_hosting[veth]=kernel
	bench_address[veth]=10.77.0.2
	bench_server[veth]="ip netns exec $bench_veth_server"
	bench_client[veth]="ip netns exec $bench_veth_client"
}
bench_link_memif() {
	local one two
	space_new bench_memif memif
	one=$(engine_name bone) two=$(engine_name btwo)
	engine_pair "$bench_memif" "$one" "$two" "$bench_dir"
	bench_hosting[memif]=service
	bench_address[memif]=$PAIR_ADDR1
	bench_server[memif]="ip netns exec $bench_memif $CULVERT run --engine $one --"
	bench_client[memif]="ip netns exec $bench_memif $CULVERT run --engine $two --"
}
bench_link_tap() {
	local engine
	space_new bench_tap tap
	engine=$(engine_name btap)
	engine_tap "$bench_tap" "$engine" "$bench_dir"
	bench_hosting[tap]=service
	bench_address[tap]=$ENGINE_ADDR
	bench_server[tap]="ip netns exec $bench_tap $CULVERT run --engine $engine --"
	bench_client[tap]="ip netns exec $bench_tap"
}

# Servers that stay for all rounds.
bench_servers() { # LINK
	local words
	read -ra words <<<"${bench_server[$1]}"
	"${words[@]}" taskset -c 1 "$CULVERT_BUILD/bench/pingpong" server "${bench_address[$1]}" 7400 \
		</dev/null >"$bench_dir/pingpong-$1.log" 2>&1 &
	at_exit stop_process "$!" 2
	"${words[@]}" taskset -c 1 iperf3 -s -B "${bench_address[$1]}" -p 5201 </dev/null >"$bench_dir/iperf3-$1.log" 2>&1 &
	at_exit stop_process "$!" 2
	read -ra words <<<"${bench_client[$1]}"
	bench_answers() { "${words[@]}" "$CULVERT_BUILD/bench/pingpong" client "${bench_address[$1]}" 7400 1 10; }
	wait_until 15 bench_answers "$1" || die "the ping-pong server on $1 does not answer: $(cat "$bench_dir/pingpong-$1.log")"
	bench_answers_too() { "${words[@]}" iperf3 -c "${bench_address[$1]}" -p 5201 -n 1K; }
	wait_until 15 bench_answers_too "$1" || die "iperf3 on $1 does not answer: $(cat "$bench_dir/iperf3-$1.log")"
}

# --- one measurement -----------------------------------------------------------------------------

# Ticks in which any core was busy, of all that were.
bench_busy() { awk '/^cpu / {print $2 + $3 + $4 + $7 + $8}' /proc/stat; }

# bench_record WORKLOAD METRIC LINK VALUE
bench_record() { bench_values[$1 $2 $3]+=" $4"; }

bench_measure() { # WORKLOAD LINK
	local workload=$1 link=$2 words busy begin took hz out=$bench_dir/out.json
	hz=$(getconf CLK_TCK)
	read -ra words <<<"${bench_client[$link]} taskset -c 0"
	busy=$(bench_busy) begin=$(now_ms)
	case $workload in
	pingpong-*)
		"${words[@]}" timeout 120 "$CULVERT_BUILD/bench/pingpong" client "${bench_address[$link]}" 7400 \
			"${workload#*-}" "$bench_pings" >"$out" || die "$workload over $link failed"
		;;
	iperf3-*)
		"${words[@]}" timeout 60 iperf3 -J -c "${bench_address[$link]}" -p 5201 -t "$bench_seconds" -P "${workload#*-}" \
			>"$out" || die "$workload over $link failed: $(jq -r .error "$out")"
		;;
	esac
	took=$(($(now_ms) - begin))
	bench_cpu[$workload $link]+=" $(awk "BEGIN {print ($(bench_busy) - $busy) / $hz / ($took / 1000)}")"
	case $workload in
	pingpong-*)
		for metric in p50 p99 p99.9; do
			bench_record "$workload" "$metric" "$link" "$(jq -r ".\"$metric\"" "$out")"
		done
		;;
	iperf3-*)
		bench_record "$workload" throughput "$link" \
			"$(jq -r '.end.sum_received.bits_per_second / 1e9' "$out")"
		;;
	esac
}

# --- the report ----------------------------------------------------------------------------------

# Numbers on standard input -> "median min max".
bench_summary() { tr ' ' '\n' | grep . | sort -g | awk '{v[NR] = $1} END {
	m = NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2; print m, v[1], v[NR]}'; }

bench_rows() { # one JSON object a line
	local key workload metric link median min max cpu kernel unit better
	for key in "${!bench_values[@]}"; do
		read -r workload metric link <<<"$key"
		read -r median min max < <(bench_summary <<<"${bench_values[$key]}")
		read -r cpu _ < <(bench_summary <<<"${bench_cpu[$workload $link]}")
		read -r kernel _ < <(bench_summary <<<"${bench_values[$workload $metric veth]:-0}")
		case $metric in
		p*) unit=us better=lower ;;
		*) unit=Gbit/s better=higher ;;
		esac
		jq -cn --arg workload "$workload" --arg metric "$metric" --arg unit "$unit" --arg link "$link" \
			--arg hosting "${bench_hosting[$link]}" --argjson median "$median" --argjson min "$min" \
			--argjson max "$max" --argjson cpu_cores "$cpu" --argjson kernel "$kernel" --arg better "$better" \
			'{workload: $workload, metric: $metric, unit: $unit, link: $link, hosting: $hosting, median: $median,
			min: $min, max: $max, cpu_cores: $cpu_cores,
			ratio: (if $kernel == 0 or $median == 0 then null
				elif $better == "lower" then $kernel / $median else $median / $kernel end)}'
	done
}

bench_table() {
	printf '%-16s %-11s %-7s %-8s %10s %10s %10s %-7s %6s %7s\n' \
		workload metric link hosting median min max unit cores ratio
	jq -r '.[] | [.workload, .metric, .link, .hosting, .median, .min, .max, .unit, .cpu_cores, .ratio] | @tsv' "$1" |
		while IFS=$'\t' read -r workload metric link hosting median min max unit cpu ratio; do
			printf '%-16s %-11s %-7s %-8s %10.2f %10.2f %10.2f %-7s %6.2f %7.2f\n' "$workload" "$metric" \
				"$link" "$hosting" "$median" "$min" "$max" "$unit" "$cpu" "${ratio:-0}"
		done
}

bench_usage() {
	cat <<-END
	usage: ./dev bench [--quick] [--json FILE] [--links LINK,...] [--rounds N] [WORKLOAD...]
	  workloads: ${bench_workloads[*]}
	  links: ${bench_links[*]}
	END
}

dev_bench() {
	local json='' link workload round rounds=5 wanted=()
	if [[ ${1:-} == micro ]]; then . "$CULVERT_ROOT/dev.d/bench_micro.sh" && bench_micro "${@:2}" && return; fi
	bench_pings=20000 bench_seconds=3
	while (($# > 0)); do
		case $1 in
		--quick) rounds=3 bench_pings=4000 bench_seconds=1 ;;
		--json) json=${2:?--json FILE} && shift ;;
		--rounds) rounds=${2:?--rounds N} && shift ;;
		--links) IFS=, read -ra bench_links <<<"${2:?--links LINK,...}" && shift ;;
		-h | --help) bench_usage && return ;;
		*)
			[[ " ${bench_workloads[*]} " == *" $1 "* ]] || {
				bench_usage >&2
				die "no workload '$1'"
			}
			wanted+=("$1")
			;;
		esac
		shift
	done
	((${#wanted[@]} > 0)) || wanted=("${bench_workloads[@]}")
	need_root
	# shellcheck source=dev.d/build.sh
	. "$CULVERT_ROOT/dev.d/build.sh"
	dev_build release >/dev/null
	# shellcheck source=dev.d/net.sh
	. "$CULVERT_ROOT/dev.d/net.sh"
	make_scratch bench_dir
	for link in "${bench_links[@]}"; do
		declare -F "bench_link_$link" >/dev/null || die "no link '$link': ${bench_links[*]}"
		"bench_link_$link"
		bench_servers "$link"
	done
	for ((round = 1; round <= rounds; round++)); do
		for workload in "${wanted[@]}"; do
			for link in "${bench_links[@]}"; do
				printf '\r%-70s' "round $round of $rounds: $workload, $link" >&2
				bench_measure "$workload" "$link"
			done
		done
	done
	printf '\r%-70s\r' '' >&2
	bench_rows | jq -s 'sort_by(.workload, .metric, .link)' >"$bench_dir/result.json"
	bench_table "$bench_dir/result.json"
	[[ -z $json ]] || cp "$bench_dir/result.json" "$json"
}
