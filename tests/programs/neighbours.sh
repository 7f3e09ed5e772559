#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The link and what is on it, with the kernel at the other end of a TAP: neighbour discovery, link-local addresses, VLANs,
# a router's advertisement, configured routes, groups.
. "$(dirname "$0")/lib.sh"

[[ $KIND == culvert ]] || skip 'needs an engine on a TAP'
KERNEL_LO=192.0.2.1
VLAN=10.55.0
PREFIX=2001:db8:99::
world_tap autoconf6=yes '[port web]' parent=tap vlan=5 "address=$VLAN.2/24" \
	'[routes]' "route=192.0.2.0/24 via $KERNEL_ADDR" 'route=192.0.3.0/24 unreachable'
head -c 20M /dev/urandom >"$DIR/file"
ip -n "$SPACE" addr add "$KERNEL_LO/32" dev lo
ip -n "$SPACE" link set lo up
start any on_engine python3 -u -m http.server --bind :: --directory "$DIR" 8000
start kernel on_kernel python3 -u -m http.server --bind :: --directory "$DIR" 8002
wait_served 8000
wait_kernel 8002

counter() { engine_counter "$ENGINE" ".counters.$1"; }
pings() { on_kernel ping -n -c 2 -i 0.2 -W 2 "$@"; }
fetches() { # on_kernel|on_engine URL
	"$1" curl -gsS --max-time 30 -o "$DIR/got" "$2"
	same_sum "$DIR/got" "$DIR/file"
}

neighbour_known() {
	pings "$ENGINE_ADDR6"
	# The kernel asks again, by unicast, and hears that the neighbour is there.
	on_kernel ip -6 neigh change "$ENGINE_ADDR6" dev cv0 nud probe
	wait_until 5 neighbour_is "$ENGINE_ADDR6" REACHABLE
}
neighbour_is() { on_kernel ip -6 neigh show "$1" dev cv0 | grep -q "$2"; }
link_local() {
	local address
	address=$(on_kernel ping -n -c 1 -W 2 ff02::1%cv0 | sed -n 's/.*from \(fe80[^%]*\)%cv0.*/\1/p' | tail -n 1)
	[[ -n $address ]] || fail 'nobody answers ff02::1'
	pings "$address%cv0"
	fetches on_kernel "http://[$address%25cv0]:8000/file"
}
vlan() {
	local before
	before=$(counter drop_vlan)
	on_kernel python3 "$PROGRAMS/tagged.py" cv0 5 "$VLAN.1" "$VLAN.2"
	if on_kernel python3 "$PROGRAMS/tagged.py" cv0 6 "$VLAN.1" "$VLAN.2"; then fail 'another VLAN is answered'; fi
	if on_kernel python3 "$PROGRAMS/tagged.py" cv0 5 "$VLAN.1" "$ENGINE_ADDR"; then fail "the port's address is the VLAN's"; fi
	[[ $(counter drop_vlan) -gt $before ]] || fail 'the other VLAN was not counted'
}
made_address() { # the engine's address in the advertised network
	on_kernel ip -6 neigh show dev cv0 | sed -n 's/^\(2001:db8:99:[^ ]*\) lladdr.*/\1/p' | tail -n 1
}
listed() { # LINE of the list of interfaces, as programs have it
	on_engine python3 "$PROGRAMS/interfaces.py" >"$DIR/list" && grep -qx "$1" "$DIR/list"
}
router() {
	local address
	ip -n "$SPACE" -6 addr add "${PREFIX}1/64" dev cv0 nodad
	ip -n "$SPACE" -6 addr add 2001:db8:77::1/128 dev lo nodad
	[[ $(counter router_solicits_out) -ge 1 ]] || fail 'no router was asked for'
	on_kernel python3 "$PROGRAMS/router.py" cv0 "$PREFIX"
	sleep 0.2
	[[ $(counter router_adverts_in) == 1 ]]
	fetches on_engine "http://[${PREFIX}1]:8002/file" # whose neighbour the engine becomes
	address=$(made_address)
	[[ -n $address ]] || fail 'there is no address of that prefix'
	note "$address"
	pings "$address"
	fetches on_kernel "http://[$address]:8000/file"
	wait_until 5 listed "cv0 $address/64"
	fetches on_engine 'http://[2001:db8:77::1]:8002/file' # by the default router
}
routes() {
	fetches on_engine "http://$KERNEL_LO:8002/file"
	on_engine python3 -c "
import errno, socket
s = socket.socket()
try:
    s.connect(('192.0.3.1', 1))
except OSError as e:
    assert e.errno == errno.EHOSTUNREACH, e
else:
    raise SystemExit('connected')"
}
group() { # RECEIVER SENDER GROUP INTERFACE-OF-RECEIVER INTERFACE-OF-SENDER PORT
	start "group$6" "$1" python3 "$PROGRAMS/groups.py" receive "$3" "$4" "$6"
	wait_until 10 grep -q joined "$DIR/group$6.log"
	"$2" python3 "$PROGRAMS/groups.py" send "$3" "$5" "$6"
	wait_until 10 grep -q 'to all of you' "$DIR/group$6.log"
}
groups_in() {
	group on_engine on_kernel 239.1.2.3 "$ENGINE_ADDR" "$KERNEL_ADDR" 7100
	grep -q 'again: Address already in use' "$DIR/group7100.log"
	group on_engine on_kernel ff02::1234 cv0 cv0 7101
	[[ $(counter mcast_reports_out) -ge 4 ]]
}
groups_out() {
	group on_kernel on_engine 239.1.2.4 "$KERNEL_ADDR" "$ENGINE_ADDR" 7102
	group on_kernel on_engine ff02::1235 cv0 cv0 7103
}

check 'the kernel finds and probes its neighbour' neighbour_known
check 'link-local addresses: ping, 20 MiB by curl' link_local
check 'VLAN: its tag, its addresses, and no other' vlan
check 'router advertisement: address, default route, 20 MiB' router
check 'configured routes: by a gateway, unreachable' routes
check 'groups: joined on the engine, sent by the kernel' groups_in
check 'groups: joined on the kernel, sent by the engine' groups_out
checks_done
