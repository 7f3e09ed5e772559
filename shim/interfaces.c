/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The list of interfaces (getifaddrs(3), if_nametoindex(3), if_nameindex(3), netdevice(7)): the kernel's answer first,
 * as it is, then what the engine has besides. So programs that bind to each address that they find serve the engine's,
 * too.
 *
 * Owns: nothing; what it tells is read from the page at each call. Called by the program, and by descriptor.c.
 * Invariant: without an engine, and when memory is short, the answer is the kernel's. What is said here starts no
 * engine inside the program: many a program asks that has no socket ever.
 */
#include "shim/interfaces.h"

#include <linux/if_link.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "shim/call.h"
#include "shim/link.h"
#include "shim/real.h"

#define FLAGS (IFF_UP | IFF_RUNNING | IFF_MULTICAST | IFF_BROADCAST)

union sockaddr_any {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	uint8_t link[36]; /* struct sockaddr_ll with the longest addresses that libc tells */
};

/* --- the page --------------------------------------------------------------------------------- */

static struct link *engine_find(void)
{
	return inline_wanted() ? link_now() : link_get();
}

/* A program that only reads the page learns nothing of the engine's end: it is looked for here. */
static const struct cv_page *engine_page(void)
{
	struct link *l = engine_find();
	struct pollfd control = {.fd = l ? l->wait.control_fd : -1};

	if (l && !__atomic_load_n(&l->wait.inside, __ATOMIC_RELAXED) && wait_kernel_poll(&control, 1) == 1) {
		mux_link_lost(&l->wait);
		l = engine_find();
	}
	return l ? l->wait.page : NULL;
}

/* The k-th as it may be used; false: there are not so many. */
static bool interface_at(const struct cv_page *page, uint32_t k, struct cv_interface *i)
{
	if (k >= page->interfaces_n || k >= CV_INTERFACES_MAX)
		return false;
	*i = page->interfaces[k];
	i->name[sizeof(i->name) - 1] = '\0';
	return true;
}

static bool interface_by_number(const struct cv_page *page, uint32_t ifindex, struct cv_interface *i)
{
	for (uint32_t k = 0; ifindex != 0 && interface_at(page, k, i); k++) {
		if (i->ifindex == ifindex)
			return true;
	}
	return false;
}

/* name: as much of it as a name may have, terminated or not. */
static bool interface_by_name(const struct cv_page *page, const char *name, struct cv_interface *i)
{
	for (uint32_t k = 0; *name && interface_at(page, k, i); k++) {
		if (strncmp(i->name, name, sizeof(i->name) - 1) == 0)
			return true;
	}
	return false;
}

/* Those that routers' prefixes make come and go: flags that stand before and after say that all of it is one's. */
static bool route_copy(const struct cv_route *from, struct cv_route *r)
{
	uint8_t flags = __atomic_load_n(&from->flags, __ATOMIC_ACQUIRE);

	*r = *from;
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return flags != 0 && __atomic_load_n(&from->flags, __ATOMIC_RELAXED) == flags;
}

/* The next of the engine's own addresses on an interface, from the route *at on; loopback has none. */
static bool address_next(const struct cv_page *page, uint32_t *at, struct cv_route *r, struct cv_interface *i)
{
	while (*at < page->routes_n && *at < CV_ROUTES_MAX) {
		if (route_copy(&page->routes[(*at)++], r) && (r->flags & CV_ROUTE_LOCAL) && r->prefix == 128 &&
			interface_by_number(page, r->ifindex, i))
			return true;
	}
	return false;
}

static bool is_v4(const struct cv_route *r)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	return memcmp(r->addr, mapped, sizeof(mapped)) == 0;
}

/* --- addresses -------------------------------------------------------------------------------- */

static void mask_make(uint8_t mask[16], const struct cv_route *r)
{
	unsigned bits = r->network > 128 || (is_v4(r) && r->network < 96) ? 128 : r->network;

	memset(mask, 0, 16);
	memset(mask, 0xff, bits / 8);
	if (bits % 8 != 0)
		mask[bits / 8] = (uint8_t)(0xff00u >> bits % 8);
}

static void sockaddr_make(union sockaddr_any *to, const uint8_t addr[16], bool v4)
{
	memset(to, 0, sizeof(*to));
	to->sa.sa_family = v4 ? AF_INET : AF_INET6;
	if (v4)
		memcpy(&to->in.sin_addr, addr + 12, 4);
	else
		memcpy(&to->in6.sin6_addr, addr, 16);
}

