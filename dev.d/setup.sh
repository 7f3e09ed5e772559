# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# usage: ./dev setup
#
# Installs the Debian packages that are missing (root, when any is). Debian starts a service when it installs one; a
# policy-rc.d forbids it meanwhile, so that no nginx or redis of ours listens on the machine.

packages_build=(
	git gcc clang clang-format llvm meson ninja-build pkg-config libc6-dev
	dpdk libdpdk-dev libcmocka-dev libjansson-dev
)
packages_run=(
	iproute2 iputils-ping procps util-linux ca-certificates
	curl jq python3 tcpdump tshark nginx-light redis-server redis-tools memcached iperf3 wrk socat
)
# Any of these will do for the package on the left.
package_alternatives() {
	case $1 in
	nginx-light) printf 'nginx-light\nnginx-core\nnginx-full\nnginx-extras\nnginx\n' ;;
	*) printf '%s\n' "$1" ;;
	esac
}

package_installed() {
	local name
	while read -r name; do
		[[ $(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null) == installed ]] && return 0
	done < <(package_alternatives "$1")
	return 1
}

packages_missing() {
	local name
	for name in "${packages_build[@]}" "${packages_run[@]}"; do
		package_installed "$name" || printf '%s\n' "$name"
	done
}

service_guard=/usr/sbin/policy-rc.d
service_guard_remove() {
	if [[ -e $service_guard.culvert-saved ]]; then
		mv -f "$service_guard.culvert-saved" "$service_guard"
	elif grep -qs 'culvert-guard' "$service_guard"; then
		rm -f "$service_guard"
	fi
}
service_guard_place() {
	at_exit service_guard_remove
	[[ ! -e $service_guard ]] || mv "$service_guard" "$service_guard.culvert-saved"
	printf '#!/bin/sh\n# culvert-guard: no service starts while ./dev setup installs\nexit 101\n' \
		>"$service_guard"
	chmod 755 "$service_guard"
}

# Another apt may hold the locks (unattended-upgrades on a fresh machine): wait for it, bounded.
apt_patiently() {
	local try
	for try in 1 2 3 4 5 6; do
		if DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 \
			-o Dpkg::Options::=--force-confold "$@"; then
			return 0
		fi
		warn "apt-get $1 did not work (attempt $try of 6), trying again in 10 s"
		sleep 10
	done
	return 1
}

dev_setup() {
	local missing
	(($# == 0)) || die "./dev setup $1?"
	mapfile -t missing < <(packages_missing)
	if ((${#missing[@]} == 0)); then
		say "setup: all packages are there"
		return 0
	fi
	need_root
	step "installing ${missing[*]}"
	service_guard_place
	apt_patiently update || die "apt-get update failed"
	apt_patiently install -y --no-install-recommends "${missing[@]}" ||
		die "apt-get install failed"
	service_guard_remove
	mapfile -t missing < <(packages_missing)
	((${#missing[@]} == 0)) || die "still missing: ${missing[*]}"
	say "setup: done"
}
