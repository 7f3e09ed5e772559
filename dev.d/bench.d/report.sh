# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# ./dev bench: numbers to JSON, tables and plots.
#
# The JSON is a list of objects: workload, metric, unit, link, hosting (kernel, service, inline), median, min, max,
# cpu_cores (median of the busy cores of the machine while it ran) and ratio: to the kernel's median in the same run, above 1
# is better also where less is; null when the kernel's was not measured, or a median is 0.
# shellcheck disable=SC2154 # bench_* are set by bench.sh

# Units, and the metrics of which less is better.
report_units='{"throughput": "Gbit/s", "requests": "requests/s", "operations": "operations/s",
	"connections": "connections/s", "received": "packets/s", "loss": "%", "share": "of the rate without", "busy": "cores",
	"p50": "us", "p99": "us", "p99.9": "us"}'
report_less='["p50", "p99", "p99.9", "loss", "busy"]'

# What failed in any round is not in the report: its median would be of fewer rounds than the others'.
report_json() {
	local link
	for link in "${bench_links[@]}"; do
		say "$link $(link_device "$link") $(link_hosting "$link")"
	done >"$bench_dir/links"
	jq -n --rawfile values "$bench_dir/values" --rawfile links "$bench_dir/links" --argjson units "$report_units" \
		--argjson less "$report_less" --arg workloads "${bench_workloads[*]}" --arg failed "$(printf '%s\n' "${!bench_failed[@]}")" '
		def numbers: map(.value) | sort;
		def median: numbers | if length % 2 == 1 then .[length / 2 | floor] else (.[length / 2 - 1] + .[length / 2]) / 2 end;
		def digits: . as $x | if $x == 0 then 0 else pow(10; 5 - ($x | fabs | log10 | floor)) as $p | $x * $p | round / $p end;
		($links | split("\n") | map(select(. != "") | split(" "))) as $links
		| [$values | split("\n")[] | select(. != "") | split("\t")
			| {workload: .[0], link: .[1], metric: .[2], value: (.[3] | tonumber)}]
		| map(select((.workload + " " + .link) as $name | $failed | split("\n") | index($name) | not)) as $all
		| [($workloads | split(" "))[] as $workload
			| ($all | map(select(.workload == $workload))) as $mine
			| ($units | keys_unsorted)[] as $metric
			| $links[] as [$link, $device, $hosting]
			| ($mine | map(select(.metric == $metric and .link == $link))) as $these
			| select($these != [])
			| ($mine | map(select(.metric == $metric and .link == "veth"))) as $kernel
			| ($these | median) as $median
			| (if $kernel == [] then 0 else $kernel | median end) as $base
			| {workload: $workload, metric: $metric, unit: $units[$metric], link: $device, hosting: $hosting,
				median: ($median | digits), min: ($these | numbers[0] | digits), max: ($these | numbers[-1] | digits),
				cpu_cores: ($mine | map(select(.metric == "cpu_cores" and .link == $link)) | median | digits),
				ratio: (if $base == 0 or $median == 0 then null
					elif $less | index($metric) then $base / $median | digits else $median / $base | digits end)}]'
}

report_table() { # JSON
	local workload metric link hosting median min max unit cpu ratio
	printf '%-21s %-11s %-6s %-8s %12s %12s %12s %-20s %6s %7s\n' \
		workload metric link hosting median min max unit cores ratio
	jq -r '.[] | [.workload, .metric, .link, .hosting, .median, .min, .max, .unit, .cpu_cores, (.ratio // "-")] | @tsv' "$1" |
		while IFS=$'\t' read -r workload metric link hosting median min max unit cpu ratio; do
			printf '%-21s %-11s %-6s %-8s %12.2f %12.2f %12.2f %-20s %6.2f ' "$workload" "$metric" "$link" \
				"$hosting" "$median" "$min" "$max" "$unit" "$cpu"
			if [[ $ratio == - ]]; then printf '%7s\n' -; else printf '%7.2f\n' "$ratio"; fi
		done
}

# --- docs/performance.md ---------------------------------------------------------------------------

report_page=$CULVERT_ROOT/docs/performance.md
report_begin='<!-- made by ./dev bench --report: begin -->'
report_end='<!-- made by ./dev bench --report: end -->'

# The machine and the command of a run; kept beside its JSON, in FILE.about.
report_about() {
	# shellcheck disable=SC2016 # the backquotes are the page's
	printf '%s cores (%s), Linux %s, %s GiB of memory. Medians of %d, each of about %s s: `%s`\n' "$(nproc)" \
		"$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | sort | uniq -c | awk '{$1 = ""; print substr($0, 2); exit}')" \
		"$(uname -r | cut -d- -f1)" "$(awk '/^MemTotal/ {printf "%.0f", $2 / 1048576}' /proc/meminfo)" \
		"$bench_rounds" "$(seconds_of "$bench_ms")" "$bench_command"
}

# A row a workload and metric, a column a link; and the busy cores of a workload.
report_markdown() { # JSON
	jq -r '
		def once: reduce .[] as $x ([]; if index([$x]) then . else . + [$x] end);
		def places($n): pow(10; $n) as $p | . * $p | round / $p | tostring;
		def short: if . >= 1e6 then (. / 1e6 | places(2)) + " M" elif . >= 1e4 then (. / 1e3 | places(0)) + " k"
			elif . >= 100 then places(0) elif . >= 10 then places(1) else places(2) end;
		def bold: "**" + . + "**";
		def figures: (.median | short) + (if .min != .max then " (" + (.min | short) + "\u2013" + (.max | short) + ")" else "" end)
			+ (if .ratio == null or .hosting == "kernel" then "" else " " + (.ratio | (if . < 10 then places(2) else short end) + "x" | bold) end);
		def row: "| " + join(" | ") + " |";
		(map("\(.link) \(.hosting)") | once) as $links
		| (map([.workload, .metric, .unit]) | once) as $rows
		| . as $all
		| (["workload", "", ""] + $links | row),
		(["---", "---", "---"] + ($links | map("---")) | row),
		($rows[] as [$workload, $metric, $unit]
			| ([$workload, $metric, $unit] + ($links | map(. as $link | $all | map(select(.workload == $workload
				and .metric == $metric and "\(.link) \(.hosting)" == $link)) | if . == [] then "" else .[0] | figures end)) | row),
			(($rows | map(select(.[0] == $workload)) | .[-1][1]) as $last
			| if $metric == $last and $metric != "busy" then
				([$workload, "busy", "cores"] + ($links | map(. as $link | $all | map(select(.workload == $workload
				and "\(.link) \(.hosting)" == $link)) | if . == [] then "" else .[0].cpu_cores | places(2) end)) | row)
			else empty end))' "$1"
}

# The part between the marks of docs/performance.md, from a run.
report_write() { # JSON
	local about=${1%.json}.about part
	jq -e 'type == "array" and length > 0 and all(.[]; has("workload") and has("median"))' "$1" >/dev/null 2>&1 ||
		die "$1 is not a run's JSON"
	grep -qxF -- "$report_begin" "$report_page" || die "$report_page has no line '$report_begin'"
	part=$(
		[[ ! -s $about ]] || cat "$about"
		printf '\n'
		report_markdown "$1"
	)
	awk -v begin="$report_begin" -v end="$report_end" -v part="$part" '
		$0 == begin {print; print part; skip = 1}
		$0 == end {skip = 0}
		!skip' "$report_page" >"$report_page.new"
	mv "$report_page.new" "$report_page"
	say "$report_page has the table of $1"
}
