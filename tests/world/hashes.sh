#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# hashes.sh GCC-BUILD CLANG-BUILD: the same seed gives the same frames at the same times, whoever compiled the engine and
# however: the random worlds (tcp_seeds.c) of these two release builds (-O3) and of two made here with -O0 print the same hashes.
set -euo pipefail
builds=("$@")
cd "$(dirname "$0")/../.."
export SEEDS=${SEEDS:-100} SEEDS_HASH=1

for compiler in gcc clang; do
	dir=$PWD/build-hash-$compiler
	builds+=("$dir")
	[[ -f $dir/build.ninja ]] || CC=$compiler meson setup "$dir" -Dbuildtype=plain -Doptimization=0 >/dev/null
	ninja -C "$dir" tests/world/world_tcp_seeds >"$dir/build.log" || { tail -n 20 "$dir/build.log"; exit 1; }
done
hashes=$(mktemp -d)
trap 'rm -rf "$hashes"' EXIT
for dir in "${builds[@]}"; do
	"$dir/tests/world/world_tcp_seeds" 2>&1 | grep '^seed' >"$hashes/of"
	printf '%s: %s seeds, all in all %s\n' "$dir" "$(wc -l <"$hashes/of")" "$(sha256sum <"$hashes/of" | cut -c 1-16)"
	[[ $(wc -l <"$hashes/of") == "$SEEDS" ]]
	[[ -f $hashes/first ]] || cp "$hashes/of" "$hashes/first"
	diff "$hashes/first" "$hashes/of" || { printf 'other frames than those of %s\n' "${builds[0]}"; exit 1; }
done
