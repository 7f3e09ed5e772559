# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# usage: ./dev format [FILE...]
#        ./dev format --all [FILE...]
#
# clang-format decides the layout of the lines that have changed since the last commit, in all sources or the files named.
# --all: of every line, which is for new files: it makes much of older ones another.

dev_format() {
	local files
	cd "$CULVERT_ROOT"
	if [[ ${1:-} == --all ]]; then
		shift
		mapfile -t files < <(git ls-files '*.c' '*.h')
		(($# > 0)) || set -- "${files[@]}"
		clang-format -i "$@"
		return
	fi
	[[ ${1:-} != -* ]] || die "./dev format $1?"
	# A file that git does not know yet has no older lines.
	mapfile -t files < <(git ls-files --others --exclude-standard -- "${@:-.}" | grep '\.[ch]$')
	((${#files[@]} == 0)) || clang-format -i "${files[@]}"
	# It ends with 1 when it has changed something.
	git clang-format --quiet --force --extensions c,h -- "$@" >/dev/null || (($? == 1))
}
