#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# tests/diff/run.sh [--inline] AREA [CASE...]: the differential cases of one area as a program of an engine, both ends
# on it; with --inline the engine runs inside the program. DIFF_PRELOAD=LIBRARIES: before ours, a sanitizer's runtime for a
# CULVERT_BUILD that was made with it (inline only).
set -euo pipefail
# shellcheck source=../../dev.d/common.sh
. "$(dirname "$0")/../../dev.d/common.sh"
# shellcheck source=../../dev.d/net.sh
. "$CULVERT_ROOT/dev.d/net.sh"

hosting=service
if [[ $1 == --inline ]]; then
	hosting=inline
	shift
fi
area=$1
shift
make_scratch scratch
space_new space diff
engine=$(engine_name diff)
status=0
export DIFF_KIND=culvert DIFF_ADDR=$ENGINE_ADDR DIFF_ADDR6=$ENGINE_ADDR6 DIFF_WORKERS=${ENGINE_WORKERS:-1}
if [[ $hosting == inline ]]; then
	engine_tap_configure "$engine" "$scratch"
	program=("$CULVERT_BUILD/tests/diff/diff_$area" "$@")
	[[ -z ${DIFF_PRELOAD:-} ]] || program=(env LD_PRELOAD="$DIFF_PRELOAD $CULVERT_BUILD/shim/libculvert.so" "${program[@]}")
	served_inline "$space" "$engine" "${program[@]}" || status=$?
	exit "$status"
fi
engine_tap "$space" "$engine" "$scratch"
served "$space" "$engine" "$CULVERT_BUILD/tests/diff/diff_$area" "$@" || status=$?
if ! engine_answers "$engine" >/dev/null; then
	echo "not ok ${area}__engine__still_answers"
	tail -n 30 "${engine_log[$engine]}"
	status=1
fi
exit "$status"
