#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Programs of many threads, each of which needs a lane to the engine ([limits] lanes=): hundreds as it comes, and what those beyond
# the limit are told.
. "$(dirname "$0")/lib.sh"
world_tap
check '500 threads at once, a connection each' on_engine timeout 60 python3 "$PROGRAMS/threads.py" "$ENGINE_ADDR" 500 500

# Four lanes: the main thread's, and three threads'.
limited() {
	ENGINE=$(engine_name few)
	engine_configure "$ENGINE" "$DIR" <<-END
	[engine]
	name=$ENGINE
	hugepages=no
	[limits]
	lanes=4
	[port memif]
	device=net_memif0,role=server,id=0,socket=$DIR/few.sock,socket-abstract=no
	address=10.99.0.1/24
	END
	engine_start "$SPACE" "$ENGINE"
	at_exit stop_process "${engine_pid[$ENGINE]}" 10
	on_engine timeout 60 python3 "$PROGRAMS/threads.py" 10.99.0.1 12 3 2>"$DIR/err" || fail "$(<"$DIR/err")"
	[[ $(grep -c 'lanes= allows' "$DIR/err") == 1 ]] || fail "it says: $(<"$DIR/err")"
}
[[ $KIND == kernel ]] || check 'more threads than lanes: ENOBUFS and one line, and lanes come back' limited
checks_done
