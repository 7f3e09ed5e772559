/* SPDX-License-Identifier: BSD-3-Clause */
/* The list of interfaces, each way to ask (getifaddrs(3), if_nametoindex(3), if_nameindex(3), netdevice(7)): what it
 * tells is so. */
#include <ifaddrs.h>
#include <linux/if_addr.h>
#include <net/if.h>

#include "tests/diff/diff.h"

static struct ifaddrs *list_get(void)
{
	struct ifaddrs *list = NULL;

	close(diff_udp()); /* an engine inside the program runs from its first socket on */
	works(getifaddrs(&list));
	is(list != NULL);
	return list;
}

static bool is_address(const struct sockaddr *sa)
{
	return sa && (sa->sa_family == AF_INET || sa->sa_family == AF_INET6);
}

static socklen_t size_of(const struct sockaddr *sa)
{
	return sa->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

/* The address itself, 4 or 16 bytes. */
static const uint8_t *bytes_of(const struct sockaddr *sa)
{
	return sa->sa_family == AF_INET ? (const uint8_t *)&((const struct sockaddr_in *)(const void *)sa)->sin_addr
					: (const uint8_t *)&((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;
}

static size_t bytes_n(const struct sockaddr *sa)
{
	return sa->sa_family == AF_INET ? 4 : 16;
}

static const struct ifaddrs *list_find(const struct ifaddrs *list, const struct sockaddr *sa)
{
	for (; list; list = list->ifa_next) {
		if (is_address(list->ifa_addr) && list->ifa_addr->sa_family == sa->sa_family &&
			memcmp(bytes_of(list->ifa_addr), bytes_of(sa), bytes_n(sa)) == 0)
			return list;
	}
	return NULL;
}

CASE(list__the_servers_addresses__are_in_it_once)
{
	struct ifaddrs *list = list_get();
	struct sockaddr_in v4 = diff_addr(0);
	struct sockaddr_in6 v6 = diff_addr6(0);
	const struct ifaddrs *one = list_find(list, SA(v4)), *six = list_find(list, SA(v6));

	is(one && six);
	is(strcmp(one->ifa_name, diff_on_culvert() ? "cv0" : "lo") == 0);
	is(strcmp(six->ifa_name, one->ifa_name) == 0);
	is(!list_find(one->ifa_next, SA(v4)) && !list_find(six->ifa_next, SA(v6)));
	same(one->ifa_flags & (IFF_UP | IFF_RUNNING), IFF_UP | IFF_RUNNING);
	freeifaddrs(list);
}

/* The kernel tests addresses for another owner (RFC4862:5.4); it lists them already, and nobody can bind them yet. */
static bool is_tentative(const struct sockaddr *sa)
{
	FILE *all = fopen("/proc/net/if_inet6", "r");
	char text[33], other[33];
	unsigned flags = 0;

	for (int i = 0; i < 16; i++)
		snprintf(text + 2 * i, 3, "%02x", sa->sa_family == AF_INET6 ? bytes_of(sa)[i] : 0);
	while (all && fscanf(all, "%32s %*x %*x %*x %x %*s", other, &flags) == 2 && strcmp(text, other) != 0)
		flags = 0;
	if (all)
		fclose(all);
	return flags & IFA_F_TENTATIVE;
}

CASE(list__every_address__can_be_bound)
{
	struct ifaddrs *list = list_get();
	int n = 0;

	for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
		int fd;

		if (!is_address(i->ifa_addr))
			continue;
		fd = (int)works(socket(i->ifa_addr->sa_family, SOCK_STREAM, 0));
		if (bind(fd, i->ifa_addr, size_of(i->ifa_addr)) != 0 && !is_tentative(i->ifa_addr))
			works(bind(fd, i->ifa_addr, size_of(i->ifa_addr))); /* its test has just ended */
		works(close(fd));
		n++;
	}
	is(n >= (diff_on_culvert() ? 6 : 2));
	freeifaddrs(list);
}

static unsigned prefix_of(const struct sockaddr *mask)
{
	const uint8_t *b = bytes_of(mask);
	unsigned bits = 0, n = (unsigned)bytes_n(mask) * 8;

	while (bits < n && (b[bits / 8] & 0x80 >> bits % 8))
		bits++;
	for (unsigned i = bits; i < n; i++)
		is(!(b[i / 8] & 0x80 >> i % 8));
	return bits;
}

CASE(list__netmasks__are_contiguous__link_local_addresses_have_their_scope)
{
	struct ifaddrs *list = list_get();
	struct sockaddr_in v4 = diff_addr(0);
	struct sockaddr_in6 v6 = diff_addr6(0);

	for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)i->ifa_addr;

		if (!is_address(i->ifa_addr))
			continue;
		same(i->ifa_netmask->sa_family, i->ifa_addr->sa_family);
		is(prefix_of(i->ifa_netmask) > 0);
		if (i->ifa_addr->sa_family == AF_INET6)
			same(in6->sin6_scope_id,
				IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr) ? if_nametoindex(i->ifa_name) : 0);
	}
	same(prefix_of(list_find(list, SA(v4))->ifa_netmask), diff_on_culvert() ? 24 : 8);
	same(prefix_of(list_find(list, SA(v6))->ifa_netmask), diff_on_culvert() ? 64 : 128);
	freeifaddrs(list);
}

