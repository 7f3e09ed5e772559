/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration file of an engine, parsed and checked.
 *
 * Owns: names, defaults and checks of every key. Does not own: whether a device exists (ports.h).
 * Called by: culvertd and whoever embeds an engine, before the EAL starts.
 */
#ifndef CULVERT_DPDK_CONFIG_H
#define CULVERT_DPDK_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stack/core/engine.h"

#define CONFIG_PORTS_MAX 8    /* devices */
#define CONFIG_SECTIONS_MAX 64 /* [port NAME]: devices and VLANs */
#define CONFIG_ADDRESSES_MAX PORT_ADDRS_MAX
#define CONFIG_ROUTES_MAX 256
#define CONFIG_ERROR_BYTES 1024
#define CONFIG_NO_GROUP UINT32_MAX

enum config_idle { IDLE_MODE_ADAPTIVE, IDLE_MODE_POLL };
enum config_checksum { CHECKSUM_AUTO, CHECKSUM_OFFLOAD, CHECKSUM_SOFTWARE, CHECKSUM_TRUSTED };
enum config_tso { TSO_AUTO, TSO_OFF, TSO_TRUSTED };
#define CONFIG_TSO_MAX 65535u

enum config_dad { DAD_AUTO, DAD_YES, DAD_NO };

enum config_hugepages { HUGEPAGES_AUTO, HUGEPAGES_YES, HUGEPAGES_NO };

struct config_address {
	uint8_t addr[16]; /* network order, IPv4 mapped */
	uint8_t prefix;   /* as written: 0 to 32 for IPv4, 0 to 128 for IPv6 */
	bool set;
};

struct config_port {
	char name[32];
	char device[256]; /* empty: a VLAN on the port `parent` */
	char parent[32];
	const struct config_port *parent_port;
	bool pci;
	int line;        /* of the section */
	int device_line; /* of device= */
	struct config_address address, address6; /* the first of each family */
	struct config_address more[CONFIG_ADDRESSES_MAX]; /* all of address= and address6= */
	bool more_v6[CONFIG_ADDRESSES_MAX];
	uint16_t more_n;
	bool autoconf6;
	enum config_dad dad;
	struct config_address gateway, gateway6, host_address, host_address6;
	uint16_t mtu;
	uint16_t vlan; /* 0: none */
	enum config_checksum checksum;
	enum config_tso tso;
	uint16_t tso_max; /* bytes of IP in a super-segment (stack/core/port.h) */
};

struct config_route {
	struct config_address to, gateway; /* the gateway if it is set */
	bool v6;
	enum { ROUTE_VIA, ROUTE_UNREACHABLE, ROUTE_BLACKHOLE, ROUTE_PROHIBIT } kind;
	const struct config_port *port; /* NULL: where the gateway is */
	char dev[32];
	uint16_t mtu; /* 0: the port's */
	int line;
};

struct config_limits {
#define X(key, field, min, max, def, unit) uint64_t field;
#include "dpdk/limits.def"
#undef X
};

struct config {
	char path[256];
	char name[33];
	char control[108]; /* path of the control socket */
	uint32_t control_mode; /* its rights; 0: 0660 with a group of its own, else 0666 */
	uint32_t control_group; /* whose it is; CONFIG_NO_GROUP: the engine's */
	char cores[64];    /* empty: all that the process may use */
	uint32_t workers;
	enum config_hugepages hugepages; /* AUTO until the EAL starts */
	enum config_idle idle;
	uint32_t spin_us; /* time after the last work that a worker looks again without sleeping */
	bool loopback;    /* [rule] loopback=culvert */
	uint16_t ports_n;
	struct config_port ports[CONFIG_SECTIONS_MAX];
	uint16_t routes_n;
	struct config_route routes[CONFIG_ROUTES_MAX];
	struct config_limits limits;
	struct engine_tcp_config tcp;
};

/* Defaults, without a port. */
void config_init(struct config *c);
/* Reads path into *c. 0, or -1 with one line in error ("FILE:LINE: ..."). */
int config_load(struct config *c, const char *path, char error[CONFIG_ERROR_BYTES]);
/* The configuration of an engine `name` that was given none: a TAP. */
int config_load_default(struct config *c, const char *name, char error[CONFIG_ERROR_BYTES]);

#endif
