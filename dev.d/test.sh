# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# usage: ./dev test [--seeds N] [--grid] [GROUP...]
#        ./dev test --list
#
# Sets up, builds, and runs the tests of all groups, or of those named. Every test has a time limit and a log; the last line
# counts them. --list: the groups. --seeds: the random worlds with seeds 1 to N (1,000 otherwise). --grid: ten seeds of every
# cell of the grid of links, not one.
#
#   build     gcc and clang builds of everything, without a warning
#   unit      unit tests, release and sanitizer builds
#   world     engines on a virtual clock, release and sanitizer builds; --seeds N, --grid: more of two of them
#   fuzz      the fuzz targets on a fixed number of inputs, release and sanitizer builds; then each for 20 s by
#             libFuzzer (FUZZ_SECONDS)
#   docs      what is generated from the code is up to date, and docs/rfc.md names tests that exist
#   diff      the differential cases, on the kernel and under the preload: an engine of one worker, of two, and inside
#             the program; then three areas inside the program with sanitizers
#   programs  real programs on engines: tests/programs/*.sh (`programs/NAME` runs one)

test_groups=(build unit world fuzz docs diff programs)
test_passed=0
test_failed=0
test_skipped=0
test_failures=()
test_logs=

# Cases that wait for a fault to be mended are named in tests/known.txt, a line each: "GROUP CASE: reason". They are run, and
# counted as skipped when they fail: so that they are not forgotten, and are seen to pass.
test_known() { # GROUP CASE
	grep -qsF -- "$1 $2:" "$CULVERT_ROOT/tests/known.txt"
}
# The name in a result line "NAME (12 ms)" or "NAME: why".
case_name() {
	local name=${1%%[:(]*}
	printf '%s' "${name%"${name##*[! ]}"}"
}

count_ok() {
	test_passed=$((test_passed + 1))
}
count_failed() {
	test_failed=$((test_failed + 1))
	test_failures+=("$1")
}

one_path() { # NAME
	printf '%s/%s' "$test_logs" "${1//[ \/]/_}"
}
# The command's output in its log; "STATUS MILLISECONDS" in its end.
one_do() { # NAME SECONDS COMMAND...
	local at limit=$2 start status=0
	at=$(one_path "$1")
	shift 2
	start=$(now_ms)
	timeout --kill-after=10 "$limit" "$@" >"$at.log" 2>&1 </dev/null || status=$?
	printf '%d %d\n' "$status" $(($(now_ms) - start)) >"$at.end"
}
# One result. Exit 77 of the command is a skip, its last line the reason.
one_tell() { # NAME
	local name=$1 at status=1 took=0
	at=$(one_path "$1")
	read -r status took <"$at.end" || true
	rm -f "$at.end"
	case $status in
	0)
		count_ok
		printf 'ok      %-48s %6d ms\n' "$name" "$took"
		;;
	77)
		test_skipped=$((test_skipped + 1))
		printf 'skipped %-48s %s\n' "$name" "$(tail -n 1 "$at.log")"
		;;
	*)
		count_failed "$name"
		printf 'FAILED  %-48s %6d ms, exit %d\n' "$name" "$took" "$status"
		sed 's/^/        | /' "$at.log" | tail -n 60
		;;
	esac
}
run_one() { # NAME SECONDS COMMAND...
	one_do "$@"
	one_tell "$1"
}

