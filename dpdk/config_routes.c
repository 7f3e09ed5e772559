/* SPDX-License-Identifier: BSD-3-Clause */
/* The lines of [routes]: PREFIX via GATEWAY, PREFIX dev PORT, and those that refuse. */
#include "dpdk/config_priv.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <rte_cfgfile.h>

#include "stack/base/addr.h"

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
		return config_fail(p, "route=%s: " ROUTE_FORM, whole);
	if (slash != NULL && config_number(p, "route", slash, 0, bits, &bits) != 0)
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
		return config_address(p, "route", value, strchr(value, ':') != NULL, false, &r->gateway);
	if (value != NULL && strcmp(key, "dev") == 0) {
		snprintf(r->dev, sizeof(r->dev), "%.31s", value);
		return config_name_check(p, "dev", value);
	}
	if (value != NULL && strcmp(key, "mtu") == 0) {
		if (config_number(p, "mtu", value, 576, 65535, &v) != 0)
			return -1;
		r->mtu = (uint16_t)v;
		return 0;
	}
	return config_fail(p, "route=%s: " ROUTE_FORM, whole);
}

int config_routes_key(struct parser *p, const char *key, const char *value)
{
	struct config_route *r = &p->c->routes[p->c->routes_n];
	char text[CFG_VALUE_LEN], *at = text, *one;
	bool gateway6;

	if (strcmp(key, "route") != 0)
		return config_fail(p, "unknown key \"%s\" in [routes]; known is route", key);
	if (p->c->routes_n == CONFIG_ROUTES_MAX)
		return config_fail(p, "more than %d routes", CONFIG_ROUTES_MAX);
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
		return config_fail(p, "route=%s: " ROUTE_FORM, value);
	if (r->gateway.set && gateway6 != r->v6)
		return config_fail(p, "route=%s: the gateway is of the other family", value);
	if (gateway6 && addr_is_link_local(r->gateway.addr) && r->dev[0] == '\0')
		return config_fail(p, "route=%s: a link-local gateway needs dev PORT", value);
	p->c->routes_n++;
	return 0;
}
