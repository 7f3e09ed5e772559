#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# ./dev itself: what each command says of itself is true, and `format` leaves alone what nobody has changed.
. "$(dirname "$0")/lib.sh"
[[ $KIND == culvert ]] || {
	echo "skip dev: has nothing to do with who serves sockets"
	exit 0
}

export LC_ALL=C
dev() { timeout 60 "$CULVERT_ROOT/dev" "$@"; }
commands() { dev help | sed -n 's/^  \([a-z]\+\) .*/\1/p' | sort -u; }
helps() {
	local command
	[[ "$(commands)" == "$(printf '%s\n' bench build demo format fuzz help setup test)" ]] || fail "commands: $(commands)"
	for command in $(commands); do
		[[ $command != help ]] || continue
		for word in --help -h; do
			dev "$command" "$word" >"$DIR/$command.help" || fail "./dev $command $word: exit code $?"
			[[ $(head -n 1 "$DIR/$command.help") == "usage: ./dev $command"* ]] || fail "./dev $command $word: $(<"$DIR/$command.help")"
		done
	done
	dev bench micro --help | grep -q '^usage: ./dev bench micro'
}
# The options in the file's own `case` are those in its help.
options() {
	local command option
	for command in test fuzz bench format; do
		dev "$command" --help >"$DIR/help"
		sed -n 's/^\t\t\(--[^)]*\)).*/\1/p; s/.*== \(--[a-z]*\) .*/\1/p' "$CULVERT_ROOT/dev.d/$command.sh" | tr -d ' ' | tr '|' '\n' | sort -u >"$DIR/taken"
		[[ -s $DIR/taken ]] || fail "$command takes no options at all?"
		while read -r option; do
			grep -q -e "$option\b" "$DIR/help" || fail "./dev $command takes $option and does not say so"
		done <"$DIR/taken"
		for option in $(grep -o -e '--[a-z]\+' "$DIR/help" | sort -u); do
			[[ $option == --help ]] || grep -q -x -e "$option" "$DIR/taken" || fail "./dev $command --help speaks of $option"
		done
	done
}
kinds() {
	local said taken
	said=$(dev build --help | sed -n 's/^  \([a-z]\+\)  .*/\1/p' | sort)
	taken=$(sed -n '/^build_options/,/^}/s/^\t\([a-z]\+\)) .*/\1/p' "$CULVERT_ROOT/dev.d/build.sh" | sort)
	[[ -n $said && $said == "$taken" ]] || fail "it says $said, and takes $taken"
}
mistakes() {
	local words status
	for words in 'nonsense' 'fuzz --nonsense' 'format --nonsense' 'demo nonsense' 'setup nonsense' 'bench --nonsense'; do
		status=0
		# shellcheck disable=SC2086 # words they are
		dev $words >"$DIR/mistake" 2>&1 || status=$?
		[[ $status == 1 || $status == 2 ]] || fail "./dev $words: exit code $status"
		grep -q nonsense "$DIR/mistake" || fail "./dev $words: $(<"$DIR/mistake")"
	done
}

# A source that is not as clang-format wants it, of which one line is changed.
repository() {
	mkdir "$DIR/repository"
	cd "$DIR/repository"
	git init -q
	git config user.name nobody
	git config user.email nobody@localhost
	cp -r "$CULVERT_ROOT"/{dev,dev.d,.clang-format} .
	printf 'int  odd( void );\nint first(void)\n{\n\treturn 1;\n}\nint  even( void );\n' >old.c
	cp old.c other.c
	git add .
	git commit -qm all
	sed -i 's/\treturn 1;/  return  2 ;/' old.c other.c
	printf 'int  fresh( void );\n' >new.c
}
formats() {
	repository
	./dev format old.c
	[[ $(git diff -U0 old.c | grep -c '^[-+]	') == 2 && $(git diff --numstat old.c) == $'1\t1\told.c' ]] || fail "$(git diff old.c)"
	grep -q 'return  2 ;' other.c || fail "another file than the one named is changed"
	./dev format
	[[ $(<new.c) == 'int fresh(void);' ]] || fail "the new file: $(<new.c)"
	cmp old.c other.c || fail "the second file: $(git diff other.c)"
	./dev format # nothing to do
	./dev format --all old.c
	[[ $(head -n 1 old.c) == 'int odd(void);' ]] || fail "--all: $(<old.c)"
}
check './dev COMMAND --help' helps
check './dev: options taken are options told' options
check './dev build: kinds' kinds
check './dev: mistakes' mistakes
check './dev format: changed lines only' formats
checks_done
