# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# usage: ./dev build [KIND [TARGET...]]
#
# Sets up, and builds all targets, or those named, in a directory of the kind's own: build-KIND, for release build. CC is the
# compiler; another one than last time starts the directory afresh.
#
#   release    the default: what is installed, tested and measured
#   clang      the same by clang
#   profile    the same with symbols, without tests
#   debug      with the consistency checks
#   asan       with those and AddressSanitizer
#   ubsan      with those and UndefinedBehaviorSanitizer
#   sanitize   with those and both
#   tsan       with those and ThreadSanitizer
#   fuzz       the libFuzzer targets, by clang, with both
#   reach      what the fuzz targets replay, by clang, with its coverage (./dev fuzz --reach)
#   coverage   with gcov

build_directory() {
	if [[ $1 == release ]]; then
		printf 'build'
	else
		printf 'build-%s' "$1"
	fi
}

# The options of a kind, one a line. Sanitizers stop at the first finding, so that no test passes over one.
build_options() {
	case $1 in
	release) say -Dbuildtype=release ;;
	profile) printf '%s\n' -Dbuildtype=release -Ddebug=true -Db_ndebug=true -Dtests=false ;;
	clang) say -Dbuildtype=release ;;
	debug) printf '%s\n' -Dbuildtype=debug -Dchecks=true ;;
	asan) printf '%s\n' -Dbuildtype=debugoptimized -Dchecks=true -Db_sanitize=address -Db_lundef=false ;;
	ubsan) printf '%s\n' -Dbuildtype=debugoptimized -Dchecks=true -Db_sanitize=undefined -Db_lundef=false \
		-Dc_args=-fno-sanitize-recover=all ;;
	sanitize) printf '%s\n' -Dbuildtype=debugoptimized -Dchecks=true -Db_sanitize=address,undefined \
		-Db_lundef=false -Dc_args=-fno-sanitize-recover=all ;;
	tsan) printf '%s\n' -Dbuildtype=debugoptimized -Dchecks=true -Db_sanitize=thread -Db_lundef=false ;;
	fuzz) printf '%s\n' -Dbuildtype=debugoptimized -Dchecks=true -Dfuzz=true -Db_sanitize=address,undefined \
		-Db_lundef=false -Dc_args=-fno-sanitize-recover=all ;;
	reach) printf '%s\n' -Dbuildtype=debugoptimized -Dchecks=true \
		'-Dc_args=-fprofile-instr-generate -fcoverage-mapping' -Dc_link_args=-fprofile-instr-generate ;;
	coverage) printf '%s\n' -Dbuildtype=debug -Dchecks=true -Db_coverage=true ;;
	*) return 1 ;;
	esac
}

# build_kind KIND [TARGET...]: configures when needed and builds; all targets when none is named.
# The directory of a kind follows CC: another compiler than last time starts it afresh.
build_kind() {
	local kind=$1 dir options compiler=${CC:-gcc}
	shift
	dir=$CULVERT_ROOT/$(build_directory "$kind")
	mapfile -t options < <(build_options "$kind")
	((${#options[@]} > 0)) || die "no build kind '$kind': ./dev build --help"
	case $kind in
	fuzz | reach | clang) compiler=${CC:-clang} ;;
	esac
	if [[ -f $dir/.culvert-cc && $(<"$dir/.culvert-cc") != "$compiler" ]]; then
		rm -rf "$dir"
	fi
	if [[ ! -f $dir/build.ninja ]]; then
		rm -rf "$dir"
		CC=$compiler meson setup --prefix=/usr "${options[@]}" "$dir" "$CULVERT_ROOT"
		printf '%s\n' "$compiler" >"$dir/.culvert-cc"
	fi
	ninja -C "$dir" "$@"
}

dev_build() {
	# shellcheck source=dev.d/setup.sh
	. "$CULVERT_ROOT/dev.d/setup.sh"
	dev_setup
	build_kind "${1:-release}" "${@:2}"
}
