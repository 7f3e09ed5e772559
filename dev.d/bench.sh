# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# ./dev bench: the same programs on the kernel and on Culvert, in one run, alternating. The client is on core 0 and the
# server on core 1 everywhere; where the engines are, bench.d/links.sh says. The busy time of all cores is counted.
#
#   bench.d/links.sh      what joins the two sides
#   bench.d/workloads.sh  what runs over it, and what is read off
#   bench.d/report.sh     numbers to JSON and tables
#   bench.d/plots.sh      and to plots
#
# This file owns the order of things: rounds, servers, links, workloads; progress; and what happens when one of them fails.
# A server's workloads over one link run in a shell of its own, with a link of its own: nothing of another link is there
# while one is measured, and nothing stays when it fails.
# shellcheck disable=SC2034,SC2154 # shared with the files of bench.d

bench_usage() {
	cat <<-END
	usage: ./dev bench [WORKLOAD...] [--links LINK,...] [--rounds N] [--quick] [--json FILE] [--plots DIR]
	       ./dev bench --list             the workloads
	       ./dev bench --report FILE      the table of docs/performance.md from a run's JSON
	       ./dev bench micro              instructions per packet (--help)
	  WORKLOAD also is the beginning of some: nginx, redis-get, iperf3-1
	  --links   of ${links_all[*]}; default all
	  --rounds  default 5; medians are of that many
	  --quick   3 minutes in all: shorter runs, as many rounds as fit (at most 3), links ${links_main[*]} if none are named
	  --json    the numbers; what they were measured on goes beside them, in FILE.about
	  --plots   where the plots go (default build/bench; '' for none)
	END
}
bench_wrong() {
	bench_usage >&2
	warn "$1"
	exit 2
}

