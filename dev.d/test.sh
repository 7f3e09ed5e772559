# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# ./dev test [GROUP...]: every test is one executable or function with a time limit and a log; the last
# line counts them.
#
#   build   gcc and clang builds of everything, without a warning
#   unit    unit tests, release and sanitizer builds
#   world   engines on a virtual clock, release and sanitizer builds
#   diff    the differential cases on the kernel

test_groups=(build unit world diff)
test_passed=0
test_failed=0
test_skipped=0
test_failures=()

# run_one NAME SECONDS COMMAND...: exit 77 of the command is a skip, its last line the reason.
run_one() {
	local name=$1 limit=$2 log start status=0
	shift 2
	log=$test_logs/${name//[ \/]/_}.log
	start=$(now_ms)
	timeout --kill-after=10 "$limit" "$@" >"$log" 2>&1 </dev/null || status=$?
	case $status in
	0)
		test_passed=$((test_passed + 1))
		printf 'ok      %-48s %6d ms\n' "$name" $(($(now_ms) - start))
		;;
	77)
		test_skipped=$((test_skipped + 1))
		printf 'skipped %-48s %s\n' "$name" "$(tail -n 1 "$log")"
		;;
	*)
		test_failed=$((test_failed + 1))
		test_failures+=("$name")
		printf 'FAILED  %-48s %6d ms, exit %d\n' "$name" $(($(now_ms) - start)) "$status"
		sed 's/^/        | /' "$log" | tail -n 60
		;;
	esac
}

group_build() {
	run_one 'build gcc release' 600 "$CULVERT_ROOT/dev" build release
	run_one 'build clang release' 600 "$CULVERT_ROOT/dev" build clang
	run_one 'build address+undefined sanitizers' 600 "$CULVERT_ROOT/dev" build sanitize
}

# Every executable tests/GROUP/GROUP_* of the release and the sanitizer build.
run_executables() {
	local group=$1 kind dir test found=0
	for kind in release sanitize; do
		build_kind "$kind" >/dev/null || die "the $kind build failed"
		dir=$CULVERT_ROOT/$(build_directory "$kind")
		for test in "$dir/tests/$group/$group"_*; do
			[[ -f $test && -x $test ]] || continue
			found=1
			run_one "$group $kind ${test##*/"$group"_}" 120 "$test"
		done
	done
	((found)) || die "no $group test was built"
}
group_unit() { run_executables unit; }
group_world() { run_executables world; }

group_diff() {
	local test
	build_kind release >/dev/null || die "the release build failed"
	for test in "$CULVERT_BUILD"/tests/diff/diff_*; do
		[[ -f $test && -x $test ]] || continue
		run_one "diff kernel ${test##*/diff_}" 120 unshare --net sh -c "ip link set lo up && exec '$test'"
	done
}

dev_test() {
	local group
	if [[ ${1:-} == --list ]]; then
		printf '%s\n' "${test_groups[@]}"
		return 0
	fi
	# shellcheck source=dev.d/setup.sh
	. "$CULVERT_ROOT/dev.d/setup.sh"
	# shellcheck source=dev.d/build.sh
	. "$CULVERT_ROOT/dev.d/build.sh"
	dev_setup
	make_scratch test_logs
	(($# > 0)) || set -- "${test_groups[@]}"
	for group in "$@"; do
		declare -F "group_$group" >/dev/null || die "no test group '$group': ${test_groups[*]}"
	done
	for group in "$@"; do
		step "$group"
		"group_$group"
	done
	((test_failed == 0)) || printf 'failed: %s\n' "${test_failures[@]}"
	printf '%d passed, %d failed, %d skipped\n' "$test_passed" "$test_failed" "$test_skipped"
	((test_failed == 0))
}