# run_beside NAME SECONDS COMMAND...: the same, as many at a time as there are cores, for what neither waits for real time
# nor shares anything. Told in order; run_beside_end waits for the last.
beside=()
beside_tell() {
	while ((${#beside[@]} > 0)) && [[ -e $(one_path "${beside[0]}").end ]]; do
		one_tell "${beside[0]}"
		beside=("${beside[@]:1}")
	done
}
beside_stop() {
	local pid
	for pid in $(jobs -p); do
		pkill -P "$pid" 2>/dev/null || true # timeout, which tells the test
		kill "$pid" 2>/dev/null || true
	done
}
run_beside() {
	while (($(jobs -rp | wc -l) >= $(nproc))); do
		wait -n || true
		beside_tell
	done
	one_do "$@" &
	beside+=("$1")
}
run_beside_end() {
	wait
	beside_tell
	((${#beside[@]} == 0)) || die "no result of ${beside[0]}"
}

# run_cases GROUP NAME SECONDS COMMAND...: the command prints a line "ok CASE", "not ok CASE" or "skip CASE: why" for
# each of its cases, and each counts. An end by a signal or the time limit, or a bad exit that no case explains, is
# one more failure.
run_cases() {
	local group=$1 name=$2
	shift 2
	one_do "$group-$name" "$@"
	cases_tell "$group" "$name"
}
# cases_beside GROUP NAME SECONDS COMMAND...: in the background, as a run of its own; cases_beside_end tells of it.
beside_pid='' beside_cases=()
cases_beside() {
	beside_cases=("$1" "$2")
	shift 2
	CULVERT_RUN_ID=${CULVERT_RUN_ID}b one_do "${beside_cases[0]}-${beside_cases[1]}" "$@" &
	beside_pid=$!
}
cases_beside_end() {
	wait "$beside_pid" || true
	cases_tell "${beside_cases[@]}"
	spaces_of_run_remove "${CULVERT_RUN_ID}b"
}
cases_tell() { # GROUP NAME
	local group=$1 name=$2 at status=1 took=0 line case failed=0 known=0 passed=0
	at=$(one_path "$group-$name")
	read -r status took <"$at.end" || true
	rm -f "$at.end"
	while IFS= read -r line; do
		case $line in
		'ok '*)
			passed=$((passed + 1))
			count_ok
			[[ $group != programs ]] || printf 'ok      %s\n' "${line#ok }"
			if test_known "$group" "$(case_name "${line#ok }")"; then
				printf 'mended  %s: %s: take it out of tests/known.txt\n' "$name" "${line#ok }"
			fi
			;;
		'skip '*)
			test_skipped=$((test_skipped + 1))
			printf 'skipped %s: %s\n' "$name" "${line#skip }"
			;;
		'not ok '*)
			case=$(case_name "${line#not ok }")
			failed=$((failed + 1))
			if test_known "$group" "$case"; then
				known=$((known + 1))
				test_skipped=$((test_skipped + 1))
				printf 'known   %s: %s\n' "$name" "${line#not ok }"
			else
				count_failed "$group $name: $case"
				printf 'FAILED  %s: %s\n' "$name" "${line#not ok }"
			fi
			;;
		esac
	done <"$at.log"
	if ((status != 0 && (failed == 0 || status >= 124))) || ((passed + failed == 0 && status != 0)); then
		count_failed "$group $name: exit $status"
		printf 'FAILED  %s %s: exit %d after %d ms\n' "$group" "$name" "$status" "$took"
	fi
	((failed == known && status < 124)) || grep -v '^ok ' "$at.log" | sed 's/^/        | /' | tail -n 80
	printf '        %s %s: %d ok, %d not ok, %d ms\n' "$group" "$name" "$passed" "$failed" "$took"
}

# What runs with sanitizers.
sanitized=(units worlds replays)

group_build() {
	run_one 'build gcc release' 600 "$CULVERT_ROOT/dev" build release
	run_one 'build clang release' 600 "$CULVERT_ROOT/dev" build clang
	run_one 'build address+undefined sanitizers' 600 "$CULVERT_ROOT/dev" build sanitize "${sanitized[@]}"
}

# Every executable tests/GROUP/GROUP_* of the release and the sanitizer build; those with sanitizers take longest.
run_executables() { # GROUP run_one|run_beside
	local group=$1 run=$2 kind dir test found=0 targets
	for kind in sanitize release; do
		targets=()
		[[ $kind == release ]] || targets=("${sanitized[@]}")
		build_kind "$kind" "${targets[@]}" >/dev/null || die "the $kind build failed"
		dir=$CULVERT_ROOT/$(build_directory "$kind")
		for test in "$dir/tests/$group/$group"_*; do
			[[ -f $test && -x $test ]] || continue
			found=1
			"$run" "$group $kind ${test##*/"$group"_}" "${TEST_SECONDS:-120}" "$test"
		done
	done
	((found)) || die "no $group test was built"
}
group_unit() { run_executables unit run_one; }
# Those whose hosts may have several workers run with two as well, behind a device with one queue and one with RSS.
group_world() {
	local name rss
	build_kind clang >/dev/null || die "the clang build failed"
	run_executables world run_beside
	for name in net_datagram net_frag net_garbage net_ip net_ipv6 net_loopback net_mcast net_nd net_route net_vlan user user_process; do
		for rss in one hash; do
			run_beside "world two workers, rss $rss: $name" 120 env WORLD_WORKERS=2 WORLD_RSS=$rss \
				"$CULVERT_ROOT/$(build_directory release)/tests/world/world_$name"
		done
	done
	run_beside 'world captures, read by tshark' 120 "$CULVERT_ROOT/tests/world/captures.sh" "$CULVERT_BUILD"
	run_beside 'world frames, gcc and clang, -O0 and -O3' 300 "$CULVERT_ROOT/tests/world/hashes.sh" \
		"$CULVERT_BUILD" "$CULVERT_ROOT/$(build_directory clang)"
	run_beside_end
}
group_fuzz() {
	local fuzzer found=0 seconds=${FUZZ_SECONDS:-20} inputs name corpora
	run_executables fuzz run_beside
	build_kind fuzz fuzzers >/dev/null || die "the fuzz build failed"
	make_scratch inputs
	for fuzzer in "$CULVERT_ROOT/$(build_directory fuzz)"/tests/fuzz/fuzzer_*; do
		[[ -f $fuzzer && -x $fuzzer ]] || continue
		found=1
		name=${fuzzer##*/fuzzer_}
		corpora=("$inputs/$name")
		mkdir "$inputs/$name"
		[[ ! -d $CULVERT_ROOT/tests/fuzz/seeds/$name ]] || corpora+=("$CULVERT_ROOT/tests/fuzz/seeds/$name")
		run_beside "fuzz libFuzzer $name" $((seconds + 60)) "$fuzzer" -max_total_time="$seconds" -seed=1 \
			-artifact_prefix="$inputs/" "${corpora[@]}"
	done
	run_beside_end
	((found)) || die "no fuzzer was built"
}

group_docs() {
	run_one 'docs made from the code are up to date' 30 "$CULVERT_ROOT/dev.d/pages.py" --check
	run_one 'docs/rfc.md names tests that exist' 30 "$CULVERT_ROOT/dev.d/rfc_check.py"
}

group_diff() {
	local test area areas=()
	build_kind release >/dev/null || die "the release build failed"
	for test in "$CULVERT_BUILD"/tests/diff/diff_*; do
		[[ -f $test && -x $test ]] || continue
		area=${test##*/diff_}
		areas+=("$area")
		while (($(jobs -rp | wc -l) >= $(nproc))); do wait -n || true; done
		one_do "diff-kernel-$area" 120 unshare --net sh -c "ip link set lo up && exec '$test'" &
	done
	wait
	for area in "${areas[@]}"; do cases_tell diff-kernel "$area"; done
	for area in "${areas[@]}"; do
		cases_beside diff-inline "$area" 200 "$CULVERT_ROOT/tests/diff/run.sh" --inline "$area"
		run_cases diff "$area" 200 "$CULVERT_ROOT/tests/diff/run.sh" "$area"
		run_cases diff-workers "$area" 200 env ENGINE_WORKERS=2 "$CULVERT_ROOT/tests/diff/run.sh" "$area"
		spaces_of_run_remove "$CULVERT_RUN_ID"
		cases_beside_end
	done
	build_kind sanitize cli/culvert shim/libculvert.so dpdk/libculvert-engine.so tests/diff/diff_{process,exec,races} >/dev/null ||
		die "the sanitize build failed"
	diff_sanitized cases_beside process
	diff_sanitized run_cases exec
	diff_sanitized run_cases races
	spaces_of_run_remove "$CULVERT_RUN_ID"
	cases_beside_end
}

# The engine, the library and the cases with sanitizers, in one process: what forks, threads and signals do to an engine inside a
# program. Leaks are of the program's end, which nobody cleans up for. A thread that was cancelled leaves marks on its stack, over
# which the sanitizer's own end of the thread stumbles: it has no alternate one.
diff_sanitized() { # run_cases|cases_beside AREA
	local dir
	dir=$CULVERT_ROOT/$(build_directory sanitize)
	"$1" diff-sanitized "$2" 200 env CULVERT_BUILD="$dir" CULVERT="$dir/cli/culvert" \
		ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0:abort_on_error=1:use_sigaltstack=0 \
		DIFF_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)" \
		"$CULVERT_ROOT/tests/diff/run.sh" --inline "$2"
}

# What waits more than it works, one after the other, while the others run: million a minute for TIME_WAIT to end.
programs_beside=(cli control neighbours million)
programs_beside_do() {
	local name
	for name in "${programs_beside[@]}"; do
		CULVERT_RUN_ID=${CULVERT_RUN_ID}b one_do "programs-$name" 280 "$CULVERT_ROOT/tests/programs/$name.sh"
	done
}
programs_beside_end() { # PID
	local name
	wait "$1" || true
	for name in "${programs_beside[@]}"; do cases_tell programs "$name"; done
	spaces_of_run_remove "${CULVERT_RUN_ID}b"
}
group_programs() {
	local test name pid='' at=$CULVERT_ROOT/tests/programs
	build_kind release >/dev/null || die "the release build failed"
	if [[ -z ${1:-} ]]; then
		programs_beside_do &
		pid=$!
	fi
	for test in "$at"/*.sh; do
		name=$(basename "$test" .sh)
		[[ -x $test && ($name == "${1:-}" || (-z ${1:-} && " ${programs_beside[*]} " != *" $name "*)) ]] || continue
		run_cases programs "$name" 280 "$test"
		spaces_of_run_remove "$CULVERT_RUN_ID"
	done
	[[ -z $pid ]] || programs_beside_end "$pid"
}

dev_test() {
	local group
	if [[ ${1:-} == --list ]]; then
		sed -n '/^#   build/,/^$/s/^#   //p' "$CULVERT_ROOT/dev.d/test.sh"
		return 0
	fi
	# shellcheck source=dev.d/setup.sh
	. "$CULVERT_ROOT/dev.d/setup.sh"
	# shellcheck source=dev.d/build.sh
	. "$CULVERT_ROOT/dev.d/build.sh"
	# shellcheck source=dev.d/net.sh
	. "$CULVERT_ROOT/dev.d/net.sh"
	dev_setup
	make_scratch test_logs
	at_exit beside_stop
	while [[ ${1:-} == --* ]]; do
		case $1 in
		--seeds) export SEEDS=${2:?how many?} TEST_SECONDS=3600 && shift ;;
		--grid) export GRID=all TEST_SECONDS=3600 ;;
		*) die "./dev test $1?" ;;
		esac
		shift
	done
	(($# > 0)) || set -- "${test_groups[@]}"
	for group in "$@"; do
		declare -F "group_${group%%/*}" >/dev/null || die "no test group '$group': ${test_groups[*]}"
	done
	for group in "$@"; do
		step "$group"
		if [[ $group == */* ]]; then
			"group_${group%%/*}" "${group#*/}"
		else
			"group_$group"
		fi
	done
	((test_failed == 0)) || printf 'failed: %s\n' "${test_failures[@]}"
	printf '%d passed, %d failed, %d skipped\n' "$test_passed" "$test_failed" "$test_skipped"
	((test_failed == 0))
}