static void address_make(union sockaddr_any *to, const struct cv_route *r)
{
	sockaddr_make(to, r->addr, is_v4(r));
	if (!is_v4(r) && IN6_IS_ADDR_LINKLOCAL(&to->in6.sin6_addr))
		to->in6.sin6_scope_id = r->ifindex;
}

static void netmask_make(union sockaddr_any *to, const struct cv_route *r)
{
	uint8_t mask[16];

	mask_make(mask, r);
	sockaddr_make(to, mask, is_v4(r));
}

/* False: the network is too small to have one (RFC3021), or IPv6's. */
static bool broadcast_make(union sockaddr_any *to, const struct cv_route *r)
{
	uint8_t addr[16];

	mask_make(addr, r);
	if (!is_v4(r) || (addr[15] & 2))
		return false;
	for (unsigned i = 0; i < 16; i++)
		addr[i] = (uint8_t)~addr[i] | r->addr[i];
	sockaddr_make(to, addr, true);
	return true;
}

static bool same_address4(const struct sockaddr *sa, const union sockaddr_any *own)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)sa;

	return sa->sa_family == AF_INET && in->sin_addr.s_addr == own->in.sin_addr.s_addr;
}

static bool same_address6(const struct sockaddr *sa, const union sockaddr_any *own)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)sa;

	return sa->sa_family == AF_INET6 && memcmp(&in6->sin6_addr, &own->in6.sin6_addr, 16) == 0 &&
	       in6->sin6_scope_id == own->in6.sin6_scope_id;
}

/* --- getifaddrs ------------------------------------------------------------------------------- */

/* libc's freeifaddrs() is one free(), of the first entry: all lie in one block of memory. */
struct entry {
	struct ifaddrs ifa; /* first */
	union sockaddr_any addr, netmask, broadcast;
	struct rtnl_link_stats stats;
	char name[CV_INTERFACE_NAME_BYTES];
};

static bool is_listed(const struct ifaddrs *list, const struct cv_route *r)
{
	union sockaddr_any own;

	address_make(&own, r);
	for (; list; list = list->ifa_next) {
		if (list->ifa_addr &&
			(is_v4(r) ? same_address4(list->ifa_addr, &own) : same_address6(list->ifa_addr, &own)))
			return true;
	}
	return false;
}

static void entry_make(struct entry *e, const struct cv_route *r, const struct cv_interface *i)
{
	memcpy(e->name, i->name, sizeof(e->name));
	address_make(&e->addr, r);
	netmask_make(&e->netmask, r);
	e->ifa = (struct ifaddrs){
		.ifa_name = e->name, .ifa_flags = FLAGS, .ifa_addr = &e->addr.sa, .ifa_netmask = &e->netmask.sa};
	if (broadcast_make(&e->broadcast, r))
		e->ifa.ifa_broadaddr = &e->broadcast.sa;
}

static struct sockaddr *sockaddr_copy(union sockaddr_any *to, const struct sockaddr *sa)
{
	size_t size = sizeof(*sa);

	if (!sa)
		return NULL;
	if (sa->sa_family == AF_INET6)
		size = sizeof(to->in6);
	else if (sa->sa_family == AF_PACKET) /* libc has room for as much, however long the link's addresses are */
		size = sizeof(*to);
	memcpy(to, sa, size);
	return &to->sa;
}

static void entry_copy(struct entry *e, const struct ifaddrs *from)
{
	e->ifa = (struct ifaddrs){.ifa_name = e->name,
		.ifa_flags = from->ifa_flags,
		.ifa_addr = sockaddr_copy(&e->addr, from->ifa_addr),
		.ifa_netmask = sockaddr_copy(&e->netmask, from->ifa_netmask)};
	e->ifa.ifa_broadaddr = sockaddr_copy(&e->broadcast, from->ifa_broadaddr);
	strncpy(e->name, from->ifa_name, sizeof(e->name) - 1);
	if (!from->ifa_data)
		return;
	memcpy(&e->stats, from->ifa_data, sizeof(e->stats));
	e->ifa.ifa_data = &e->stats;
}

/* Puts the entry behind the others. */
static void entry_link(struct entry *first, struct entry *e)
{
	if (e != first)
		e[-1].ifa.ifa_next = &e->ifa;
}

