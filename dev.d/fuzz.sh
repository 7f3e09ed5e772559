# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# usage: ./dev fuzz [TARGET...] [--time S] [--slice S] [--jobs N] [--corpus DIRECTORY]
#        ./dev fuzz [TARGET...] --merge|--reach|--replay [--corpus DIRECTORY]
#
# Long runs of the fuzz targets by libFuzzer: S seconds of processor time each (3,600), in slices (300) that take turns,
# N beside each other (2). What is found goes to DIRECTORY (build-fuzz/corpus): TARGET/ has the inputs that reached something
# new, TARGET.sums what each slice did, findings/ what made a target fail. A run goes on where the last one ended: the time of
# earlier slices counts. A table stands at the end.
#
#   --merge    the fewest inputs that reach as much, at most FUZZ_SEEDS (300) a target, become tests/fuzz/seeds/TARGET
#   --reach    what part of stack/ the seeds and the corpus reach, by file
#   --replay   runs the findings again, each for itself

fuzz_targets() {
	local fuzzer
	for fuzzer in "$CULVERT_ROOT/$(build_directory fuzz)"/tests/fuzz/fuzzer_*; do
		[[ ! -f $fuzzer || ! -x $fuzzer ]] || say "${fuzzer##*/fuzzer_}"
	done
}

# The seconds of processor time that a target has had.
fuzz_spent() { # DIRECTORY TARGET
	[[ -f $1/$2.sums ]] || { say 0 && return; }
	awk '{ n += $1 } END { printf "%d\n", n }' "$1/$2.sums"
}

# One slice of one target; a line "SECONDS EXECUTIONS COVERAGE EXIT" in its sums.
fuzz_slice() { # DIRECTORY BINARIES TARGET SECONDS
	local dir=$1 target=$3 log=$1/$3.log status=0 used corpora=("$1/$3")
	[[ ! -d $CULVERT_ROOT/tests/fuzz/seeds/$target ]] || corpora+=("$CULVERT_ROOT/tests/fuzz/seeds/$target")
	mkdir -p "$dir/$target" "$dir/findings"
	used=$({
		TIMEFORMAT='%U %S'
		time "$2/fuzzer_$target" -max_total_time="$4" -timeout=300 -print_final_stats=1 -max_len=4096 -len_control=20 \
			-artifact_prefix="$dir/findings/$target-" "${corpora[@]}" >"$log" 2>&1
	} 2>&1) || status=$?
	awk -v used="$used" -v status="$status" '
		/^#[0-9]+/ { for (i = 2; i < NF; i++) if ($i == "cov:") reached = $(i + 1); runs = substr($1, 2) + 0 }
		/number_of_executed_units/ { runs = $2 }
		END { split(used, t, " "); printf "%.1f %d %d %d\n", t[1] + t[2], runs, reached, status }' \
		"$log" >>"$dir/$target.sums"
	((status == 0)) || cp "$log" "$dir/findings/$target-$(date +%s).log"
	printf '%-14s %s\n' "$target" "$(tail -n 1 "$dir/$target.sums" |
		awk '{ printf "%6.0f s of processor time, %9d runs, %d edges%s", $1, $2, $3, $4 ? ", FAILED" : "" }')"
}

fuzz_table() { # DIRECTORY TARGET...
	local dir=$1 target
	shift
	printf '%-14s %10s %12s %8s %8s %8s\n' target seconds runs edges inputs findings
	for target in "$@"; do
		[[ -f $dir/$target.sums ]] || continue
		awk -v target="$target" -v inputs="$(find "$dir/$target" -type f | wc -l)" \
			'{ used += $1; runs += $2; if ($3 > edges) edges = $3; bad += $4 != 0 }
			END { printf "%-14s %10d %12d %8d %8d %8d\n", target, used, runs, edges, inputs, bad }' "$dir/$target.sums"
	done
}

