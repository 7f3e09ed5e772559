# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# What every part of ./dev and every test script shares: messages, bounded waiting, and a list of
# things to undo that runs at the end however the end comes. Sourced with `set -euo pipefail`.

CULVERT_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CULVERT_BUILD=${CULVERT_BUILD:-$CULVERT_ROOT/build}
# One run's mark, in the names of all that it makes; children inherit it, so the runner can clean up
# after a test that was killed.
export CULVERT_RUN_ID=${CULVERT_RUN_ID:-$$}
export CULVERT_ROOT CULVERT_BUILD

say() { printf '%s\n' "$*"; }
step() { printf '==> %s\n' "$*"; }
warn() { printf 'dev: %s\n' "$*" >&2; }
die() {
	warn "$*"
	exit 1
}

# at_exit COMMAND...: run at the end, the last one first.
undo_list=()
at_exit() {
	local quoted
	printf -v quoted '%q ' "$@"
	undo_list+=("$quoted")
}
undo_all() {
	local status=$? i
	trap '' INT TERM HUP
	set +e
	for ((i = ${#undo_list[@]} - 1; i >= 0; i--)); do
		eval "${undo_list[i]}"
	done
	undo_list=()
	exit "$status"
}
trap undo_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# wait_until SECONDS COMMAND...: true once the command succeeds, false after the time.
wait_until() {
	local end=$((${EPOCHREALTIME/[.,]/} + $1 * 1000000))
	shift
	until "$@" >/dev/null 2>&1; do
		((${EPOCHREALTIME/[.,]/} < end)) || return 1
		sleep 0.05
	done
}

# A process that has exited but not been waited for is gone too.
process_gone() {
	local state
	[[ -e /proc/$1/stat ]] || return 0
	state=$(sed 's/.*) //; s/ .*//' "/proc/$1/stat" 2>/dev/null) || return 0
	[[ -z $state || $state == Z || $state == X ]]
}

# stop_process PID [SECONDS]: TERM, and KILL when that was not enough. Never fails.
stop_process() {
	kill -TERM "$1" 2>/dev/null || return 0
	wait_until "${2:-5}" process_gone "$1" || kill -KILL "$1" 2>/dev/null || true
	wait "$1" 2>/dev/null || true
}

# make_scratch VARIABLE: a directory of this script's own, removed at the end.
make_scratch() {
	local dir
	dir=$(mktemp -d "${TMPDIR:-/tmp}/culvert-$CULVERT_RUN_ID-XXXXXX")
	chmod 755 "$dir"
	at_exit rm -rf "$dir"
	printf -v "$1" '%s' "$dir"
}

need_root() {
	[[ $(id -u) == 0 ]] || die "this needs root (network namespaces and TAP devices)"
}

now_ms() { printf '%d' $((${EPOCHREALTIME/[.,]/} / 1000)); }
