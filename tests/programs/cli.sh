#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The commands themselves: private engines, ss, stat, doctor, mistakes in configurations, an installed tree.
. "$(dirname "$0")/lib.sh"
[[ $KIND == culvert ]] || {
	echo "skip cli: needs an engine"
	exit 0
}

space_new SPACE cli
private=$(engine_name own)
engine_gone() { ! engine_answers "$private"; }

engine_pid() { "$CULVERT" stat --json --engine "$1" | jq .pid; }

private_engine() {
	local answer
	# No engine of that name runs: one is started with the default configuration, and serves both ends.
	on_kernel timeout 60 "$CULVERT" run --engine "$private" -- python3 "$PROGRAMS/both_ends.py" 10.88.0.2
	wait_until 15 engine_gone || fail "the private engine outlives its program"
	# It answers nobody any more before it has let go of all that it has.
	device_gone() { ! ip -n "$SPACE" link show culvert0 >/dev/null 2>&1; }
	wait_until 15 device_gone || fail "its device is left"
}
private_engine_shared() {
	# A second program finds the first one's engine; it ends with the last of the two.
	start first on_kernel "$CULVERT" run --engine "$private" -- python3 -u -m http.server --bind 10.88.0.2 8080
	local first=$started
	listens() { port_listens "$SPACE" "$private" 8080; }
	wait_until 20 listens || fail "$(cat "$DIR/first.log")"
	on_kernel "$CULVERT" run --engine "$private" -- curl -sS --max-time 10 http://10.88.0.2:8080/ >/dev/null
	on_kernel curl -sS --max-time 10 http://10.88.0.2:8080/ >/dev/null
	engine_answers "$private" >/dev/null || fail "the engine ended with the second program"
	# In the program's session, so that both are one scheduling group where autogroups are on; not in its process group.
	[[ $(ps -o sess= -p "$(engine_pid "$private")") == $(ps -o sess= -p "$first") ]] || fail "the engine is in a session of its own"
	[[ $(ps -o pgid= -p "$(engine_pid "$private")") != $(ps -o pgid= -p "$first") ]] || fail "the engine has the program's process group"
	kill "$first"
	wait_until 15 engine_gone || fail "the private engine outlives its last program"
}
# Several at once, as in `culvert run server & culvert run client`: one engine serves them all.
private_engine_at_once() {
	local i pids=()
	for i in 1 2 3; do
		on_kernel timeout 60 "$CULVERT" run --engine "$private" -- python3 -c '
import socket, time
own = socket.create_server(("10.88.0.2", 0))
time.sleep(0.5)' >"$DIR/once$i" 2>&1 &
		pids+=($!)
	done
	for i in 0 1 2; do wait "${pids[$i]}" || fail "program $((i + 1)): $(<"$DIR/once$((i + 1))")"; done
	! grep -v 'is ready$' "$DIR"/once? || fail "somebody had something to say"
	wait_until 15 engine_gone || fail "the private engine outlives its last program"
}
# The program that it was started for ends before the second one has a socket.
private_engine_waits() {
	local first
	on_kernel timeout 60 "$CULVERT" run --engine "$private" -- sleep 1 &
	first=$!
	wait_until 15 engine_answers "$private" >/dev/null
	on_kernel timeout 60 "$CULVERT" run --engine "$private" -- python3 -c '
import socket, time
time.sleep(2.5)
socket.create_server(("10.88.0.2", 0))'
	wait "$first"
	wait_until 15 engine_gone || fail "the private engine outlives its last program"
}
private_engine_config() {
	cat >"$DIR/own.ini" <<-END
	[engine]
	name=$private
	[port own]
	device=net_tap0,iface=cvown
	address=10.87.0.2/24
	host_address=10.87.0.1/24
	END
	on_kernel timeout 60 "$CULVERT" run --config "$DIR/own.ini" -- python3 "$PROGRAMS/both_ends.py" 10.87.0.2
	wait_until 15 engine_gone || fail "the private engine outlives its program"
}
# A program that binds to each address that it finds finds the engine's, by the names that SO_BINDTODEVICE takes.
interfaces() {
	local line
	sed "s/^name=.*/name=$private-n/" "$DIR/own.ini" >"$DIR/interfaces.ini"
	printf '%s\n' 'address6=fd87::2/64' '[port a-wire-with-a-long-name]' \
		"device=net_memif0,role=server,id=0,socket=$DIR/wire.sock,socket-abstract=no" \
		'address=10.86.0.2/20' 'mtu=1400' >>"$DIR/interfaces.ini"
	on_kernel timeout 30 "$CULVERT" run --config "$DIR/interfaces.ini" -- python3 "$PROGRAMS/interfaces.py" | tee "$DIR/out"
	for line in 'lo 127.0.0.1/8' 'cvown 10.87.0.1/24' 'cvown 10.87.0.2/24' 'cvown fd87::2/64' 'a-wire-with-a-l 10.86.0.2/20' \
		'cvown 10.87.0.1 255.255.255.0 1500' 'cvown 10.87.0.2 255.255.255.0 1500' 'a-wire-with-a-l 10.86.0.2 255.255.240.0 1400' \
		'lo 1' 'a-wire-with-a-l 32769'; do
		[[ $(grep -cx "$line" "$DIR/out") == 1 ]] || fail "not once: $line"
	done
	[[ $(grep -c '^cvown [0-9]*$' "$DIR/out") == 1 ]] || fail "the TAP's number is not there once"
	interfaces_gone() { ! engine_answers "$private-n"; }
	wait_until 15 interfaces_gone || fail "the private engine outlives its program"
}
# Ready when it returns, with a session of its own; what it has to say of autogroups comes before.
daemon() {
	local pid
	sed "s/^name=.*/name=$private-d/" "$DIR/own.ini" >"$DIR/daemon.ini"
	on_kernel timeout 30 "$CULVERTD" --config "$DIR/daemon.ini" </dev/null 2>"$DIR/err" || fail "$(<"$DIR/err")"
	pid=$(engine_pid "$private-d") || fail "it does not answer"
	at_exit stop_process "$pid" 10
	[[ $(ps -o sess= -p "$pid" | tr -d ' ') == "$pid" ]] || fail "no session of its own"
	[[ $(</proc/sys/kernel/sched_autogroup_enabled) != 1 ]] || grep -q sched_autogroup_enabled=0 "$DIR/err" || fail "autogroups: $(<"$DIR/err")"
	on_kernel "$CULVERT" run --engine "$private-d" -- python3 "$PROGRAMS/both_ends.py" 10.87.0.2
	kill "$pid"
	wait_until 10 process_gone "$pid" || fail "SIGTERM does not end it"
	[[ ! -e /run/culvert/$private-d.sock ]] || fail "its control socket is left"
}
exit_codes() {
	local status=0
	on_kernel "$CULVERT" run --engine "$private" -- sh -c 'exit 42' || status=$?
	[[ $status == 42 ]] || fail "the program's exit code 42 becomes $status"
	status=0
	on_kernel "$CULVERT" run --engine "$private" -- /nonexistent 2>"$DIR/err" || status=$?
	[[ $status == 127 ]] || fail "a program that is not there: $status: $(cat "$DIR/err")"
	status=0
	"$CULVERT" stat --engine "$private-none" 2>"$DIR/err" || status=$?
	[[ $status == 1 && $(wc -l <"$DIR/err") == 1 ]] || fail "no engine: $status, $(cat "$DIR/err")"
	status=0
	"$CULVERT" frobnicate 2>"$DIR/err" || status=$?
	[[ $status == 2 ]] || fail "no such command: $status"
	for pid in abc 0 1x ''; do
		status=0
		"$CULVERTD" --until-idle "$pid" --default "$private" 2>"$DIR/err" || status=$?
		[[ $status == 2 ]] || fail "culvertd --until-idle '$pid': $status"
	done
	for command in run ss stat doctor; do
		"$CULVERT" $command --help | grep -q Usage: || fail "$command --help"
	done
}
# mistake TEXT WORDS...: the configuration gives exit code 2 and one line with file, line number and the words.
mistake() {
	local status=0 text=$1 word
	shift
	printf '%b' "$text" >"$DIR/wrong.ini"
	on_kernel timeout 20 "$CULVERTD" --config "$DIR/wrong.ini" --foreground >"$DIR/out" 2>&1 || status=$?
	cat "$DIR/out"
	[[ $status == 2 ]] || fail "exit code $status, not 2"
	[[ $(grep -c wrong.ini "$DIR/out") == 1 ]] || fail "not one line"
	for word in "$@"; do grep -q -- "$word" "$DIR/out" || fail "the line does not say $word"; done
}
mistakes() {
	local good='[engine]\nname=x\n[port p]\ndevice=net_tap0,iface=cvx\naddress=10.1.0.2/24\n'
	mistake '[engine]\nname=x\n' 'port'
	mistake "${good}mtuu=1500\n" ':6:' 'mtuu' 'mtu'
	mistake "${good}mtu=abc\n" ':6:' 'mtu=abc' 'number'
	mistake "${good}checksum=maybe\n" ':6:' 'auto|offload|software|trusted-link'
	mistake '[engine]\nidle=never\n[port p]\ndevice=net_tap0\naddress=10.1.0.2/24\n' ':2:' 'adaptive|poll'
	mistake '[engine]\n[port p]\ndevice=net_tap0\naddress=10.1.0.300/24\n' ':4:' 'address=10.1.0.300'
	mistake '[engine]\n[port p]\ndevice=eth0\naddress=10.1.0.2/24\n' ':3:' 'device=eth0' 'net_tap0'
	mistake '[engine]\n[prot p]\n' ':2:' 'prot'
	mistake '[engine]\n[port p]\ndevice=net_af_packet0,iface=nosuch0\naddress=10.1.0.2/24\n' 'nosuch0'
	local status=0
	"$CULVERTD" --config "$DIR/nowhere.ini" --foreground >"$DIR/out" 2>&1 || status=$?
	[[ $status == 2 ]] || fail "a missing file: $status"
}
shows() {
	engine_tap "$SPACE" "$private" "$DIR"
	start shown on_kernel "$CULVERT" run --engine "$private" -- python3 "$PROGRAMS/holder.py" "$ENGINE_ADDR" 7100
	listens() { port_listens "$SPACE" "$private" 7100; }
	wait_until 15 listens
	start talker on_kernel python3 "$PROGRAMS/peer.py" "$ENGINE_ADDR" 7100 unread "$DIR/end"
	established() { "$CULVERT" ss -t --engine "$private" | grep -q ESTAB; }
	wait_until 10 established
	"$CULVERT" ss -t -l -n --engine "$private" | tee "$DIR/out"
	grep -q "LISTEN .*$ENGINE_ADDR:7100" "$DIR/out"
	! grep -q ESTAB "$DIR/out" || fail "-l shows more than listeners"
	"$CULVERT" ss -t -a -n -p -i --engine "$private" | tee "$DIR/out"
	grep -q ESTAB "$DIR/out" && grep -q LISTEN "$DIR/out" && grep -q python3 "$DIR/out" || fail "ss -tanpi"
	grep -Eq 'rtt|cwnd' "$DIR/out" || fail "ss -i shows no details"
	"$CULVERT" ss -u -a --engine "$private" | tee "$DIR/out"
	! grep -q tcp "$DIR/out" || fail "-u shows TCP"
	"$CULVERT" ss --json -a --engine "$private" | jq -e 'length == 2' >/dev/null
	"$CULVERT" stat --engine "$private" | tee "$DIR/out"
	grep -q tcp_in "$DIR/out" || fail "stat shows no counters"
	"$CULVERT" stat --json --engine "$private" | jq -e '.tcp.connections == 1 and .counters.tcp_in > 3' >/dev/null
	"$CULVERT" doctor --engine "$private" | tee "$DIR/out"
	"$CULVERT" doctor --json --engine "$private" | jq -e 'length > 3' >/dev/null
}
installed() {
	DESTDIR=$DIR/root meson install -C "$CULVERT_BUILD" --no-rebuild --quiet
	local culvert library word
	for word in culvert culvertd libculvert.so; do
		find "$DIR/root" -name "$word" -type f | grep -q . ||
			fail "no $word; installed: $(cd "$DIR/root" && find . -type f | tr '\n' ' ')"
	done
	culvert=$(find "$DIR/root" -name culvert -type f)
	library=$(find "$DIR/root" -name libculvert.so)
	! ldd "$library" | grep -q rte_ || fail "the library links DPDK"
	on_kernel timeout 60 "$culvert" run --engine "$private-i" -- python3 "$PROGRAMS/both_ends.py" 10.88.0.2
}
no_engine() {
	# LD_PRELOAD alone, nobody there: the program works on the kernel, with one line on stderr.
	CULVERT_ENGINE=$private-none LD_PRELOAD=$CULVERT_BUILD/shim/libculvert.so timeout 30 \
		ip netns exec "$SPACE" python3 -c "import socket
s = socket.create_server(('127.0.0.1', 0))
for i in range(3):
    c = socket.create_connection(s.getsockname())
    c.sendall(b'x')
    assert s.accept()[0].recv(1) == b'x'" 2>"$DIR/err"
	says "no engine: $private-none: it is not running: sockets go to the kernel"
	# A program without sockets says nothing at all.
	CULVERT_ENGINE=$private-none LD_PRELOAD=$CULVERT_BUILD/shim/libculvert.so ls / 2>"$DIR/err" >/dev/null
	[[ ! -s $DIR/err ]] || fail "ls says: $(cat "$DIR/err")"
}
says() { # LINE, and nothing else
	[[ $(<"$DIR/err") == "culvert: $1" ]] || fail "not '$1' but: $(<"$DIR/err")"
}
# What a program with the library by LD_PRELOAD alone says, where no engine at all runs.
by_hand() { # PYTHON
	on_kernel unshare --mount bash -c 'mkdir -p /run/culvert && mount -t tmpfs none /run/culvert && exec "$@"' - \
		env LD_PRELOAD="$CULVERT_BUILD/shim/libculvert.so" python3 -c "
import os, socket, subprocess, sys
$1" 2>"$DIR/err"
}
preloaded_by_hand() {
	local serve='socket.create_server(("127.0.0.1", 0))'
	by_hand "$serve
subprocess.run([sys.executable, '-c', 'import socket; $serve'], check=True)
if os.fork():
    os.wait()
$serve"
	says 'no engine: culvert: it is not running: sockets go to the kernel'
	CULVERT_LOG=off by_hand "$serve"
	[[ ! -s $DIR/err ]] || fail "at CULVERT_LOG=off: $(<"$DIR/err")"
	CULVERT_LOG=info by_hand "$serve"
	grep -q 'goes to the kernel: no engine' "$DIR/err" || fail "which socket, at CULVERT_LOG=info: $(<"$DIR/err")"
	# As with the library for all programs of the machine (/etc/ld.so.preload): nobody asked for an engine.
	by_hand "del os.environ['LD_PRELOAD']; $serve"
	[[ ! -s $DIR/err ]] || fail "not asked for: $(<"$DIR/err")"
	CULVERT_LOG=info by_hand "del os.environ['LD_PRELOAD']; $serve"
	grep -q 'no engine: culvert: it is not running' "$DIR/err" || fail "at CULVERT_LOG=info: $(<"$DIR/err")"
}
# Engines of other times: one that refuses our version, ones whose reply has another length, one that says nothing.
strange_engine() {
	local how line library=$CULVERT_BUILD/shim/libculvert.so socket
	for how in refuses short long silent; do
		socket=$DIR/strange-$how.sock
		python3 "$PROGRAMS/strange_engine.py" "$socket" "$how" &
		at_exit stop_process "$!" 1
		wait_until 5 test -S "$socket"
		case $how in
		refuses) line='this is not for you' ;;
		silent) line='Network is down' ;;
		*) line='it speaks another version than this libculvert.so' ;;
		esac
		on_kernel env CULVERT_ENGINE="$socket" LD_PRELOAD="$library" python3 -c 'import socket
