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
