# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# Network namespaces and engines for the demo, the tests and the benchmarks. All that runs, runs inside a
# namespace of this run, so that `ip netns pids` finds what has to end. Source common.sh first.
#
#   space_new VARIABLE [WORD]       a namespace with loopback up; its name goes to VARIABLE
#   inside SPACE COMMAND...         runs it there
#   engine_tap SPACE ENGINE [LINE...]   a culvertd on a TAP: engine 10.88.0.2, kernel 10.88.0.1
#   engine_tap_configure ENGINE DIR [LINE...]   only its configuration file
#   engine_pair SPACE ENGINE1 ENGINE2   two culvertd joined by memif: 10.99.0.1 and 10.99.0.2
#   served SPACE ENGINE COMMAND...  runs a program under `culvert run`
#   served_inline SPACE ENGINE COMMAND...   with the configured engine inside the program
#   engine_name WORD                this run's name for an engine
# ENGINE_WORKERS in the environment: so many workers for each of them.

ENGINE_ADDR=10.88.0.2
ENGINE_ADDR6=fd88::2
KERNEL_ADDR=10.88.0.1
KERNEL_ADDR6=fd88::1
PAIR_ADDR1=10.99.0.1
PAIR_ADDR2=10.99.0.2
# Either may be another build: an engine with sanitizers under programs without.
CULVERT=${CULVERT:-$CULVERT_BUILD/cli/culvert}
CULVERTD=${CULVERTD:-$CULVERT_BUILD/dpdk/culvertd}
export ENGINE_ADDR ENGINE_ADDR6 KERNEL_ADDR KERNEL_ADDR6 PAIR_ADDR1 PAIR_ADDR2 CULVERT CULVERTD

spaces_n=0
declare -A engine_pid engine_log engine_config_file engine_space

# Ends everything in the namespace, politely first, and removes it.
space_remove() {
	local pid pids
	pids=$(ip netns pids "$1" 2>/dev/null) || return 0
	for pid in $pids; do kill -TERM "$pid" 2>/dev/null || true; done
	wait_until 3 space_empty "$1" || true
	pids=$(ip netns pids "$1" 2>/dev/null) || true
	for pid in $pids; do kill -KILL "$pid" 2>/dev/null || true; done
	wait_until 3 space_empty "$1" || warn "processes are left in $1: $(ip netns pids "$1" | tr '\n' ' ')"
	ip netns delete "$1" 2>/dev/null || true
}
space_empty() {
	local pid
	for pid in $(ip netns pids "$1" 2>/dev/null); do
		process_gone "$pid" || return 1
	done
}

space_new() {
	local name
	need_root
	spaces_n=$((spaces_n + 1))
	name=culvert-$CULVERT_RUN_ID-$BASHPID-${2:-net}$spaces_n
	ip netns add "$name"
	at_exit space_remove "$name"
	ip -n "$name" link set lo up
	printf -v "$1" '%s' "$name"
}

# Removes what a run left behind: after a test script that was killed.
spaces_of_run_remove() {
	local name
	for name in $(ip netns list 2>/dev/null | awk '{print $1}' | grep "^culvert-$1-" || true); do
		space_remove "$name"
	done
	engine_files_remove "t$1-*"
}

# What an engine that was killed leaves; DPDK keeps its directory also after an orderly end.
engine_files_remove() { # NAME, or a pattern
	local file
	for file in /run/culvert/$1.sock /run/culvert/$1.sock.lock /var/run/dpdk/culvert-$1; do
		rm -rf "$file"
	done
}

inside() {
	local space=$1
	shift
	ip netns exec "$space" "$@"
}

engine_name() { printf 't%s-%s-%s' "$CULVERT_RUN_ID" "$BASHPID" "$1"; }

served() {
	local space=$1 engine=$2
	shift 2
	ip netns exec "$space" "$CULVERT" run --engine "$engine" -- "$@"
}

served_inline() {
	local space=$1 engine=$2
	shift 2
	ip netns exec "$space" "$CULVERT" run --inline --config "${engine_config_file[$engine]}" -- "$@"
}

