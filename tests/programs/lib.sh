# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# What the tests with real programs share: worlds (who is where), checks (one result line each) and
# programs started in the background. Sourced first by each tests/programs/*.sh.
#
#   world_tap            an engine on a TAP and the kernel, joined: $SPACE
#   world_pair           two engines joined by memif: on_engine is the first, on_engine2 the second
#   world_both           an engine on a TAP; two of its programs talk inside it
#   on_engine COMMAND    as a program of the engine at $ENGINE_ADDR
#   on_engine2 COMMAND   as a program of the second engine at $PAIR_ADDR2
#   on_kernel COMMAND    as an ordinary program on the other side, at $KERNEL_ADDR
#   start WORD COMMAND   in the background, output to $DIR/WORD.log; its process id in $started
#   check NAME COMMAND   runs it with `set -e` and prints `ok NAME`, `not ok NAME` or `skip NAME`
#   fail TEXT, skip TEXT end the check that is running; note TEXT adds to its result line
#
# PROGRAMS_KIND=kernel runs the same without any engine: two namespaces and a veth. A test is seen to
# pass so first. KIND below says which it is.

set -euo pipefail
# shellcheck source=../../dev.d/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../dev.d/common.sh"
# shellcheck source=../../dev.d/net.sh
. "$CULVERT_ROOT/dev.d/net.sh"

KIND=${PROGRAMS_KIND:-culvert}
PROGRAMS=$CULVERT_ROOT/tests/programs
PROGRAMS_BIN=$CULVERT_BUILD/tests/programs
checks_failed=0
check_pid=
SPACE= SPACE_ENGINE= ENGINE= ENGINE2= started=
export PYTHONDONTWRITEBYTECODE=1

make_scratch DIR
at_exit engine_files_remove "t$CULVERT_RUN_ID-$$-*"

# --- worlds ------------------------------------------------------------------------------------

# Two namespaces and a veth: the kernel in the engine's place.
world_kernel() {
	local there=$1 here=$2
	space_new SPACE_ENGINE served
	space_new SPACE kernel
	ip link add cvk0 netns "$SPACE" type veth peer name cvk1 netns "$SPACE_ENGINE"
	ip -n "$SPACE" addr add "$here/24" dev cvk0
	ip -n "$SPACE_ENGINE" addr add "$there/24" dev cvk1
	ip -n "$SPACE" link set cvk0 up
	ip -n "$SPACE_ENGINE" link set cvk1 up
}

# world_tap [LINE...]: the lines are appended to the configuration.
world_tap() {
	if [[ $KIND == kernel ]]; then
		world_kernel "$ENGINE_ADDR" "$KERNEL_ADDR"
		return
	fi
	space_new SPACE tap
	SPACE_ENGINE=$SPACE
	ENGINE=$(engine_name tap)
	engine_tap "$SPACE" "$ENGINE" "$DIR" "$@"
}

world_both() { world_tap "$@"; }

world_pair() {
	if [[ $KIND == kernel ]]; then
		world_kernel "$PAIR_ADDR1" "$PAIR_ADDR2"
		return
	fi
	space_new SPACE pair
	SPACE_ENGINE=$SPACE
	ENGINE=$(engine_name one)
	ENGINE2=$(engine_name two)
	engine_pair "$SPACE" "$ENGINE" "$ENGINE2" "$DIR"
}

# side_words on_engine|on_engine2|on_kernel: the words before the command, in $side. All of them exec, so that
# a process id taken from a background job is the program's own.
side_words() {
	case $KIND-$1 in
	kernel-on_engine) side=(ip netns exec "$SPACE_ENGINE") ;;
	*-on_kernel | kernel-*) side=(ip netns exec "$SPACE") ;;
	culvert-on_engine) side=(ip netns exec "$SPACE" "$CULVERT" run --engine "$ENGINE" --) ;;
	culvert-on_engine2) side=(ip netns exec "$SPACE" "$CULVERT" run --engine "$ENGINE2" --) ;;
	*) fail "no side $1" ;;
	esac
}
on_kernel() { side_words on_kernel && "${side[@]}" "$@"; }
on_engine() { side_words on_engine && "${side[@]}" "$@"; }
on_engine2() { side_words on_engine2 && "${side[@]}" "$@"; }

