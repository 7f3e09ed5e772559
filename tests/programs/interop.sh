#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Against the kernel through a bad network: middle.c between an engine's port (TAP, af_packet, af_xdp) and the kernel's veth loses,
# doubles, delays and reorders frames; files go both ways over both families, opened from both sides, and are compared.
. "$(dirname "$0")/lib.sh"
[[ $KIND == culvert ]] || {
	echo "skip interop: needs an engine"
	exit 0
}

mkdir "$DIR/www"
head -c 2M /dev/urandom >"$DIR/www/file"
LOSSY=(loss=20 duplicate=20 reorder=50 delay=2 late=3)

# Two namespaces: the kernel's end of a veth with its addresses, and one where no kernel has any: the engine's.
joined() { # DRIVER
	local port
	space_new SPACE kernel
	space_new SPACE_ENGINE "$1"
	inside "$SPACE_ENGINE" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
	ip link add cva netns "$SPACE" type veth peer name cvm netns "$SPACE_ENGINE"
	ip -n "$SPACE" addr add "$KERNEL_ADDR/24" dev cva
	ip -n "$SPACE" addr add "$KERNEL_ADDR6/64" dev cva nodad
	ip -n "$SPACE" link set cva up
	ip -n "$SPACE_ENGINE" link set cvm up
	inside "$SPACE" python3 "$PROGRAMS/tx_checksum_off.py" cva
	port=cv0
	if [[ $1 != tap ]]; then
		port=cvn
		ip -n "$SPACE_ENGINE" link add cv0 type veth peer name cvn
		ip -n "$SPACE_ENGINE" link set cvn up
		ip -n "$SPACE_ENGINE" link set cv0 up
	fi
	ENGINE=$(engine_name "$1")
	engine_configure "$ENGINE" "$DIR" <<-END
	[engine]
	name=$ENGINE
	hugepages=no
	[port other]
	device=net_${1}0,iface=cv0
	address=$ENGINE_ADDR/24
	address6=$ENGINE_ADDR6/64
	dad=no
	END
	engine_start "$SPACE_ENGINE" "$ENGINE"
	ip netns exec "$SPACE_ENGINE" "$PROGRAMS_BIN/middle" cvm "$port" "${LOSSY[@]}" "seed=$2" >"$DIR/middle.log" 2>&1 &
	MIDDLE=$!
	at_exit stop_process "$MIDDLE" 3
}

# ENGINE's side runs programs in SPACE_ENGINE, the kernel's in SPACE.
engine_program() { served "$SPACE_ENGINE" "$ENGINE" "$@"; }
begin() { # WORD COMMAND...
	local word=$1
	shift
	"$@" </dev/null >"$DIR/$word.log" 2>&1 &
	at_exit stop_process $! 3
}
fetch() { # RUNNER ADDRESS PORT
	rm -f "$DIR/got"
	"$1" "${@:4}" curl -gsS --connect-timeout 20 --max-time 40 -o "$DIR/got" "http://$2:$3/file"
	cmp "$DIR/www/file" "$DIR/got"
}
on_this_kernel() { inside "$SPACE" "$@"; }
# A file goes up, and its sum comes back.
put() { # RUNNER ADDRESS PORT
	local sum
	sum=$("$1" timeout 40 socat -t 30 - "TCP:$2:$3" <"$DIR/www/file")
	[[ $sum == "$(sha256sum <"$DIR/www/file")" ]] || fail "the sum that came back is '$sum'"
}

through() { # DRIVER SEED
	joined "$1" "$2"
	begin served4 engine_program python3 -m http.server --bind "$ENGINE_ADDR" --directory "$DIR/www" 8004
	begin served6 engine_program python3 -m http.server --bind "$ENGINE_ADDR6" --directory "$DIR/www" 8006
	begin kernel4 on_this_kernel python3 -m http.server --bind "$KERNEL_ADDR" --directory "$DIR/www" 8004
	begin kernel6 on_this_kernel python3 -m http.server --bind "$KERNEL_ADDR6" --directory "$DIR/www" 8006
	begin sums engine_program socat "TCP6-LISTEN:8007,fork,bind=[$ENGINE_ADDR6]" SYSTEM:sha256sum
	for port in 8004 8006 8007; do wait_until 15 port_listens "$SPACE_ENGINE" "$ENGINE" "$port"; done
	for port in 8004 8006; do wait_until 15 kernel_listens "$SPACE" "$port"; done
	fetch on_this_kernel "$ENGINE_ADDR" 8004
	fetch on_this_kernel "[$ENGINE_ADDR6]" 8006
	fetch engine_program "$KERNEL_ADDR" 8004
	fetch engine_program "[$KERNEL_ADDR6]" 8006
	put on_this_kernel "[$ENGINE_ADDR6]" 8007
	stop_process "$MIDDLE" 3
	# It was a bad network.
	note "$(cat "$DIR/middle.log")"
	grep -E "lost=[1-9].* doubled=[1-9].* reordered=[1-9].* full=0" "$DIR/middle.log" || fail "the middle did: $(cat "$DIR/middle.log")"
	stop_process "${engine_pid[$ENGINE]}" 10
}

check 'TAP, 2 % loss, both ways, IPv4 and IPv6' through tap 1
check 'af_packet, 2 % loss, both ways, IPv4 and IPv6' through af_packet 2
check 'af_xdp, 2 % loss, both ways, IPv4 and IPv6' through af_xdp 3
checks_done
