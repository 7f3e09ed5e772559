# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# ./dev format: clang-format decides layout.

dev_format() {
	if (($# == 0)); then
		mapfile -t files < <(git -C "$CULVERT_ROOT" ls-files '*.c' '*.h')
		set -- "${files[@]}"
	fi
	cd "$CULVERT_ROOT"
	clang-format -i "$@"
}