# --- programs ----------------------------------------------------------------------------------

# start WORD on_engine|on_kernel|on_engine2 COMMAND...
start() {
	local word=$1
	side_words "$2"
	shift 2
	"${side[@]}" "$@" </dev/null >"$DIR/$word.log" 2>&1 &
	started=$!
	# A program that a check started ends with the check.
	at_exit stop_process "$started" 3
}

kernel_listens() { # SPACE PORT [u]
	[[ -n $(ip netns exec "$1" ss -Hln"${3:-t}" "sport = :$2") ]]
}

# wait_served PORT [t|u]: a program of the (first) engine listens there; the kernel's mode likewise.
wait_served() {
	if [[ $KIND == kernel ]]; then
		wait_until 15 kernel_listens "$SPACE_ENGINE" "$1" "${2:-t}" && return
	else
		wait_until 15 port_listens "$SPACE" "$ENGINE" "$1" && return
	fi
	warn "nobody listens on port $1 of the engine"
	if [[ $KIND != kernel ]]; then "$CULVERT" ss --engine "$ENGINE" -l -n -a || true; fi
	tail -n 20 "$DIR"/*.log
	return 1
}
wait_kernel() {
	wait_until 15 kernel_listens "$SPACE" "$1" "${2:-t}" || {
		warn "nobody listens on port $1 of the kernel"
		tail -n 20 "$DIR"/*.log
		return 1
	}
}

# --- what an engine says of itself ---------------------------------------------------------------

# Connections of the engine, TIME_WAIT and listeners not counted.
connections_live() { engine_counter "$ENGINE" '.tcp.connections'; }
buffers_used() { engine_counter "$ENGINE" '.buffers.used'; }
buffers_are() { [[ $(buffers_used) -le $1 ]]; }
connections_are() { [[ $(connections_live) == "$1" ]]; }

# --- checks --------------------------------------------------------------------------------------

# A figure that belongs to the result line.
note() { printf ' %s' "$*" >>"$DIR/check.note"; }
fail() {
	printf 'wrong: %s\n' "$*" >&2
	exit 1
}
skip() {
	printf '%s\n' "$*" >&2
	exit 77
}

same_sum() { # FILE FILE
	local one two
	one=$(sha256sum <"$1") two=$(sha256sum <"$2")
	[[ $one == "$two" ]] || fail "$1 and $2 differ ($(stat -c %s "$1") and $(stat -c %s "$2") bytes)"
}

check() {
	local name=$1 status=0 begin
	shift
	begin=$(now_ms)
	: >"$DIR/check.note"
	# In the background: `set -e` works there, which it does not in a condition.
	(
		undo_list=()
		trap undo_all EXIT
		trap 'exit 143' TERM INT HUP
		set -e
		"$@"
	) >"$DIR/check.log" 2>&1 &
	check_pid=$!
	wait "$check_pid" || status=$?
	check_pid=
	case $status in
	0) printf 'ok %s (%d ms)%s\n' "$name" $(($(now_ms) - begin)) "$(<"$DIR/check.note")" ;;
	77) printf 'skip %s: %s\n' "$name" "$(tail -n 1 "$DIR/check.log")" ;;
	*)
		checks_failed=$((checks_failed + 1))
		printf 'not ok %s (%d ms, exit %d)\n' "$name" $(($(now_ms) - begin)) "$status"
		tail -n 40 "$DIR/check.log" | sed 's/^/    | /'
		if [[ -n $ENGINE ]]; then
			tail -n 5 "${engine_log[$ENGINE]}" | sed 's/^/    engine | /'
		fi
		;;
	esac
}
check_stop() { [[ -z $check_pid ]] || stop_process "$check_pid" 5; }
at_exit check_stop

# The last line of every test file.
checks_done() { ((checks_failed == 0)); }
