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
	on_engine python3 "$PROGRAMS/interfaces.py" | tee "$DIR/list"
	[[ $(grep -cx "cvb $ENGINE_ADDR/24" "$DIR/list") == 1 && $(grep -c '^cvb [0-9]*$' "$DIR/list") == 1 ]] || fail 'the list of interfaces'
	start "$word.echo" on_engine socat TCP-LISTEN:8001,bind="$ENGINE_ADDR",fork EXEC:cat
	wait_served 8001
	on_kernel timeout 30 python3 "$PROGRAMS/echo_client.py" "$ENGINE_ADDR" 8001 5000000 2
	# Many frames out of order at once: buffers from all over the pool go through the device.
	start "$word.iperf3" on_engine iperf3 -s -B "$ENGINE_ADDR"
	wait_served 5201
	on_kernel timeout 30 iperf3 -c "$ENGINE_ADDR" -P 8 -n 1G >"$DIR/iperf3" || fail "eight streams: $(tail -n 3 "$DIR/iperf3")"
	stop_process "${engine_pid[$ENGINE]}" 10
}
# An IPv6 address there is tested for one to two seconds. Whoever sees that the engine is ready can bind it, and so can a
# program that came too early.
ready() {
	local log early binds="import socket, sys; socket.socket(socket.AF_INET6).bind(('$ENGINE_ADDR6', int(sys.argv[1])))"
	on_veth af_packet "address6=$ENGINE_ADDR6/64"
	log=${engine_log[$ENGINE]}
	inside "$SPACE" "$CULVERTD" --config "${engine_config_file[$ENGINE]}" --foreground </dev/null >>"$log" 2>&1 &
	at_exit stop_process $! 10
	wait_until 10 test -S "/run/culvert/$ENGINE.sock"
	start early on_engine python3 -c "$binds" 8000
	early=$started
	wait_until 15 grep -q 'is ready' "$log"
	# Another port: the early one may hold its own still.
	on_engine python3 -c "$binds" 8001
	wait "$early" || fail "the program that came before the engine was ready: $(<"$DIR/early.log")"
	[[ $(engine_counter "$ENGINE" .groups) == 0 ]] || fail 'a program is left'
	stop_process "$(engine_counter "$ENGINE" .pid)" 10
	# In the background: its parent ends when it is ready.
	timeout 20 ip netns exec "$SPACE" "$CULVERT" run --config "${engine_config_file[$ENGINE]}" -- python3 -c "$binds" 8000
	timeout 20 ip netns exec "$SPACE" "$CULVERT" run --inline --config "${engine_config_file[$ENGINE]}" -- python3 -c "$binds" 8000
}
# virtio-user shows its other end the EAL's memory and no other, as a NIC sees what is mapped for it: payload that lies
# in programs' memory must be taken over. It cuts super-segments, too (its other end takes them as they are).
virtio() {
	local frames segments
	space_new SPACE virtio
	ENGINE=$(engine_name vhost)
	ENGINE2=$(engine_name virtio)
	virtio_end "$ENGINE" "net_vhost0,iface=$DIR/vhost.sock,tso=1" "$PAIR_ADDR1"
	virtio_end "$ENGINE2" "net_virtio_user0,path=$DIR/vhost.sock" "$PAIR_ADDR2"
	start files1 on_engine python3 -m http.server --bind "$PAIR_ADDR1" --directory "$DIR/www" 8000
	start files2 on_engine2 python3 -m http.server --bind "$PAIR_ADDR2" --directory "$DIR/www" 8000
	wait_served 8000
	on_engine2 curl -sS --max-time 30 -o "$DIR/got" "http://$PAIR_ADDR1:8000/file"
	cmp "$DIR/www/file" "$DIR/got"
	on_engine curl -sS --max-time 30 --retry 5 --retry-connrefused -o "$DIR/got2" "http://$PAIR_ADDR2:8000/file"
	cmp "$DIR/www/file" "$DIR/got2"
	segments=$(engine_counter "$ENGINE2" .counters.tcp_out)
	frames=$(engine_counter "$ENGINE2" .counters.tx_packets)
	note "$segments segments in $frames frames"
	((frames * 3 < segments)) || fail "the device cuts no segments: $segments in $frames frames"
}
virtio_end() { # ENGINE DEVICE ADDRESS
	engine_configure "$1" "$DIR" <<-END
	[engine]
	name=$1
	hugepages=no
	[port v]
	device=$2
	address=$3/24
	END
	engine_start "$SPACE" "$1"
}
check 'ready: every address can be bound, by programs that came early, too' ready
check 'af_packet on a veth: 32 MiB and echo, content compared; eight streams' device af_packet
check 'af_xdp on a veth: 32 MiB and echo, content compared; eight streams' device af_xdp
check 'virtio-user and vhost: 32 MiB both ways, content compared, segments cut by the device' virtio
checks_done