# Workloads named, or whose name begins so, go to bench_workloads in the order of the list.
bench_choose() { # NAME...
	local name workload found
	for name in "$@"; do
		found=0
		for workload in "${workloads_all[@]}"; do
			[[ $workload != "$name" && $workload != "$name"-* ]] || found=1
		done
		((found)) || bench_wrong "no workload '$name'"
	done
	bench_workloads=()
	for workload in "${workloads_all[@]}"; do
		(($# > 0)) || bench_workloads+=("$workload")
		for name in "$@"; do
			[[ $workload != "$name" && $workload != "$name"-* ]] || {
				bench_workloads+=("$workload")
				break
			}
		done
	done
}

bench_arguments() {
	local link links=() names=()
	bench_rounds=5 bench_json='' bench_report='' bench_plots=$CULVERT_ROOT/build/bench bench_quick=0 bench_limit=60
	# Of one measurement; what counts requests takes its number from it.
	bench_ms=2000
	# As docs/performance.md repeats it: without where the results go.
	bench_command='./dev bench'
	while (($# > 0)); do
		case $1 in
		--json | --plots) ;;
		--rounds | --links) bench_command+=" $1 ${2:-}" ;;
		*) bench_command+=" $1" ;;
		esac
		case $1 in
		--quick) bench_quick=1 bench_rounds=3 bench_ms=500 bench_limit=10 ;;
		--json | --rounds | --links | --plots | --report)
			(($# > 1)) || bench_wrong "$1 needs a value"
			case $1 in
			--links) IFS=, read -ra links <<<"$2" ;;
			*) printf -v "bench_${1#--}" '%s' "$2" ;;
			esac
			shift
			;;
		--list) printf '%s\n' "${workloads_all[@]}" && exit 0 ;;
		-h | --help) bench_usage && exit 0 ;;
		-*) bench_wrong "no option '$1'" ;;
		*) names+=("$1") ;;
		esac
		shift
	done
	[[ $bench_rounds =~ ^[1-9][0-9]*$ ]] || bench_wrong "--rounds is a number from 1"
	bench_choose "${names[@]}"
	for link in "${links[@]}"; do
		[[ " ${links_all[*]} " == *" $link "* ]] || bench_wrong "no link '$link'"
	done
	if ((${#links[@]} == 0)); then
		links=("${links_all[@]}")
		((!bench_quick)) || links=("${links_main[@]}")
	fi
	bench_links=()
	for link in "${links_all[@]}"; do
		[[ " ${links[*]} " != *" $link "* ]] || bench_links+=("$link")
	done
}

# --- what is to be done, and how far we are --------------------------------------------------------

# Lines "SERVER MTU": what workloads share a server over one link. In the order of the workloads.
bench_groups() {
	local workload
	for workload in "${bench_workloads[@]}"; do
		say "$(workload_server "$workload") $(workload_mtu "$workload")"
	done | uniq
}
# The workloads of one such line over a link that are still good go to bench_pending.
bench_take() { # SERVER MTU LINK
	local workload
	bench_pending=()
	for workload in "${bench_workloads[@]}"; do
		[[ $(workload_server "$workload") == "$1" && $(workload_mtu "$workload") == "$2" &&
			-z ${bench_failed[$workload $3]:-} ]] || continue
		bench_pending+=("$workload")
	done
}

# About the time of one workload, its share of the link's and the server's start included.
bench_nominal_ms() { say $((bench_ms + 700)); }

bench_left_text() { # of the time so far and the share that is done
	local elapsed=$(($(now_ms) - bench_begin)) left
	left=$(((bench_steps - bench_step) * $(bench_nominal_ms) / 1000))
	((bench_step == 0)) || left=$((elapsed * (bench_steps - bench_step) / bench_step / 1000))
	if ((bench_quick && left > 175 - elapsed / 1000)); then left=$((175 - elapsed / 1000)); fi
	if ((left >= 120)); then
		printf 'about %d min left' $(((left + 30) / 60))
	else
		printf 'about %d s left' "$left"
	fi
}
bench_progress() { # WORKLOAD LINK
	if [[ -t $bench_terminal ]]; then
		printf '\r\033[K%s, %s, round %d of %d, %s' "$1" "$2" "$bench_round" "$bench_rounds" "$(bench_left_text)" \
			>&"$bench_terminal"
	fi
}
bench_progress_clear() { [[ ! -t $bench_terminal ]] || printf '\r\033[K' >&"$bench_terminal"; }

# --- running -------------------------------------------------------------------------------------

# The shell of a server's workloads over one link. What was done is in the file `done`, a line a workload.
bench_shell() { # SERVER MTU LINK WORKLOAD...
	local server=$1 mtu=$2
	bench_link=$3
	shift 3
	undo_list=()
	trap undo_all EXIT
	trap 'exit 143' TERM INT HUP
	set -e
	bench_progress "$1" "$bench_link"
	cores_watch &
	at_exit stop_process "$!" 2
	link_up "$bench_link" "$mtu" "$(server_receiver "$server")"
	"server_$server"
	say ready >>"$bench_dir/done"
	for bench_workload in "$@"; do
		bench_progress "$bench_workload" "$bench_link"
		"client_$server" "$bench_workload"
		say "$bench_workload" >>"$bench_dir/done"
		bench_step=$((bench_step + 1))
	done
	link_alive
}

# Why it did not work: the last lines of all that ran.
bench_say_why() { # WHAT [WORD]
	local file engine
	bench_progress_clear
	printf '%-7s %s\n' "${2:-FAILED}" "$1"
	for file in "$bench_run"/{shell.log,client.err,client.out,server.log}; do
		[[ ! -s $file ]] || tail -n 8 "$file" | sed "s|^|        ${file##*/}: |"
	done
	for engine in "$bench_run"/t*.log; do
		[[ ! -s $engine ]] || tail -n 4 "$engine" | sed 's|^|        engine: |'
	done
}

# All workloads that share a server, over one link. What fails is not tried again, the others go on with a new server.
bench_group() { # SERVER MTU LINK
	local server=$1 mtu=$2 link=$3 workload status done_lines failed
	bench_take "$@"
	while ((${#bench_pending[@]} > 0)); do
		if bench_time_is_up group; then
			bench_progress_clear
			say "no time is left for ${bench_pending[*]} over $link"
			for workload in "${bench_pending[@]}"; do bench_failed[$workload $link]=1; done
			break
		fi
		rm -rf "$bench_run"
		mkdir -m 755 "$bench_run"
		: >"$bench_dir/done"
		bench_shell "$server" "$mtu" "$link" "${bench_pending[@]}" >"$bench_run/shell.log" 2>&1 &
		bench_child=$!
		status=0
		wait "$bench_child" || status=$?
		bench_child=
		mapfile -t done_lines <"$bench_dir/done"
		if ((status == 0)); then
			[[ ! -s $bench_run/shell.log ]] || bench_say_why "$server over $link: something was wrong at the end" note
			break
		fi
		if ((${#done_lines[@]} == 0)); then
			bench_say_why "$server over $link, MTU $mtu: it does not start"
			failed=("${bench_pending[@]}") bench_pending=()
		else
			bench_step=$((bench_step + ${#done_lines[@]} - 1))
			bench_pending=("${bench_pending[@]:${#done_lines[@]}-1}")
			failed=("${bench_pending[0]:-the end of $server}")
			bench_say_why "${failed[0]} over $link"
			bench_pending=("${bench_pending[@]:1}")
		fi
		for workload in "${failed[@]}"; do bench_failed[$workload $link]=1; done
		bench_step=$((bench_step + ${#failed[@]}))
	done
	bench_step=$((bench_step + ${#bench_pending[@]}))
}
bench_child_stop() { [[ -z $bench_child ]] || stop_process "$bench_child" 10; }

# Takes out what cannot be here: a link that is not built in, frames larger than a device has.
bench_leave_out() {
	local link workload why links=()
	for link in "${bench_links[@]}"; do
		why=$(link_left_out "$link")
		if [[ -n $why ]]; then
			say "$link is left out: $why"
			continue
		fi
		links+=("$link")
		for workload in "${bench_workloads[@]}"; do
			(($(workload_mtu "$workload") <= $(link_mtu_max "$link"))) && continue
			say "$workload over $link is left out: the device takes no more than $(link_mtu_max "$link") bytes"
			bench_failed[$workload $link]=1
		done
	done
	bench_links=("${links[@]}")
}

# Debian packages that only this needs.
bench_packages() {
	[[ " ${bench_workloads[*]} " != *' memcached '* ]] || say libmemcached-tools
	[[ -z $bench_plots ]] || say gnuplot-nox
}

# --quick: a round more than the time allows is not begun; and what would not end in time any more, because other things hung,
# is left out.
bench_time_is_up() { # round|group
	local elapsed=$(($(now_ms) - bench_begin))
	((bench_quick)) || return 1
	case $1 in
	round) ((bench_round > 1 && elapsed + elapsed / (bench_round - 1) > 175000)) ;;
	group) ((elapsed > 155000)) ;;
	esac
}

bench_run_rounds() {
	local server mtu link
	bench_begin=$(now_ms) bench_step=0
	bench_steps=$((bench_rounds * (${#bench_workloads[@]} * ${#bench_links[@]} - ${#bench_failed[@]})))
	for ((bench_round = 1; bench_round <= bench_rounds; bench_round++)); do
		if bench_time_is_up round; then break; fi
		[[ -t $bench_terminal ]] || say "round $bench_round of $bench_rounds, $(bench_left_text)"
		while read -r server mtu; do
			for link in "${bench_links[@]}"; do
				bench_group "$server" "$mtu" "$link"
			done
		done < <(bench_groups)
	done
	bench_rounds=$((bench_round - 1))
	bench_progress_clear
}

dev_bench() {
	local left_out
	if [[ ${1:-} == micro ]]; then . "$CULVERT_ROOT/dev.d/bench_micro.sh" && bench_micro "${@:2}" && return; fi
	exec {bench_terminal}>&2
	# shellcheck source=dev.d/net.sh
	. "$CULVERT_ROOT/dev.d/net.sh"
	# shellcheck source=dev.d/bench.d/links.sh
	. "$CULVERT_ROOT/dev.d/bench.d/links.sh"
	# shellcheck source=dev.d/bench.d/workloads.sh
	. "$CULVERT_ROOT/dev.d/bench.d/workloads.sh"
	# shellcheck source=dev.d/bench.d/report.sh
	. "$CULVERT_ROOT/dev.d/bench.d/report.sh"
	# shellcheck source=dev.d/bench.d/plots.sh
	. "$CULVERT_ROOT/dev.d/bench.d/plots.sh"
	declare -gA bench_failed=()
	bench_child=''
	# A run inside another's (a test's) cleans up after itself only.
	[[ $CULVERT_RUN_ID == "$$" ]] || CULVERT_RUN_ID=$CULVERT_RUN_ID-$$
	bench_arguments "$@"
	if [[ -n $bench_report ]]; then
		report_write "$bench_report"
		return
	fi
	[[ -z $bench_json ]] || : >>"$bench_json" || die "$bench_json cannot be written"
	need_root
	# shellcheck source=dev.d/setup.sh
	. "$CULVERT_ROOT/dev.d/setup.sh"
	# shellcheck source=dev.d/build.sh
	. "$CULVERT_ROOT/dev.d/build.sh"
	mapfile -t -O "${#packages_run[@]}" packages_run < <(bench_packages)
	dev_setup
	[[ $CULVERT_BUILD != "$CULVERT_ROOT/build" ]] || build_kind release >/dev/null || die "the build failed: ./dev build"
	make_scratch bench_dir
	bench_run=$bench_dir/run
	at_exit spaces_of_run_remove "$CULVERT_RUN_ID"
	at_exit bench_child_stop
	: >"$bench_dir/values"
	# Descriptors for a thousand connections and more, for both sides.
	ulimit -n 65536 2>/dev/null || true
	bench_leave_out
	left_out=${#bench_failed[@]}
	bench_run_rounds
	say "medians of $bench_rounds, each of about $(seconds_of "$bench_ms") s"
	report_json >"$bench_dir/result.json"
	report_table "$bench_dir/result.json"
	[[ -z $bench_plots ]] || plots_make "$bench_dir/result.json" "$bench_plots" "$bench_dir"
	if [[ -n $bench_json ]]; then
		cp "$bench_dir/result.json" "$bench_json"
		report_about >"${bench_json%.json}.about"
	fi
	((${#bench_failed[@]} == left_out))
}
