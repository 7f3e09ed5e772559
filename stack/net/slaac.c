/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Addresses made of a router's prefix (RFC4862:5.5), with interface identifiers that are stable for each network and
 * tell nothing of the hardware or of other networks (RFC7217).
 */
#include <string.h>

#include "stack/base/addr.h"
#include "stack/net/priv.h"

#define SECOND_NS 1000000000ull
#define TWO_HOURS_S 7200u
#define RETRIES 3u      /* RFC7217:7, IDGEN_RETRIES */
#define AUTOCONF_MOST 16u /* addresses of a port: a router cannot fill our table (RFC4862:5.5.3 leaves the number) */

/* RFC5453: the subnet's routers, reserved anycast addresses, IANA's own. */
static bool is_reserved(const uint8_t id[8])
{
	static const uint8_t zero[8], anycast[7] = {0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
				      iana[5] = {0x02, 0x00, 0x5e, 0xff, 0xfe};

	return memcmp(id, zero, 8) == 0 || (memcmp(id, anycast, 7) == 0 && id[7] >= 0x80) ||
		memcmp(id, iana, 5) == 0;
}

/* RFC7217:5: F(prefix, interface, DAD counter, key). The name of the port, which is the user's, stands for the
 * interface: other cards in its place keep the address. */
static void identifier_make(
	uint8_t addr[16], const struct net *net, const struct port *port, const uint8_t prefix[16], uint8_t *counter)
{
	uint64_t words[2 + sizeof(port->name) / 8] = {0}, id;

	memcpy(addr, prefix, 8);
	memcpy(words, prefix, 8);
	memcpy(words + 2, port->name, sizeof(port->name));
	for (;; (*counter)++) {
		words[1] = *counter;
		id = siphash(&net->key, words, sizeof(words) / sizeof(words[0]));
		memcpy(addr + 8, &id, 8);
		if (!is_reserved(addr + 8))
			return;
	}
}

static uint64_t lifetime_ns(uint32_t seconds)
{
	return seconds == UINT32_MAX ? NET_FOREVER : seconds * SECOND_NS;
}

static void address_make(struct engine *e, struct port *port, const uint8_t prefix[16], uint8_t counter,
	uint64_t preferred_ns, uint64_t valid_ns)
{
	struct net_addr *a;
	uint8_t addr[16];

	identifier_make(addr, e->net, port, prefix, &counter);
	if (net_addr_find(e->net, addr) != NULL)
		return;
	a = net_addr_add(e, port, addr, 64, ADDR_AUTOCONF);
	if (a == NULL)
		return;
	a->dad_counter = counter;
	net_addr_lifetimes(a, preferred_ns, valid_ns);
}

/* RFC4862:5.5.3 (e): nobody who is not authenticated cuts a lifetime below two hours. */
static void address_refresh(struct net_addr *a, uint32_t preferred_s, uint32_t valid_s)
{
	uint64_t now = a->engine->now_ns, left_ns = a->valid_until_ns, valid_ns = lifetime_ns(valid_s);

	if (left_ns != NET_FOREVER)
		left_ns = left_ns > now ? left_ns - now : 0;
	if (valid_s <= TWO_HOURS_S && valid_ns < left_ns)
		valid_ns = left_ns <= TWO_HOURS_S * SECOND_NS ? left_ns : TWO_HOURS_S * SECOND_NS;
	net_addr_lifetimes(a, lifetime_ns(preferred_s), valid_ns);
}

void slaac_prefix(struct engine *e, struct port *port, const uint8_t prefix[16], uint32_t preferred_s, uint32_t valid_s)
{
	unsigned have = 0;

	net_for_each_addr(a, e->net)
	{
		if (a->port != port || a->origin != ADDR_AUTOCONF)
			continue;
		have++;
		if (!addr_in_prefix(a->addr, prefix, 64))
			continue;
		address_refresh(a, preferred_s, valid_s);
		return;
	}
	if (valid_s > 0 && have < AUTOCONF_MOST)
		address_make(e, port, prefix, 0, lifetime_ns(preferred_s), lifetime_ns(valid_s));
}

static uint64_t rest_ns(const struct engine *e, uint64_t until_ns)
{
	if (until_ns == NET_FOREVER)
		return NET_FOREVER;
	return until_ns > e->now_ns ? until_ns - e->now_ns : 0;
}

void slaac_again(struct net_addr *a)
{
	struct engine *e = a->engine;
	uint8_t counter = (uint8_t)(a->dad_counter + 1), prefix[16];
	uint64_t preferred = a->preferred_until_ns, valid = a->valid_until_ns;
	struct port *port = a->port;

	if (counter >= RETRIES)
		return; /* it stays, as a duplicate, so that no advertisement brings it back */
	memcpy(prefix, a->addr, 16);
	net_addr_drop(a);
	address_make(e, port, prefix, counter, rest_ns(e, preferred), rest_ns(e, valid));
}
