#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The library in /etc/ld.so.preload, for all programs, and in no environment: sockets are inherited over exec and posix_spawn as they
# are with LD_PRELOAD. In a copy of /etc that only these programs see.
. "$(dirname "$0")/lib.sh"
[[ $KIND != kernel ]] || { echo 'skip preload_file: there is no library'; exit 0; }
world_tap

for_all() {
	cp -a --reflink=auto /etc "$DIR/etc"
	echo "$CULVERT_BUILD/shim/libculvert.so" >"$DIR/etc/ld.so.preload"
	export DIFF_KIND=culvert DIFF_ADDR=$ENGINE_ADDR CULVERT_ENGINE=$ENGINE
	# `ip netns exec` has made the mounts the program's own.
	on_kernel sh -c 'mount --bind "$1/etc" /etc && shift && exec "$@"' for_all "$DIR" \
		"$CULVERT_BUILD/tests/diff/diff_process" exec spawn >"$DIR/out" 2>&1 || fail "$(<"$DIR/out")"
	[[ $(engine_counter "$ENGINE" '.counters.tcp_passive_opens') -gt 0 ]] || fail 'no engine served it'
}
check 'exec and posix_spawn with the library in /etc/ld.so.preload' for_all
checks_done
