/* SPDX-License-Identifier: BSD-3-Clause */
/* The configuration file: a scan for line numbers and form, rte_cfgfile for the values, then a table
 * of keys. */
#include "dpdk/config.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <regex.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <rte_cfgfile.h>

#include "stack/api/page.h"
#include "stack/base/addr.h"

#define LINES_MAX 512
#define KEYS_PER_SECTION 300

struct scan {
	FILE *copy; /* what rte_cfgfile reads: the file without lines of # comments */
	int copy_fd;
	int sections;
	int section_line[LINES_MAX];
	int first[LINES_MAX]; /* index of the section's first key */
	int keys;
	int key_line[LINES_MAX];
};

struct parser {
	struct config *c;
	const char *path;
	char *error;
	int line;
	struct config_port *port; /* in a [port] section */
};

__attribute__((format(printf, 2, 3))) static int fail(struct parser *p, const char *fmt, ...)
{
	char what[CONFIG_ERROR_BYTES - 200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (p->line > 0)
		snprintf(p->error, CONFIG_ERROR_BYTES, "%.180s:%d: %s", p->path, p->line, what);
	else
		snprintf(p->error, CONFIG_ERROR_BYTES, "%.180s: %s", p->path, what);
	return -1;
}

static char *trim(char *s)
{
	char *end;

	while (isspace((unsigned char)*s))
		s++;
	end = s + strlen(s);
	while (end > s && isspace((unsigned char)end[-1]))
		*--end = '\0';
	return s;
}

static int scan_line(struct parser *p, struct scan *s, char *text)
{
	char *t, *comment = strchr(text, ';');

	if (comment != NULL)
		*comment = '\0';
	t = trim(text);
	if (*t == '\0' || *t == '#')
		return fprintf(s->copy, "\n") < 0 ? fail(p, "%s", strerror(errno)) : 0;
	if (s->sections == LINES_MAX || s->keys == LINES_MAX)
		return fail(p, "too many lines; at most %d keys", LINES_MAX);
	if (*t == '[') {
		if (t[strlen(t) - 1] != ']')
			return fail(p, "a section is written [engine], [port NAME], [routes], [rule], [tcp] or [limits]");
		s->section_line[s->sections] = p->line;
		s->first[s->sections++] = s->keys;
	} else if (strchr(t, '=') == NULL || *t == '=') {
		return fail(p, "\"%s\" is neither [section] nor key=value", t);
	} else if (s->sections == 0) {
		return fail(p, "\"%s\" stands before the first section", t);
	} else if (strlen(t) >= CFG_VALUE_LEN) {
		return fail(p, "the line is longer than %d characters", CFG_VALUE_LEN - 1);
	} else {
		s->key_line[s->keys++] = p->line;
	}
	fprintf(s->copy, "%s\n", t);
	return 0;
}

static int scan_file(struct parser *p, struct scan *s)
{
	char *text = NULL;
	size_t size = 0;
	int status = 0;
	FILE *f = fopen(p->path, "re");

	if (f == NULL)
		return fail(p, "cannot be read: %s", strerror(errno));
	s->copy_fd = memfd_create("culvert-config", MFD_CLOEXEC);
	s->copy = s->copy_fd < 0 ? NULL : fdopen(s->copy_fd, "w");
	if (s->copy == NULL) {
		fclose(f);
		return fail(p, "memfd_create: %s", strerror(errno));
	}
	while (status == 0 && getline(&text, &size, f) >= 0) {
		p->line++;
		status = scan_line(p, s, text);
	}
	if (status == 0 && !feof(f)) {
		p->line = 0;
		status = fail(p, "cannot be read: %s", strerror(errno));
	}
	free(text);
	fclose(f);
	if (status == 0 && fflush(s->copy) != 0)
		status = fail(p, "%s", strerror(errno));
	return status;
}

/* --- values ---------------------------------------------------------------------------------- */

static int number(struct parser *p, const char *key, const char *value, uint64_t min, uint64_t max,
	uint64_t *out)
{
	char *end;
	unsigned long long v;
	unsigned shift = 0;

	errno = 0;
	v = strtoull(value, &end, 10);
	if (*end == 'K')
		shift = 10;
	else if (*end == 'M')
		shift = 20;
	else if (*end == 'G')
		shift = 30;
	if (shift != 0)
		end++;
	if (!isdigit((unsigned char)*value) || *end != '\0' || errno != 0 ||
		v > (UINT64_MAX >> shift) || (v << shift) < min || (v << shift) > max)
		return fail(p, "%s=%s: must be a number from %llu to %llu", key, value,
			(unsigned long long)min, (unsigned long long)max);
	*out = v << shift;
	return 0;
}

/* One of the words a|b|c; its index. */
static int word(struct parser *p, const char *key, const char *value, const char *words)
{
	const char *w = words;

	for (int i = 0; w != NULL; i++) {
		size_t n = strcspn(w, "|");
		if (n == strlen(value) && memcmp(w, value, n) == 0)
			return i;
		w = w[n] == '|' ? w + n + 1 : NULL;
	}
	return fail(p, "%s=%s: must be %s", key, value, words);
}

static int name_check(struct parser *p, const char *what, const char *value)
{
	size_t n = strlen(value);

	if (n == 0 || n > 31 || value[0] == '.' || value[0] == '-' ||
		strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != n)
		return fail(p, "%s \"%s\": must be 1 to 31 letters, digits, '_', '-' or '.'", what, value);
	return 0;
}

static int address(struct parser *p, const char *key, const char *value, bool v6, bool with_prefix,
	struct config_address *a)
{
	char text[64];
	uint64_t prefix = v6 ? 128 : 32;
	char *slash;

	snprintf(text, sizeof(text), "%s", value);
	slash = strchr(text, '/');
	if (slash != NULL)
		*slash++ = '\0';
	memset(a, 0, sizeof(*a));
	a->addr[10] = a->addr[11] = 0xff;
	if (strlen(value) >= sizeof(text) || (slash != NULL) != with_prefix ||
		inet_pton(v6 ? AF_INET6 : AF_INET, text, v6 ? a->addr : a->addr + 12) != 1)
		return fail(p, "%s=%s: must be %s", key, value,
			v6 ? (with_prefix ? "an IPv6 address with prefix, as fd00::1/64" :
						  "an IPv6 address, as fd00::1") :
			     (with_prefix ? "an IPv4 address with prefix, as 10.0.0.1/24" :
						  "an IPv4 address, as 10.0.0.1"));
	if (slash != NULL && number(p, key, slash, 1, prefix, &prefix) != 0)
		return -1;
	if (v6 ? (addr_is_multicast(a->addr) || addr_is_any(a->addr) || addr_is_loopback(a->addr) ||
			 addr_is_v4(a->addr)) :
		 (a->addr[12] == 0 || a->addr[12] == 127 || a->addr[12] >= 224))
		return fail(p, "%s=%s: must be a unicast address that is not loopback", key, value);
	a->prefix = (uint8_t)prefix;
	a->set = true;
	return 0;
}

static bool same_net(const struct config_address *a, const struct config_address *b, bool v6,
	unsigned prefix)
{
	unsigned bits = v6 ? prefix : prefix + 96;

	for (unsigned i = 0; i < bits; i++)
		if (((a->addr[i / 8] ^ b->addr[i / 8]) >> (7 - i % 8)) & 1)
			return false;
	return true;
}

/* --- sections -------------------------------------------------------------------------------- */

static int device_set(struct parser *p, const char *value)
{
	unsigned a, b, d, f;
	char rest;

	snprintf(p->port->device, sizeof(p->port->device), "%s", value);
	p->port->device_line = p->line;
	p->port->pci = sscanf(value, "%x:%x:%x.%x%c", &a, &b, &d, &f, &rest) == 4 ||
		sscanf(value, "%x:%x.%x%c", &b, &d, &f, &rest) == 3;
	if (!p->port->pci && strncmp(value, "net_", 4) != 0)
		return fail(p, "device=%s: must be an EAL device, as net_tap0,iface=culvert0, or a PCI address, "
			       "as 0000:01:00.0", value);
	for (int i = 0; i < p->c->ports_n; i++) {
		const struct config_port *o = &p->c->ports[i];
		size_t n = strcspn(value, ",");
		if (o != p->port && n == strcspn(o->device, ",") && strncmp(o->device, value, n) == 0)
			return fail(p, "device=%s: [port %s] has it already", value, o->name);
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
			return fail(p, "%s=%s: a port has at most %d addresses", key, value, CONFIG_ADDRESSES_MAX);
		if (address(p, key, trim(one), v6, true, &o->more[o->more_n]) != 0)
			return -1;
		for (unsigned i = 0; i < o->more_n; i++)
			if (o->more_v6[i] == v6 && memcmp(o->more[i].addr, o->more[o->more_n].addr, 16) == 0)
				return fail(p, "%s=%s: %s is there twice", key, value, one);
		if (!first->set)
			*first = o->more[o->more_n];
		o->more_v6[o->more_n++] = v6;
	}
	return 0;
}

static int port_key(struct parser *p, const char *key, const char *value)
{
	struct config_port *o = p->port;
	uint64_t v;
	int w;

	if (strcmp(key, "device") == 0)
		return device_set(p, value);
	if (strcmp(key, "address") == 0)
		return addresses(p, key, value, false);
	if (strcmp(key, "address6") == 0)
		return addresses(p, key, value, true);
	if (strcmp(key, "host_address") == 0)
		return address(p, key, value, false, true, &o->host_address);
	if (strcmp(key, "host_address6") == 0)
		return address(p, key, value, true, true, &o->host_address6);
	if (strcmp(key, "gateway") == 0)
		return address(p, key, value, false, false, &o->gateway);
	if (strcmp(key, "gateway6") == 0)
		return address(p, key, value, true, false, &o->gateway6);
	if (strcmp(key, "mtu") == 0) {
		if (number(p, key, value, 576, 65535, &v) != 0)
			return -1;
		o->mtu = (uint16_t)v;
		return 0;
	}
	if (strcmp(key, "vlan") == 0) {
		if (number(p, key, value, 1, 4094, &v) != 0)
			return -1;
		o->vlan = (uint16_t)v;
		return 0;
	}
	if (strcmp(key, "parent") == 0) {
		snprintf(o->parent, sizeof(o->parent), "%.31s", value);
		return name_check(p, "parent", value);
	}
	if (strcmp(key, "autoconf6") == 0) {
		if ((w = word(p, key, value, "no|yes")) < 0)
			return -1;
		o->autoconf6 = w == 1;
		return 0;
	}
	if (strcmp(key, "dad") == 0) {
		if ((w = word(p, key, value, "auto|yes|no")) < 0)
			return -1;
		o->dad = (enum config_dad)w;
		return 0;
	}
	if (strcmp(key, "checksum") == 0) {
		if ((w = word(p, key, value, "auto|offload|software|trusted-link")) < 0)
			return -1;
		o->checksum = (enum config_checksum)w;
		return 0;
	}
	if (strcmp(key, "tso") == 0) {
		if ((w = word(p, key, value, "auto|off|trusted-link")) < 0)
			return -1;
		o->tso = (enum config_tso)w;
		return 0;
	}
	if (strcmp(key, "tso_max") == 0) {
		if (number(p, key, value, 2048, CONFIG_TSO_MAX, &v) != 0)
			return -1;
		o->tso_max = (uint16_t)v;
		return 0;
	}
	return fail(p, "unknown key \"%s\" in [port]; known are device, parent, address, address6, gateway, "
		       "gateway6, host_address, host_address6, mtu, vlan, autoconf6, dad, checksum, tso, tso_max", key);
}

/* Connecting takes the right to write. */
static int control_mode(struct parser *p, const char *value)
{
	char *end;
	unsigned long mode = strtoul(value, &end, 8);

	if (!isdigit((unsigned char)*value) || *end != '\0' || mode == 0 || (mode & ~0666ul) != 0)
		return fail(p, "control_mode=%s: must be 0600, 0660, 0666 or the like, in octal", value);
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
		return fail(p, "control_group=%s: there is no such group", value);
	else if (number(p, "control_group", value, 0, CONFIG_NO_GROUP - 1, &gid) != 0)
		return -1;
	p->c->control_group = (uint32_t)gid;
	return 0;
}

static int engine_key(struct parser *p, const char *key, const char *value)
{
	struct config *c = p->c;
	uint64_t v;
	int w;

	if (strcmp(key, "name") == 0) {
		snprintf(c->name, sizeof(c->name), "%.32s", value);
		return name_check(p, "name", value);
	}
	if (strcmp(key, "workers") == 0) {
		if (number(p, key, value, 1, CV_WORKERS_MAX, &v) != 0)
			return -1;
		c->workers = (uint32_t)v;
		return 0;
	}
	if (strcmp(key, "cores") == 0) {
		snprintf(c->cores, sizeof(c->cores), "%s", value);
		if (strlen(value) >= sizeof(c->cores) || strspn(value, "0123456789,-") != strlen(value))
			return fail(p, "cores=%s: must be a list of cores, as 1 or 0,2-3", value);
		return 0;
	}
	if (strcmp(key, "hugepages") == 0) {
		w = word(p, key, value, "auto|yes|no");
		if (w >= 0)
			c->hugepages = (enum config_hugepages)w;
		return w < 0 ? -1 : 0;
	}
	if (strcmp(key, "idle") == 0) {
		w = word(p, key, value, "adaptive|poll");
		c->idle = w == 1 ? IDLE_MODE_POLL : IDLE_MODE_ADAPTIVE;
		return w < 0 ? -1 : 0;
	}
	if (strcmp(key, "spin") == 0) {
		if (number(p, key, value, 0, 1000000, &v) != 0)
			return -1;
		c->spin_us = (uint32_t)v;
		return 0;
	}
	if (strcmp(key, "control") == 0) {
		snprintf(c->control, sizeof(c->control), "%s", value);
		if (value[0] != '/' || strlen(value) >= sizeof(c->control))
			return fail(p, "control=%s: must be an absolute path of at most 107 characters", value);
		return 0;
	}
	if (strcmp(key, "control_mode") == 0)
		return control_mode(p, value);
	if (strcmp(key, "control_group") == 0)
		return control_group(p, value);
	return fail(p, "unknown key \"%s\" in [engine]; known are name, workers, cores, hugepages, idle, spin, "
		       "control, control_mode, control_group", key);
}

static int limits_key(struct parser *p, const char *key, const char *value)
{
#define X(k, field, min, max, def, unit)                                                             \
	if (strcmp(key, #k) == 0)                                                                    \
		return number(p, key, value, min, max, &p->c->limits.field);
#include "dpdk/limits.def"
#undef X
	return fail(p, "unknown key \"%s\" in [limits]; known are "
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

static int tcp_key(struct parser *p, const char *key, const char *value)
{
	uint64_t v;
	int w;

	if (strcmp(key, "congestion_control") == 0) {
		w = word(p, key, value, congestion_names + 1);
		p->c->tcp.congestion_control = (uint32_t)w;
		return w < 0 ? -1 : 0;
	}
#define X(k, min, max, def, text)                                                                    \
	if (strcmp(key, #k) == 0) {                                                                  \
		if (number(p, key, value, min, max, &v) != 0)                                        \
			return -1;                                                                   \
		p->c->tcp.k = (uint32_t)v;                                                           \
		return 0;                                                                            \
	}
#include "stack/core/tcp_config.def"
#undef X
	return fail(p, "unknown key \"%s\" in [tcp]; known are congestion_control "
#define X(k, min, max, def, text) #k " "
#include "stack/core/tcp_config.def"
#undef X
		       , key);
}

static int rule_key(struct parser *p, const char *key, const char *value)
{
	int w;

	if (strcmp(key, "loopback") != 0)
		return fail(p, "unknown key \"%s\" in [rule]; known is loopback", key);
	w = word(p, key, value, "kernel|culvert");
	p->c->loopback = w == 1;
	return w < 0 ? -1 : 0;
}

/* --- routes ---------------------------------------------------------------------------------- */

#define ROUTE_FORM                                                                                   \
	"must be PREFIX via GATEWAY [dev PORT] [mtu N], PREFIX dev PORT [mtu N], or PREFIX unreachable, "    \
	"blackhole or prohibit; PREFIX as 192.0.2.0/24, 2001:db8::/32 or default"

/* PREFIX; "default" has the family of what follows, and is left unset. */
static int route_prefix(struct parser *p, struct config_route *r, char *text, const char *whole)
{
	char *slash = strchr(text, '/');
	uint64_t bits;

	if (strcmp(text, "default") == 0)
		return 0;
	r->v6 = strchr(text, ':') != NULL;
	bits = r->v6 ? 128 : 32;
	if (slash != NULL)
		*slash++ = '\0';
	r->to.addr[10] = r->to.addr[11] = r->v6 ? 0 : 0xff;
	if (inet_pton(r->v6 ? AF_INET6 : AF_INET, text, r->to.addr + (r->v6 ? 0 : 12)) != 1)
		return fail(p, "route=%s: " ROUTE_FORM, whole);
	if (slash != NULL && number(p, "route", slash, 0, bits, &bits) != 0)
		return -1;
	r->to.prefix = (uint8_t)bits;
	r->to.set = true;
	return 0;
}

static int route_word(struct parser *p, struct config_route *r, const char *key, char **rest, const char *whole)
{
	static const char *const kinds[] = {"", "unreachable", "blackhole", "prohibit"};
	char *value;
	uint64_t v;

	for (unsigned i = 1; i < 4; i++) {
		if (strcmp(key, kinds[i]) == 0) {
			r->kind = i;
			return 0;
		}
	}
	value = strsep(rest, " \t");
	if (value != NULL && strcmp(key, "via") == 0)
		return address(p, "route", value, strchr(value, ':') != NULL, false, &r->gateway);
	if (value != NULL && strcmp(key, "dev") == 0) {
		snprintf(r->dev, sizeof(r->dev), "%.31s", value);
		return name_check(p, "dev", value);
	}
	if (value != NULL && strcmp(key, "mtu") == 0) {
		if (number(p, "mtu", value, 576, 65535, &v) != 0)
			return -1;
		r->mtu = (uint16_t)v;
		return 0;
	}
	return fail(p, "route=%s: " ROUTE_FORM, whole);
}

static int routes_key(struct parser *p, const char *key, const char *value)
{
	struct config_route *r = &p->c->routes[p->c->routes_n];
	char text[CFG_VALUE_LEN], *at = text, *one;
	bool gateway6;

	if (strcmp(key, "route") != 0)
		return fail(p, "unknown key \"%s\" in [routes]; known is route", key);
	if (p->c->routes_n == CONFIG_ROUTES_MAX)
		return fail(p, "more than %d routes", CONFIG_ROUTES_MAX);
	snprintf(text, sizeof(text), "%s", value);
	*r = (struct config_route){.line = p->line};
	if (route_prefix(p, r, strsep(&at, " \t"), value) != 0)
		return -1;
	while ((one = strsep(&at, " \t")) != NULL)
		if (*one != '\0' && route_word(p, r, one, &at, value) != 0)
			return -1;
	gateway6 = r->gateway.set && !addr_is_v4(r->gateway.addr);
	if (!r->to.set) {
		r->v6 = gateway6;
		r->to.addr[10] = r->to.addr[11] = r->v6 ? 0 : 0xff;
		r->to.set = true;
	}
	if (r->kind == ROUTE_VIA ? !r->gateway.set && r->dev[0] == '\0' : r->gateway.set || r->dev[0] != '\0')
		return fail(p, "route=%s: " ROUTE_FORM, value);
	if (r->gateway.set && gateway6 != r->v6)
		return fail(p, "route=%s: the gateway is of the other family", value);
	if (gateway6 && addr_is_link_local(r->gateway.addr) && r->dev[0] == '\0')
		return fail(p, "route=%s: a link-local gateway needs dev PORT", value);
	p->c->routes_n++;
	return 0;
}

typedef int (*key_fn)(struct parser *p, const char *key, const char *value);

static key_fn section_begin(struct parser *p, const char *name)
{
	struct config *c = p->c;
	char port[64];

	if (strcmp(name, "engine") == 0)
		return engine_key;
	if (strcmp(name, "routes") == 0)
		return routes_key;
	if (strcmp(name, "rule") == 0)
		return rule_key;
	if (strcmp(name, "tcp") == 0)
		return tcp_key;
	if (strcmp(name, "limits") == 0)
		return limits_key;
	if (strncmp(name, "port ", 5) != 0) {
		fail(p, "unknown section [%s]; known are [engine], [port NAME], [routes], [rule], [tcp], [limits]", name);
		return NULL;
	}
	snprintf(port, sizeof(port), "%.63s", name + 5);
	if (name_check(p, "port", trim(port)) != 0)
		return NULL;
	for (int i = 0; i < c->ports_n; i++)
		if (strcmp(c->ports[i].name, trim(port)) == 0) {
			fail(p, "[port %s] is there already, in line %d", trim(port), c->ports[i].line);
			return NULL;
		}
	if (c->ports_n == CONFIG_SECTIONS_MAX) {
		fail(p, "more than %d ports", CONFIG_SECTIONS_MAX);
		return NULL;
	}
	p->port = &c->ports[c->ports_n++];
	memset(p->port, 0, sizeof(*p->port));
	snprintf(p->port->name, sizeof(p->port->name), "%.31s", trim(port));
	p->port->line = p->line;
	p->port->mtu = 1500;
	p->port->tso_max = CONFIG_TSO_MAX;
	return port_key;
}

static int section_read(struct parser *p, struct scan *s, struct rte_cfgfile *f, int index)
{
	struct rte_cfgfile_entry entries[KEYS_PER_SECTION];
	char name[CFG_NAME_LEN];
	key_fn set;
	int n = rte_cfgfile_section_entries_by_index(f, index, name, entries, KEYS_PER_SECTION);

	p->line = s->section_line[index];
	if (n < 0)
		return fail(p, "the section cannot be read");
	for (int i = 0; i < index && strncmp(name, "port ", 5) != 0; i++) {
		struct rte_cfgfile_entry ignored[KEYS_PER_SECTION];
		char other[CFG_NAME_LEN];
		rte_cfgfile_section_entries_by_index(f, i, other, ignored, KEYS_PER_SECTION);
		if (strcmp(other, name) == 0)
			return fail(p, "[%s] is there already, in line %d", name, s->section_line[i]);
	}
	set = section_begin(p, name);
	if (set == NULL)
		return -1;
	for (int i = 0; i < n; i++) {
		p->line = s->key_line[s->first[index] + i];
		for (int j = 0; j < i; j++)
			if (strcmp(entries[j].name, entries[i].name) == 0 && set != routes_key)
				return fail(p, "%s= is there already, in line %d", entries[i].name,
					s->key_line[s->first[index] + j]);
		if (entries[i].value[0] == '\0')
			return fail(p, "%s= has no value", entries[i].name);
		if (set(p, entries[i].name, entries[i].value) != 0)
			return -1;
	}
	return 0;
}

/* --- what keys say together -------------------------------------------------------------------- */

/* Whether a is in one of the port's networks, and none of its addresses. */
static bool is_neighbour(const struct config_port *o, const struct config_address *a, bool v6)
{
	bool found = v6 && addr_is_link_local(a->addr);

	for (unsigned i = 0; i < o->more_n; i++) {
		if (o->more_v6[i] != v6)
			continue;
		if (memcmp(a->addr, o->more[i].addr, 16) == 0)
			return false;
		found |= same_net(a, &o->more[i], v6, o->more[i].prefix);
	}
	return found;
}

static int pair_check(struct parser *p, const char *key, const struct config_address *a, const struct config_port *o,
	bool v6)
{
	bool speaks = v6 ? o->address6.set || o->autoconf6 : o->address.set;

	if (!a->set)
		return 0;
	if (!speaks)
		return fail(p, "%s%s= needs address%s=", key, v6 ? "6" : "", v6 ? "6" : "");
	if (!is_neighbour(o, a, v6))
		return fail(p, "%s%s= must be another address in the network of address%s=", key,
			v6 ? "6" : "", v6 ? "6" : "");
	return 0;
}

static struct config_port *port_find(struct config *c, const char *name)
{
	for (int i = 0; i < c->ports_n; i++)
		if (strcmp(c->ports[i].name, name) == 0)
			return &c->ports[i];
	return NULL;
}

/* A VLAN has its parent's device, and nothing that is the device's. */
static int parent_check(struct parser *p, struct config_port *o)
{
	const struct config_port *parent = port_find(p->c, o->parent);

	if (o->device[0] != '\0')
		return fail(p, "[port %s] has device= and parent=; a VLAN has only parent=", o->name);
	if (o->vlan == 0)
		return fail(p, "[port %s] has parent=, so it needs vlan=", o->name);
	if (parent == NULL || parent->device[0] == '\0')
		return fail(p, "[port %s] has parent=%s, which is no port with device=", o->name, o->parent);
	if (o->checksum != CHECKSUM_AUTO || o->tso != TSO_AUTO || o->host_address.set || o->host_address6.set)
		return fail(p, "[port %s]: checksum=, tso= and host_address= are the parent's", o->name);
	if (o->mtu > parent->mtu)
		return fail(p, "[port %s]: mtu=%u is more than the parent's %u", o->name, o->mtu, parent->mtu);
	if (parent->vlan == o->vlan)
		return fail(p, "[port %s] has vlan=%u already", parent->name, o->vlan);
	for (const struct config_port *q = p->c->ports; q < o; q++)
		if (q->vlan == o->vlan && strcmp(q->parent, o->parent) == 0)
			return fail(p, "[port %s] has vlan=%u already", q->name, o->vlan);
	o->parent_port = parent;
	return 0;
}

static int overlap_check(struct parser *p, const struct config_port *o)
{
	for (const struct config_port *q = p->c->ports; q < o; q++) {
		for (unsigned i = 0; i < o->more_n * q->more_n; i++) {
			unsigned a = i % o->more_n, b = i / o->more_n;
			uint8_t bits = o->more[a].prefix < q->more[b].prefix ? o->more[a].prefix : q->more[b].prefix;

			if (o->more_v6[a] == q->more_v6[b] &&
				same_net(&o->more[a], &q->more[b], o->more_v6[a], bits))
				return fail(p, "the networks of [port %s] and [port %s] overlap", q->name, o->name);
		}
	}
	return 0;
}

static int route_check(struct parser *p, struct config_route *r)
{
	p->line = r->line;
	if (r->dev[0] != '\0') {
		r->port = port_find(p->c, r->dev);
		return r->port != NULL ? 0 : fail(p, "dev %s: there is no such port", r->dev);
	}
	for (int i = 0; i < p->c->ports_n && r->kind == ROUTE_VIA && r->port == NULL; i++)
		if (is_neighbour(&p->c->ports[i], &r->gateway, r->v6))
			r->port = &p->c->ports[i];
	if (r->kind == ROUTE_VIA && r->port == NULL)
		return fail(p, "the gateway is in no port's network");
	return 0;
}

static int port_check(struct parser *p, struct config_port *o)
{
	bool tap = strncmp(o->device, "net_tap", 7) == 0;

	p->line = o->line;
	if (o->parent[0] != '\0' && parent_check(p, o) != 0)
		return -1;
	if (o->device[0] == '\0' && o->parent[0] == '\0')
		return fail(p, "[port %s] needs device=, as net_tap0,iface=culvert0", o->name);
	if (o->more_n == 0 && !o->autoconf6)
		return fail(p, "[port %s] needs address=, address6= or autoconf6=yes", o->name);
	if ((o->address6.set || o->autoconf6) && o->mtu < 1280)
		return fail(p, "[port %s] has address6=, so mtu= must be 1280 or more", o->name);
	if (o->tso == TSO_TRUSTED && (o->gateway.set || o->gateway6.set))
		return fail(p, "[port %s] has gateway=, and a router passes on no frame larger than its MTU: tso=trusted-link "
			       "is for links whose other end is all there is", o->name);
	if (tap && (o->mtu > 1500 || o->tso == TSO_TRUSTED))
		return fail(p, "[port %s]: the driver of net_tap takes no frame of more than 1522 bytes: mtu= is at most 1500, and "
			       "tso=trusted-link cannot be", o->name);
	if ((o->host_address.set || o->host_address6.set) && !tap)
		return fail(p, "host_address= is for net_tap devices only");
	if (pair_check(p, "gateway", &o->gateway, o, false) != 0 ||
		pair_check(p, "gateway", &o->gateway6, o, true) != 0 ||
		pair_check(p, "host_address", &o->host_address, o, false) != 0 ||
		pair_check(p, "host_address", &o->host_address6, o, true) != 0)
		return -1;
	return overlap_check(p, o);
}
static int config_check(struct parser *p)
{
	struct config *c = p->c;

	int devices = 0;

	for (int i = 0; i < c->ports_n; i++) {
		if (port_check(p, &c->ports[i]) != 0)
			return -1;
		devices += c->ports[i].device[0] != '\0';
	}
	for (int i = 0; i < c->routes_n; i++)
		if (route_check(p, &c->routes[i]) != 0)
			return -1;
	p->line = 0;
	if (devices > CONFIG_PORTS_MAX)
		return fail(p, "more than %d ports with device=", CONFIG_PORTS_MAX);
	if (c->ports_n == 0 && !c->loopback)
		return fail(p, "there is no [port NAME] section; one with device= and address= is needed");
	if (c->tcp.local_port_first > c->tcp.local_port_last)
		return fail(p, "local_port_first=%u is behind local_port_last=%u", c->tcp.local_port_first,
			c->tcp.local_port_last);
	if (c->control[0] == '\0')
		snprintf(c->control, sizeof(c->control), "/run/culvert/%s.sock", c->name);
	return 0;
}

void config_init(struct config *c)
{
	memset(c, 0, sizeof(*c));
	snprintf(c->name, sizeof(c->name), "culvert");
	c->workers = 1;
	c->spin_us = 50;
	c->control_group = CONFIG_NO_GROUP;
#define X(key, field, min, max, def, unit) c->limits.field = def;
#include "dpdk/limits.def"
#undef X
#define X(key, min, max, def, text) c->tcp.key = def;
#include "stack/core/tcp_config.def"
#undef X
}

int config_load(struct config *c, const char *path, char error[CONFIG_ERROR_BYTES])
{
	struct parser p = {.c = c, .path = path, .error = error};
	struct scan s = {.copy_fd = -1};
	struct rte_cfgfile *f = NULL;
	char copy[64];
	int status;

	config_init(c);
	snprintf(c->path, sizeof(c->path), "%s", path);
	status = scan_file(&p, &s);
	if (status == 0) {
		snprintf(copy, sizeof(copy), "/proc/self/fd/%d", s.copy_fd);
		f = rte_cfgfile_load(copy, CFG_FLAG_EMPTY_VALUES);
		p.line = 0;
		if (f == NULL)
			status = fail(&p, "cannot be parsed");
	}
	for (int i = 0; status == 0 && i < s.sections; i++)
		status = section_read(&p, &s, f, i);
	if (status == 0)
		status = config_check(&p);
	if (f != NULL)
		rte_cfgfile_close(f);
	if (s.copy != NULL)
		fclose(s.copy);
	return status;
}
