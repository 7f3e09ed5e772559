/* SPDX-License-Identifier: BSD-3-Clause */
/* The program's socket addresses to the contract's and back. Pure. */
#include <errno.h>
#include <string.h>

#include "shim/call.h"
#include "shim/sock.h"

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

int address_in(const struct sockaddr *addr, socklen_t len, struct cv_endpoint *end, int *family)
{
	*family = -1;
	if (len > sizeof(struct sockaddr_storage))
		return -EINVAL;
	if (len > 0 && call_bad_pointer(addr))
		return -EFAULT;
	if (len < sizeof(sa_family_t))
		return -EINVAL;
	*end = (struct cv_endpoint){.port = 0};
	*family = addr->sa_family;
	if (addr->sa_family == AF_INET) {
		struct sockaddr_in in;

		if (len < sizeof(in))
			return -EINVAL;
		memcpy(&in, addr, sizeof(in));
		memcpy(end->addr, mapped_prefix, sizeof(mapped_prefix));
		memcpy(end->addr + 12, &in.sin_addr, 4);
		end->port = ntohs(in.sin_port);
		return 0;
	}
	if (addr->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;

		/* Linux takes the old form without the scope, too. */
		if (len < offsetof(struct sockaddr_in6, sin6_scope_id))
			return -EINVAL;
		memset(&in6, 0, sizeof(in6));
		memcpy(&in6, addr, len < sizeof(in6) ? len : sizeof(in6));
		memcpy(end->addr, &in6.sin6_addr, 16);
		end->port = ntohs(in6.sin6_port);
		end->scope = (uint16_t)in6.sin6_scope_id;
		return 0;
	}
	return -EAFNOSUPPORT;
}

void address_out(const struct cv_endpoint *end, int family, struct sockaddr *addr, socklen_t *len)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	struct sockaddr_in in = {.sin_family = AF_INET};
	const void *from = &in;
	socklen_t full = sizeof(in);

	if (family == AF_INET6) {
		memcpy(&in6.sin6_addr, end->addr, 16);
		in6.sin6_port = htons(end->port);
		in6.sin6_scope_id = end->scope;
		from = &in6;
		full = sizeof(in6);
	} else {
		memcpy(&in.sin_addr, end->addr + 12, 4);
		in.sin_port = htons(end->port);
	}
	memcpy(addr, from, *len < full ? *len : full);
	*len = full;
}

bool address_is_any(const struct cv_endpoint *end)
{
	static const uint8_t zero[16];

	return memcmp(end->addr, zero, 16) == 0 ||
	       (memcmp(end->addr, mapped_prefix, 12) == 0 && memcmp(end->addr + 12, zero, 4) == 0);
}

uint8_t address_family(const struct cv_endpoint *end)
{
	return memcmp(end->addr, mapped_prefix, sizeof(mapped_prefix)) == 0 ? CV_AF_INET : CV_AF_INET6;
}
