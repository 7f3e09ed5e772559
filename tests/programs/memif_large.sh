#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Two engines joined by a memif that takes large frames: a large MTU, super-segments, packet buffers shared with the
# other end. The content is compared, nothing is lost, and the frames are large.
. "$(dirname "$0")/lib.sh"
[[ $KIND == culvert ]] || {
	echo "skip memif_large: needs an engine"
	exit 0
}

# pair_up WORD LINES [DEVICE ARGUMENTS OF THE CLIENT]
pair_up() {
	space_new SPACE "$1"
	ENGINE=$(engine_name "$1-one")
	ENGINE2=$(engine_name "$1-two")
	engine_pair "$SPACE" "$ENGINE" "$ENGINE2" "$DIR" "$2"
	[[ -n ${3:-} ]] || return 0
	engine_stop "$ENGINE2"
	sed -i "s/role=client/role=client,$3/" "${engine_config_file[$ENGINE2]}"
	engine_start "$SPACE" "$ENGINE2"
}
echo_back() { on_engine2 timeout 60 python3 "$PROGRAMS/echo_client.py" "$PAIR_ADDR1" 7000 20000000 4; }
# frames_hold BYTES: so many on average in those that the first engine received, which are data and ACKs.
frames_hold() {
	local bytes
	bytes=$(engine_counter "$ENGINE" '.counters | .rx_bytes / .rx_packets')
	echo "$bytes bytes a frame"
	awk "BEGIN {exit !($bytes >= $1)}"
}
# frames: "SENT RECEIVED" of both ends together.
frames() {
	local one two
	one=$(engine_counter "$ENGINE" '.counters | "\(.tx_packets) \(.rx_packets)"')
	two=$(engine_counter "$ENGINE2" '.counters | "\(.tx_packets) \(.rx_packets)"')
	echo "$((${one% *} + ${two% *})) $((${one#* } + ${two#* }))"
}
# Since they were FRAMES_BEFORE: as many came as went.
frames_arrived() {
	local now
	now=$(frames)
	((${now% *} - ${FRAMES_BEFORE% *} == ${now#* } - ${FRAMES_BEFORE#* }))
}
# again: of both ends together, segments that were sent again without being the probe of an engine that did not get its core
# for milliseconds (RFC8985:7).
again() {
	local name sum=0
	for name in "$ENGINE" "$ENGINE2"; do
		sum=$((sum + $(engine_counter "$name" '.counters | .tcp_retrans - .tcp_probes | if . > 0 then . else 0 end')))
	done
	echo "$sum"
}
# Every frame arrives, and none was believed lost.
nothing_lost() {
	wait_until 3 frames_arrived || fail "sent and received: $FRAMES_BEFORE before, $(frames) after"
	echo "frames: $FRAMES_BEFORE, $(frames); sent again: $(again)"
	(($(again) == 0))
}

checks() { # WORD LEAST LINES [ARGUMENTS]
	pair_up "$1" "$3" "${4:-}"
	start "echo-$1" on_engine socat "TCP-LISTEN:7000,bind=$PAIR_ADDR1,reuseaddr,fork,backlog=64" EXEC:cat
	wait_served 7000
	FRAMES_BEFORE=$(frames)
	check "memif $1: echo, content compared" echo_back
	check "memif $1: frames of $2 bytes and more on average" frames_hold "$2"
	check "memif $1: nothing is lost" nothing_lost
	engine_stop "$ENGINE2"
	engine_stop "$ENGINE"
}

trust=$'checksum=trusted-link\ntso=trusted-link'
checks mtu9000 2500 mtu=9000
checks mtu65535 4000 mtu=65535
checks super 4000 "$trust"
checks super16k 3000 "$trust"$'\ntso_max=16000'
checks zerocopy 4000 "$trust" zero-copy=yes
checks_done
