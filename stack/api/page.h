/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The engine's page: what every program on an engine may know, mapped read-only by all of them.
 * Written by the engine: interfaces and routes before the page is passed on (but for addresses made of routers'
 * prefixes), the workers' words as it runs.
 */
#ifndef CULVERT_API_PAGE_H
#define CULVERT_API_PAGE_H

#include "segment.h"

#define CV_PAGE_MAGIC 0x65676150766c7543ull
#define CV_WORKERS_MAX 16
#define CV_ROUTES_MAX 2624
#define CV_INTERFACES_MAX 64
#define CV_INTERFACE_NAME_BYTES 16 /* libc's IF_NAMESIZE */

/* Which addresses the engine serves. The longest prefix wins; no match: the kernel's. */
enum cv_route_flags {
	CV_ROUTE_LOCAL = 1u << 0,  /* the engine owns the address: bind and connect */
	CV_ROUTE_OUT = 1u << 1,    /* the engine can send there: connect, sendto */
	CV_ROUTE_KERNEL = 1u << 2, /* the kernel's, though a shorter prefix is ours */
};
struct cv_route {
	uint8_t addr[16]; /* network order, IPv4 mapped */
	uint8_t prefix;   /* 0 to 128, IPv4's /len as 96 + len */
	uint8_t flags;
	uint16_t mtu;
	uint16_t ifindex; /* of its port, as programs call it; 0: of several */
	uint8_t network;  /* of a port's own address: the prefix of the network that it is in, as above */
};

/* A port, as the list of interfaces shows it: by the kernel's name of its device, or else the configuration's. */
struct cv_interface {
	char name[CV_INTERFACE_NAME_BYTES]; /* zero-terminated */
	uint16_t ifindex;
	uint16_t mtu;
	uint8_t mac[6];
};

struct cv_page_worker {
	uint32_t armed CV_ALIGNED; /* non-zero: it sleeps or is about to; after posting a command and
				      a full fence, write 8 bytes to the worker's eventfd */
	uint32_t cpu;              /* core that it runs on */
	uint64_t turns;            /* grows while it runs */
};

struct cv_page {
	uint64_t magic;
	uint32_t version; /* CV_API_VERSION */
	uint32_t pid;
	uint32_t workers;
	uint32_t routes_n;
	char name[64];
	uint32_t interfaces_n;
	struct cv_interface interfaces[CV_INTERFACES_MAX];
	struct cv_route routes[CV_ROUTES_MAX];
	struct cv_page_worker worker[CV_WORKERS_MAX];
};

#endif
