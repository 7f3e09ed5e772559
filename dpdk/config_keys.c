/* SPDX-License-Identifier: BSD-3-Clause */
/* The keys of [port], [engine], [limits], [tcp] and [rule], each by itself. What keys say together: config_check.c. */
#include "dpdk/config_priv.h"

#include <ctype.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <rte_cfgfile.h>

#include "stack/api/page.h"

static int device_set(struct parser *p, const char *value)
{
	unsigned a, b, d, f;
	char rest;

	snprintf(p->port->device, sizeof(p->port->device), "%s", value);
	p->port->device_line = p->line;
	p->port->pci = sscanf(value, "%x:%x:%x.%x%c", &a, &b, &d, &f, &rest) == 4 ||
		sscanf(value, "%x:%x.%x%c", &b, &d, &f, &rest) == 3;
	if (!p->port->pci && strncmp(value, "net_", 4) != 0)
		return config_fail(p, "device=%s: must be an EAL device, as net_tap0,iface=culvert0, or a PCI address, "
			       "as 0000:01:00.0", value);
	for (int i = 0; i < p->c->ports_n; i++) {
		const struct config_port *o = &p->c->ports[i];
		size_t n = strcspn(value, ",");
		if (o != p->port && n == strcspn(o->device, ",") && strncmp(o->device, value, n) == 0)
			return config_fail(p, "device=%s: [port %s] has it already", value, o->name);
	}
	return 0;
}

/* One address or several, with commas between. */
static int addresses(struct parser *p, const char *key, const char *value, bool v6)
{
	struct config_port *o = p->port;
	struct config_address *first = v6 ? &o->address6 : &o->address;
	char text[CFG_VALUE_LEN], *at = text, *one;

	snprintf(text, sizeof(text), "%s", value);
	while ((one = strsep(&at, ",")) != NULL) {
		if (o->more_n == CONFIG_ADDRESSES_MAX)
			return config_fail(p, "%s=%s: a port has at most %d addresses", key, value, CONFIG_ADDRESSES_MAX);
		if (config_address(p, key, config_trim(one), v6, true, &o->more[o->more_n]) != 0)
			return -1;
		for (unsigned i = 0; i < o->more_n; i++)
			if (o->more_v6[i] == v6 && memcmp(o->more[i].addr, o->more[o->more_n].addr, 16) == 0)
				return config_fail(p, "%s=%s: %s is there twice", key, value, one);
		if (!first->set)
			*first = o->more[o->more_n];
		o->more_v6[o->more_n++] = v6;
	}
	return 0;
}

/* A number from min to max. */
static int port_number(struct parser *p, const char *key, const char *value, uint64_t min, uint64_t max, uint16_t *to)
{
	uint64_t v;

	if (config_number(p, key, value, min, max, &v) != 0)
		return -1;
	*to = (uint16_t)v;
	return 0;
}

/* Addresses. 1: it is none of these. */
static int port_address_key(struct parser *p, const char *key, const char *value)
{
	struct config_port *o = p->port;

	if (strcmp(key, "address") == 0)
		return addresses(p, key, value, false);
	if (strcmp(key, "address6") == 0)
		return addresses(p, key, value, true);
	if (strcmp(key, "host_address") == 0)
		return config_address(p, key, value, false, true, &o->host_address);
	if (strcmp(key, "host_address6") == 0)
		return config_address(p, key, value, true, true, &o->host_address6);
	if (strcmp(key, "gateway") == 0)
		return config_address(p, key, value, false, false, &o->gateway);
	if (strcmp(key, "gateway6") == 0)
		return config_address(p, key, value, true, false, &o->gateway6);
	return 1;
}

/* One of a few words. 1: it is none of these. */
static int port_word_key(struct parser *p, const char *key, const char *value)
{
	struct config_port *o = p->port;
	int w = 0;

	if (strcmp(key, "autoconf6") == 0)
		o->autoconf6 = (w = config_word(p, key, value, "no|yes")) == 1;
	else if (strcmp(key, "dad") == 0)
		o->dad = (enum config_dad)(w = config_word(p, key, value, "auto|yes|no"));
	else if (strcmp(key, "checksum") == 0)
		o->checksum = (enum config_checksum)(w = config_word(p, key, value, "auto|offload|software|trusted-link"));
	else if (strcmp(key, "tso") == 0)
		o->tso = (enum config_tso)(w = config_word(p, key, value, "auto|off|trusted-link"));
	else
		return 1;
	return w < 0 ? -1 : 0;
}

int config_port_key(struct parser *p, const char *key, const char *value)
{
	struct config_port *o = p->port;
	int result = port_address_key(p, key, value);

	if (result == 1)
		result = port_word_key(p, key, value);
	if (result != 1)
		return result;
	if (strcmp(key, "device") == 0)
		return device_set(p, value);
	if (strcmp(key, "mtu") == 0)
		return port_number(p, key, value, 576, 65535, &o->mtu);
	if (strcmp(key, "vlan") == 0)
		return port_number(p, key, value, 1, 4094, &o->vlan);
	if (strcmp(key, "tso_max") == 0)
		return port_number(p, key, value, 2048, CONFIG_TSO_MAX, &o->tso_max);
	if (strcmp(key, "parent") == 0) {
		snprintf(o->parent, sizeof(o->parent), "%.31s", value);
		return config_name_check(p, "parent", value);
	}
	return config_fail(p, "unknown key \"%s\" in [port]; known are device, parent, address, address6, gateway, "
		       "gateway6, host_address, host_address6, mtu, vlan, autoconf6, dad, checksum, tso, tso_max", key);
}

