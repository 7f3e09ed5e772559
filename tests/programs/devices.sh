#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Other devices than TAP and memif: an engine on one end of a veth by af_packet and af_xdp, the kernel on the other.
. "$(dirname "$0")/lib.sh"
[[ $KIND == culvert ]] || {
	echo "skip devices: needs an engine"
	exit 0
}

mkdir "$DIR/www"
head -c 32M /dev/urandom >"$DIR/www/file"

on_veth() { # DRIVER [LINE...]
	local word=$1
	space_new SPACE "$word"
	SPACE_ENGINE=$SPACE
	ENGINE=$(engine_name "$word")
	ip -n "$SPACE" link add cva type veth peer name cvb
	ip -n "$SPACE" addr add "$KERNEL_ADDR/24" dev cva
	ip -n "$SPACE" link set cva up
	ip -n "$SPACE" link set cvb up
	inside "$SPACE" python3 "$PROGRAMS/tx_checksum_off.py" cva
	engine_configure "$ENGINE" "$DIR" < <(
		cat <<-END
		[engine]
		name=$ENGINE
		hugepages=no
		[port veth]
		device=net_${word}0,iface=cvb
		address=$ENGINE_ADDR/24
		END
		printf '%s\n' "${@:2}"
	)
}

device() { # DRIVER
	local word=$1
	on_veth "$word"
	engine_start "$SPACE" "$ENGINE"
	start "$word" on_engine python3 -m http.server --bind "$ENGINE_ADDR" --directory "$DIR/www" 8000
	wait_served 8000
	on_kernel curl -sS --max-time 30 -o "$DIR/got" "http://$ENGINE_ADDR:8000/file"
	cmp "$DIR/www/file" "$DIR/got"
	start "$word.echo" on_engine socat TCP-LISTEN:8001,bind="$ENGINE_ADDR",fork EXEC:cat
	wait_served 8001
	on_kernel timeout 30 python3 "$PROGRAMS/echo_client.py" "$ENGINE_ADDR" 8001 5000000 2
	stop_process "${engine_pid[$ENGINE]}" 10
}
# An IPv6 address there is tested for one to two seconds. Whoever sees that the engine is ready can bind it, and so can a
# program that came too early.
ready() {
	local log early binds="import socket; socket.socket(socket.AF_INET6).bind(('$ENGINE_ADDR6', 8000))"
	on_veth af_packet "address6=$ENGINE_ADDR6/64"
	log=${engine_log[$ENGINE]}
	inside "$SPACE" "$CULVERTD" --config "${engine_config_file[$ENGINE]}" --foreground </dev/null >>"$log" 2>&1 &
	at_exit stop_process $! 10
	wait_until 10 test -S "/run/culvert/$ENGINE.sock"
	start early on_engine python3 -c "$binds"
	early=$started
	wait_until 15 grep -q 'is ready' "$log"
	on_engine python3 -c "$binds"
	wait "$early" || fail "the program that came before the engine was ready: $(<"$DIR/early.log")"
	[[ $(engine_counter "$ENGINE" .groups) == 0 ]] || fail 'a program is left'
	stop_process "$(engine_counter "$ENGINE" .pid)" 10
	# In the background: its parent ends when it is ready.
	timeout 20 ip netns exec "$SPACE" "$CULVERT" run --config "${engine_config_file[$ENGINE]}" -- python3 -c "$binds"
	timeout 20 ip netns exec "$SPACE" "$CULVERT" run --inline --config "${engine_config_file[$ENGINE]}" -- python3 -c "$binds"
}
check 'ready: every address can be bound, by programs that came early, too' ready
check 'af_packet on a veth: 32 MiB and echo, content compared' device af_packet
check 'af_xdp on a veth: 32 MiB and echo, content compared' device af_xdp
checks_done
