# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# iperf3 runs with their results checked. Each takes: on_kernel|on_engine|on_engine2 ADDRESS PORT [ARGUMENTS...]

iperf_run() {
	local side=$1 address=$2 port=$3
	shift 3
	local status=0
	"$side" timeout 90 iperf3 -J -c "$address" -p "$port" "$@" >"$DIR/iperf3.json" || status=$?
	if ((status != 0)); then
		jq -r '.error // empty' "$DIR/iperf3.json" || cat "$DIR/iperf3.json"
		fail "iperf3 -c exited with $status"
	fi
	[[ $(jq -r '.error // "none"' "$DIR/iperf3.json") == none ]] || fail "$(jq -r .error "$DIR/iperf3.json")"
}

# TCP: what was sent was received, all of it but what was still under way when the client stopped.
iperf_tcp() {
	iperf_run "$@"
	jq -r '"sent \(.end.sum_sent.bytes), received \(.end.sum_received.bytes)"' "$DIR/iperf3.json"
	note "$(jq -r '"\(.end.sum_received.bits_per_second / 1e6 | round) Mbit/s"' "$DIR/iperf3.json")"
	jq -e '.end.sum_sent.bytes >= 6e7 and .end.sum_received.bytes > 0.9 * .end.sum_sent.bytes' \
		"$DIR/iperf3.json" >/dev/null || fail "too little was received"
	# Every stream moved something.
	jq -e '[.end.streams[].receiver.bytes] | min > 0' "$DIR/iperf3.json" >/dev/null || fail "a stream starved"
}

iperf_bidir() {
	local side=$1 address=$2 port=$3
	iperf_run "$side" "$address" "$port" --bidir -t 2
	jq -r '"\(.end.sum_received.bits_per_second / 1e9) and \(.end.sum_received_bidir_reverse.bits_per_second / 1e9) Gbit/s"' \
		"$DIR/iperf3.json"
	jq -e '.end.sum_received.bytes > 1e7 and .end.sum_received_bidir_reverse.bytes > 1e7' "$DIR/iperf3.json" \
		>/dev/null || fail "one direction did not move"
}

# UDP at a rate that any machine carries: nothing is lost but what the odd scheduling hole drops.
iperf_udp() {
	local side=$1 address=$2 port=$3
	shift 3
	iperf_run "$side" "$address" "$port" -u -b 50M -l 1400 -t 2 "$@"
	jq -r '"\(.end.sum.packets) packets, \(.end.sum.lost_packets) lost, \(.end.sum.out_of_order // 0) out of order"' \
		"$DIR/iperf3.json"
	jq -e '.end.sum.packets > 8000 and .end.sum.lost_percent < 5' "$DIR/iperf3.json" >/dev/null ||
		fail "packets are lost"
}