/* Connecting takes the right to write. */
static int control_mode(struct parser *p, const char *value)
{
	char *end;
	unsigned long mode = strtoul(value, &end, 8);

	if (!isdigit((unsigned char)*value) || *end != '\0' || mode == 0 || (mode & ~0666ul) != 0)
		return config_fail(p, "control_mode=%s: must be 0600, 0660, 0666 or the like, in octal", value);
	p->c->control_mode = (uint32_t)mode;
	return 0;
}

static int control_group(struct parser *p, const char *value)
{
	const struct group *g = getgrnam(value);
	uint64_t gid;

	if (g != NULL)
		gid = g->gr_gid;
	else if (!isdigit((unsigned char)*value))
		return config_fail(p, "control_group=%s: there is no such group", value);
	else if (config_number(p, "control_group", value, 0, CONFIG_NO_GROUP - 1, &gid) != 0)
		return -1;
	p->c->control_group = (uint32_t)gid;
	return 0;
}

int config_engine_key(struct parser *p, const char *key, const char *value)
{
	struct config *c = p->c;
	uint64_t v;
	int w;

	if (strcmp(key, "name") == 0) {
		snprintf(c->name, sizeof(c->name), "%.32s", value);
		return config_name_check(p, "name", value);
	}
	if (strcmp(key, "workers") == 0) {
		if (config_number(p, key, value, 1, CV_WORKERS_MAX, &v) != 0)
			return -1;
		c->workers = (uint32_t)v;
		return 0;
	}
	if (strcmp(key, "cores") == 0) {
		snprintf(c->cores, sizeof(c->cores), "%s", value);
		if (strlen(value) >= sizeof(c->cores) || strspn(value, "0123456789,-") != strlen(value))
			return config_fail(p, "cores=%s: must be a list of cores, as 1 or 0,2-3", value);
		return 0;
	}
	if (strcmp(key, "hugepages") == 0) {
		w = config_word(p, key, value, "auto|yes|no");
		if (w >= 0)
			c->hugepages = (enum config_hugepages)w;
		return w < 0 ? -1 : 0;
	}
	if (strcmp(key, "idle") == 0) {
		w = config_word(p, key, value, "adaptive|poll");
		c->idle = w == 1 ? IDLE_MODE_POLL : IDLE_MODE_ADAPTIVE;
		return w < 0 ? -1 : 0;
	}
	if (strcmp(key, "spin") == 0) {
		if (config_number(p, key, value, 0, 1000000, &v) != 0)
			return -1;
		c->spin_us = (uint32_t)v;
		return 0;
	}
	if (strcmp(key, "control") == 0) {
		snprintf(c->control, sizeof(c->control), "%s", value);
		if (value[0] != '/' || strlen(value) >= sizeof(c->control))
			return config_fail(p, "control=%s: must be an absolute path of at most 107 characters", value);
		return 0;
	}
	if (strcmp(key, "control_mode") == 0)
		return control_mode(p, value);
	if (strcmp(key, "control_group") == 0)
		return control_group(p, value);
	return config_fail(p, "unknown key \"%s\" in [engine]; known are name, workers, cores, hugepages, idle, spin, "
		       "control, control_mode, control_group", key);
}

int config_limits_key(struct parser *p, const char *key, const char *value)
{
#define X(k, field, min, max, def, unit)                                                             \
	if (strcmp(key, #k) == 0)                                                                    \
		return config_number(p, key, value, min, max, &p->c->limits.field);
#include "dpdk/limits.def"
#undef X
	return config_fail(p, "unknown key \"%s\" in [limits]; known are "
#define X(k, field, min, max, def, unit) #k " "
#include "dpdk/limits.def"
#undef X
		       , key);
}

#define X(name) "|" #name
static const char congestion_names[] =
#include "stack/core/tcp_congestion.def"
	;
#undef X

int config_tcp_key(struct parser *p, const char *key, const char *value)
{
	uint64_t v;
	int w;

	if (strcmp(key, "congestion_control") == 0) {
		w = config_word(p, key, value, congestion_names + 1);
		p->c->tcp.congestion_control = (uint32_t)w;
		return w < 0 ? -1 : 0;
	}
#define X(k, min, max, def, text)                                                                    \
	if (strcmp(key, #k) == 0) {                                                                  \
		if (config_number(p, key, value, min, max, &v) != 0)                                        \
			return -1;                                                                   \
		p->c->tcp.k = (uint32_t)v;                                                           \
		return 0;                                                                            \
	}
#include "stack/core/tcp_config.def"
#undef X
	return config_fail(p, "unknown key \"%s\" in [tcp]; known are congestion_control "
#define X(k, min, max, def, text) #k " "
#include "stack/core/tcp_config.def"
#undef X
		       , key);
}

int config_rule_key(struct parser *p, const char *key, const char *value)
{
	int w;

	if (strcmp(key, "loopback") != 0)
		return config_fail(p, "unknown key \"%s\" in [rule]; known is loopback", key);
	w = config_word(p, key, value, "kernel|culvert");
	p->c->loopback = w == 1;
	return w < 0 ? -1 : 0;
}
