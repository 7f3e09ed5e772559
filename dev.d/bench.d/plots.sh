# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# ./dev bench: SVG plots of a run's JSON by gnuplot, one a group of workloads: pingpong, iperf3, nginx, redis, more. A panel a
# metric; bars are medians, error bars go from the least to the greatest.

# Groups of the JSON and the metrics of each, "GROUP METRIC UNIT" a line.
# shellcheck disable=SC2016 # jq's variables
plot_jq='def group: .workload | split("-")[0] | if IN("pingpong", "iperf3", "nginx", "redis") then . else "more" end;
	def once: reduce .[] as $x ([]; if index([$x]) then . else . + [$x] end);
	def links: map("\(.link) \(.hosting)") | once;'
plot_panels() { # JSON
	jq -r "$plot_jq"'map("\(group) \(.metric) \(.unit)") | once[]' "$1"
}

# A panel's numbers for gnuplot: a line a workload; median, least and greatest of each link in turn, NaN where there is none.
plot_data() { # JSON GROUP METRIC
	jq -r --arg group "$2" --arg metric "$3" "$plot_jq"'
		links as $links
		| map(select(group == $group and .metric == $metric)) as $rows
		| ("workload " + ($links | map("\"\(.)\" least greatest") | join(" "))),
		(($rows | map(.workload) | once[]) as $workload
			| [$workload, ($links[] as $link
				| $rows | map(select(.workload == $workload and "\(.link) \(.hosting)" == $link))
				| if . == [] then "NaN NaN NaN" else .[0] | "\(.median) \(.min) \(.max)" end)]
			| join(" "))' "$1"
}

# gnuplot's commands for one group, on standard output. Data files are in DIR.
plot_commands() { # GROUP DIR PANEL... (each "METRIC UNIT")
	local group=$1 dir=$2 panel metric columns rows
	shift 2
	cat <<-END
	set terminal svg size 900,$((340 * $#)) font "sans-serif,13" background "white"
	set multiplot layout $#,1 title "$group: kernel and Culvert side by side (median; least to greatest)"
	set style data histograms
	set style histogram errorbars gap 1 linewidth 1
	set style fill solid 0.7 border linetype -1
	set bars 0.6
	set grid ytics linecolor rgb "#dddddd"
	set key outside right top
	set yrange [0:*]
	set xtics rotate by -20 noenhanced
	END
	for panel in "$@"; do
		metric=${panel%% *}
		columns=$(($(head -n 1 "$dir/$group.$metric" | grep -o least | wc -l)))
		rows=$(($(wc -l <"$dir/$group.$metric") - 1))
		printf 'set ylabel "%s (%s)"\nset xrange [-0.6:%s]\n' "$metric" "${panel#* }" "$((rows - 1)).6"
		printf 'plot for [i=0:%d] "%s" using 3*i+2:3*i+3:3*i+4:xtic(1) title columnheader(3*i+2)\n' \
			$((columns - 1)) "$dir/$group.$metric"
	done
}

plots_make() { # JSON DIR SCRATCH
	local json=$1 to=$2 scratch=$3 group metric unit panels
	mkdir -p "$to"
	for group in $(plot_panels "$json" | cut -d' ' -f1 | uniq); do
		panels=()
		while read -r _ metric unit; do
			plot_data "$json" "$group" "$metric" >"$scratch/$group.$metric"
			panels+=("$metric $unit")
		done < <(plot_panels "$json" | grep "^$group ")
		plot_commands "$group" "$scratch" "${panels[@]}" >"$scratch/$group.gnuplot"
		gnuplot "$scratch/$group.gnuplot" >"$to/$group.svg" || die "gnuplot could not plot $group"
	done
	say "plots: $to"
}
