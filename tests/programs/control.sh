#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The control socket against peers that talk nonsense: every one is answered or dropped, the engine goes on, and what it
# held for them comes back.
. "$(dirname "$0")/lib.sh"
[[ $KIND == culvert ]] || {
	echo "skip control: needs an engine"
	exit 0
}

export USER_GROUPS=5 USER_PROCESSES=9 MEMORY=$((64 << 20))
world_tap '[limits]' "user_groups=$USER_GROUPS" "user_processes=$USER_PROCESSES" "memory=$MEMORY"
version=$(sed -n 's/^#define CV_API_VERSION \([0-9]*\).*/\1/p' "$CULVERT_ROOT"/stack/api/*.h)
start survivor on_engine python3 -u -m http.server --bind "$ENGINE_ADDR" 8080
wait_served 8080

descriptors() {
	local all=("/proc/${engine_pid[$ENGINE]}/fd"/*)
	printf '%d' ${#all[@]}
}
# What stays: the survivor's. A query is itself a connection while it looks.
only_survivor() { [[ $(engine_counter "$ENGINE" '[.groups, .processes]') == '[1,1]' && $(descriptors) -le $1 ]]; }

against() { # CASE
	local before
	wait_until 10 only_survivor 100000 || fail "before: $("$CULVERT" stat --engine "$ENGINE")"
	before=$(descriptors)
	on_kernel timeout 60 python3 "$PROGRAMS/control.py" "/run/culvert/$ENGINE.sock" "$version" "$1" 1
	engine_running "$ENGINE" || fail "the engine fell"
	wait_until 10 only_survivor "$before" ||
		fail "$before descriptors before, $(descriptors) after; $("$CULVERT" stat --engine "$ENGINE")"
	on_kernel curl -sS --max-time 10 "http://$ENGINE_ADDR:8080/" >/dev/null || fail "the other program is not served"
}
for case in lengths nonsense order family ends doorbells sets seals memory deaf crowd user; do
	check "control socket: $case" against "$case"
done

# Who may connect: control_mode= and control_group=. A memif without a peer is an engine all the same.
rights() {
	local as_member as_other stat="$CULVERT stat --engine"
	as_member='setpriv --reuid=12345 --regid=12345 --groups=23456'
	as_other='setpriv --reuid=12345 --regid=12345 --clear-groups'
	engine=$(engine_name rights)
	engine_configure "$engine" "$DIR" <<-END
	[engine]
	name=$engine
	hugepages=no
	$(printf '%s\n' "$@")
	[port memif]
	device=net_memif0,role=server,id=0,socket=$DIR/rights.sock,socket-abstract=no
	address=10.99.0.1/24
	END
	engine_start "$SPACE" "$engine"
	at_exit stop_process "${engine_pid[$engine]}" 10
	member=no other=no
	if $as_member $stat "$engine" >/dev/null 2>&1; then member=yes; fi
	if $as_other $stat "$engine" >/dev/null 2>&1; then other=yes; fi
	mode=$(stat -c '%a %g' "/run/culvert/$engine.sock")
	note "$mode: member $member, other $other"
}
rights_default() { rights && [[ "$mode $member $other" == '666 0 yes yes' ]]; }
rights_group() { rights control_group=23456 && [[ "$mode $member $other" == '660 23456 yes no' ]]; }
rights_mode() { rights control_mode=0600 && [[ "$mode $member $other" == '600 0 no no' ]]; }
check 'control socket: any user, unless configured' rights_default
check 'control socket: a group of users' rights_group
check 'control socket: nobody but the engine and root' rights_mode

# Where the kernel needs memory, programs end before the engine does, unless somebody has chosen otherwise.
oom_score_is() { # WANTED: of an engine that is started now
	local score
	rights
	score=$(<"/proc/${engine_pid[$engine]}/oom_score_adj")
	[[ $score == "$1" ]] || fail "$score, not $1"
}
spared() {
	local wanted=-900
	# It takes CAP_SYS_RESOURCE, which containers seldom have.
	(echo -900 >/proc/self/oom_score_adj) 2>/dev/null || wanted=0
	oom_score_is "$wanted"
	note "$wanted"
}
not_spared() { echo 100 >/proc/self/oom_score_adj && oom_score_is 100; }
check 'memory is short: the engine is not the first to end' spared
check 'memory is short: unless somebody has chosen otherwise' not_spared

# The limit is the engine's own, taken back afterwards.
out_of_descriptors() {
	local pid=${engine_pid[$ENGINE]} hard
	hard=$(prlimit --pid "$pid" --nofile --output HARD --noheadings | tr -d ' ')
	[[ $(prlimit --pid "$pid" --nofile --output SOFT --noheadings | tr -d ' ') == "$hard" ]] ||
		fail "the engine does not use all the descriptors that it may have"
	prlimit --pid "$pid" --nofile=$(($(descriptors) + 50)):"$hard"
	at_exit prlimit --pid "$pid" --nofile="$hard:$hard"
	against descriptors
}
check 'control socket: out of descriptors' out_of_descriptors
checks_done
