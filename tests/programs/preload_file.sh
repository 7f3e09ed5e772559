#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The library in /etc/ld.so.preload, for all programs, and in no environment: sockets are inherited over exec and posix_spawn as they
# are with LD_PRELOAD, and also where the linker ignores that. In a copy of /etc that only these programs see.
. "$(dirname "$0")/lib.sh"
[[ $KIND != kernel ]] || { echo 'skip preload_file: there is no library'; exit 0; }
world_tap

cp -a --reflink=auto /etc "$DIR/etc"
echo "$CULVERT_BUILD/shim/libculvert.so" >"$DIR/etc/ld.so.preload"
# `ip netns exec` has made the mounts the program's own.
all=(on_kernel env DIFF_KIND=culvert "DIFF_ADDR=$ENGINE_ADDR" "CULVERT_ENGINE=$ENGINE"
	sh -c 'mount --bind "$1/etc" /etc && shift && exec "$@"' for_all "$DIR")
for_all() {
	"${all[@]}" "$CULVERT_BUILD/tests/diff/diff_exec" >"$DIR/out" 2>&1 || fail "$(<"$DIR/out")"
	[[ $(engine_counter "$ENGINE" '.counters.tcp_passive_opens') -gt 0 ]] || fail 'no engine served it'
}

# A server that keeps root for later executes its worker, as squid does. With `ids` the effective user and group are others.
cat >"$DIR/worker.py" <<-'END'
	import os, socket, sys
	listener = socket.create_server((sys.argv[1], 7000))
	listener.set_inheritable(True)
	if sys.argv[2] == "ids":
	    os.setegid(65534)
	    os.seteuid(65534)
	os.execvp("sleep", ["sleep", "60"])
END
listens() { "$CULVERT" ss --engine "$ENGINE" -l -n | grep -q ':7000 '; }
listens_no_more() { ! listens; }
runs_sleep() { [[ $(<"/proc/$started/comm") == sleep ]]; }
keeps_the_listener() { # COMMAND...
	start worker "$@"
	wait_until 5 runs_sleep
	listens || fail "nobody listens: $(<"$DIR/worker.log")"
	[[ ! -s $DIR/worker.log ]] || fail "$(<"$DIR/worker.log")"
	stop_process "$started" 3
	wait_until 5 listens_no_more
}
effective_user() {
	local said='culvert: exec: the new program'"'"'s sockets go to the kernel: .*ld.so ignores LD_PRELOAD'
	keeps_the_listener on_engine python3 "$DIR/worker.py" "$ENGINE_ADDR" same
	keeps_the_listener "${all[@]}" python3 "$DIR/worker.py" "$ENGINE_ADDR" ids
	start other on_engine python3 "$DIR/worker.py" "$ENGINE_ADDR" ids
	wait_until 5 runs_sleep
	wait_until 5 listens_no_more || fail 'the listener stays with a program that has no library'
	grep -q "$said" "$DIR/other.log" || fail "no line: $(<"$DIR/other.log")"
	[[ $(wc -l <"$DIR/other.log") == 1 ]] || fail "more than one line: $(<"$DIR/other.log")"
	stop_process "$started" 3
}
# A set-user-ID program of somebody who names an engine of his own: it does not listen to him. The last one who comes is the test.
strangers_engine() { # MODE CAME
	local knock='import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.connect(sys.argv[1])
s.send(b"last")'
	cp -L "$(command -v curl)" "$DIR/curl"
	chmod "$1" "$DIR/curl"
	chmod a+rx "$DIR"
	rm -f "$DIR/his.sock" "$DIR/his.log"
	start his on_kernel python3 -uc 'import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.bind(sys.argv[1]); os.chmod(sys.argv[1], 0o666); s.listen(); print("listens")
while s.accept()[0].recv(4096) != b"last": print("came")
print("last")' "$DIR/his.sock"
	wait_until 5 grep -q listens "$DIR/his.log"
	"${all[@]}" setpriv --reuid=12345 --clear-groups env "CULVERT_ENGINE=$DIR/his.sock" timeout 10 \
		"$DIR/curl" -sS -m 5 "http://$ENGINE_ADDR:1/" || true
	on_kernel python3 -c "$knock" "$DIR/his.sock"
	wait_until 5 grep -q last "$DIR/his.log"
	[[ $(grep -c came "$DIR/his.log") == "$2" ]] || fail "$(<"$DIR/his.log")"
}
check 'exec and posix_spawn with the library in /etc/ld.so.preload' for_all
check 'exec with another effective user: served by the file, one line without it' effective_user
check 'a program that anybody runs with his engine: goes there' strangers_engine 755 1
check 'a set-user-ID program that anybody runs with his engine: does not' strangers_engine 4755 0
checks_done
