#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The engine inside the program: real servers that kernel clients talk to, and what it does to its program.
. "$(dirname "$0")/lib.sh"
. "$PROGRAMS/nginx_lib.sh"

space_new SPACE inline
SPACE_ENGINE=$SPACE
MODULE=$CULVERT_BUILD/dpdk/libculvert-engine.so
INLINE=$(engine_name inline)
engine_tap_configure "$INLINE" "$DIR"
KERNEL_PORT=7100
SINK_PORT=7300

inside_program() { served_inline "$SPACE" "$INLINE" "$@"; }
start_inline() { # WORD COMMAND...
	local word=$1
	shift
	inside_program "$@" </dev/null >"$DIR/$word.log" 2>&1 &
	started=$!
	at_exit stop_process "$started" 3
}
answers() { on_kernel curl -sS --max-time 2 -o /dev/null "http://$ENGINE_ADDR/"; }
pongs() { on_kernel redis-cli -h "$ENGINE_ADDR" ping; }

nothing_intercepted() {
	local names
	names=$(sed -n 's/^[XVAE]([^,]*, \([a-z0-9_]*\),.*/\1/p' "$CULVERT_ROOT/stack/api/intercept.def" | sort)
	nm -D --undefined-only "$MODULE" | awk '{sub(/@.*/, "", $2); print $2}' | sort >"$DIR/undefined"
	[[ $(wc -l <"$DIR/undefined") -gt 100 ]] || fail "that is not the module's list"
	names=$(comm -12 "$DIR/undefined" <(printf '%s\n' "$names") | tr '\n' ' ')
	[[ -z ${names// /} ]] || fail "the module calls by name what the library intercepts: $names"
}
nginx_serves() {
	nginx_prepare "$ENGINE_ADDR" 80
	sed -i 's/^daemon on;/daemon off;\nmaster_process off;/' "$NGINX/nginx.conf"
	head -c 256M /dev/urandom >"$NGINX/html/large"
	start_inline nginx nginx -p "$NGINX" -c "$NGINX/nginx.conf"
	wait_until 15 answers || fail "nginx does not answer: $(cat "$DIR/nginx.log")"
	on_kernel curl -sS --max-time 60 -o "$DIR/large" "http://$ENGINE_ADDR/large"
	same_sum "$DIR/large" "$NGINX/html/large"
	on_kernel timeout 60 python3 "$PROGRAMS/http_many.py" "$ENGINE_ADDR" 80 /small 5000 32 keep "$NGINX/html/small"
	on_kernel timeout 60 python3 "$PROGRAMS/http_many.py" "$ENGINE_ADDR" 80 /small 5000 32 close "$NGINX/html/small"
	"$CULVERT" ss --engine "$INLINE" -l -n | grep -q "$ENGINE_ADDR:80" || fail "culvert ss does not show it"
}
redis_serves() {
	start_inline redis redis-server --bind "$ENGINE_ADDR" --port 6379 --protected-mode no --save '' --dir "$DIR"
	wait_until 15 pongs || fail "redis does not answer: $(tail -n 20 "$DIR/redis.log")"
	on_kernel timeout 60 python3 "$PROGRAMS/redis_keys.py" "$ENGINE_ADDR" 6379 50000
	# A child that writes the data: the parent's connections stay with the parent.
	on_kernel redis-cli -h "$ENGINE_ADDR" bgsave
	saved() { on_kernel redis-cli -h "$ENGINE_ADDR" info persistence | grep -q 'rdb_last_bgsave_status:ok'; }
	wait_until 20 saved || fail "the child did not save"
	on_kernel timeout 60 python3 "$PROGRAMS/redis_keys.py" "$ENGINE_ADDR" 6379 1000
}
# Threads that wait and one that computes: bytes compared on several connections of several threads.
threads_share() { inside_program timeout 60 python3 "$PROGRAMS/both_ends.py" "$ENGINE_ADDR"; }
life() {
	local said
	said=$(inside_program timeout 30 python3 "$PROGRAMS/inline_life.py" "$ENGINE_ADDR" "$KERNEL_ADDR" "$KERNEL_PORT" "$1")
	note "$said"
}
ends_after_its_bytes() { # [ABRUPT=1]
	on_kernel timeout 60 socat -u TCP-LISTEN:$KERNEL_PORT,reuseaddr "CREATE:$DIR/sent" &
	at_exit stop_process "$!" 1
	# The address appears with the engine; before that the listener is on the wildcard.
	wait_until 5 kernel_listens "$SPACE" "$KERNEL_PORT"
	inside_program env "$@" timeout 30 python3 "$PROGRAMS/inline_life.py" "$ENGINE_ADDR" "$KERNEL_ADDR" "$KERNEL_PORT" sends
	all_there() { [[ $(stat -c %s "$DIR/sent") == 20000000 ]]; }
	wait_until 10 all_there || fail "$(stat -c %s "$DIR/sent") of 20,000,000 bytes came"
}
# Whatever its other threads do: none of them sees its sockets end, and nothing crashes.
ends_in_traffic() { # HOW CODE
	local round status
	for round in 1 2 3; do
		status=0
		inside_program env CULVERT_EXIT_MS=200 timeout 30 "$PROGRAMS_BIN/leaver" "$ENGINE_ADDR" 7200 "$1" $((round * 60)) \
			"$KERNEL_ADDR" $SINK_PORT \
			>"$DIR/leaver.log" 2>&1 || status=$?
		[[ $status == "$2" ]] || fail "it ended with $status: $(cat "$DIR/leaver.log")"
	done
}
line_of_the_fork() {
	local text
	text=$(inside_program timeout 30 python3 "$PROGRAMS/inline_life.py" "$ENGINE_ADDR" "$KERNEL_ADDR" "$KERNEL_PORT" fork 2>&1)
	grep -q 'the engine stays in process [0-9]*: its children are served by it as long as that runs' <<<"$text" ||
		fail "no line about the fork: $text"
}
# A master that executes itself when it has its worker (haproxy -W).
line_of_the_exec() {
	local text
	text=$(inside_program timeout 30 python3 -c 'import os, socket, sys, time
own = socket.create_server((sys.argv[1], 0))
if os.fork() == 0:
    time.sleep(0.5)
    os._exit(0)
os.execv("/bin/echo", ["echo", "goes on"])' "$ENGINE_ADDR" 2>&1)
	[[ $(grep -c 'exec: the engine inside this program ends with it: its children are without one' <<<"$text") == 1 ]] ||
		fail "no line about the exec: $text"
	grep -q 'goes on' <<<"$text" || fail "$text"
	text=$(inside_program timeout 30 python3 -c 'import os, socket, sys
own = socket.create_server((sys.argv[1], 0))
os.execv("/bin/echo", ["echo", "goes on"])' "$ENGINE_ADDR" 2>&1)
	! grep -q 'exec: ' <<<"$text" || fail "no child, and a line about children: $text"
}
# One of them has the engine, and serves the others.
at_once() {
	local i pids=()
	for i in 1 2 3; do
		inside_program timeout 30 python3 -c 'import socket, time
own = socket.create_server(("'"$ENGINE_ADDR"'", 0))
time.sleep(2)' >"$DIR/once$i" 2>&1 &
		pids+=($!)
	done
	for i in 0 1 2; do wait "${pids[$i]}" || fail "program $((i + 1)): $(<"$DIR/once$((i + 1))")"; done
}
# The engine does not start, and its program goes on without: another program can have the name.
name_given_back() {
	local begun took
	printf '[engine]\nname=%s\n[port p]\ndevice=net_nothing0\naddress=10.1.1.1/24\n' "$INLINE" >"$DIR/without.ini"
	inside "$SPACE" "$CULVERT" run --inline --config "$DIR/without.ini" -- python3 -c \
		'import socket, time; s = socket.socket(); s.bind(("0.0.0.0", 0)); print("goes on", flush=True); time.sleep(60)' >"$DIR/without.log" 2>&1 &
	started=$!
	at_exit stop_process "$started" 3
	wait_until 10 grep -q 'goes on' "$DIR/without.log"
	begun=$(date +%s%3N)
	life threads
	took=$(($(date +%s%3N) - begun))
	[[ $took -lt 4000 ]] || fail "$took ms"
	stop_process "$started" 3
}
mistakes() {
	local status=0
	printf '[engine]\nname=x\n[port p]\ndevice=net_nothing0\naddress=10.1.1.1/24\n' >"$DIR/wrong.ini"
	inside "$SPACE" "$CULVERT" run --inline --config "$DIR/wrong.ini" -- true || fail "not a mistake of the file, so far"
	inside "$SPACE" "$CULVERT" run --inline --config "$DIR/wrong.ini" -- python3 -c \
		'import socket; socket.create_server(("127.0.0.1", 0)); s = socket.socket(); s.bind(("0.0.0.0", 0)); print("goes on")' \
		>"$DIR/mistake" 2>&1
	grep -q 'culvert: no engine inside this program: .*there is no such device.*: sockets go to the kernel' "$DIR/mistake" ||
		fail "$(cat "$DIR/mistake")"
	grep -q 'goes on' "$DIR/mistake" || fail "the program did not go on: $(cat "$DIR/mistake")"
	printf '[engine]\nnonsense=1\n' >"$DIR/wrong.ini"
	inside "$SPACE" "$CULVERT" run --inline --config "$DIR/wrong.ini" -- true || status=$?
	[[ $status == 2 ]] || fail "a wrong configuration gives $status"
	status=0
	"$CULVERT" run --inline --engine x -- true || status=$?
	[[ $status == 2 ]] || fail "--inline with --engine gives $status"
}

check 'inline: the module calls nothing that the library intercepts' nothing_intercepted
check 'inline: no engine before the first internet socket' life threads
check 'inline: a program that closes all descriptors' life descriptors
check 'inline: signals stay the program'"'"'s' life signals
check 'inline: what a program sent before it ended arrives' ends_after_its_bytes
check 'inline: also when it ends by _exit' ends_after_its_bytes ABRUPT=1
start sink on_kernel socat -u TCP-LISTEN:$SINK_PORT,reuseaddr,fork OPEN:/dev/null
wait_kernel $SINK_PORT
for how in exit return _exit handler; do check "inline: ends in the middle of its traffic: $how" ends_in_traffic $how 3; done
check 'inline: ends in the middle of its traffic: signal' ends_in_traffic signal 143
check 'inline: fork goes on, and says so' line_of_the_fork
check 'inline: exec takes the engine from the children, and says so' line_of_the_exec
check 'inline: a child that asks is answered whatever its parent does' life asks
check 'inline: what the program gives up (root directory, environment) the library does not need' life given_up
check 'inline: a second program of the same engine' life second
check 'inline: several programs at the same time, one engine' at_once
check 'inline: an engine that does not start leaves its name to others' name_given_back
check 'inline: server and client in one program, threads' threads_share
check 'inline: nginx to kernel clients, contents compared' nginx_serves
check 'inline: redis to kernel clients, BGSAVE' redis_serves
check 'inline: mistakes' mistakes
checks_done
