# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# ./dev bench micro: the engine's instructions for one packet, counted by callgrind and so the same on every machine and
# in every run; nanoseconds, and cycles where the processor's counters can be had, of the same turns run plainly.
# bench/micro.history holds one line a recorded measurement: date, label, WORKLOAD/CONNECTIONS=INSTRUCTIONS...

micro_history=$CULVERT_ROOT/bench/micro.history
micro_packets=6400

# What a workload may cost at most (issue "Inline hosting and speed"), and what its name means.
micro_goal() {
	case $1 in
	rx-data) say 450 ;;
	rx-ack) say 300 ;;
	tx-data) say 450 ;;
	*) say - ;;
	esac
}
micro_meaning() {
	cat <<-'END'
	  rx-data        in-order segment of 1448 bytes up to the socket queue, in bursts of 32 (with the burst's one ACK)
	  rx-data-sum    the same, the engine verifying the checksum of every byte
	  rx-spread      the same as rx-data, each segment of a burst for another connection (an ACK for each)
	  rx-ack         pure ACK of two segments, in bursts of 32
	  rx-ack-spread  the same, each ACK of a burst for another connection
	  tx-data        segment of 1448 bytes built and given to the port, 32 a turn, checksum left to the port
	  tx-data-sum    the same, the engine making the checksums
	  tx-cut         the same as tx-data, cut from super-segments of 32 in software
	  tx-device      the same, cut by the device: a 32nd of a super-segment
	  request        request of 64 bytes received, read, answered with 64 bytes: two turns
	  request-burst  the same, 32 connections in each turn
	  connect        a connection of the engine to itself, both ends, from the socket to the end of TIME_WAIT, 32 at a time
	  udp-rx         datagram of 64 bytes received, in bursts of 32
	  udp-tx         datagram of 64 bytes sent, the call included
	  idle           a turn with nothing to do
	END
}

bench_micro_usage() {
	cat <<-END
	usage: ./dev bench micro [--full] [--record LABEL] [--profile] [WORKLOAD...]
	  --full          with 1,000,000 connections, too (2 GB of memory, some minutes)
	  --record LABEL  adds a line to bench/micro.history
	  --profile       which functions the instructions go to
	  workloads:
	$(micro_meaning)
	END
}

# Dumps of callgrind in a directory -> "WORKLOAD CONNECTIONS INSTRUCTIONS" a line: the larger run less the smaller.
micro_differences() { # DIRECTORY
	local dumps
	mapfile -t dumps < <(find "$1" -name 'out.*' | sort -V)
	awk '/^desc: Trigger: Client Request: / {name = $5 " " $6; packets = $7}
		/^totals: / {
			if (!(name in first)) { first[name] = packets; cost[name] = $2; order[++n] = name }
			else { more[name] = packets - first[name]; cost[name] = $2 - cost[name] }
		}
		END {
			for (i = 1; i <= n; i++)
				if (more[order[i]] != 0) printf "%s %.0f\n", order[i], cost[order[i]] / more[order[i]]
		}' "${dumps[@]}"
}

micro_run() { # CONNECTIONS WORKLOAD...
	# shellcheck disable=SC2154 # make_scratch sets it
	local dir=$bench_dir/$1
	mkdir "$dir"
	printf '\r%-60s' "$1 connections" >&2
	"$CULVERT_ROOT/build-profile/bench/micro" "$1" $((micro_packets * 5)) "${@:2}" >>"$bench_dir/times" ||
		die "micro failed with $1 connections"
	command -v valgrind >/dev/null || return 0
	valgrind --tool=callgrind --collect-atstart=no --callgrind-out-file="$dir/out" \
		"$CULVERT_ROOT/build-profile/bench/micro" "$1" "$micro_packets" "${@:2}" >"$dir/log" 2>&1 ||
		die "micro failed under callgrind: $(cat "$dir/log")"
	micro_differences "$dir" >>"$bench_dir/instructions"
	printf '\r%-60s\r' '' >&2
}

# The last value of the history for WORKLOAD/CONNECTIONS.
micro_before() {
	[[ ! -f $micro_history ]] || tac "$micro_history" | grep -m1 -o " $1=[0-9]*" | cut -d= -f2 || true
}

micro_table() {
	local workload connections instructions ns cycles before goal
	printf '%-14s %11s %12s %6s %8s %10s %8s\n' workload connections instructions goal before ns cycles
	while read -r workload connections ns cycles; do
		instructions=$(awk -v w="$workload" -v c="$connections" '$1 == w && $2 == c {print $3}' \
			"$bench_dir/instructions")
		before=$(micro_before "$workload/$connections")
		goal=$(micro_goal "$workload")
		printf '%-14s %11s %12s %6s %8s %10s %8s\n' "$workload" "$connections" "${instructions:--}" "$goal" \
			"${before:--}" "$ns" "$cycles"
	done < <(sort -s -k1,1 "$bench_dir/times")
	say "instructions: callgrind, one packet, set-up taken off; before: the last line of bench/micro.history that has it"
	say "ns: the same turns without callgrind, median of 5 runs, on whatever else the machine does"
	! grep -q -- ' -$' "$bench_dir/times" || say "cycles: this machine's processor counters cannot be had here"
}

micro_profile() {
	local dump
	find "$bench_dir" -name 'out.*[13579]' | sort -V | while read -r dump; do # each second one is twice as long
		sed -n 's/^desc: Trigger: Client Request: /== /p' "$dump"
		callgrind_annotate "$dump" | grep -E '^ *[0-9,]+ \(' | head -25 | sed 's/\[.*//'
	done
}

bench_micro() {
	local record='' full='' profile='' wanted=() connections
	while (($# > 0)); do
		case $1 in
		--full) full=1 ;;
		--profile) profile=1 ;;
		--record) record=${2:?--record LABEL} && shift ;;
		-h | --help) bench_micro_usage && return ;;
		-*) bench_micro_usage >&2 && die "no option '$1'" ;;
		*)
			micro_meaning | grep -q "^  $1 " || die "no workload '$1': ./dev bench micro --help"
			wanted+=("$1")
			;;
		esac
		shift
	done
	[[ $record != *[[:space:]=]* ]] || die "a label is one word"
	# shellcheck source=dev.d/build.sh
	. "$CULVERT_ROOT/dev.d/build.sh"
	build_kind profile bench/micro >/dev/null || die "the build failed: ./dev build profile shows how"
	command -v valgrind >/dev/null || warn "valgrind is not installed (apt-get install valgrind): times only"
	make_scratch bench_dir
	touch "$bench_dir/instructions"
	for connections in 1 1000 100000 ${full:+1000000}; do
		micro_run "$connections" "${wanted[@]}"
	done
	micro_table
	[[ -z $profile ]] || micro_profile
	if [[ -n $record ]]; then
		say "$(date -u +%F) $record $(awk '{print $1 "/" $2 "=" $3}' "$bench_dir/instructions" | paste -sd' ')" >>"$micro_history"
	fi
}