static void list_add(struct ifaddrs **list, const struct cv_page *page)
{
	struct cv_interface i;
	struct cv_route r;
	struct entry *first, *e;
	uint32_t at = 0;
	size_t more = 0, n = 0;

	while (address_next(page, &at, &r, &i))
		more += !is_listed(*list, &r);
	for (const struct ifaddrs *ifa = *list; ifa; ifa = ifa->ifa_next)
		n++;
	first = e = more > 0 ? calloc(n + more, sizeof(*e)) : NULL;
	if (!first)
		return;
	for (const struct ifaddrs *ifa = *list; ifa; ifa = ifa->ifa_next, e++) {
		entry_copy(e, ifa);
		entry_link(first, e);
	}
	/* There may be more now, or fewer. */
	for (at = 0; e < first + n + more && address_next(page, &at, &r, &i);) {
		if (e > first && is_listed(&first->ifa, &r))
			continue;
		entry_make(e, &r, &i);
		entry_link(first, e++);
	}
	freeifaddrs(*list);
	*list = &first->ifa;
	if (e > first)
		return;
	free(first);
	*list = NULL;
}

int shim_getifaddrs(struct ifaddrs **list)
{
	int result = real_getifaddrs(list);
	const struct cv_page *page = result == 0 ? engine_page() : NULL;

	if (page)
		list_add(list, page);
	return result;
}

/* --- names and numbers ------------------------------------------------------------------------ */

unsigned shim_if_nametoindex(const char *name)
{
	int saved = errno;
	unsigned ifindex = real_if_nametoindex(name);
	const struct cv_page *page = ifindex == 0 && errno == ENODEV ? engine_page() : NULL;
	struct cv_interface i;

	if (!page || strlen(name) >= sizeof(i.name) || !interface_by_name(page, name, &i))
		return ifindex;
	errno = saved;
	return i.ifindex;
}

char *shim_if_indextoname(unsigned ifindex, char name[IF_NAMESIZE])
{
	int saved = errno;
	char *result = real_if_indextoname(ifindex, name);
	const struct cv_page *page = !result && errno == ENXIO ? engine_page() : NULL;
	struct cv_interface i;

	if (!page || !interface_by_number(page, ifindex, &i))
		return result;
	errno = saved;
	return memcpy(name, i.name, sizeof(i.name));
}

static bool is_named(const struct if_nameindex *list, const char *name)
{
	for (; list->if_index != 0; list++) {
		if (strcmp(list->if_name, name) == 0)
			return true;
	}
	return false;
}

/* if_freenameindex() frees each name, then the list. */
struct if_nameindex *shim_if_nameindex(void)
{
	struct if_nameindex *list = real_if_nameindex(), *more;
	const struct cv_page *page = list ? engine_page() : NULL;
	struct cv_interface i;
	size_t n = 0;

	while (page && list[n].if_index != 0)
		n++;
	more = page ? realloc(list, (n + CV_INTERFACES_MAX + 1) * sizeof(*list)) : NULL;
	if (!more)
		return list;
	for (uint32_t k = 0; interface_at(page, k, &i); k++) {
		if (i.ifindex == 0 || is_named(more, i.name) || !(more[n].if_name = strdup(i.name)))
			continue;
		more[n++].if_index = i.ifindex;
		more[n] = (struct if_nameindex){.if_index = 0};
	}
	return more;
}

/* --- ioctl ------------------------------------------------------------------------------------ */

/* IPv4's alone, as the kernel's. */
static bool address4_next(const struct cv_page *page, uint32_t *at, struct cv_route *r, struct cv_interface *i)
{
	while (address_next(page, at, r, i)) {
		if (is_v4(r))
			return true;
	}
	return false;
}

static bool conf_has(const struct ifconf *c, const union sockaddr_any *own)
{
	struct ifreq r;

	for (size_t at = 0; at + sizeof(r) <= (size_t)c->ifc_len; at += sizeof(r)) {
		memcpy(&r, c->ifc_buf + at, sizeof(r));
		if (same_address4(&r.ifr_addr, own))
			return true;
	}
	return false;
}

/* Behind the kernel's, as many as there is room for; without a buffer the program asks how much all take. */
static void conf_add(struct ifconf *c, int room, const struct cv_page *page)
{
	union sockaddr_any own;
	struct cv_interface i;
	struct cv_route r;

	for (uint32_t at = 0; address4_next(page, &at, &r, &i);) {
		struct ifreq one = {.ifr_flags = 0};

		address_make(&own, &r);
		one.ifr_addr = own.sa;
		memcpy(one.ifr_name, i.name, sizeof(one.ifr_name));
		if (c->ifc_buf && (room - c->ifc_len < (int)sizeof(one) || conf_has(c, &own)))
			continue;
		if (c->ifc_buf)
			memcpy(c->ifc_buf + c->ifc_len, &one, sizeof(one));
		c->ifc_len += (int)sizeof(one);
	}
}

