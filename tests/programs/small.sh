#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Small servers in other languages and manners: python's http.server (threads) and socat (a process per
# connection, half close, UDP).
. "$(dirname "$0")/lib.sh"

world_tap
mkdir "$DIR/www"
head -c 64M /dev/urandom >"$DIR/www/file"
head -c 3000 /dev/urandom >"$DIR/www/small"
start http on_engine python3 -u -m http.server --bind "$ENGINE_ADDR" --directory "$DIR/www" 8000
start echo on_engine socat "TCP-LISTEN:7000,bind=$ENGINE_ADDR,reuseaddr,fork,backlog=64" EXEC:cat
start exec on_engine socat "TCP-LISTEN:7001,bind=$ENGINE_ADDR,reuseaddr,fork,backlog=64" EXEC:'tr a-z A-Z'
start udp on_engine socat -T 5 "UDP-RECVFROM:7002,bind=$ENGINE_ADDR,reuseaddr,fork" EXEC:'rev'
for port in 8000 7000 7001 7002; do
	wait_served "$port" "$([[ $port == 7002 ]] && echo u || echo t)"
done

python_file() {
	on_kernel curl -sS --max-time 60 -o "$DIR/file" "http://$ENGINE_ADDR:8000/file"
	same_sum "$DIR/file" "$DIR/www/file"
}
python_listing() {
	on_kernel curl -sS --max-time 10 "http://$ENGINE_ADDR:8000/" | grep -q 'href="small"'
	[[ $(on_kernel curl -s -o /dev/null -w '%{http_code}' "http://$ENGINE_ADDR:8000/none") == 404 ]]
}
python_many() {
	on_kernel timeout 60 python3 "$PROGRAMS/http_many.py" "$ENGINE_ADDR" 8000 /small 500 16 close "$DIR/www/small"
}
# A socket that both stacks serve sends to a neighbour of the kernel's that nobody knows: its small buffer is full until the kernel
# gives up, which it does soon here.
kernel_half_waits() {
	ip -n "$SPACE_ENGINE" link add slow0 type veth peer name slow1
	ip -n "$SPACE_ENGINE" addr add 192.0.2.1/24 dev slow0
	ip -n "$SPACE_ENGINE" link set slow0 up
	ip -n "$SPACE_ENGINE" link set slow1 up
	ip netns exec "$SPACE_ENGINE" sysctl -qw net.ipv4.neigh.slow0.retrans_time_ms=100 net.ipv4.neigh.slow0.mcast_solicit=1
	on_engine timeout 60 python3 -c 'if True:
		import socket
		s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
		s.bind(("", 0))
		for i in range(12):
			s.sendto(b"x" * 1000, ("192.0.2.99", 9))'
	ip -n "$SPACE_ENGINE" link del slow0
}
socat_echo() { on_kernel timeout 60 python3 "$PROGRAMS/echo_client.py" "$ENGINE_ADDR" 7000 20000000 4; }
socat_exec() {
	head -c 3000000 /dev/urandom | base64 >"$DIR/text"
	tr a-z A-Z <"$DIR/text" >"$DIR/wanted"
	# The client half-closes; `tr` ends at the end of its input, and socat then closes.
	on_kernel timeout 60 socat -t 30 - "TCP:$ENGINE_ADDR:7001" <"$DIR/text" >"$DIR/got"
	same_sum "$DIR/got" "$DIR/wanted"
}
socat_udp() {
	local answer
	answer=$(on_kernel python3 -c "import socket
s = socket.socket(type=socket.SOCK_DGRAM)
s.settimeout(10)
s.connect(('$ENGINE_ADDR', 7002))
s.send(b'culvert\n')
print(s.recv(100).decode().strip())")
	[[ $answer == trevluc ]] || fail "answer is '$answer'"
}

check 'python3 -m http.server 64 MiB' python_file
check 'python3 -m http.server listing and 404' python_listing
check 'python3 -m http.server 500 requests' python_many
check 'socat echo, four streams at once, half close' socat_echo
check 'socat EXEC with half close' socat_exec
check 'socat UDP' socat_udp
check 'UDP to a slow neighbour of the kernel: send waits' kernel_half_waits
checks_done
