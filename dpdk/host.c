/* SPDX-License-Identifier: BSD-3-Clause */
/* The kernel's end of a TAP: its address and its up flag, by rtnetlink and ioctl. */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dpdk/ports.h"

struct address_request {
	struct nlmsghdr nh;
	struct ifaddrmsg ifa;
	char attrs[64];
};

static void attr_add(struct address_request *r, unsigned short type, const void *data, unsigned n)
{
	struct rtattr *a = (struct rtattr *)((char *)r + NLMSG_ALIGN(r->nh.nlmsg_len));

	a->rta_type = type;
	a->rta_len = (unsigned short)RTA_LENGTH(n);
	memcpy(RTA_DATA(a), data, n);
	r->nh.nlmsg_len = NLMSG_ALIGN(r->nh.nlmsg_len) + RTA_ALIGN(a->rta_len);
}

static int address_add(int index, int family, const uint8_t *addr, unsigned n, uint8_t prefix)
{
	struct address_request r = {0};
	struct {
		struct nlmsghdr nh;
		struct nlmsgerr err;
		char more[512];
	} answer = {0};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int status = 0;

	if (fd < 0)
		return -errno;
	r.nh.nlmsg_len = NLMSG_LENGTH(sizeof(r.ifa));
	r.nh.nlmsg_type = RTM_NEWADDR;
	r.nh.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
	r.ifa.ifa_family = (unsigned char)family;
	r.ifa.ifa_prefixlen = prefix;
	r.ifa.ifa_flags = family == AF_INET6 ? IFA_F_NODAD : 0;
	r.ifa.ifa_index = (unsigned)index;
	attr_add(&r, IFA_LOCAL, addr, n);
	attr_add(&r, IFA_ADDRESS, addr, n);
	if (send(fd, &r, r.nh.nlmsg_len, 0) < 0 || recv(fd, &answer, sizeof(answer), 0) < 0)
		status = -errno;
	else if (answer.nh.nlmsg_type == NLMSG_ERROR)
		status = answer.err.error;
	close(fd);
	return status;
}

int host_address_set(const char *iface, const struct config_address *v4,
	const struct config_address *v6)
{
	struct ifreq ifr = {0};
	int index = (int)if_nametoindex(iface);
	int fd, status = 0;

	if (index == 0)
		return -errno;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	strncpy(ifr.ifr_name, iface, IFNAMSIZ - 1);
	if (ioctl(fd, SIOCGIFFLAGS, &ifr) != 0) {
		status = -errno;
	} else {
		ifr.ifr_flags |= IFF_UP;
		if (ioctl(fd, SIOCSIFFLAGS, &ifr) != 0)
			status = -errno;
	}
	close(fd);
	if (status == 0 && v4->set)
		status = address_add(index, AF_INET, v4->addr + 12, 4, v4->prefix);
	if (status == 0 && v6->set)
		status = address_add(index, AF_INET6, v6->addr, 16, v6->prefix);
	return status;
}