a = socket.create_server(("127.0.0.1", 0)); b = socket.create_connection(a.getsockname()); b.sendall(b"x")
assert a.accept()[0].recv(1) == b"x"' 2>"$DIR/err" || fail "$how: the program is not served by the kernel: $(<"$DIR/err")"
		says "no engine: $socket: $line: sockets go to the kernel"
		status=0
		"$CULVERT" run --engine "$socket" -- echo ran >"$DIR/out" 2>"$DIR/err" || status=$?
		[[ $status == 1 && ! -s $DIR/out && $(wc -l <"$DIR/err") == 1 ]] || fail "culvert run, $how: $status, $(<"$DIR/err")"
		[[ $how == silent ]] || grep -q 'does not serve this program: ' "$DIR/err" || fail "culvert run, $how: $(<"$DIR/err")"
		[[ $how != refuses ]] || grep -q "$line" "$DIR/err" || fail "culvert run: $(<"$DIR/err")"
	done
}
# One that ends just as we ask is not there: another one is started.
ending_engine() {
	python3 "$PROGRAMS/strange_engine.py" "/run/culvert/$private-ending.sock" ends &
	at_exit stop_process "$!" 1
	wait_until 5 test -S "/run/culvert/$private-ending.sock"
	on_kernel timeout 60 "$CULVERT" run --engine "$private-ending" -- python3 -c 'import socket; socket.create_server(("10.88.0.2", 80))'
	ending_gone() { ! engine_answers "$private-ending"; }
	wait_until 15 ending_gone || fail "the private engine outlives its program"
}
# The module beside the library is of other times.
strange_module() {
	mkdir -p "$DIR/strange"
	cp "$CULVERT_BUILD/shim/libculvert.so" "$DIR/strange/"
	cp "$PROGRAMS_BIN/libstrange_module.so" "$DIR/strange/libculvert-engine.so"
	on_kernel env CULVERT_MODE=inline LD_PRELOAD="$DIR/strange/libculvert.so" python3 -c 'import socket
a = socket.create_server(("127.0.0.1", 0)); b = socket.create_connection(a.getsockname())' 2>"$DIR/err" ||
		fail "the program is not served by the kernel: $(<"$DIR/err")"
	grep -Eq '^culvert: no engine inside this program: .*libculvert.so speaks version [0-9]+, libculvert-engine.so 4294967295: sockets go' \
		"$DIR/err" || fail "it says: $(<"$DIR/err")"
	[[ $(wc -l <"$DIR/err") == 1 ]] || fail "more than one line: $(<"$DIR/err")"
}
check 'culvert run starts a private engine and ends it' private_engine
check 'culvert run: two programs share a private engine' private_engine_shared
check 'culvert run: a private engine waits for who has found it' private_engine_waits
check 'culvert run: several at the same time, one private engine' private_engine_at_once
check 'culvert run --config' private_engine_config
check 'the list of interfaces: those of the kernel, then those of the engine' interfaces
check 'culvertd becomes a daemon when it is ready' daemon
check 'exit codes and help' exit_codes
check 'mistakes in a configuration: one line, exit code 2' mistakes
check 'ss, stat, doctor' shows
check 'meson install with DESTDIR, the installed tree works' installed
check 'no engine: the program runs on the kernel' no_engine
check 'no engine: a library preloaded by hand says so once' preloaded_by_hand
check 'an engine of another version: the kernel, and one line that says why' strange_engine
check 'an engine that is just ending: a private one is started' ending_engine
check 'inline: a module of another version: the kernel, and one line that says why' strange_module
checks_done