# Slices in turn, the target with the least time first, until each has had its time. The binaries are a copy, so that a
# build beside the run does not disturb it.
fuzz_run() { # DIRECTORY SECONDS SLICE JOBS TARGET...
	local dir=$1 seconds=$2 slice=$3 jobs=$4 binaries next target best spent
	shift 4
	local -A running=()
	make_scratch binaries
	for target in "$@"; do
		cp "$CULVERT_ROOT/$(build_directory fuzz)/tests/fuzz/fuzzer_$target" "$binaries/"
	done
	while :; do
		next='' best=$seconds
		for target in "$@"; do
			spent=$(fuzz_spent "$dir" "$target")
			if ((spent < best)) && [[ -z ${running[$target]:-} ]]; then
				next=$target best=$spent
			fi
		done
		if [[ -n $next ]] && ((${#running[@]} < jobs)); then
			fuzz_slice "$dir" "$binaries" "$next" "$slice" &
			running[$next]=$!
			continue
		fi
		((${#running[@]} > 0)) || break
		wait -n || true
		for target in "${!running[@]}"; do
			process_gone "${running[$target]}" && unset "running[$target]"
		done
	done
	fuzz_table "$dir" "$@"
}

fuzz_merge() { # DIRECTORY TARGET...
	local dir=$1 target seeds merged most=${FUZZ_SEEDS:-300} file kept
	shift
	make_scratch merged
	for target in "$@"; do
		seeds=$CULVERT_ROOT/tests/fuzz/seeds/$target
		mkdir -p "$merged/$target" "$dir/$target" "$seeds"
		cp -r "$dir/$target" "$merged/from-$target" # a run beside it takes files away
		"$CULVERT_ROOT/$(build_directory fuzz)/tests/fuzz/fuzzer_$target" -set_cover_merge=1 -max_len=4096 "$merged/$target" \
			"$seeds" "$merged/from-$target" >"$dir/$target.merge" 2>&1 || die "$target: see $dir/$target.merge"
		# Names that are not digests are regressions, and stay.
		find "$seeds" -type f -regextype posix-extended -regex '.*/[0-9a-f]{12,40}' -delete
		kept=0
		while ((kept < most)) && read -r file; do
			cp "$file" "$seeds/"
			kept=$((kept + 1))
		done < <(find "$merged/$target" -type f -printf '%s %p\n' | sort -n | cut -d' ' -f2-)
		say "$target: $kept of $(find "$merged/$target" -type f | wc -l) inputs"
	done
}

# By clang's own coverage, of the targets that replay (without libFuzzer's share of it).
fuzz_reach() { # DIRECTORY TARGET...
	local dir=$1 target replays scratch objects=() files
	shift
	build_kind reach replays >&2
	replays=$CULVERT_ROOT/$(build_directory reach)/tests/fuzz
	make_scratch scratch
	for target in "$@"; do
		mapfile -t files < <(find "$CULVERT_ROOT/tests/fuzz/seeds/$target" "$dir/$target" -type f 2>/dev/null)
		((${#files[@]} > 0)) || continue
		LLVM_PROFILE_FILE=$scratch/$target.raw "$replays/fuzz_$target" "${files[@]}" >&2
		objects+=(-object "$replays/fuzz_$target")
	done
	llvm-profdata merge -sparse -o "$scratch/all" "$scratch"/*.raw
	llvm-cov report "${objects[@]:1}" -instr-profile="$scratch/all" --show-branch-summary=false \
		--show-region-summary=false "$CULVERT_ROOT/stack"
}

fuzz_replay() { # DIRECTORY TARGET...
	local dir=$1 target file
	shift
	for target in "$@"; do
		for file in "$dir/findings/$target-"{crash,leak,timeout,oom}-*; do
			[[ ! -f $file ]] || run_finding "$target" "$file"
		done
	done
}
run_finding() { # TARGET FILE
	local fuzzer
	fuzzer=$CULVERT_ROOT/$(build_directory fuzz)/tests/fuzz/fuzzer_$1
	if "$fuzzer" -timeout=60 "$2" >/dev/null 2>&1; then say "mended  $2"; else say "fails   $2"; fi
}

dev_fuzz() {
	local seconds=3600 slice=300 jobs=2 what=run targets=() dir
	# shellcheck source=dev.d/build.sh
	. "$CULVERT_ROOT/dev.d/build.sh"
	dir=$CULVERT_ROOT/$(build_directory fuzz)/corpus
	while (($# > 0)); do
		case $1 in
		--time) seconds=${2:?seconds} && shift ;;
		--slice) slice=${2:?seconds} && shift ;;
		--jobs) jobs=${2:?how many} && shift ;;
		--corpus) dir=${2:?directory} && shift ;;
		--merge | --reach | --replay) what=${1#--} ;;
		-*) die "./dev fuzz $1?" ;;
		*) targets+=("$1") ;;
		esac
		shift
	done
	build_kind fuzz fuzzers >&2
	((${#targets[@]} > 0)) || mapfile -t targets < <(fuzz_targets)
	mkdir -p "$dir"
	case $what in
	run) fuzz_run "$dir" "$seconds" "$slice" "$jobs" "${targets[@]}" ;;
	*) "fuzz_$what" "$dir" "${targets[@]}" ;;
	esac
}