CASE(names_and_numbers__agree)
{
	struct ifaddrs *list = list_get();
	struct if_nameindex *all = if_nameindex();
	char name[IF_NAMESIZE];

	is(all != NULL);
	for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
		const struct if_nameindex *one = all;
		unsigned ifindex = if_nametoindex(i->ifa_name);

		is(ifindex > 0);
		is(if_indextoname(ifindex, name) == name);
		is(strcmp(name, i->ifa_name) == 0);
		while (one->if_index != 0 && one->if_index != ifindex)
			one++;
		is(one->if_index != 0);
		is(strcmp(one->if_name, i->ifa_name) == 0);
	}
	if_freenameindex(all);
	freeifaddrs(list);
	same((errno = 0, if_nametoindex("nobody")), 0);
	same(errno, ENODEV);
	same((errno = 0, if_nametoindex("a_name_that_is_too_long_for_any")), 0);
	same(errno, ENODEV);
	is(if_indextoname(0x7ffffff, name) == NULL);
	same(errno, ENXIO);
}

static struct sockaddr_in asked(int fd, unsigned long request, const struct ifreq *one)
{
	struct ifreq r = *one;
	struct sockaddr_in in;

	works(ioctl(fd, request, &r));
	memcpy(&in, &r.ifr_addr, sizeof(in));
	return in;
}

/* As java.net.NetworkInterface asks. */
CASE(ioctl__the_list__is_that_of_getifaddrs)
{
	struct ifaddrs *list = list_get();
	struct ifreq all[64];
	struct ifconf c = {.ifc_len = sizeof(all), .ifc_req = all}, size = {.ifc_buf = NULL};
	int fd = diff_udp(), n;

	works(ioctl(fd, SIOCGIFCONF, &c));
	n = c.ifc_len / (int)sizeof(all[0]);
	works(ioctl(fd, SIOCGIFCONF, &size));
	is(size.ifc_len >= c.ifc_len);
	for (const struct ifaddrs *i = list; i; i = i->ifa_next)
		n -= i->ifa_addr && i->ifa_addr->sa_family == AF_INET;
	same(n, 0);
	for (int k = 0; k < c.ifc_len / (int)sizeof(all[0]); k++) {
		const struct ifaddrs *i = list_find(list, &all[k].ifr_addr);
		struct sockaddr_in addr = asked(fd, SIOCGIFADDR, &all[k]), mask = asked(fd, SIOCGIFNETMASK, &all[k]);
		struct ifreq r = all[k];

		is(i && strcmp(i->ifa_name, r.ifr_name) == 0);
		same_bytes(&addr, &all[k].ifr_addr, sizeof(addr));
		same_bytes(&mask.sin_addr, bytes_of(i->ifa_netmask), 4);
		works(ioctl(fd, SIOCGIFINDEX, &r));
		same(r.ifr_ifindex, if_nametoindex(i->ifa_name));
		works(ioctl(fd, SIOCGIFFLAGS, &r));
		same(r.ifr_flags & IFF_UP, IFF_UP);
		works(ioctl(fd, SIOCGIFMTU, &r));
		is(r.ifr_mtu >= 1500);
		works(ioctl(fd, SIOCGIFHWADDR, &r));
	}
	freeifaddrs(list);
	close(fd);
}

CASE(ioctl__too_little_room__has_the_first_ones)
{
	struct ifreq all[64] = {0};
	struct ifconf c = {.ifc_len = sizeof(all[0]) + 8, .ifc_req = all};
	int fd = (int)works(socket(AF_INET, SOCK_DGRAM, 0));

	works(ioctl(fd, SIOCGIFCONF, &c));
	same(c.ifc_len, sizeof(all[0]));
	is(all[1].ifr_name[0] == '\0');
	c.ifc_len = 8;
	works(ioctl(fd, SIOCGIFCONF, &c));
	same(c.ifc_len, 0);
	close(fd);
}

CASE(ioctl__what_is_not_there__errno)
{
	struct ifreq r = {.ifr_name = "nobody"};
	int ends[2], fd = (int)works(socket(AF_INET, SOCK_DGRAM, 0));

	works(pipe(ends));
	fails(ioctl(fd, SIOCGIFADDR, &r), ENODEV);
	fails(ioctl(fd, SIOCGIFFLAGS, &r), ENODEV);
	fails(ioctl(fd, SIOCGIFINDEX, &r), ENODEV);
	fails(ioctl(fd, SIOCGIFMTU, NULL), EFAULT);
	fails(ioctl(fd, SIOCGIFCONF, NULL), EFAULT);
	r.ifr_ifindex = 0x7ffffff;
	fails(ioctl(fd, SIOCGIFNAME, &r), ENODEV);
	fails(ioctl(ends[0], SIOCGIFFLAGS, &r), ENOTTY);
	fails(ioctl(-1, SIOCGIFFLAGS, &r), EBADF);
	close(fd);
}
