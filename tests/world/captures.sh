#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# captures.sh BUILD: world tests write what their engines and peers send, and tshark reads it: no malformed packet, no bad
# checksum, nothing that it calls an error.
set -euo pipefail

build=$1
captures=$(mktemp -d)
trap 'rm -rf "$captures"' EXIT
failed=0
# An ICMP error quotes what it answers, which may be bad: there only what is its own counts.
filter='((_ws.malformed || _ws.expert.severity == "Error") && !(icmp.type in {3, 11, 12} || icmpv6.type < 128)) ||
	ip.checksum.status#1 == "Bad" || tcp.checksum.status == "Bad" || udp.checksum.status == "Bad" ||
	icmp.checksum.status == "Bad" || icmpv6.checksum.status == "Bad"'

# scenario BINARY [PATTERN]: its worlds' captures, one after the other, through one tshark.
scenario() {
	local name=$1 pattern=${2:-'*'} packets
	rm -f "$captures"/*
	WORLD_PCAP=$captures "$build/tests/world/world_$name" "$pattern" >"$captures/log" 2>&1 ||
		{ tail -n 20 "$captures/log"; failed=1; }
	mergecap -a -w "$captures/all" "$captures"/*.pcap
	# Payload is a pattern, not HTTP; a scripted peer may send other bytes where it sent some before.
	tshark -n -r "$captures/all" -d tcp.port==80,data -o tcp.desegment_tcp_streams:FALSE -o ip.check_checksum:TRUE -o tcp.check_checksum:TRUE -o udp.check_checksum:TRUE \
		-Y "$filter" \
		>"$captures/bad" 2>"$captures/errors" || failed=1
	packets=$(capinfos -TrMc "$captures/all" | cut -f 2)
	if grep -v 'Running as user' "$captures/errors"; then failed=1; fi
	if ((packets == 0)); then
		printf 'not ok %s %s: nothing was captured\n' "$name" "$pattern"
		failed=1
	elif [[ -s $captures/bad ]]; then
		printf 'not ok %s %s: of %s packets these are bad:\n' "$name" "$pattern" "$packets"
		head -n 5 "$captures/bad"
		failed=1
	else
		printf 'ok %s %s: %s packets\n' "$name" "$pattern" "$packets"
	fi
}

scenario tcp_states
scenario tcp_timers
scenario tcp_ooo 'receiver__*'
scenario tcp_patience
scenario tcp_prr
scenario tcp_rack
scenario tcp_recovery
scenario tcp_restart
scenario tcp_undo
scenario tcp_transfer 'everything_*'
scenario tcp_transfer 'small_*'
scenario tcp_transfer 'closes_*'
scenario tcp_offload 'cut_in_*'
# Here strangers send what is bad on purpose: what the engines say to that is good all the same.
export WORLD_PCAP_ENGINES=1
scenario net_udp
# (net_ip's frames without the sums that a device would add are left out.)
scenario net_ip 'connect_*'
scenario net_ip 'fragmentation_*'
scenario net_ip 'unknown_*'
scenario net_ip 'port_*'
scenario net_ipv6
scenario net_frag
exit "$failed"