engine_answers() { "$CULVERT" stat --engine "$1" --json; }

engine_running() { ! process_gone "${engine_pid[$1]}"; }

# engine_start SPACE ENGINE: with the configuration written before; waits until it answers.
engine_start() {
	local space=$1 engine=$2 log=${engine_log[$2]}
	ip netns exec "$space" "$CULVERTD" --config "${engine_config_file[$engine]}" --foreground \
		</dev/null >>"$log" 2>&1 &
	engine_pid[$engine]=$!
	engine_space[$engine]=$space
	local end=$((SECONDS + 30))
	until engine_answers "$engine" >/dev/null 2>&1; do
		if ! engine_running "$engine" || ((SECONDS > end)); then
			warn "engine $engine did not start; its log:"
			cat "$log" >&2
			return 1
		fi
		sleep 0.05
	done
}

# engine_configure ENGINE DIR: the configuration comes on standard input.
engine_configure() {
	engine_config_file[$1]=$2/$1.ini
	engine_log[$1]=$2/$1.log
	cat >"${engine_config_file[$1]}"
	: >"${engine_log[$1]}"
	at_exit engine_files_remove "$1"
}

# Further lines are appended to the configuration.
engine_tap_configure() {
	local engine=$1 dir=$2
	shift 2
	# Not a pipe: what engine_configure notes must stay in this shell.
	engine_configure "$engine" "$dir" < <(
		cat <<-END
		[engine]
		name=$engine
		workers=${ENGINE_WORKERS:-1}
		hugepages=no
		idle=adaptive
		[port tap]
		device=net_tap0,iface=cv0
		address=$ENGINE_ADDR/24
		host_address=$KERNEL_ADDR/24
		address6=$ENGINE_ADDR6/64
		host_address6=$KERNEL_ADDR6/64
		END
		(($# == 0)) || printf '%s\n' "$@"
	)
}

# engine_tap SPACE ENGINE DIR [LINE...]
engine_tap() {
	local space=$1 engine=$2 dir=$3
	shift 3
	engine_tap_configure "$engine" "$dir" "$@"
	engine_start "$space" "$engine" || return 1
	wait_until 10 inside "$space" ping -c 1 -W 1 "$ENGINE_ADDR" || {
		warn "engine $engine answers its control socket but not ping at $ENGINE_ADDR; its log:"
		cat "${engine_log[$engine]}" >&2
		return 1
	}
}

# engine_pair SPACE ENGINE1 ENGINE2 DIR [LINES]: the lines are appended to both configurations.
engine_pair() {
	local space=$1 one=$2 two=$3 dir=$4 lines=${5:-}
	engine_configure "$one" "$dir" <<-END
	[engine]
	name=$one
	workers=${ENGINE_WORKERS:-1}
	hugepages=no
	idle=adaptive
	[port memif]
	device=net_memif0,role=server,id=0,socket=$dir/memif.sock,socket-abstract=no
	address=$PAIR_ADDR1/24
	$lines
	END
	engine_configure "$two" "$dir" <<-END
	[engine]
	name=$two
	workers=${ENGINE_WORKERS:-1}
	hugepages=no
	idle=adaptive
	[port memif]
	device=net_memif0,role=client,id=0,socket=$dir/memif.sock,socket-abstract=no
	address=$PAIR_ADDR2/24
	$lines
	END
	engine_start "$space" "$one" && engine_start "$space" "$two"
}

engine_stop() {
	stop_process "${engine_pid[$1]}" 10
}

# engine_counter ENGINE JQ-FILTER: a number from `culvert stat --json`.
engine_counter() { "$CULVERT" stat --engine "$1" --json | jq -rc "$2"; }

# port_listens SPACE ENGINE PORT: a program of the engine listens on the port (UDP: has bound it).
port_listens() {
	"$CULVERT" ss --engine "$2" -a -n --json |
		jq -e --argjson port "$3" \
			'any(.[]; .local_port == $port and (.state == "LISTEN" or .state == "UNCONN"))' >/dev/null
}