static int interfaces_conf(int fd, struct ifconf *c)
{
	int room = call_bad_pointer(c) ? 0 : c->ifc_len, result = real_ioctl(fd, SIOCGIFCONF, c);
	const struct cv_page *page = result == 0 ? engine_page() : NULL;

	if (page && c->ifc_len >= 0)
		conf_add(c, room, page);
	return result;
}

/* The address that was asked for by name and address, as the kernel finds those that share a name; or else the first of
 * the name, if the kernel has none. */
static bool address4_asked(const struct cv_page *page, const struct ifreq *asked, bool any, struct cv_route *r)
{
	struct cv_interface i;
	union sockaddr_any own;

	for (uint32_t at = 0; address4_next(page, &at, r, &i);) {
		address_make(&own, r);
		if (strncmp(i.name, asked->ifr_name, sizeof(i.name) - 1) == 0 &&
			(any || same_address4(&asked->ifr_addr, &own)))
			return true;
	}
	return false;
}

/* 0, or the errno that the kernel's answer stays with. */
static int address_tell(
	const struct cv_page *page, unsigned long request, const struct ifreq *asked, int error, struct ifreq *to)
{
	union sockaddr_any own = {.in.sin_family = AF_INET};
	struct cv_interface i;
	struct cv_route r;

	if (!address4_asked(page, asked, false, &r) && (error == 0 || !address4_asked(page, asked, true, &r)))
		return error == ENODEV && interface_by_name(page, asked->ifr_name, &i) ? EADDRNOTAVAIL : error;
	if (request == SIOCGIFADDR)
		address_make(&own, &r);
	else if (request == SIOCGIFNETMASK)
		netmask_make(&own, &r);
	else
		broadcast_make(&own, &r);
	to->ifr_addr = own.sa;
	return 0;
}

/* Of an interface that the kernel has not. */
static int interface_tell(
	const struct cv_page *page, unsigned long request, const struct ifreq *asked, struct ifreq *to)
{
	struct cv_interface i;

	if (request == SIOCGIFNAME ? !interface_by_number(page, (uint32_t)asked->ifr_ifindex, &i)
				   : !interface_by_name(page, asked->ifr_name, &i))
		return ENODEV;
	if (request == SIOCGIFNAME) {
		memcpy(to->ifr_name, i.name, sizeof(to->ifr_name));
	} else if (request == SIOCGIFINDEX) {
		to->ifr_ifindex = i.ifindex;
	} else if (request == SIOCGIFFLAGS) {
		to->ifr_flags = FLAGS;
	} else if (request == SIOCGIFMTU) {
		to->ifr_mtu = i.mtu;
	} else {
		to->ifr_hwaddr = (struct sockaddr){.sa_family = ARPHRD_ETHER};
		memcpy(to->ifr_hwaddr.sa_data, i.mac, sizeof(i.mac));
	}
	return 0;
}

/* error: the kernel's, 0: it has an answer, too. */
static int interface_asked(int error, unsigned long request, const struct ifreq *asked, struct ifreq *to)
{
	bool address = request == SIOCGIFADDR || request == SIOCGIFNETMASK || request == SIOCGIFBRDADDR;
	const struct cv_page *page;

	if (!(error == ENODEV ||
		    (address && (error == EADDRNOTAVAIL || (error == 0 && asked->ifr_addr.sa_family == AF_INET)))))
		return error;
	page = engine_page();
	if (!page)
		return error;
	return address ? address_tell(page, request, asked, error, to) : interface_tell(page, request, asked, to);
}

int interfaces_ioctl(int fd, unsigned long request, void *arg)
{
	int saved = errno, error;
	struct ifreq asked, told;

	switch (request) {
	case SIOCGIFCONF:
		return interfaces_conf(fd, arg);
	case SIOCGIFADDR:
	case SIOCGIFNETMASK:
	case SIOCGIFBRDADDR:
	case SIOCGIFFLAGS:
	case SIOCGIFMTU:
	case SIOCGIFINDEX:
	case SIOCGIFNAME:
	case SIOCGIFHWADDR:
		break;
	default:
		return real_ioctl(fd, request, arg);
	}
	if (call_bad_pointer(arg))
		return real_ioctl(fd, request, arg);
	memcpy(&asked, arg, sizeof(asked));
	error = real_ioctl(fd, request, arg) == 0 ? 0 : errno;
	memcpy(&told, arg, sizeof(told));
	error = interface_asked(error, request, &asked, &told);
	errno = error ? error : saved;
	if (error)
		return -1;
	memcpy(arg, &told, sizeof(told));
	return 0;
}
