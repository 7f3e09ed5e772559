# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# ./dev bench: what joins a server's side and a client's side.
#
#   veth          both ends on the kernel, each in its namespace, with its default offloads
#   memif         both ends under the preload, two engines (service) joined by memif
#   memif-inline  both ends under the preload, each with the engine in its own process, joined by memif
#   tap           the server under the preload, the client on the kernel, joined by a TAP
#   af_xdp        the same, joined by a veth whose one end the engine reads by af_xdp
#
# link_up LINK MTU SIDE makes one, SIDE being server or client, who receives most, and sets what the workloads use:
#   link_server, link_client   the words before a server's and a client's command
#   link_address               where servers listen
# All of it goes away at the end of the shell that made it.
#
# Owns: namespaces and engines. Does not own: which programs run (workloads.sh).
# shellcheck disable=SC2034,SC2154 # used by bench.sh and workloads.sh; bench_run is set by bench.sh

links_all=(veth memif memif-inline tap af_xdp)
links_main=(veth memif memif-inline)
link_server=() link_client=() link_address=
# The engines of the link that is up, for the report of a failure.
link_engines=()

# The fields `link` and `hosting` of the JSON.
link_device() { printf '%s' "${1%-inline}"; }
link_hosting() {
	case $1 in
	veth) printf kernel ;;
	*-inline) printf inline ;;
	*) printf service ;;
	esac
}

# link_left_out LINK: prints why it cannot be used here; nothing when it can.
link_left_out() {
	case $1 in
	memif-inline)
		grep -q -e --inline <<<"$("$CULVERT" run --help)" || printf 'this culvert has no inline hosting'
		;;
	esac
}

# The largest MTU of the workloads' that the device takes: AF_XDP's frames are at most a page less what the driver keeps, and
# DPDK's TAP says of itself that it takes no more than Ethernet's.
link_mtu_max() {
	case $1 in
	tap | af_xdp) printf 1500 ;;
	*) printf 65535 ;;
	esac
}

link_up() { # LINK MTU SIDE
	link_server=() link_client=() link_engines=()
	"link_up_${1//-/_}" "$2" "$3"
}

# Fails when one of its engines has ended.
link_alive() {
	local engine
	for engine in "${link_engines[@]}"; do
		engine_running "$engine" || {
			warn "engine $engine has ended"
			return 1
		}
	done
}

# The two ends of a veth, the client's cvb0 and the server's cvb1, in the namespaces given.
veth_new() { # CLIENT-SPACE SERVER-SPACE MTU
	ip link add cvb0 netns "$1" mtu "$3" type veth peer name cvb1 netns "$2" mtu "$3"
	ip -n "$1" link set cvb0 up
	ip -n "$2" link set cvb1 up
}

link_up_veth() {
	local server client
	space_new server vs
	space_new client vc
	veth_new "$client" "$server" "$1"
	ip -n "$client" addr add "$KERNEL_ADDR/24" dev cvb0
	ip -n "$server" addr add "$ENGINE_ADDR/24" dev cvb1
	link_address=$ENGINE_ADDR
	link_server=(ip netns exec "$server")
	link_client=(ip netns exec "$client")
}

# The configuration of an engine at one end of a memif. As a veth between two ends of one kernel: no checksums, and frames that
# hold many segments. The side that receives most brings the memory of the memif, from which it need not copy.
memif_config() { # server|client NAME MTU RECEIVER [LINE]; the line is for [engine]
	local role=server
	local -A address=([server]=$PAIR_ADDR1 [client]=$PAIR_ADDR2)
	[[ $1 != "$4" ]] || role=client,zero-copy=yes
	cat <<-END
	[engine]
	name=$2
	hugepages=no
	idle=adaptive
	${5:-}
	[port memif]
	device=net_memif0,role=$role,id=0,socket=$bench_run/memif.sock,socket-abstract=no
	address=${address[$1]}/24
	mtu=$3
	checksum=trusted-link
	tso=trusted-link
	END
}

# Each engine is on its program's core: left to the scheduler, both are often on one.
link_up_memif() { # MTU RECEIVER
	local space one two
	space_new space memif
	one=$(engine_name bone) two=$(engine_name btwo)
	link_engines=("$one" "$two")
	engine_configure "$one" "$bench_run" < <(memif_config server "$one" "$1" "$2" cores=1)
	engine_configure "$two" "$bench_run" < <(memif_config client "$two" "$1" "$2" cores=0)
	engine_start "$space" "$one"
	engine_start "$space" "$two"
	link_address=$PAIR_ADDR1
	link_server=(ip netns exec "$space" "$CULVERT" run --engine "$one" --)
	link_client=(ip netns exec "$space" "$CULVERT" run --engine "$two" --)
}

# Each program is its engine, so at one time one program only may be at an end of the memif.
link_up_memif_inline() { # MTU RECEIVER
	local space end
	space_new space inline
	for end in server client; do
		memif_config "$end" "$(engine_name "$end")" "$1" "$2" >"$bench_run/$end.ini"
	done
	link_address=$PAIR_ADDR1
	link_server=(ip netns exec "$space" "$CULVERT" run --inline --config "$bench_run/server.ini" --)
	link_client=(ip netns exec "$space" "$CULVERT" run --inline --config "$bench_run/client.ini" --)
}

link_up_tap() {
	local space engine
	space_new space tap
	engine=$(engine_name btap)
	link_engines=("$engine")
	engine_tap "$space" "$engine" "$bench_run" "mtu=$1"
	link_address=$ENGINE_ADDR
	link_server=(ip netns exec "$space" "$CULVERT" run --engine "$engine" --)
	link_client=(ip netns exec "$space")
}

# Over a veth the kernel leaves checksums to a NIC that is not there; an engine at the other end sees wrong ones.
link_up_af_xdp() {
	local space engine
	space_new space xdp
	engine=$(engine_name bxdp)
	link_engines=("$engine")
	veth_new "$space" "$space" "$1"
	ip -n "$space" addr add "$KERNEL_ADDR/24" dev cvb0
	inside "$space" python3 "$CULVERT_ROOT/tests/programs/tx_checksum_off.py" cvb0
	engine_configure "$engine" "$bench_run" <<-END
	[engine]
	name=$engine
	hugepages=no
	idle=adaptive
	[port veth]
	device=net_af_xdp0,iface=cvb1
	address=$ENGINE_ADDR/24
	mtu=$1
	END
	engine_start "$space" "$engine"
	link_address=$ENGINE_ADDR
	link_server=(ip netns exec "$space" "$CULVERT" run --engine "$engine" --)
	link_client=(ip netns exec "$space")
}
